"""The rules of the recipe check (`lint`), each with the case behind it: a failure that somebody reported.

A rule is a function of a `Recipe` that yields what is wrong and what to do about it; `RULES` names them.

Other reported failures need no rule, as no preset can express them: a ReLU after the head and a projection without
batch norm (both ended all learning); a mean subtracted in training but not at the test (pytorch-cifar-models issue 8;
torchvision issue 6506), since normalisation is a layer of the network; selection on the test split (pytorch-cifar issue
145; pytorch-cifar100 issue 60), which `eval.py` alone reads; two schedules at once.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from resnet_tf.format import thousands
from resnet_tf.lint.image_rules import images_of_one_size
from resnet_tf.models.cost import network_size
from resnet_tf.optim.plateau import PlateauWatcher
from resnet_tf.presets import augmentation
from resnet_tf.presets.augmentation_steps import RandomResizedCrop, Resample, Resize, ShorterSide
from resnet_tf.presets.optimizer import AdamSpec
from resnet_tf.presets.schedule import CosineRestarts, MultiStep, OneCycle, Plateau
from resnet_tf.presets.schema import Preset

Problem = tuple[str, str]  # what is wrong, what to do about it


@dataclass(frozen=True)
class Recipe:
    """What a rule looks at: one phase of a preset, and what is known of its images and its past.

    Attributes:
        preset: of one phase.
        images: of the training split, without validation; None where only a folder tells.
        classes: None likewise.
        history: rows of a run's log to judge by; may be empty.
        own_validation: images of the validation split that the data set has of its own; None: it has none, and
            data.validation_size of its training images are cut off.
    """

    preset: Preset
    images: int | None
    classes: int | None
    history: Sequence[dict] = ()
    own_validation: int | None = None

    @property
    def validation(self) -> int:
        """The number of images to select by."""
        return self.preset.data.validation_size if self.own_validation is None else self.own_validation

    @property
    def steps_per_epoch(self) -> int | None:
        train = self.preset.train
        return None if self.images is None else self.images * train.repeats // train.batch_size

    @property
    def epochs(self) -> float | None:
        """Length in epochs; None where that takes the number of images."""
        train = self.preset.train
        if train.epochs is not None or not self.steps_per_epoch:
            return train.epochs
        return train.steps / self.steps_per_epoch

    @property
    def steps(self) -> int | None:
        """Length in steps; None where that takes the number of images."""
        train = self.preset.train
        if train.steps is not None or self.steps_per_epoch is None:
            return train.steps
        return train.epochs * self.steps_per_epoch

    @property
    def plateau(self) -> Plateau | None:
        return self.preset.schedule if isinstance(self.preset.schedule, Plateau) else None

    @property
    def plateau_checks(self) -> int | None:
        """How often a plateau looks at its metric."""
        if self.plateau.every_steps is not None:
            return None if self.steps is None else self.steps // self.plateau.every_steps
        return None if self.epochs is None else math.ceil(self.epochs)


@dataclass(frozen=True)
class Rule:
    """A rule and the reported failure behind it; `impossible`: what it finds cannot be carried out at all."""

    look: Callable[[Recipe], Iterator[Problem]]
    case: str
    impossible: bool = False


def log_key(plateau: Plateau) -> str:
    """Returns what a run's log calls the metric of a plateau."""
    return plateau.metric.removeprefix("training_")


def measured_noise(values: Sequence[float]) -> float:
    """Returns the standard deviation of what is neither level nor slope in the later half of a series.

    The second differences of white noise have six times its variance, and those of a straight line are 0. Their median
    is taken, a normal distribution's being 0.6745 deviations, so that one spike does not count for all.
    """
    later = np.asarray(values, np.float64)[len(values) // 2 :]
    return float(np.median(np.abs(np.diff(later, 2))) / 0.6745 / math.sqrt(6))


def plateau_cannot_fire(recipe: Recipe) -> Iterator[Problem]:
    plateau, checks = recipe.plateau, recipe.plateau_checks if recipe.plateau else None
    if plateau is None:
        return
    first = plateau.patience + 2  # the first check sets the mark; one more than `patience` must miss it
    if checks is not None and first >= checks:
        yield (
            f"the plateau can lower the rate after its check {thousands(first)} at the earliest, of {thousands(checks)}"
            " in the whole run.",
            "Lower schedule.patience or train longer.",
        )
    rate = recipe.preset.optimizer.learning_rate
    if rate - max(rate * plateau.factor, plateau.minimum) <= PlateauWatcher.smallest_change:
        yield (
            f"the plateau cannot lower the rate {rate:g}, as schedule.minimum is {plateau.minimum:g}.",
            "Lower schedule.minimum.",
        )


def plateau_in_noise(recipe: Recipe) -> Iterator[Problem]:
    plateau = recipe.plateau
    noise, how = (_noise(recipe) if plateau else None) or (0.0, "")
    if plateau is None or plateau.threshold >= noise:
        return
    relative = plateau.threshold_mode == "relative"
    unit = "of its value" if relative else "percent" if plateau.metric.endswith("top1") else "nats"
    digits = math.floor(math.log10(noise))
    enough = math.ceil(noise / 10**digits) * 10.0**digits
    yield (
        f"{plateau.metric} is uncertain by about {noise:.2g} {unit} ({how}), so an improvement by the "
        f"schedule.threshold of {plateau.threshold:g} means nothing, and any lucky value starts the patience of "
        f"{thousands(plateau.patience)} anew: the rate may fall late or never.",
        f"Use a threshold of {enough:g} or more{', or a larger schedule.every_steps' if plateau.every_steps else ''}.",
    )


def _noise(recipe: Recipe) -> tuple[float, str] | None:
    """Returns how uncertain a plateau's metric is, in the threshold's unit, and how that is known.

    Measured where there is a history. Else the standard error of a mean over the images looked at: an image's loss
    spreads about as widely as its mean (taken as 1 nat), and its being right by at most 50 points.
    """
    plateau = recipe.plateau
    relative = plateau.threshold_mode == "relative"
    values = [row[log_key(plateau)] for row in recipe.history if log_key(plateau) in row]
    if plateau.every_steps is None and len(values) >= 8:
        level = np.mean(values[len(values) // 2 :]) if relative else 1.0
        return measured_noise(values) / level, "measured in the run given"
    if plateau.metric.startswith("validation"):
        images = recipe.validation
    else:
        train = recipe.preset.train
        seen = recipe.images and recipe.images * train.repeats  # in an epoch
        images = train.batch_size * plateau.every_steps if plateau.every_steps else seen
    if not images:
        return None
    spread = 1.0 if plateau.metric.endswith("loss") else 0.5 if relative else 50.0
    return spread / math.sqrt(images), f"a mean over {images:,} images"


def milestones_past_end(recipe: Recipe) -> Iterator[Problem]:
    schedule, train = recipe.preset.schedule, recipe.preset.train
    if not isinstance(schedule, MultiStep):
        return
    in_steps = schedule.boundaries_steps is not None
    unit, boundaries = ("steps", schedule.boundaries_steps) if in_steps else ("epochs", schedule.boundaries_epochs)
    end = recipe.steps if in_steps else recipe.epochs
    past = [] if end is None else [boundary for boundary in boundaries if boundary >= end]
    if past:
        why = f", as train.epochs={train.epochs} of batch {train.batch_size} leave" if in_steps and train.epochs else ""
        yield (
            f"the rate never falls at {unit} {', '.join(map(thousands, past))}: the run ends after {end:,.6g}{why}.",
            f"Set schedule.boundaries_{unit} within the run, or train longer.",
        )


def schedule_cut_short(recipe: Recipe) -> Iterator[Problem]:
    schedule, rate = recipe.preset.schedule, recipe.preset.optimizer.learning_rate
    if not isinstance(schedule, CosineRestarts) or not recipe.steps or not recipe.steps_per_epoch:
        return
    last = schedule.rates(rate, recipe.steps, recipe.steps_per_epoch)[-1]
    if last - schedule.minimum > 0.1 * (rate - schedule.minimum):
        yield (
            f"the run ends within a cosine period, after {recipe.epochs:.6g} epochs, at a rate of {last:.2g}.",
            "Let train.epochs be a whole number of periods, or schedule.period_epochs null for one period.",
        )


def warmup_never_ends(recipe: Recipe) -> Iterator[Problem]:
    warmup, until = recipe.preset.schedule.warmup, recipe.preset.schedule.warmup_until
    if warmup is not None and recipe.steps is not None and warmup.steps >= recipe.steps:
        yield (
            f"the warm-up takes {warmup.steps:,} steps, the run {recipe.steps:,}: it never reaches the full rate.",
            "Lower schedule.warmup.steps.",
        )
    if until is not None and recipe.steps is not None and until.every_steps >= recipe.steps:
        yield (
            f"the warm-up first looks at the training error after {until.every_steps:,} of {recipe.steps:,} steps.",
            "Lower schedule.warmup_until.every_steps.",
        )
    if until is not None and until.training_error_below < 0.1:
        yield (
            f"the warm-up waits for a training error below {100 * until.training_error_below:g} %, which a network may "
            "never reach at the low rate; the paper's is 80 %.",
            "Raise schedule.warmup_until.training_error_below, a fraction: 0.8 is 80 %.",
        )


def two_controllers(recipe: Recipe) -> Iterator[Problem]:
    schedule = recipe.preset.schedule
    warmup, until = schedule.warmup, schedule.warmup_until
    if isinstance(schedule, OneCycle) and (warmup or until):
        key = "warmup" if warmup else "warmup_until"
        yield (
            "one_cycle warms up by itself, and a second warm-up multiplies its rate.",
            f"Leave out schedule.{key}; schedule.warmup_fraction is how long it rises.",
        )
    if isinstance(schedule, Plateau) and until:
        yield (
            "the plateau counts bad checks while the warm-up holds the rate down, and may lower what is still to rise.",
            "Use schedule.warmup, of fewer steps than the patience, or leave it out.",
        )
    if isinstance(schedule, MultiStep) and warmup:
        unit = 1 if schedule.boundaries_steps else recipe.steps_per_epoch
        first = unit and unit * (schedule.boundaries_steps or schedule.boundaries_epochs)[0]
        if first and first < warmup.steps:
            yield (
                f"the rate falls at step {first:,}, while the warm-up still raises it, up to step {warmup.steps:,}.",
                "Let the warm-up end before the first boundary.",
            )


def adam_rate(recipe: Recipe) -> Iterator[Problem]:
    optimizer = recipe.preset.optimizer
    if isinstance(optimizer, AdamSpec) and optimizer.learning_rate > 0.01:
        yield (
            f"Adam's rate is {optimizer.learning_rate:g}; every weight moves by about that much in every step.",
            "Its usual rate is 0.001: --set optimizer.learning_rate=0.001.",
        )


def decay_form(recipe: Recipe) -> Iterator[Problem]:
    optimizer = recipe.preset.optimizer
    if not optimizer.weight_decay:
        return
    if isinstance(optimizer, AdamSpec) and optimizer.decay == "coupled":
        yield (
            "weight decay in the gradient passes through Adam's scaling, so that weights with large gradients hardly "
            "decay.",
            "AdamW's is --set optimizer.decay=decoupled; torch's Adam means the coupled one.",
        )
    if not isinstance(optimizer, AdamSpec) and optimizer.decay == "decoupled":
        weaker = 1 / (1 - optimizer.momentum)
        yield (
            f"the paper's decay is in the gradient and grows in the momentum; decoupled, {optimizer.weight_decay:g} "
            f"decays {weaker:.3g} times less.",
            "The paper means --set optimizer.decay=coupled.",
        )


def foreign_normalisation(recipe: Recipe) -> Iterator[Problem]:
    data = recipe.preset.data
    if data.normalize == "imagenet" and data.dataset != "imagenet":
        yield (
            f"{data.dataset} is normalised by ImageNet's mean and deviation, which are not its own.",
            "Measure the training images: --set data.normalize=per_channel.",
        )


def jittered_resized_crop(recipe: Recipe) -> Iterator[Problem]:
    chain = augmentation.parse(recipe.preset.data.augment)
    crops = [place for place, step in enumerate(chain) if isinstance(step, RandomResizedCrop)]
    before = [step for step in chain[: crops[0]] if isinstance(step, ShorterSide | Resize)] if crops else []
    if before:
        # torchvision's pipelines resample at each of the two.
        twice = any(isinstance(step, Resample) for step in chain[: crops[0]])
        yield (
            f"{chain[crops[0]].name} takes a share of the area whatever the size, so {before[0]} before it jitters no "
            f"scale and {'makes the image softer' if twice else 'costs time'}.",
            "Scale jitter is followed by random_crop; random_resized_crop needs none.",
        )


def no_augmentation(recipe: Recipe) -> Iterator[Problem]:
    if not recipe.preset.data.augment.strip():
        yield (
            "without augmentation a network learns its training images by heart.",
            'Crop and flip, as the paper: data.augment="pad_crop(4) | flip_horizontal".',
        )


def imagenet_stem(recipe: Recipe) -> Iterator[Problem]:
    stem, size = recipe.preset.model.stem_shape, recipe.preset.data.image_size
    shrinks = stem.strides * max(1, stem.pool_strides)
    if shrinks >= 4 and size < 64:
        left = size // shrinks
        yield (
            f"the stem {recipe.preset.model.stem} leaves {left} x {left} of {size} x {size} pixels before the first "
            "stage.",
            "For small images: --set model.stem=3x3.",
        )


def parameter_limit(recipe: Recipe) -> Iterator[Problem]:
    limit = recipe.preset.model.parameter_limit
    if limit is None or recipe.classes is None:
        return
    parameters = network_size(recipe.preset.model, recipe.preset.data.image_size, recipe.classes).parameters
    if parameters > limit:
        yield f"the network has {parameters:,} parameters; model.parameter_limit is {limit:,}.", "Make it smaller."


def nothing_to_select_by(recipe: Recipe) -> Iterator[Problem]:
    preset = recipe.preset
    if recipe.validation:
        return
    remedy = "Hold some training images out: --set data.validation_size=5000."
    if preset.evaluation.weights == "best":
        yield "the best weights are those of the highest validation top-1, and there is no validation.", remedy
    if recipe.plateau and recipe.plateau.metric.startswith("validation"):
        yield f"the plateau watches {recipe.plateau.metric}, and there is no validation.", remedy


def batch_too_large(recipe: Recipe) -> Iterator[Problem]:
    train, images = recipe.preset.train, recipe.images
    if images is not None and train.batch_size > images * train.repeats:
        times = f", shown {train.repeats} times an epoch" if train.repeats > 1 else ""
        what = f"one batch of {train.batch_size:,} is more than the {images:,} training images{times}."
        yield what, _smaller_batch(recipe)


def _smaller_batch(recipe: Recipe) -> str:
    held_out = recipe.preset.data.validation_size if recipe.own_validation is None else 0
    also = f", or hold fewer than data.validation_size={held_out:,} images out" if held_out else ""
    return f"Lower train.batch_size{also}."


RULES: dict[str, Rule] = {
    "plateau-cannot-fire": Rule(plateau_cannot_fire, "imagenet-resnet34-exp0 never fired; keras-cv pull request 723"),
    "plateau-in-noise": Rule(
        plateau_in_noise,
        "imagenet-resnet34-exp0 never fired at 1e-4 and did at 0.01; resnet32-cifar10-plateau-1000 had not at 1e-5 in "
        "875 epochs",
    ),
    "milestones-past-end": Rule(milestones_past_end, "bshall/Tacotron issue 3: milestones in steps, taken for epochs"),
    "schedule-cut-short": Rule(schedule_cut_short, "SGDR (arXiv:1608.03983), section 4: good at the end of a period"),
    "warmup-never-ends": Rule(warmup_never_ends, "pytorch_resnet_cifar10 issue 21: ResNet-110 stays at 0.01"),
    "two-controllers": Rule(two_controllers, "keras pull request 8829: one schedule undoes what the other does"),
    "adam-rate": Rule(adam_rate, "resnet32-cifar10-adam-dead-end: its author found that it does not learn at 0.1"),
    "decay-form": Rule(decay_form, "arXiv:1711.05101; Keras's SGD(weight_decay=...) is not the paper's"),
    "foreign-normalisation": Rule(foreign_normalisation, "pytorch-cifar-models issue 8, torchvision issue 6506"),
    "jittered-resized-crop": Rule(jittered_resized_crop, "imagenet-resnet34-exp2, mended in exp3"),
    "no-augmentation": Rule(
        no_augmentation, "the author of resnet32-cifar10-plateau-200: 100 % in training, 68.6 % at the test"
    ),
    "imagenet-stem": Rule(imagenet_stem, "pytorch-image-models issue 2481: 59.8 % instead of 77 %"),
    "parameter-limit": Rule(parameter_limit, "stl10: under two million parameters", impossible=True),
    "nothing-to-select-by": Rule(
        nothing_to_select_by, "pytorch-cifar issue 145: without validation, chosen on the test split", impossible=True
    ),
    "images-of-one-size": Rule(
        images_of_one_size, "a folder's photos, passed by the check and refused by the training", impossible=True
    ),
    "batch-too-large": Rule(batch_too_large, "a batch that no epoch fills: no step is ever made", impossible=True),
}

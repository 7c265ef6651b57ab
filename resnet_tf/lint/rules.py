"""The rules of the recipe check, each with its case: a failure that somebody reported.

A rule is a function of `PhaseFacts` that yields what is wrong and what to do about it. `impossible.py` has those whose
findings cannot be trained at all.

Other reported failures need no rule, because no preset can express them: a ReLU after the head and a projection without
batch norm (nothing is learned any more); a mean subtracted in training but not in the test (pytorch-cifar-models issue
8; torchvision issue 6506), since normalisation is a layer of the network; selection on the test split (pytorch-cifar
issue 145; pytorch-cifar100 issue 60), which only `eval.py` reads; two schedules at once.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from resnet_tf.format import thousands
from resnet_tf.lint.rule import LONGEST, PhaseFacts, Problem, rule
from resnet_tf.optim.metric_rules import PlateauRule
from resnet_tf.presets import augmentation
from resnet_tf.presets.augmentation_steps import RandomResizedCrop, Resample, Resize, ShorterSide
from resnet_tf.presets.optimizer import AdamSpec, SGDSpec
from resnet_tf.presets.schedule import CosineRestarts, MultiStep, OneCycle, Plateau, log_key


def measured_noise(values: Sequence[float]) -> float:
    """Returns the standard deviation of the noise in the later half of a series, around its level and slope.

    The second differences of white noise have six times its variance, and those of a straight line are 0. Their median
    (0.6745 standard deviations of a normal distribution) ignores a single spike.
    """
    later = np.asarray(values, np.float64)[len(values) // 2 :]
    return float(np.median(np.abs(np.diff(later, 2))) / 0.6745 / math.sqrt(6))


@rule("imagenet-resnet34-exp0 never fired; keras-cv pull request 723")
def plateau_cannot_fire(phase: PhaseFacts) -> Iterator[Problem]:
    plateau = phase.plateau
    if plateau is None:
        return
    every, end, unit = 1, phase.epochs, "epochs"
    if plateau.every_steps is not None:
        every, end, unit = plateau.every_steps, phase.steps, "steps"
    # The first check sets the best value; one more than `patience` must miss it, and a step must be left after that.
    first = every * (plateau.patience + 2)
    if end is not None and first >= end:
        yield (
            f"the plateau can lower the learning rate after {first:,} {unit} at the earliest, and the run has "
            f"{round(end, 1):,} {unit}.",
            "Lower schedule.patience or train longer.",
        )
    rate = phase.preset.optimizer.learning_rate
    if rate - max(rate * plateau.factor, plateau.minimum) <= PlateauRule.smallest_change:
        yield (
            f"the plateau cannot lower the learning rate {rate:g}, as schedule.minimum is {plateau.minimum:g}.",
            "Lower schedule.minimum.",
        )


@rule(
    "imagenet-resnet34-exp0 never fired at 1e-4 and did at 0.01; resnet32-cifar10-plateau-1000 had not at 1e-5 in 875 "
    "epochs"
)
def plateau_in_noise(phase: PhaseFacts) -> Iterator[Problem]:
    plateau = phase.plateau
    estimate = None if plateau is None else _noise(phase)
    if estimate is None:
        return
    noise, source = estimate
    if not noise > plateau.threshold:  # nor is NaN, that of a metric that was 0 throughout
        return
    relative = plateau.threshold_mode == "relative"
    unit = "of its value" if relative else "percent" if plateau.metric.endswith("top1") else "nats"
    digits = math.floor(math.log10(noise))
    enough = math.ceil(noise / 10**digits) * 10.0**digits
    yield (
        f"{plateau.metric} is uncertain by about {noise:.2g} {unit} ({source}), so an improvement by the "
        f"schedule.threshold of {plateau.threshold:g} means nothing, and any lucky value restarts the patience of "
        f"{thousands(plateau.patience)}: the learning rate may fall late or never.",
        f"Use a threshold of {enough:g} or more{', or a larger schedule.every_steps' if plateau.every_steps else ''}.",
    )


def _noise(phase: PhaseFacts) -> tuple[float, str] | None:
    """Returns how uncertain a plateau's metric is, in the threshold's unit, and where the figure comes from.

    It is measured in an earlier run's log, if there is one. Otherwise it is the standard error of a mean over the
    images: an image's loss varies about as much as its mean (taken as 1 nat), its correctness by at most 50 points.
    """
    plateau, train = phase.plateau, phase.preset.train
    relative = plateau.threshold_mode == "relative"
    key = log_key(plateau.metric)
    values = [row[key] for row in phase.history if key in row]
    if plateau.every_steps is None and len(values) >= 8:
        level = np.mean(values[len(values) // 2 :]) if relative else 1.0
        return float(measured_noise(values) / level if level else np.nan), "measured in the run given"
    if plateau.metric.startswith("validation"):
        images = phase.validation
    elif plateau.every_steps:
        images = train.batch_size * plateau.every_steps
    else:
        images = phase.images and phase.images * train.repeats
    if not images:
        return None
    spread = 1.0 if plateau.metric.endswith("loss") else 0.5 if relative else 50.0
    return spread / math.sqrt(images), f"a mean over {images:,} images"


@rule("bshall/Tacotron issue 3: milestones in steps, taken for epochs")
def milestones_past_end(phase: PhaseFacts) -> Iterator[Problem]:
    schedule, train = phase.preset.schedule, phase.preset.train
    if not isinstance(schedule, MultiStep):
        return
    in_steps = schedule.boundaries_steps is not None
    unit, boundaries = ("steps", schedule.boundaries_steps) if in_steps else ("epochs", schedule.boundaries_epochs)
    end = phase.steps if in_steps else phase.epochs
    past = [] if end is None else [boundary for boundary in boundaries if boundary >= end]
    if past:
        cause = f" (train.epochs={train.epochs}, batches of {train.batch_size})" if in_steps and train.epochs else ""
        yield (
            f"the learning rate never falls at {unit} {', '.join(map(thousands, past))}: the run ends after "
            f"{end:,.6g}{cause}.",
            f"Set schedule.boundaries_{unit} within the run, or train longer.",
        )


@rule("SGDR (arXiv:1608.03983), section 4: good at the end of a period")
def schedule_cut_short(phase: PhaseFacts) -> Iterator[Problem]:
    schedule, rate = phase.preset.schedule, phase.preset.optimizer.learning_rate
    if not isinstance(schedule, CosineRestarts) or not phase.steps_per_epoch or not 0 < phase.steps <= LONGEST:
        return
    last = schedule.rates(rate, phase.steps, phase.steps_per_epoch)[-1]
    if last - schedule.minimum > 0.1 * (rate - schedule.minimum):
        yield (
            f"the run ends within a cosine period, after {phase.epochs:.6g} epochs, at a learning rate of {last:.2g}.",
            "Let train.epochs be a whole number of periods, or schedule.period_epochs null for one period.",
        )


@rule("pytorch_resnet_cifar10 issue 21: ResNet-110 stays at 0.01")
def warmup_never_ends(phase: PhaseFacts) -> Iterator[Problem]:
    warmup, until = phase.preset.schedule.warmup, phase.preset.schedule.warmup_until
    if warmup is not None and phase.steps is not None and warmup.steps >= phase.steps:
        yield (
            f"the warm-up takes {warmup.steps:,} steps and the run {phase.steps:,}, so the full learning rate is "
            "never reached.",
            "Lower schedule.warmup.steps.",
        )
    if until is not None and phase.steps is not None and until.every_steps >= phase.steps:
        yield (
            f"the warm-up first looks at the training error after {until.every_steps:,} of {phase.steps:,} steps.",
            "Lower schedule.warmup_until.every_steps.",
        )
    if until is not None and until.training_error_below < 0.1:
        yield (
            f"the warm-up waits for a training error below {100 * until.training_error_below:g} %, which a network may "
            "never reach at the low learning rate; the paper's is 80 %.",
            "Raise schedule.warmup_until.training_error_below, a fraction: 0.8 is 80 %.",
        )


@rule("keras pull request 8829: one schedule undoes what the other does")
def two_controllers(phase: PhaseFacts) -> Iterator[Problem]:
    schedule = phase.preset.schedule
    warmup, until = schedule.warmup, schedule.warmup_until
    if isinstance(schedule, OneCycle) and (warmup or until):
        key = "warmup" if warmup else "warmup_until"
        yield (
            "one_cycle has a warm-up, and a second one multiplies its learning rate.",
            f"Leave out schedule.{key}; schedule.warmup_fraction is the length of the warm-up.",
        )
    if isinstance(schedule, Plateau) and until:
        yield (
            "the plateau counts bad checks during the warm-up, and may lower the learning rate before it has risen.",
            "Use schedule.warmup, of fewer steps than the patience, or leave it out.",
        )
    if isinstance(schedule, MultiStep) and warmup:
        unit = 1 if schedule.boundaries_steps else phase.steps_per_epoch
        first = unit and unit * (schedule.boundaries_steps or schedule.boundaries_epochs)[0]
        if first and first < warmup.steps:
            yield (
                f"the learning rate falls at step {first:,}, before the warm-up ends at step {warmup.steps:,}.",
                "Let the warm-up end before the first boundary.",
            )


@rule("resnet32-cifar10-adam-dead-end: its author found that it does not learn at 0.1")
def adam_rate(phase: PhaseFacts) -> Iterator[Problem]:
    optimizer = phase.preset.optimizer
    if isinstance(optimizer, AdamSpec) and optimizer.learning_rate > 0.01:
        yield (
            f"Adam's learning rate is {optimizer.learning_rate:g}: every weight moves by about that much in a step.",
            "Its usual learning rate is 0.001: --set optimizer.learning_rate=0.001.",
        )


@rule("arXiv:1711.05101; Keras's SGD(weight_decay=...) is not the paper's")
def decay_form(phase: PhaseFacts) -> Iterator[Problem]:
    optimizer = phase.preset.optimizer
    if not optimizer.weight_decay:
        return
    if isinstance(optimizer, AdamSpec) and optimizer.decay == "coupled":
        yield (
            "Adam divides coupled weight decay by the size of the gradients, so weights with large ones hardly decay.",
            "AdamW's is --set optimizer.decay=decoupled; the coupled one is torch's Adam.",
        )
    # Without momentum the two forms are the same; Muon's step does not grow with its buffer.
    if type(optimizer) is SGDSpec and optimizer.momentum and optimizer.decay == "decoupled":
        weaker = 1 / (1 - optimizer.momentum)
        yield (
            f"the paper's weight decay is part of the gradient, which the momentum adds up; decoupled, "
            f"{optimizer.weight_decay:g} decays {weaker:.3g} times less.",
            "The paper's is --set optimizer.decay=coupled.",
        )


@rule("pytorch-cifar-models issue 8, torchvision issue 6506")
def foreign_normalisation(phase: PhaseFacts) -> Iterator[Problem]:
    data = phase.preset.data
    if data.normalize == "imagenet" and data.dataset != "imagenet":
        yield (
            f"{data.dataset} is normalised by ImageNet's mean and deviation, which are not its own.",
            "Measure the training images: --set data.normalize=per_channel.",
        )


@rule("imagenet-resnet34-exp2, corrected in exp3")
def jittered_resized_crop(phase: PhaseFacts) -> Iterator[Problem]:
    chain = augmentation.parse(phase.preset.data.augment)
    crops = [place for place, step in enumerate(chain) if isinstance(step, RandomResizedCrop)]
    before = [step for step in chain[: crops[0]] if isinstance(step, ShorterSide | Resize)] if crops else []
    if before:
        twice = any(isinstance(step, Resample) for step in chain[: crops[0]])  # as torchvision's pipelines do
        yield (
            f"{chain[crops[0]].name} takes a fraction of the area at any size, so {before[0]} before it changes no "
            f"scale and {'blurs the image' if twice else 'costs time'}.",
            "Follow scale jitter by random_crop; random_resized_crop needs none.",
        )


@rule("the author of resnet32-cifar10-plateau-200: 100 % in training, 68.6 % in the test")
def no_augmentation(phase: PhaseFacts) -> Iterator[Problem]:
    train, chain = phase.preset.train, augmentation.parse(phase.preset.data.augment)
    if not (train.mixup or train.cutmix or any(step.draws_per_image for step in chain)):
        yield (
            "without random augmentation a network memorises its training images.",
            'Crop and flip, as the paper: data.augment="pad_crop(4) | flip_horizontal".',
        )


@rule("pytorch-image-models issue 2481: 59.8 % instead of 77 %")
def imagenet_stem(phase: PhaseFacts) -> Iterator[Problem]:
    model, size = phase.preset.model, phase.preset.data.image_size
    shrinks = model.stem_shape.strides * max(1, model.stem_shape.pool_strides)
    if shrinks >= 4 and size < 64:
        left = size // shrinks
        yield (
            f"the stem {model.stem} leaves {left} x {left} of {size} x {size} pixels before the first stage.",
            "For small images: --set model.stem=3x3.",
        )


@rule("a run of three epochs whose Lookahead was to begin after the third")
def no_effect(phase: PhaseFacts) -> Iterator[Problem]:
    optimizer, model = phase.preset.optimizer, phase.preset.model
    lookahead, epochs = optimizer.lookahead, phase.epochs
    if lookahead is not None and epochs is not None and epochs <= lookahead.start_epoch:
        yield (
            f"Lookahead begins after epoch {lookahead.start_epoch}, and the training has {epochs:g}.",
            "Lower optimizer.lookahead.start_epoch, or leave optimizer.lookahead out.",
        )
    if getattr(optimizer, "stem_bias", None) is not None and not model.stem_bias:
        yield "the stem has no bias that optimizer.stem_bias could train.", "Leave it out, or set model.stem_bias=true."

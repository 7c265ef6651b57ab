"""What a training will do, laid out before it starts: a pure function of (preset, images, seed)."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np

from resnet_tf.datasets.splits import SEEDS, ArraySplit, Dataset, FileSplit, training_and_validation
from resnet_tf.errors import UserError
from resnet_tf.models.build import build_network
from resnet_tf.models.resnet import set_input_statistics, set_whitening
from resnet_tf.optim.losses import build_loss
from resnet_tf.optim.optimizers import build_optimizer
from resnet_tf.optim.plateau import Watcher, watchers_of
from resnet_tf.pipeline import statistics
from resnet_tf.pipeline.batches import EvaluationBatches, TrainingBatches
from resnet_tf.pipeline.broken import naming_broken_files
from resnet_tf.pipeline.statistics import Statistics
from resnet_tf.pipeline.views import evaluation_batches
from resnet_tf.presets import augmentation
from resnet_tf.presets.schema import Preset
from resnet_tf.training.step import Step, build_step

SAMPLE = 1000  # images on disk that are measured for normalisation


@dataclass(frozen=True, eq=False)
class Plan:
    """All that a phase of a training needs and that follows from (preset, images, seed) alone.

    Attributes:
        preset: the recipe of this phase.
        dataset: the images.
        seed: of the run.
        batches: the training batches; step 0 is the phase's first.
        validation: the held-out images; None where there are none.
        steps_per_epoch, total_steps: of this phase.
        first_step, first_epoch: steps and epochs of the phases before.
        rates: learning rate of every step, before any metric-driven scale.
        mean, deviation: what the network subtracts from its input and divides it by.
        whitening: the filters of a whitened stem; None for any other.
    """

    preset: Preset
    dataset: Dataset
    seed: int
    batches: TrainingBatches
    validation: EvaluationBatches | None
    steps_per_epoch: int
    total_steps: int
    first_step: int
    first_epoch: int
    rates: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    whitening: np.ndarray | None

    @property
    def last_step(self) -> int:
        """Steps of the run when this phase is done."""
        return self.first_step + self.total_steps

    @property
    def epochs(self) -> int:
        """Epochs of this phase; the last may be short."""
        return -(-self.total_steps // self.steps_per_epoch)

    @property
    def watchers(self) -> list[Watcher]:
        """Fresh state machines for the metric-driven rules of the schedule."""
        return watchers_of(self.preset.schedule, self.preset.optimizer.learning_rate)

    @property
    def compiled_by_xla(self) -> bool:
        """Whether XLA compiles the step: where the preset wants it, and always in JAX, which has nothing else."""
        return self.preset.train.jit_compile or keras.backend.backend() == "jax"

    def network(self) -> keras.Model:
        """Builds the network with fresh weights, for images of the training's size and of the validation's."""
        # Validation may look at another size than training.
        any_size = self.validation is not None and self.validation.size != self.preset.data.image_size
        with _precision(self.preset.train.precision):
            network = build_network(self.preset, self.dataset.classes, any_size=any_size, seed=self.seed)
        network.jit_compile = self.compiled_by_xla  # of validation; Keras would choose XLA on a GPU
        return network

    def build_step(self) -> Step:
        """Builds the network with fresh weights, and what trains it: the preset's optimizer and loss."""
        network = self.network()
        set_input_statistics(network, self.mean, self.deviation)
        if self.whitening is not None:
            set_whitening(network, self.whitening)
        optimizer = build_optimizer(self.preset.optimizer, self.rates)
        return build_step(network, optimizer, build_loss(self.preset.loss), self.compiled_by_xla)


@contextlib.contextmanager
def _precision(policy: str) -> Iterator[None]:
    """Lets layers be built with a Keras dtype policy, and puts back the one before."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def make_plans(preset: Preset, dataset: Dataset, seed: int) -> list[Plan]:
    """Splits the images, measures them and lays out every step's batch and rate, phase by phase.

    Raises:
        UserError: the images do not suffice for the split or one batch, or do not come out in the network's size.
    """
    split, held_out = training_and_validation(dataset, preset.data.validation_size, seed)
    _check_rest(preset, len(split), 0 if dataset.validation is not None else len(held_out))
    sample, whitening = _sample(preset, split), None
    measured = statistics.IMAGENET if sample is None else statistics.measure(sample)
    plans: list[Plan] = []
    for number, phase in enumerate(preset.in_phases):
        chain = augmentation.parse(phase.data.augment, "data.augment")
        _check_size(phase, split, chain)
        mean, deviation = input_statistics(phase.data.normalize, measured)
        if preset.model.stem_shape.whitened and not plans:  # later phases go on with the first one's weights
            whitening = statistics.whitening_filters(sample, mean, deviation, preset.model.stem_shape.kernel)
        train = phase.train
        batches = TrainingBatches(split, chain, train.batch_size, _phase_seed(seed, number), measured, train.repeats)
        per_epoch = batches.steps_per_epoch
        total = train.total_steps(per_epoch)
        plan = Plan(
            preset=phase,
            dataset=dataset,
            seed=seed,
            batches=batches,
            validation=evaluation_batches(phase, held_out) if len(held_out) else None,
            steps_per_epoch=per_epoch,
            total_steps=total,
            first_step=plans[-1].last_step if plans else 0,
            first_epoch=plans[-1].first_epoch + plans[-1].epochs if plans else 0,
            rates=phase.schedule.rates(phase.optimizer.learning_rate, total, per_epoch),
            mean=mean,
            deviation=deviation,
            whitening=whitening,
        )
        plans.append(plan)
    return plans


def _check_rest(preset: Preset, rest: int, held_out: int) -> None:
    """Raises UserError where validation has taken the images that a batch would need, and names it as the cause."""
    # A phase that shows every image several times needs fewer of them.
    needed, train = max(
        ((-(-phase.train.batch_size // phase.train.repeats), phase.train) for phase in preset.in_phases),
        key=lambda pair: pair[0],
    )
    images = rest + held_out
    if rest < needed <= images:
        enough = min(images // 5, images - needed)
        repeated = f" with train.repeats={train.repeats}" if train.repeats > 1 else ""
        raise UserError(
            f"validation must leave a batch of images to train on. Received: data.validation_size={held_out}, which "
            f"leaves {rest} of {images} for train.batch_size={train.batch_size}{repeated}. Hold fewer out, such as "
            f"--set data.validation_size={enough}."
        )


def _phase_seed(seed: int, number: int) -> int:
    """Returns a seed of a phase's own, the run's for the first: no two phases see the same batches."""
    return seed + number * SEEDS


def _sample(preset: Preset, split: ArraySplit | FileSplit) -> np.ndarray | None:
    """Returns training images to measure, uint8 [n, height, width, 3]; None where nothing asks for them.

    All of those in memory; of those on disk an even sample, framed as they are evaluated.
    """
    if isinstance(split, ArraySplit):
        return split.images
    if preset.data.normalize == "imagenet" and not preset.model.stem_shape.whitened:
        return None
    sample = split.take(np.unique(np.linspace(0, len(split) - 1, SAMPLE).astype(int)))
    batches = evaluation_batches(preset, sample, "1-crop")
    with naming_broken_files():
        images = np.concatenate([images[:, 0].numpy() for images, _ in batches.dataset()])
    return images.astype(np.uint8)


def input_statistics(normalize: str, measured: Statistics) -> tuple[np.ndarray, np.ndarray]:
    """Returns what the network subtracts from its input and divides it by, in grey levels 0..255.

    "per_pixel" subtracts the mean image, as the paper does. The paper divides by nothing; here one number for all
    pixels keeps activations near 1, which changes nothing else: the stem's batch norm takes any scale out again.
    """
    if normalize == "per_channel":
        return measured.mean, np.maximum(measured.std, 1.0)  # a channel without variation has nothing to divide by
    if normalize == "imagenet":
        return statistics.IMAGENET.mean, statistics.IMAGENET.std
    overall = np.sqrt(np.mean(measured.std**2))
    return measured.pixel_mean, np.full_like(measured.pixel_mean, overall)


def _check_size(preset: Preset, split: ArraySplit | FileSplit, chain: augmentation.Chain) -> None:
    wanted = (preset.data.image_size, preset.data.image_size)
    found = augmentation.output_shape(chain, split.images.shape[1:3] if isinstance(split, ArraySplit) else None)
    if found != wanted:
        raise UserError(
            f"augmented images must have the network's size, data.image_size={wanted[0]}. "
            f"Received: {found[0]} x {found[1]} pixels from data.augment={preset.data.augment!r}."
        )

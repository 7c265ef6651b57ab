"""The plan of a training, made before it starts: a pure function of (preset, images, seed)."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from resnet_tf.datasets.splits import SEEDS, Dataset, training_and_validation
from resnet_tf.errors import UserError
from resnet_tf.lint.check import check_on
from resnet_tf.models.build import build_network
from resnet_tf.models.resnet import set_input_statistics, set_whitening
from resnet_tf.optim.losses import build_loss
from resnet_tf.optim.metric_rules import MetricRule, metric_rules
from resnet_tf.optim.optimizers import build_optimizer
from resnet_tf.pipeline import statistics
from resnet_tf.pipeline.batches import EvaluationBatches, TrainingBatches
from resnet_tf.pipeline.framing import evaluation_batches
from resnet_tf.pipeline.mixing import Mixing
from resnet_tf.pipeline.read import naming_broken_files
from resnet_tf.pipeline.sample import sample_images
from resnet_tf.presets import augmentation
from resnet_tf.presets.schema import Preset
from resnet_tf.training.step import Step, build_step


@dataclass(frozen=True, eq=False)
class Plan:
    """What a phase of a training needs; it follows from (preset, images, seed) alone.

    Attributes:
        preset: the recipe of this phase.
        seed: of the run.
        batches: the training batches; step 0 is the phase's first.
        validation: the held-out images; None where there are none.
        total_steps: of this phase.
        first_step, first_epoch: steps and epochs of the phases before.
        learning_rates: float64 [total_steps], without the scale of the metric rules.
        mean, deviation: float64 [3] or, per pixel, [height, width, 3], as pixel values 0..255: the network subtracts
            the one from its input and divides by the other.
        whitening: the filters of a whitened stem, float32 [kernel, kernel, 3, filters]; None for any other.
    """

    preset: Preset
    dataset: Dataset
    seed: int
    batches: TrainingBatches
    validation: EvaluationBatches | None
    total_steps: int
    first_step: int
    first_epoch: int
    learning_rates: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    whitening: np.ndarray | None

    @property
    def steps_per_epoch(self) -> int:
        return self.batches.steps_per_epoch

    @property
    def last_step(self) -> int:
        """Steps of the run when this phase is done."""
        return self.first_step + self.total_steps

    @property
    def epochs(self) -> int:
        """Epochs of this phase; the last may be short."""
        return -(-self.total_steps // self.steps_per_epoch)

    @property
    def compiled_by_xla(self) -> bool:
        """Whether XLA compiles the step: where the preset asks for it, and always in JAX, which has nothing else."""
        return self.preset.train.jit_compile or keras.backend.backend() == "jax"

    def metric_rules(self) -> list[MetricRule]:
        """Returns the metric rules of the schedule in their initial state."""
        return metric_rules(self.preset.schedule, self.preset.optimizer.learning_rate)

    def build_network(self) -> keras.Model:
        """Builds the network with fresh weights, for images of the training's size and of the validation's."""
        any_size = self.validation is not None and self.validation.size != self.preset.data.image_size
        precision = self.preset.train.precision
        network = build_network(
            self.preset, self.dataset.classes, any_size=any_size, seed=self.seed, precision=precision
        )
        network.jit_compile = self.compiled_by_xla  # of validation; Keras would choose XLA on a GPU
        return network

    def build_step(self) -> Step:
        """Builds the network with fresh weights, and what trains it: the preset's optimizer and loss."""
        network = self.build_network()
        set_input_statistics(network, self.mean, self.deviation)
        if self.whitening is not None:
            set_whitening(network, self.whitening)
        optimizer = build_optimizer(self.preset.optimizer, self.learning_rates, self.steps_per_epoch)
        return build_step(network, optimizer, build_loss(self.preset.loss), self.compiled_by_xla)


@contextlib.contextmanager
def step_errors_in_one_line(plan: Plan) -> Iterator[None]:
    """Turns what may end a phase's steps, a broken image file or too little memory, into one line that says what to do.

    Raises:
        UserError: instead of these errors.
    """
    try:
        with naming_broken_files():
            yield
    except Exception as error:
        # MemoryError comes from Python, the other from TensorFlow; JAX writes the name into the message.
        exhausted = isinstance(error, MemoryError | tf.errors.ResourceExhaustedError)
        if not exhausted and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        batch, size = plan.preset.train.batch_size, plan.preset.data.image_size
        raise UserError(
            f"A step with train.batch_size={batch} at {size} pixels does not fit into memory. Start a new run with a "
            f"smaller batch, such as {max(1, batch // 2)}, or a smaller network.",
            "out-of-memory",
        ) from error


def make_plans(preset: Preset, dataset: Dataset, seed: int) -> list[Plan]:
    """Splits the images, measures them, and plans every step's batch and learning rate, phase by phase.

    Raises:
        UserError: the images cannot be split so, or the recipe check finds an error.
    """
    split, held_out = training_and_validation(dataset, preset.data.validation_size, seed)
    for finding in check_on(preset, dataset):
        if finding.severity == "error":
            raise UserError(f"this recipe cannot be trained: {finding.reason} {finding.remedy}", finding.rule)
    sample, whitening = sample_images(preset, split), None
    measured = statistics.IMAGENET if sample is None else statistics.measure(sample)
    plans: list[Plan] = []
    for number, phase in enumerate(preset.in_phases):
        train, chain = phase.train, augmentation.parse(phase.data.augment, "data.augment")
        mean, deviation = measured.for_input(phase.data.normalize)
        if preset.model.stem_shape.whitened and not plans:  # later phases go on with the weights of the first
            whitening = statistics.whitening_filters(sample, mean, deviation, preset.model.stem_shape.kernel)
        phase_seed = seed + number * SEEDS  # no two phases see the same batches
        mixing = Mixing(train.mixup, train.cutmix, dataset.classes) if train.mixup or train.cutmix else None
        batches = TrainingBatches(split, chain, train.batch_size, phase_seed, measured, train.repeats, mixing)
        total = train.total_steps(batches.steps_per_epoch)
        plan = Plan(
            preset=phase,
            dataset=dataset,
            seed=seed,
            batches=batches,
            validation=evaluation_batches(phase, held_out) if len(held_out) else None,
            total_steps=total,
            first_step=plans[-1].last_step if plans else 0,
            first_epoch=plans[-1].first_epoch + plans[-1].epochs if plans else 0,
            learning_rates=phase.schedule.rates(phase.optimizer.learning_rate, total, batches.steps_per_epoch),
            mean=mean,
            deviation=deviation,
            whitening=whitening,
        )
        plans.append(plan)
    return plans

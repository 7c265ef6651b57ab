"""What a training will do, laid out before it starts: a pure function of (preset, images, seed)."""

from dataclasses import dataclass

import keras
import numpy as np

from resnet_tf.data import augmentations, statistics
from resnet_tf.data.batches import EvaluationBatches, TrainingBatches, steps_per_epoch
from resnet_tf.data.splits import ArraySplit, Dataset, split_train_validation
from resnet_tf.data.statistics import Statistics
from resnet_tf.errors import UserError
from resnet_tf.models.from_preset import build_network
from resnet_tf.models.resnet import set_input_statistics
from resnet_tf.optim.losses import build_loss
from resnet_tf.optim.optimizers import build_optimizer
from resnet_tf.optim.watchers import Watcher, watchers_of
from resnet_tf.presets import Preset

EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Plan:
    """All that a training needs and that follows from (preset, images, seed) alone."""

    preset: Preset
    dataset: Dataset
    seed: int
    batches: TrainingBatches
    validation: EvaluationBatches | None
    steps_per_epoch: int
    total_steps: int
    rates: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray

    @property
    def watchers(self) -> list[Watcher]:
        """Fresh state machines for the metric-driven rules of the schedule."""
        return watchers_of(self.preset.schedule, self.preset.optimizer.learning_rate)

    def compiled_network(self) -> keras.Model:
        """Builds the network with fresh weights, compiled with the preset's optimizer, loss and metrics."""
        model = build_network(self.preset, self.dataset.classes, seed=self.seed)
        set_input_statistics(model, self.mean, self.deviation)
        model.compile(
            optimizer=build_optimizer(self.preset.optimizer, self.rates),
            loss=build_loss(self.preset.loss),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="top1")],
            jit_compile=False,  # XLA loses on a CPU's convolutions
        )
        # Keras makes these variables at the first step; a resumed run fills them before.
        model.optimizer.build(model.trainable_variables)
        model.compute_metrics(None, np.zeros(1, np.int32), np.zeros((1, self.dataset.classes), np.float32))
        return model


def make_plan(preset: Preset, dataset: Dataset, seed: int) -> Plan:
    """Splits the images, measures them and lays out every step's batch and rate.

    Raises:
        UserError: the images do not suffice for the split or one batch, or do not come out in the network's size.
    """
    training, held_out = split_train_validation(dataset.train.labels, preset.data.validation_size, seed)
    split, validation = dataset.train.take(training), dataset.train.take(held_out)
    chain = augmentations.parse(preset.data.augment, "data.augment")
    _check_size(preset, split, chain)
    measured = statistics.measure(split.images)
    mean, deviation = input_statistics(preset.data.normalize, measured)
    per_epoch = steps_per_epoch(len(split), preset.train.batch_size)
    total = preset.train.total_steps(per_epoch)
    return Plan(
        preset=preset,
        dataset=dataset,
        seed=seed,
        batches=TrainingBatches(split, chain, preset.train.batch_size, seed, measured),
        validation=EvaluationBatches(validation, (), EVALUATION_BATCH) if len(validation) else None,
        steps_per_epoch=per_epoch,
        total_steps=total,
        rates=preset.schedule.rates(preset.optimizer.learning_rate, total, per_epoch),
        mean=mean,
        deviation=deviation,
    )


def input_statistics(normalize: str, measured: Statistics) -> tuple[np.ndarray, np.ndarray]:
    """Returns what the network subtracts from its input and divides it by, in grey levels 0..255.

    "per_pixel" subtracts the mean image, as the paper does. The paper divides by nothing; here one number for all
    pixels keeps activations near 1, which changes nothing else: the stem's batch norm takes any scale out again.
    """
    if normalize == "per_channel":
        return measured.mean, measured.std
    if normalize == "imagenet":
        return statistics.IMAGENET.mean, statistics.IMAGENET.std
    overall = np.sqrt(np.mean(measured.std**2))
    return measured.pixel_mean, np.full_like(measured.pixel_mean, overall)


def _check_size(preset: Preset, split: ArraySplit, chain: augmentations.Chain) -> None:
    wanted = (preset.data.image_size, preset.data.image_size)
    found = augmentations.output_shape(chain, split.images.shape[1:3])
    if found != wanted:
        raise UserError(
            f"augmented images must have the network's size, data.image_size={wanted[0]}. "
            f"Received: {found[0]} x {found[1]} pixels from data.augment={preset.data.augment!r}."
        )

"""Which training images are measured for the statistics that a recipe needs."""

import numpy as np

from resnet_tf.datasets.splits import ArraySplit, FileSplit
from resnet_tf.pipeline.framing import evaluation_batches
from resnet_tf.pipeline.read import naming_broken_files
from resnet_tf.presets import augmentation
from resnet_tf.presets.augmentation_steps import PcaLighting, RandomErasing
from resnet_tf.presets.schema import Preset

SAMPLE = 1000  # images on disk


def sample_images(preset: Preset, split: ArraySplit | FileSplit) -> np.ndarray | None:
    """Returns training images to measure, uint8 [n, height, width, 3]; None where no statistics are needed.

    All of those in memory; of those on disk an even sample, cropped as in the first phase's evaluation.
    """
    if isinstance(split, ArraySplit):
        return split.images
    if not _measures(preset):
        return None
    sample = split.take(np.unique(np.linspace(0, len(split) - 1, SAMPLE).astype(int)))
    batches = evaluation_batches(preset.in_phases[0], sample, "1-crop")
    with naming_broken_files():
        return np.concatenate([images[:, 0].numpy().astype(np.uint8) for images, _ in batches.dataset()])


def _measures(preset: Preset) -> bool:
    """Returns whether a phase needs what only the training images tell: their mean, deviation or components."""
    phases = preset.in_phases
    if preset.model.stem_shape.whitened or any(phase.data.normalize != "imagenet" for phase in phases):
        return True
    steps = [step for phase in phases for step in augmentation.parse(phase.data.augment, "data.augment")]
    return any(
        (isinstance(step, PcaLighting) and step.vectors == "training")
        or (isinstance(step, RandomErasing) and step.fill is None)
        for step in steps
    )

"""How the images that a network is scored on, and photos, are brought to its size, as a preset says."""

from resnet_tf.datasets.splits import ArraySplit, FileSplit
from resnet_tf.errors import UserError
from resnet_tf.pipeline.batches import EvaluationBatches
from resnet_tf.presets import augmentation
from resnet_tf.presets.augmentation_steps import Resample, Resize
from resnet_tf.presets.catalogue import DATASETS
from resnet_tf.presets.schema import Preset


def evaluation_batches(preset: Preset, split: ArraySplit | FileSplit, view: str | None = None) -> EvaluationBatches:
    """Returns a split as the preset frames it for evaluation.

    Args:
        view: one of `presets.augmentation.VIEWS`; default: the preset's.

    Raises:
        UserError: the images are smaller than their crop, or would not come out square and of one size.
    """
    view = view or preset.evaluation.view
    chain, crop = augmentation.parse_evaluation(preset.evaluation.frame, view, "evaluation.frame")
    shape = split.images.shape[1:3] if isinstance(split, ArraySplit) else None
    height, width = augmentation.output_shape(augmentation.parse(preset.evaluation.frame), shape)
    if height != width:
        raise UserError(
            f"evaluated images must be square. Received: {height} x {width} pixels; end evaluation.frame with "
            f"center_crop({min(height, width)}).",
            "evaluation-not-square",
        )
    return EvaluationBatches(split, chain, view, crop, height)


def photo_sizes(preset: Preset) -> tuple[int, int]:
    """Returns (shorter side, crop) in pixels: a photo is resized to the one and its middle cut to the other.

    Where the data set's images are of one size and tested without resizing, a photo takes that size first.

    Raises:
        UserError: the evaluation frames its images in another way, in which a photo is not shown.
    """
    frame = preset.evaluation.frame
    chain, crop = augmentation.parse_evaluation(frame, "1-crop", "evaluation.frame")
    size = DATASETS[preset.data.dataset].image_size
    match chain:
        case (Resize(side),) | (Resize(side), Resample()):
            return side, crop or side
        case () if size is not None:
            return size, crop or size
    raise UserError(
        f"photos can be cropped by resize(size) | center_crop(size) only. Received: evaluation.frame={frame!r}.",
        "evaluation-frame-not-for-photos",
    )


def default_photo_frame(preset: Preset) -> str:
    """Returns how a photo becomes a square by default, see `prediction.sandbox.squared`.

    "squash" where the data set's images are of one size, "crop" where evaluation, too, crops images of any shape.
    """
    return "crop" if DATASETS[preset.data.dataset].image_size is None else "squash"

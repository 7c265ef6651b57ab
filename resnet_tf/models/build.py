"""The network of a preset, with fresh weights or with a run's."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import keras

from resnet_tf.errors import UserError
from resnet_tf.models import weights
from resnet_tf.models.cost import network_size
from resnet_tf.models.folding import folded
from resnet_tf.models.recalibration import recalibrate
from resnet_tf.models.resnet import resnet
from resnet_tf.presets.schema import Preset


def build_network(
    preset: Preset,
    classes: int,
    *,
    image_size: int | None = None,
    any_size: bool = False,
    seed: int = 0,
    precision: str = "float32",
) -> keras.Model:
    """Builds a preset's network with fresh weights, a pure function of the seed.

    Args:
        image_size: height and width of the input in pixels; default: the preset's.
        any_size: the input may have any size, another one at every call.
        precision: the dtype policy of its layers, whatever the caller's is: "float32" or "mixed_bfloat16".

    Returns:
        A model from images [batch, size, size, 3] in 0..255 to float32 logits [batch, classes].

    Raises:
        UserError: no pixels are left for its last stage.
    """
    image_size = image_size or preset.data.image_size
    if any(0 in stage.output_shape for stage in network_size(preset.model, image_size, classes).stages):
        raise UserError(
            f"the network of preset {preset.name} must leave some pixels to its last stage. Received: images of "
            f"{image_size} pixels for {len(preset.model.filters)} stages.",
            "images-too-small",
        )
    shape = (image_size, image_size, 3) if preset.data.normalize == "per_pixel" else (3,)
    input_size = None if any_size else image_size
    with _dtype_policy(precision):
        return resnet(preset.model, image_size=input_size, classes=classes, statistics_shape=shape, seed=seed)


@contextlib.contextmanager
def _dtype_policy(policy: str) -> Iterator[None]:
    """Sets the Keras dtype policy that layers are built with, and restores the one before."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def load_network(
    preset: Preset, classes: int, path: Path, image_size: int | None = None, recalibrate_on: Iterable | None = None
) -> tuple[keras.Model, dict]:
    """Builds a preset's network for inference from a weight file; returns it and the weights' metadata.

    Batch norms are folded into the convolutions before them, see `models.folding`.

    Args:
        recalibrate_on: batches of training images to measure batch norm's statistics on; default: those in the file.

    Raises:
        UserError: the file is missing, broken, or of another network.
    """
    # Training may have been at another size.
    model = build_network(preset, classes, image_size=image_size, any_size=recalibrate_on is not None)
    metadata = weights.load(model, path)
    if recalibrate_on is not None:
        recalibrate(model, recalibrate_on)
    with _dtype_policy("float32"):
        return folded(model, preset.model), metadata

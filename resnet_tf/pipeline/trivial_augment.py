"""TrivialAugment carried out: torchvision's TrivialAugmentWide, whose operations are Pillow's.

An operation takes uint8 images [n, height, width, 3], a magnitude for each, float32 [n], and the step's arguments; it
returns uint8 images. Its arithmetic is that of Pillow on whole pixel values, fractions cut off where Pillow cuts them.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from resnet_tf.pipeline import affine, crops
from resnet_tf.pipeline.statistics import Statistics
from resnet_tf.presets.augmentation import Chain
from resnet_tf.presets.augmentation_steps import TrivialAugment

MAGNITUDES = 31


class Operation(NamedTuple):
    """An operation, its magnitudes, float [MAGNITUDES], and whether their sign is drawn too."""

    change: Callable[[tf.Tensor, tf.Tensor, TrivialAugment], tf.Tensor]
    magnitudes: np.ndarray
    signed: bool = False


def trivial_augment(images: tf.Tensor, steps: Chain, numbers: Sequence[tf.Tensor], _: Statistics | None) -> tf.Tensor:
    """Changes each image by the operation, the magnitude and the sign that its three numbers choose."""
    ((step,), (of_step,)) = steps, numbers
    chosen = tf.cast(of_step[:, 0] * len(OPERATIONS), tf.int32)
    levels = tf.cast(of_step[:, 1] * MAGNITUDES, tf.int32)
    signs = tf.where(of_step[:, 2] < 0.5, -1.0, 1.0)
    pixels = images if images.dtype == tf.uint8 else crops.to_dtype(images, tf.uint8)
    whose = tf.dynamic_partition(tf.range(tf.shape(images)[0]), chosen, len(OPERATIONS))
    changed = []
    for operation, rows in zip(OPERATIONS.values(), whose, strict=True):
        magnitudes = tf.gather(tf.constant(operation.magnitudes, tf.float32), tf.gather(levels, rows))
        if operation.signed:
            magnitudes *= tf.gather(signs, rows)
        changed.append(operation.change(tf.gather(pixels, rows), magnitudes, step))
    return tf.cast(tf.ensure_shape(tf.dynamic_stitch(whose, changed), images.shape), images.dtype)


def _moved(images: tf.Tensor, rows: list, step: TrivialAugment) -> tf.Tensor:
    """Moves images by maps whose two rows of three are scalars or float64 [n]."""
    count = tf.shape(images)[:1]
    columns = [tf.broadcast_to(tf.cast(value, tf.float64), count) for value in (*rows, 0, 0)]
    return affine.transform(images, tf.cast(tf.stack(columns, axis=1), tf.float32), step.fill, step.interpolation)


def _shear_x(images: tf.Tensor, slopes: tf.Tensor, step: TrivialAugment) -> tf.Tensor:
    slopes = tf.cast(slopes, tf.float64)  # about the image's corner, half a pixel from the first pixel's middle
    return _moved(images, [1, slopes, slopes / 2, 0, 1, 0], step)


def _shear_y(images: tf.Tensor, slopes: tf.Tensor, step: TrivialAugment) -> tf.Tensor:
    slopes = tf.cast(slopes, tf.float64)
    return _moved(images, [1, 0, 0, slopes, 1, slopes / 2], step)


def _translate_x(images: tf.Tensor, pixels: tf.Tensor, step: TrivialAugment) -> tf.Tensor:
    return _moved(images, [1, 0, -pixels, 0, 1, 0], step)


def _translate_y(images: tf.Tensor, pixels: tf.Tensor, step: TrivialAugment) -> tf.Tensor:
    return _moved(images, [1, 0, 0, 0, 1, -pixels], step)


def _rotate(images: tf.Tensor, degrees: tf.Tensor, step: TrivialAugment) -> tf.Tensor:
    # In float64: cosines of part of a batch may differ in the last bit, which float32 then does not see.
    angles = tf.cast(degrees, tf.float64) * (math.pi / 180)
    height, width = tf.unstack(tf.cast(tf.shape(images)[1:3], tf.float64))
    maps = affine.rotations(tf.cos(angles), tf.sin(angles), height, width)
    return affine.transform(images, tf.cast(maps, tf.float32), step.fill, step.interpolation)


def _blend(images: tf.Tensor, towards: tf.Tensor | int, magnitudes: tf.Tensor) -> tf.Tensor:
    """Returns `towards`, whole pixel values, at magnitude -1, the images at 0, and beyond them above."""
    images, towards = tf.cast(images, tf.float32), tf.cast(towards, tf.float32)
    blended = towards + (1 + magnitudes[:, None, None, None]) * (images - towards)
    return tf.cast(tf.clip_by_value(blended, 0.0, 255.0), tf.uint8)


def _grey(images: tf.Tensor) -> tf.Tensor:
    """Returns int32 [n, height, width, 1] as Pillow rounds it: ITU-R 601-2 in 1/65,536."""
    red, green, blue = tf.split(tf.cast(images, tf.int32), 3, axis=-1)
    return (19595 * red + 38470 * green + 7471 * blue + 2**15) // 2**16


def _brightness(images: tf.Tensor, magnitudes: tf.Tensor, _: TrivialAugment) -> tf.Tensor:
    return _blend(images, 0, magnitudes)


def _color(images: tf.Tensor, magnitudes: tf.Tensor, _: TrivialAugment) -> tf.Tensor:
    return _blend(images, _grey(images), magnitudes)


def _contrast(images: tf.Tensor, magnitudes: tf.Tensor, _: TrivialAugment) -> tf.Tensor:
    grey, pixels = _grey(images), tf.reduce_prod(tf.shape(images)[1:3])
    total = tf.reduce_sum(grey, axis=(1, 2, 3), keepdims=True)
    return _blend(images, (2 * total + pixels) // (2 * pixels), magnitudes)  # the mean, rounded


def _sharpness(images: tf.Tensor, magnitudes: tf.Tensor, _: TrivialAugment) -> tf.Tensor:
    """Blends with the images smoothed: 5/13 of a pixel and 1/13 of each neighbour; the border stays."""
    pixels = tf.cast(images, tf.int32)
    sums, inner = pixels, pixels[:, 1:-1, 1:-1]
    sums = sums[:, :-2] + sums[:, 1:-1] + sums[:, 2:]
    sums = sums[:, :, :-2] + sums[:, :, 1:-1] + sums[:, :, 2:] + 4 * inner
    smoothed = (2 * sums + 13) // 26  # a thirteenth, rounded
    return _blend(images, pixels + tf.pad(smoothed - inner, [[0, 0], [1, 1], [1, 1], [0, 0]]), magnitudes)


def _posterize(images: tf.Tensor, bits: tf.Tensor, _: TrivialAugment) -> tf.Tensor:
    """Keeps the uppermost bits of every pixel value."""
    dropped = tf.cast(8 - bits, tf.int32)[:, None, None, None]
    pixels = tf.cast(images, tf.int32)
    return tf.cast(tf.bitwise.left_shift(tf.bitwise.right_shift(pixels, dropped), dropped), tf.uint8)


def _solarize(images: tf.Tensor, thresholds: tf.Tensor, _: TrivialAugment) -> tf.Tensor:
    """Inverts pixel values from the threshold on."""
    return tf.where(tf.cast(images, tf.float32) < thresholds[:, None, None, None], images, 255 - images)


def _autocontrast(images: tf.Tensor, _: tf.Tensor, __: TrivialAugment) -> tf.Tensor:
    """Stretches each channel to 0..255; one of a single value stays."""
    pixels = tf.cast(images, tf.float64)
    low, high = (reduce(pixels, axis=(1, 2), keepdims=True) for reduce in (tf.reduce_min, tf.reduce_max))
    scale = 255 / tf.maximum(high - low, 1)
    stretched = tf.minimum(pixels * scale - low * scale, 255)  # in Pillow's order, whose roundings it has then
    return tf.cast(tf.where(high > low, stretched, pixels), tf.uint8)


def _equalize(images: tf.Tensor, _: tf.Tensor, __: TrivialAugment) -> tf.Tensor:
    """Spreads each channel's pixel values, so that all are about equally frequent, by the rule of Pillow's ImageOps."""
    shape = tf.shape(images)
    channels = tf.reshape(tf.transpose(tf.cast(images, tf.int32), [0, 3, 1, 2]), [-1, shape[1] * shape[2]])
    counts = tf.math.bincount(channels, minlength=256, maxlength=256, axis=-1)  # [n x 3, 256]
    highest = tf.reduce_max(channels, axis=1)
    steps = (shape[1] * shape[2] - tf.gather(counts, highest, batch_dims=1))[:, None] // 255
    below = tf.cumsum(counts, axis=1, exclusive=True)
    table = tf.minimum((steps // 2 + below) // tf.maximum(steps, 1), 255)
    table = tf.where(steps > 0, table, tf.range(256))
    spread = tf.reshape(tf.gather(table, channels, batch_dims=1), [shape[0], 3, shape[1], shape[2]])
    return tf.cast(tf.transpose(spread, [0, 2, 3, 1]), tf.uint8)


_NONE, _FRACTIONS = np.zeros(MAGNITUDES), np.linspace(0.0, 0.99, MAGNITUDES)
# In torchvision's order and ranges.
OPERATIONS = {
    "identity": Operation(lambda images, _, __: images, _NONE),
    "shear_x": Operation(_shear_x, _FRACTIONS, signed=True),
    "shear_y": Operation(_shear_y, _FRACTIONS, signed=True),
    "translate_x": Operation(_translate_x, np.trunc(np.linspace(0.0, 32.0, MAGNITUDES)), signed=True),
    "translate_y": Operation(_translate_y, np.trunc(np.linspace(0.0, 32.0, MAGNITUDES)), signed=True),
    "rotate": Operation(_rotate, np.linspace(0.0, 135.0, MAGNITUDES), signed=True),
    "brightness": Operation(_brightness, _FRACTIONS, signed=True),
    "color": Operation(_color, _FRACTIONS, signed=True),
    "contrast": Operation(_contrast, _FRACTIONS, signed=True),
    "sharpness": Operation(_sharpness, _FRACTIONS, signed=True),
    "posterize": Operation(_posterize, 8 - np.round(np.arange(MAGNITUDES) / 5)),
    "solarize": Operation(_solarize, np.linspace(255.0, 0.0, MAGNITUDES)),
    "autocontrast": Operation(_autocontrast, _NONE),
    "equalize": Operation(_equalize, _NONE),
}

"""The augmentations of colour, over the batch at once. Images become float32, and stay in 0..255."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from resnet_tf.pipeline.statistics import IMAGENET, Statistics
from resnet_tf.presets.augmentation import Chain

_TO_GREY = np.tile(np.float32([[0.299], [0.587], [0.114]]), 3)  # ITU-R 601-2, as in Pillow and torchvision


def jitter(images: tf.Tensor, steps: Chain, numbers: Sequence[tf.Tensor], _: Statistics | None) -> tf.Tensor:
    """Applies `color_jitter`: the changes in each image's own order, at every turn to the images whose turn it is.

    Args:
        images: [batch, height, width, 3], uint8 or float32 in 0..255.
        steps, numbers: the one step, and its draws.
    """
    ((step,), (of_step,)) = steps, numbers
    strengths = dataclasses.astuple(step)
    used = [i for i, strength in enumerate(strengths) if strength]
    order = tf.argsort(tf.gather(of_step[:, len(strengths) :], used, axis=1), axis=1)
    shape, images = images.shape, tf.cast(images, tf.float32)
    for turn in range(len(used)):
        whose = tf.dynamic_partition(tf.range(tf.shape(images)[0]), order[:, turn], len(used))
        changed = [
            _COLOR_CHANGES[i](tf.gather(images, rows), _amount(i, strengths[i], tf.gather(of_step[:, i], rows)))
            for i, rows in zip(used, whose, strict=True)
        ]
        images = tf.dynamic_stitch(whose, changed)
    return tf.ensure_shape(images, shape)


def _amount(change: int, strength: float, numbers: tf.Tensor) -> tf.Tensor:
    """Returns the factors (brightness, contrast, saturation) or the shifts in turns (hue) as [batch, 1, 1, 1]."""
    least, greatest = (-strength, strength) if change == _HUE else (max(0.0, 1 - strength), 1 + strength)
    return (least + (greatest - least) * numbers)[:, None, None, None]


def _blend(images: tf.Tensor, towards: tf.Tensor | float, factors: tf.Tensor) -> tf.Tensor:
    """Returns `towards` at factor 0, the images at 1, and beyond them above 1, cut to 0..255."""
    return tf.clip_by_value(towards + factors * (images - towards), 0.0, 255.0)


def _grey(images: tf.Tensor) -> tf.Tensor:
    """Returns the images in grey, still in three (equal) channels."""
    return tf.einsum("bhwc,cd->bhwd", images, _TO_GREY)


def _contrast(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    mean = _grey(tf.reduce_mean(images, axis=(1, 2), keepdims=True))
    return _blend(images, mean[..., :1], factors)


def _hue(images: tf.Tensor, shifts: tf.Tensor) -> tf.Tensor:
    hue, saturation, value = tf.split(tf.image.rgb_to_hsv(images / 255), 3, axis=-1)
    return 255 * tf.image.hsv_to_rgb(tf.concat([tf.math.floormod(hue + shifts, 1.0), saturation, value], axis=-1))


_COLOR_CHANGES = (  # in the order of ColorJitter's fields
    lambda images, factors: _blend(images, 0.0, factors),
    _contrast,
    lambda images, factors: _blend(images, _grey(images), factors),
    _hue,
)
_HUE = 3


def light(images: tf.Tensor, steps: Chain, numbers: Sequence[tf.Tensor], statistics: Statistics | None) -> tf.Tensor:
    """Applies `pca_lighting`; arguments as for `jitter`, and the training set's statistics where the step needs any."""
    ((step,), (alphas,)) = steps, numbers
    source = IMAGENET if step.vectors == "imagenet" else statistics
    if source is None:
        raise ValueError(f"'statistics' of the training set must be given with {step}. Received: None.")
    # Eigenvalues are of colours in 0..1, as AlexNet's shift is of such colours.
    components = (255 * source.eigenvalues * source.eigenvectors).T.astype(np.float32)
    shifts = tf.add_n([alphas[:, i : i + 1] * components[i] for i in range(3)])
    return tf.clip_by_value(tf.cast(images, tf.float32) + shifts[:, None, None, :], 0.0, 255.0)

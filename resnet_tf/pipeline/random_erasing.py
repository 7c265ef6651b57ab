"""Random erasing carried out: a rectangle of each image is covered, see `presets.augmentation_steps.RandomErasing`."""

import math
from collections.abc import Sequence

import tensorflow as tf

from resnet_tf.pipeline.statistics import Statistics
from resnet_tf.presets.augmentation import Chain
from resnet_tf.presets.augmentation_steps import RandomErasing


def decide_rectangles(step: RandomErasing, uniform: tf.Tensor) -> tf.Tensor:
    """Returns float32 [batch, numbers]: whether, then each try's height and width, then the places of both.

    Heights and widths are in square roots of the image's area; "whether" and the places stay uniform in [0, 1).
    """
    whether, areas, aspects, places = tf.split(uniform, [1, step.tries, step.tries, 2], axis=1)
    areas = step.area[0] + (step.area[1] - step.area[0]) * areas
    least, greatest = map(math.log, step.aspect)
    aspects = tf.exp(least + (greatest - least) * aspects)
    return tf.concat([whether, tf.sqrt(areas * aspects), tf.sqrt(areas / aspects), places], axis=1)


def erase(images: tf.Tensor, steps: Chain, numbers: Sequence[tf.Tensor], statistics: Statistics | None) -> tf.Tensor:
    """Covers the first rectangle that is lower and narrower than the image; `numbers` from `decide_rectangles`."""
    ((step,), (of_step,)) = steps, numbers
    whether, heights, widths, places = tf.split(of_step, [1, step.tries, step.tries, 2], axis=1)
    sides = tf.cast(tf.shape(images)[1:3], tf.float32)
    root = tf.sqrt(sides[0] * sides[1])
    heights, widths = tf.round(root * heights), tf.round(root * widths)
    fits = (heights < sides[0]) & (widths < sides[1])
    first = tf.argmax(tf.cast(fits, tf.int32) * tf.range(step.tries, 0, -1), axis=1)
    erased = (whether < step.probability) & tf.reduce_any(fits, axis=1, keepdims=True)
    covered = []
    for axis, tried in enumerate((heights, widths)):
        length = tf.gather(tried, first, axis=1, batch_dims=1)[:, None]
        begin = tf.floor(places[:, axis : axis + 1] * (sides[axis] - length + 1))
        distance = tf.range(sides[axis]) - begin
        covered.append((distance >= 0) & (distance < length))
    rectangle = (covered[0] & erased)[:, :, None, None] & covered[1][:, None, :, None]
    return tf.where(rectangle, _fill(step, images.dtype, statistics), images)


def _fill(step: RandomErasing, dtype: tf.DType, statistics: Statistics | None) -> tf.Tensor:
    """Returns the colour that covers, [3] or a scalar; a mean is rounded where pixels are whole numbers."""
    if step.fill is not None:
        return tf.cast(step.fill, dtype)
    if statistics is None:
        raise ValueError(f"'statistics' of the training set must be given with {step}. Received: None.")
    return tf.cast(statistics.mean.round() if dtype == tf.uint8 else statistics.mean, dtype)

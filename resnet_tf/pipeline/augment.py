"""Augmentation carried out: a pure function of (images, chain, seed, step), over the batch at once.

Every step of a chain draws its numbers for the whole global batch from (seed, step, its place in the chain), so that a
host which takes some rows of the batch sees what one host would see in them, and a run resumed at a step sees what an
unbroken one sees. Images are pixel values 0..255: uint8 until a colour step makes them float32 (`trivial_augment` does
not), and cut to that range.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from resnet_tf.pipeline import affine, colour, crops, random_erasing, trivial_augment
from resnet_tf.pipeline.read import read_batch
from resnet_tf.pipeline.statistics import Statistics
from resnet_tf.presets.augmentation import Chain, split_framing
from resnet_tf.presets.augmentation_steps import (
    AUGMENTATIONS,
    AlternateFlip,
    ColorJitter,
    Cutout,
    FlipHorizontal,
    FlipVertical,
    PadCrop,
    PcaLighting,
    RandomErasing,
    RandomResizedCrop,
    Rotate,
    TrivialAugment,
)

_STREAM, _OF_IMAGES = 1, 2  # apart from other uses of the same seed, such as the order of the images


class Shown(NamedTuple):
    """Which images a global batch shows, for the augmentations that remember an image from epoch to epoch.

    Attributes:
        indices: int32 [global_batch], of the images in their split.
        times: int32 [global_batch], how many passes over the split were begun before this one.
        images: in the split.
    """

    indices: tf.Tensor
    times: tf.Tensor
    images: int


@crops.no_autograph
def draws(
    chain: Chain, seed: int, step: tf.Tensor, global_batch: int, shown: Shown | None = None
) -> tuple[tf.Tensor, ...]:
    """Returns what chance decides in a step of training: for each augmentation float32 [global_batch, some].

    Uniform numbers in [0, 1), multiples of 2**-23, the same on every machine and in every version (Philox). What needs
    exp, cos and the like is worked out here, for the whole batch: of part of a vector they may differ in the last bit.
    So `random_resized_crop` has its aspects among the numbers, `rotate` cosine and sine, `pca_lighting` its alphas,
    `random_erasing` its heights and widths.

    Args:
        seed: of the run.
        step: int64 scalar, from 0.
        global_batch: rows of the whole batch, over all hosts.
        shown: needed for `alternate_flip`.
    """
    key = tf.random.fold_in(tf.constant([seed, _STREAM], tf.int64), tf.cast(step, tf.int64), alg="philox")
    numbers = []
    for place, augmentation in enumerate(chain):
        if isinstance(augmentation, AlternateFlip):
            numbers.append(_alternating(seed, place, shown))
            continue
        own = tf.random.fold_in(key, tf.constant(place, tf.int64), alg="philox")
        uniform = tf.random.stateless_uniform([global_batch, augmentation.draws_per_image], own, alg="philox")
        numbers.append(_TRANSFORM_NUMBERS.get(type(augmentation), lambda _, uniform: uniform)(augmentation, uniform))
    return tuple(numbers)


def _alternating(seed: int, place: int, shown: Shown) -> tf.Tensor:
    """Returns numbers in [0, 1), float32 [global_batch, 1], that move by 1/2 each time an image is shown again."""
    key = tf.random.fold_in(tf.constant([seed, _OF_IMAGES], tf.int64), tf.constant(place, tf.int64), alg="philox")
    of_images = tf.random.stateless_uniform([shown.images], key, alg="philox")
    numbers = tf.gather(of_images, shown.indices) + tf.cast(shown.times % 2, tf.float32) / 2
    return tf.math.floormod(numbers, 1.0)[:, None]


@crops.no_autograph
def augment_batch(
    images: tf.Tensor,
    chain: Chain,
    seed: int,
    step: tf.Tensor,
    global_batch: int,
    first_row: int = 0,
    statistics: Statistics | None = None,
    upright: bool = False,
    shown: Shown | None = None,
) -> tf.Tensor:
    """Returns a training step's images, augmented: [batch, height, width, 3], uint8, or float32 after a colour step.

    Args:
        images: rows `first_row` and on of the global batch: uint8 [batch, height, width, 3], or the paths of image
            files, string [batch], whose sizes may differ. The chain's first crops are done while a file is read.
        step, seed, global_batch, shown: as in `draws`.
        statistics: the training set's statistics, for `pca_lighting(vectors="training")` and `random_erasing`.
        upright: how files are read, see `decode.open_image`.
    """
    rows = slice(first_row, first_row + tf.shape(images)[0])
    numbers = [of_step[rows] for of_step in draws(chain, seed, step, global_batch, shown)]
    if images.dtype == tf.string:
        crop_steps, chain = split_framing(chain)
        images = read_batch(images, crop_steps, numbers[: len(crop_steps)], upright)
        numbers = numbers[len(crop_steps) :]
    return apply(images, chain, numbers, statistics)


@crops.no_autograph
def apply(
    images: tf.Tensor,
    chain: Chain,
    numbers: Sequence[tf.Tensor] | None = None,
    statistics: Statistics | None = None,
) -> tf.Tensor:
    """Carries a chain out on images of one size, [batch, height, width, 3], uint8 or float32 in 0..255.

    Neighbouring framings are resampled once, neighbouring shifts and flips gathered once.

    Args:
        numbers: `draws` of the chain, these rows; may be left out where nothing is random.
        statistics: as in `augment_batch`.
    """
    numbers = crops.without_numbers(chain) if numbers is None else numbers
    for carry_out, run in itertools.groupby(zip(chain, numbers, strict=True), key=lambda pair: _APPLY[type(pair[0])]):
        steps, of_steps = zip(*run, strict=True)
        images = carry_out(images, steps, of_steps, statistics)
    return images


def _decide_aspects(step: RandomResizedCrop, uniform: tf.Tensor) -> tf.Tensor:
    areas, aspects, place = tf.split(uniform, [step.tries, step.tries, 2], axis=1)
    least, greatest = map(math.log, step.aspect)
    return tf.concat([areas, tf.exp(least + (greatest - least) * aspects), place], axis=1)


def _decide_turn(step: Rotate, uniform: tf.Tensor) -> tf.Tensor:
    angles = (2 * uniform - 1) * math.radians(step.degrees)
    return tf.concat([tf.cos(angles), tf.sin(angles)], axis=1)


def _decide_alphas(step: PcaLighting, uniform: tf.Tensor) -> tf.Tensor:
    inside = uniform + 2.0**-24  # multiples of 2**-23 from 0 become symmetric about 1/2, and none is 0 or 1
    return step.std * tf.math.ndtri(inside)


_TRANSFORM_NUMBERS = {
    RandomResizedCrop: _decide_aspects,
    Rotate: _decide_turn,
    RandomErasing: random_erasing.decide_rectangles,
    PcaLighting: _decide_alphas,
}


def _frame(images: tf.Tensor, steps: Chain, numbers: Sequence[tf.Tensor], _: Statistics | None) -> tf.Tensor:
    return crops.resample_batch(images, steps, numbers)


def _shift_and_flip(images: tf.Tensor, steps: Chain, numbers: Sequence[tf.Tensor], _: Statistics | None) -> tf.Tensor:
    """Carries out pad_crop and flips as one gather: along each axis output pixel i shows source sign * i + offset."""
    batch, height, width, channels = tf.unstack(tf.shape(images))
    sides = {"rows": height, "columns": width}
    signs = {axis: tf.ones([batch], tf.int32) for axis in sides}
    offsets = {axis: tf.zeros([batch], tf.int32) for axis in sides}
    fill, reflect = None, False
    for step, of_step in zip(steps, numbers, strict=True):
        if isinstance(step, PadCrop):
            if step.padding_mode == "reflect":
                reflect = True
            else:
                fill = step.fill
            shifts = tf.cast(tf.floor(of_step * (2 * step.padding + 1)), tf.int32) - step.padding
            for i, axis in enumerate(sides):
                offsets[axis] += signs[axis] * shifts[:, i]
        else:
            axis = "rows" if isinstance(step, FlipVertical) else "columns"
            probability = 0.5 if isinstance(step, AlternateFlip) else step.probability
            flipped = tf.cast(of_step[:, 0] < probability, tf.int32)
            offsets[axis] += signs[axis] * flipped * (sides[axis] - 1)
            signs[axis] *= 1 - 2 * flipped
    rows, columns = (signs[axis][:, None] * tf.range(sides[axis]) + offsets[axis][:, None] for axis in sides)
    if reflect:
        rows, columns = (_reflected(source, sides[axis]) for axis, source in (("rows", rows), ("columns", columns)))
    pixels = tf.reshape(images, [-1, channels])
    total = tf.shape(pixels)[0]
    starts = (tf.range(batch)[:, None] * height + rows) * width
    if fill is not None:  # pixels from outside come from one more pixel, behind all others
        starts = tf.where((rows >= 0) & (rows < height), starts, total)
        columns = tf.where((columns >= 0) & (columns < width), columns, total)
        pixels = tf.concat([pixels, tf.fill([1, channels], tf.cast(fill, images.dtype))], axis=0)
    places = tf.minimum(starts[:, :, None] + columns[:, None, :], total)
    return tf.ensure_shape(tf.gather(pixels, places), images.shape)


def _reflected(sources: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """Returns the pixels within 0..side-1 that stand for those up to side-1 beyond the border."""
    sources = tf.abs(sources)
    return tf.where(sources < side, sources, 2 * (side - 1) - sources)


def _rotate(images: tf.Tensor, steps: Chain, numbers: Sequence[tf.Tensor], _: Statistics | None) -> tf.Tensor:
    ((step,), (of_step,)) = steps, numbers
    cos, sin = tf.unstack(of_step, num=2, axis=1)
    height, width = tf.unstack(tf.cast(tf.shape(images)[1:3], tf.float32))
    return affine.transform(images, affine.rotations(cos, sin, height, width), step.fill, step.interpolation)


def _cutout(images: tf.Tensor, steps: Chain, numbers: Sequence[tf.Tensor], _: Statistics | None) -> tf.Tensor:
    ((step,), (of_step,)) = steps, numbers
    covered = []
    for axis, side in enumerate(tf.unstack(tf.shape(images)[1:3])):
        middle = tf.cast(tf.floor(of_step[:, axis : axis + 1] * tf.cast(side, tf.float32)), tf.int32)
        distance = tf.range(side) - (middle - step.size // 2)
        covered.append((distance >= 0) & (distance < step.size))
    square = covered[0][:, :, None, None] & covered[1][:, None, :, None]
    return tf.where(square, tf.cast(step.fill, images.dtype), images)


_APPLY = {
    **{step: _frame for step in AUGMENTATIONS.values() if step.kind == "framing"},
    PadCrop: _shift_and_flip,
    FlipHorizontal: _shift_and_flip,
    AlternateFlip: _shift_and_flip,
    FlipVertical: _shift_and_flip,
    Rotate: _rotate,
    Cutout: _cutout,
    RandomErasing: random_erasing.erase,
    ColorJitter: colour.jitter,
    PcaLighting: colour.light,
    TrivialAugment: trivial_augment.trivial_augment,
}

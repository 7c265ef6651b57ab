"""Which part of an image is shown, and at what size: windows as numbers first, pixels once, at the end.

Steps such as `shorter_side(256, 480) | random_crop(224)` are worked out on the window's corners alone, in NumPy; the
image is then resampled once, from its own pixels: files by Pillow as they are decoded, arrays by TensorFlow. Where a
chain says `resample`, that is done with the steps before it, and once more, on the pixels that came out, with those
behind it. The arithmetic takes one image (scalars) or a batch ([batch]) alike.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from resnet_tf.datasets.decode import CropWindow
from resnet_tf.pipeline.python_threads import in_python
from resnet_tf.presets.augmentation import Chain, output_shape
from resnet_tf.presets.augmentation_steps import (
    CenterCrop,
    RandomCrop,
    RandomResizedCrop,
    Resample,
    Resize,
    ShorterSide,
)
from resnet_tf.presets.rounding import centred, resized_side

# Nothing here decides in Python over a tensor's value: AutoGraph would find nothing to convert, in seconds of start-up.
no_autograph = tf.autograph.experimental.do_not_convert


def windows(height: int, width: int, steps: Chain, numbers: Sequence[np.ndarray]) -> list[CropWindow]:
    """Returns the windows of an image of `height` x `width` pixels: one, and another where `steps` has `resample`.

    Args:
        steps: crops and resizes, whose kind is "framing".
        numbers: what `augment.draws` gives for each step, for an image or a batch.
    """
    place = next((i for i, step in enumerate(steps) if isinstance(step, Resample)), None)
    parts = [slice(None)] if place is None else [slice(place), slice(place + 1, None)]
    stages = []
    for part in parts:
        window = CropWindow(np.float32(0), np.float32(0), np.float32(height), np.float32(width), height, width)
        for step, own in zip(steps[part], numbers[part], strict=True):
            window = _WINDOWS[type(step)](step, window, own)
        stages.append(window)
        height, width = window.rows, window.columns
    return stages


def without_numbers(chain: Chain) -> tuple[np.ndarray, ...]:
    """Returns the numbers of a chain in which nothing is random; raises ValueError for any other."""
    for step in chain:
        if step.draws_per_image:
            raise ValueError(f"'numbers' must be given where a step is random. Received: None with {step}.")
    return tuple(np.zeros(0, np.float32) for _ in chain)


def resample(image: tf.Tensor, window: CropWindow) -> tf.Tensor:
    """Returns the window of `image` [height, width, 3]: [rows, columns, 3], of the same dtype.

    Linear interpolation, its kernel widened where the image shrinks (antialiased, as Pillow's BILINEAR; the kernel may
    read beyond the window, not beyond the image). uint8 is rounded. What lies outside the image is black.
    """
    size = tf.cast(tf.stack([window.rows, window.columns]), tf.int32)
    scale = tf.cast(size, tf.float32) / tf.stack([window.height, window.width])
    resampled = tf.raw_ops.ScaleAndTranslate(
        images=image[tf.newaxis],
        size=size,
        scale=scale,
        translation=-tf.stack([window.top, window.left]) * scale,
        kernel_type="triangle",
        antialias=True,
    )[0]
    return to_dtype(resampled, image.dtype)


def to_dtype(values: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns float32 pixel values as `dtype`; uint8 by rounding, after a cut to 0..255."""
    if dtype == tf.uint8:
        return tf.saturate_cast(tf.round(values), tf.uint8)
    return tf.cast(values, dtype)


def resample_batch(images: tf.Tensor, steps: Chain, numbers: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns images [batch, height, width, 3] after `steps`, each by its own row of `numbers`."""
    height, width, channels = images.shape[1:]
    rows, columns = output_shape(steps, (height, width))

    def table(count: int, *numbers: np.ndarray) -> np.ndarray:
        """Returns float32 [batch, stages, 6]: the fields of each stage's window."""
        with in_python():
            stages = windows(height, width, steps, numbers)
            fields = [np.broadcast_to(field, [count]) for window in stages for field in window]
            return np.stack(fields, axis=1).astype(np.float32).reshape(count, len(stages), 6)

    if any(step.draws_per_image for step in steps):
        tables = tf.numpy_function(table, [tf.shape(images)[0], *numbers], tf.float32, stateful=False)
        tables = tf.ensure_shape(tables, [None, 1 + any(isinstance(step, Resample) for step in steps), 6])
    else:
        one = table(1, *without_numbers(steps))
        tables = tf.broadcast_to(one, [tf.shape(images)[0], *one.shape[1:]])

    def show(pair: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        image, stages = pair
        for stage in tf.unstack(stages):
            image = resample(image, CropWindow(*tf.unstack(stage)))
        return image

    shown = tf.TensorSpec([rows, columns, channels], images.dtype)
    return tf.map_fn(show, (images, tables), fn_output_signature=shown)


def crop(window: CropWindow, top: np.ndarray, left: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> CropWindow:
    """Returns the window of `rows` x `columns` shown pixels inside what `window` shows, `top` and `left` within it."""
    down = window.height / np.float32(window.rows)  # source pixels in a shown one
    right = window.width / np.float32(window.columns)
    corner = window.top + np.float32(top) * down, window.left + np.float32(left) * right
    return CropWindow(*corner, np.float32(rows) * down, np.float32(columns) * right, rows, columns)


def _any_place(room: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Returns a whole number uniform in 0..room. Numbers below 1 have 23 bits, so the product stays below room + 1."""
    return np.floor(number * (np.float32(room) + np.float32(1)))


def _random_crop(step: RandomCrop, window: CropWindow, numbers: np.ndarray) -> CropWindow:
    rooms = window.rows - step.size, window.columns - step.size
    top, left = (np.where(r < 0, centred(r), _any_place(r, numbers[..., i])) for i, r in enumerate(rooms))
    return crop(window, top, left, step.size, step.size)


def _center_crop(step: CenterCrop, window: CropWindow, numbers: np.ndarray) -> CropWindow:
    top, left = (centred(side - step.size) for side in (window.rows, window.columns))
    return crop(window, top, left, step.size, step.size)


def _shorter_side(step: ShorterSide, window: CropWindow, numbers: np.ndarray) -> CropWindow:
    return _resized(window, step.low + _any_place(step.high - step.low, numbers[..., 0]).astype(np.int64))


def _resize(step: Resize, window: CropWindow, numbers: np.ndarray) -> CropWindow:
    return _resized(window, step.size)


def _resized(window: CropWindow, length: np.ndarray | int) -> CropWindow:
    shorter = np.minimum(window.rows, window.columns)
    rows, columns = (resized_side(side, shorter, length) for side in (window.rows, window.columns))
    return window._replace(rows=rows, columns=columns)


def _random_resized_crop(step: RandomResizedCrop, window: CropWindow, numbers: np.ndarray) -> CropWindow:
    rows, columns = (np.float32(side)[..., np.newaxis] for side in (window.rows, window.columns))
    area, aspect, place = np.split(numbers, [step.tries, 2 * step.tries], axis=-1)
    area = rows * columns * (np.float32(step.area[0]) + np.float32(step.area[1] - step.area[0]) * area)
    least, greatest = map(np.float32, step.aspect)
    # Behind the ten tries stands the fallback, which always fits; the first that fits is taken.
    one = np.ones_like(numbers[..., :1])
    fallback = one * np.minimum(rows, np.round(columns / least)), one * np.minimum(columns, np.round(rows * greatest))
    heights = np.concatenate([np.round(np.sqrt(area / aspect)), fallback[0]], axis=-1)
    widths = np.concatenate([np.round(np.sqrt(area * aspect)), fallback[1]], axis=-1)
    fits = (heights > 0) & (heights <= rows) & (widths > 0) & (widths <= columns)
    first = np.argmax(fits, axis=-1)
    height, width = (np.take_along_axis(s, first[..., np.newaxis], -1)[..., 0] for s in (heights, widths))
    top, left = (
        np.where(first < step.tries, _any_place(room, place[..., i]), room // 2)
        for i, room in enumerate((rows[..., 0] - height, columns[..., 0] - width))
    )
    return crop(window, top, left, height, width)._replace(rows=step.after(None)[0], columns=step.after(None)[1])


_WINDOWS = {
    RandomCrop: _random_crop,
    CenterCrop: _center_crop,
    ShorterSide: _shorter_side,
    Resize: _resize,
    RandomResizedCrop: _random_resized_crop,
}

"""Photos turned upright: from how their pixels are stored to how they are meant to be seen.

A camera held sideways stores the picture lying and notes the orientation, 1 to 8: stored pixels are upright once they
are transposed (rows become columns) or not, then turned upside down or not, then mirrored or not. Every orientation
here is an int32 scalar, or None for a photo that is stored upright, which then costs nothing.

Source: TIFF 6.0, section 8, tag 274 (Orientation); EXIF has it from there.
"""

from typing import NamedTuple

import tensorflow as tf

# For orientations 1 to 8: transposed; step along rows, -1 upside down; step along columns, -1 mirrored.
_TURNS = (
    (0, 1, 1),
    (0, 1, -1),
    (0, -1, -1),
    (0, -1, 1),
    (1, 1, 1),
    (1, 1, -1),
    (1, -1, -1),
    (1, -1, 1),
)


class Window(NamedTuple):
    """A part of an image: rows top to bottom - 1, columns left to right - 1; int32, in pixels."""

    top: tf.Tensor
    left: tf.Tensor
    bottom: tf.Tensor
    right: tf.Tensor


def upright(image: tf.Tensor, orientation: tf.Tensor | None) -> tf.Tensor:
    """Returns a stored image, or part of one, uint8 [height, width, channels], as it is meant to be seen."""
    if orientation is None:
        return image

    def turned():
        # Gathered by pixel: of a transposition of bytes oneDNN complains aloud on processors without AVX-512.
        transposed, down, across = _turn(orientation)
        height, width, channels = tf.unstack(tf.shape(image), num=3)
        rows, columns = (tf.range(side) for side in upright_size(height, width, orientation))
        row_stride, column_stride = tf.unstack(tf.where(transposed, (1, width), (width, 1)))
        places = rows[::down, tf.newaxis] * row_stride + columns[::across] * column_stride
        return tf.gather(tf.reshape(image, [-1, channels]), places)

    return tf.ensure_shape(tf.cond(orientation == 1, lambda: image, turned), [None, None, image.shape[2]])


def upright_size(height: tf.Tensor, width: tf.Tensor, orientation: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns height and width of what `upright` makes of a stored image of `height` x `width` pixels."""
    if orientation is None:
        return height, width
    transposed, _, _ = _turn(orientation)
    return tf.where(transposed, width, height), tf.where(transposed, height, width)


def stored(window: Window, height: tf.Tensor, width: tf.Tensor, orientation: tf.Tensor | None) -> Window:
    """Returns where a window of an upright image lies in the stored one.

    Args:
        height, width: of the upright image.
    """
    if orientation is None:
        return window
    transposed, down, across = _turn(orientation)
    top, bottom = _flipped(window.top, window.bottom, height, down)
    left, right = _flipped(window.left, window.right, width, across)
    return Window(*tf.unstack(tf.where(transposed, (left, top, right, bottom), (top, left, bottom, right))))


def _flipped(first: tf.Tensor, end: tf.Tensor, side: tf.Tensor, step: tf.Tensor) -> list[tf.Tensor]:
    return tf.unstack(tf.where(step < 0, (side - end, side - first), (first, end)))


def _turn(orientation: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    transposed, down, across = tf.unstack(tf.gather(_TURNS, orientation - 1))
    return transposed > 0, down, across

"""Images moved by affine maps: rotated, sheared, shifted."""

import tensorflow as tf

from resnet_tf.pipeline import crops


def rotations(cos: tf.Tensor, sin: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Returns the maps that turn images about their centre, counter-clockwise, for `transform`.

    Args:
        cos, sin: of the angles, float [batch].
        height, width: of the images in pixels, scalars of the same type.
    """
    zero = tf.zeros_like(cos)
    x, y = (width - 1) / 2, (height - 1) / 2  # the centre, which stays where it is
    # Output (i, j), in columns and rows, shows input (cos i - sin j + ..., sin i + cos j + ...): rows count downwards.
    return tf.stack([cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y, zero, zero], axis=1)


def transform(images: tf.Tensor, maps: tf.Tensor, fill: int, interpolation: str) -> tf.Tensor:
    """Returns images [batch, height, width, 3] moved by a map for each.

    Column x of row y shows the input's column ax + by + c of row dx + ey + f.

    Args:
        images: uint8 or float32; the result has the same type.
        maps: float32 [batch, 8]: a, b, c, d, e, f, 0, 0.
        fill: the grey level of pixels from outside.
        interpolation: "nearest" or "bilinear".
    """
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=maps,
        output_shape=tf.shape(images)[1:3],
        fill_value=float(fill),
        interpolation=interpolation.upper(),
        fill_mode="CONSTANT",
    )
    return crops.to_dtype(tf.ensure_shape(moved, images.shape), images.dtype)

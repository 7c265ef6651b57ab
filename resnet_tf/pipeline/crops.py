"""Which part of an image is shown, and at what size: windows as numbers first, pixels once, at the end.

Steps such as `shorter_side(256, 480) | random_crop(224)` are worked out on the window's corners alone; the image is
then resampled once, from its own pixels, and of a JPEG only the window is decoded. Where a chain says `resample`, that
is done with the framings before it, and once more, on the pixels that came out, with those behind it. The arithmetic
takes one image (scalars) or a batch ([batch]) alike.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from resnet_tf.errors import UserError
from resnet_tf.pipeline.orientation import Window, stored, upright, upright_size
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

# Chroma is stored at half size and smoothed when it is decoded: at the edge of a decoded window it lacks a neighbour.
_CHROMA_MARGIN = 2  # pixels

# Nothing here decides in Python over a tensor's value: AutoGraph would find nothing to convert, in seconds of start-up.
as_written = tf.autograph.experimental.do_not_convert


class Frame(NamedTuple):
    """A window of an image and the size at which it is shown.

    Attributes:
        top, left, height, width: of the window, float32, in pixels of the source; it may reach beyond the source.
        rows, columns: the size at which the window is shown, int32, in pixels.
    """

    top: tf.Tensor
    left: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    rows: tf.Tensor
    columns: tf.Tensor


def whole(height: tf.Tensor, width: tf.Tensor) -> Frame:
    """Returns the frame of a whole image of `height` x `width` pixels, shown as it is."""
    zero = tf.zeros_like(height, tf.float32)
    return Frame(zero, zero, tf.cast(height, tf.float32), tf.cast(width, tf.float32), height, width)


def follow(frame: Frame, framings: Chain, draws: Sequence[tf.Tensor]) -> Frame:
    """Returns the frame after all `framings`, none of which is `resample`.

    Args:
        draws: for each of them what `augment.draws` gives for an image or a batch.
    """
    for step, numbers in zip(framings, draws, strict=True):
        frame = _FRAMINGS[type(step)](step, frame, numbers)
    return frame


def resample(image: tf.Tensor, frame: Frame) -> tf.Tensor:
    """Returns the part of `image` [height, width, 3] that `frame` shows: [rows, columns, 3], of the same dtype.

    Linear interpolation, its kernel widened where the image shrinks (antialiased, as Pillow's BILINEAR; the kernel may
    read beyond the window, not beyond the image). uint8 is rounded. What lies outside the image is black.
    """
    scale = tf.stack([tf.cast(frame.rows, tf.float32) / frame.height, tf.cast(frame.columns, tf.float32) / frame.width])
    resampled = tf.raw_ops.ScaleAndTranslate(
        images=image[tf.newaxis],
        size=tf.stack([frame.rows, frame.columns]),
        scale=scale,
        translation=-tf.stack([frame.top, frame.left]) * scale,
        kernel_type="triangle",
        antialias=True,
    )[0]
    return to_dtype(resampled, image.dtype)


def show(image: tf.Tensor, framings: Chain, draws: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns what `framings` show of `image` [height, width, 3], of its dtype: itself where there are none."""
    for part, numbers in _at_resample(framings, draws):
        if part:
            image = resample(image, follow(whole(*tf.unstack(tf.shape(image)[:2])), part, numbers))
    return image


def _at_resample(framings: Chain, draws: Sequence[tf.Tensor]) -> list[tuple[Chain, Sequence[tf.Tensor]]]:
    """Returns the framings before and behind the one `resample`, each with its draws; without it, none is behind."""
    place = next((i for i, step in enumerate(framings) if isinstance(step, Resample)), len(framings))
    return [(framings[part], draws[part]) for part in (slice(place), slice(place + 1, None))]


def resample_batch(images: tf.Tensor, framings: Chain, draws: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns images [batch, height, width, 3] as `framings` show them, each by its own row of `draws`."""
    rows, columns = output_shape(framings, (images.shape[1], images.shape[2]))
    batch = tf.shape(images)[0]
    (first, numbers), (later, later_draws) = _at_resample(framings, draws)
    frame = follow(whole(*tf.unstack(tf.shape(images)[1:3])), first, numbers)
    frame = Frame(*(tf.broadcast_to(field, [batch]) for field in frame))
    return tf.map_fn(
        lambda one: show(resample(one[0], one[1]), later, one[2]),
        (images, frame, tuple(later_draws)),
        fn_output_signature=tf.TensorSpec([rows, columns, images.shape[3]], images.dtype),
    )


@as_written
def read_framed(
    path: tf.Tensor,
    framings: Chain = (),
    draws: Sequence[tf.Tensor] | None = None,
    orientation: tf.Tensor | None = None,
) -> tf.Tensor:
    """Reads an image file and returns what `framings` show of it: uint8 [rows, columns, 3].

    JPEG (also grey and CMYK), PNG, GIF (its first picture), BMP and WebP, told apart by their content. JPEG decodes to
    Pillow's very pixels.

    Args:
        path: of the file, a scalar string.
        draws: a row of `augment.draws` for each framing; may be left out where none is random.
        orientation: how the photo is stored, int32, 1 to 8. The image is then framed as it is meant to be seen: turned
            upright, its transparency (of PNG and WebP) laid over white. None: framed as it is stored, without either;
            a WebP must then have no transparency.

    Raises:
        tf.errors.OpError: the file cannot be read or decoded.
    """
    draws = unused(framings) if draws is None else draws
    content = tf.io.read_file(path)
    image = tf.cond(
        tf.io.is_jpeg(content),
        lambda: _jpeg_framed(content, framings, draws, orientation),
        lambda: _other_framed(content, framings, draws, orientation),
    )
    return tf.ensure_shape(image, [*_fixed_size(framings), 3])


def unused(chain: Chain) -> tuple[tf.Tensor, ...]:
    """Returns the draws of a chain in which nothing is random; raises ValueError for any other."""
    for step in chain:
        if step.numbers:
            raise ValueError(f"'draws' must be given where a step is random. Received: None with {step}.")
    return tuple(tf.zeros([0]) for _ in chain)


def to_dtype(values: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Returns float32 grey levels as `dtype`; uint8 by rounding, after a cut to 0..255."""
    if dtype == tf.uint8:
        return tf.saturate_cast(tf.round(values), tf.uint8)
    return tf.cast(values, dtype)


def _fixed_size(framings: Chain) -> tuple[int | None, int | None]:
    """Returns the size that images of any size come out in; None where it varies."""
    try:
        return output_shape(framings)
    except UserError:
        return None, None


def _jpeg_framed(
    content: tf.Tensor, framings: Chain, draws: Sequence[tf.Tensor], orientation: tf.Tensor | None
) -> tf.Tensor:
    height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(content))
    height, width = upright_size(height, width, orientation)
    (first, numbers), later = _at_resample(framings, draws)
    frame = follow(whole(height, width), first, numbers)
    top, bottom = _needed(frame.top, frame.height, frame.rows, height)
    left, right = _needed(frame.left, frame.width, frame.columns, width)
    there = stored(Window(top, left, bottom, right), height, width, orientation)
    window = tf.stack([there.top, there.left, there.bottom - there.top, there.right - there.left])
    # The accurate transform is Pillow's, hence everybody's reference; it costs no more than TensorFlow's default.
    image = tf.io.decode_and_crop_jpeg(content, window, channels=3, dct_method="INTEGER_ACCURATE")
    moved = frame._replace(top=frame.top - tf.cast(top, tf.float32), left=frame.left - tf.cast(left, tf.float32))
    return show(resample(upright(image, orientation), moved), *later)


def _other_framed(
    content: tf.Tensor, framings: Chain, draws: Sequence[tf.Tensor], orientation: tf.Tensor | None
) -> tf.Tensor:
    image = _decoded(content) if orientation is None else upright(_seen(content), orientation)
    return show(image, framings, draws)


def _decoded(content: tf.Tensor, channels: int = 3) -> tf.Tensor:
    return tf.io.decode_image(content, channels, expand_animations=False)


def _seen(content: tf.Tensor) -> tf.Tensor:
    """Decodes an image and lays what is transparent over white: uint8 [height, width, 3]."""
    start, opaque = tf.strings.substr(content, 0, 2), lambda: _decoded(content)
    return tf.case(
        [
            (start == b"\x89P", lambda: _over_white(_decoded(content, 4))),  # PNG: opacity is added if there is none
            (start == b"RI", lambda: tf.cond(_opaque_webp(content), opaque, lambda: _over_white(_decoded(content, 4)))),
        ],
        default=opaque,
    )


def _opaque_webp(content: tf.Tensor) -> tf.Tensor:
    """Tells whether a WebP has 3 channels, or 4: no other number may be asked of TensorFlow, nor may it be left to it.

    (Left to it, an animation overwrites memory that is not its own.) Source: RFC 9649, sections 2.7 and 3.4.
    """
    kind = tf.strings.substr(content, 12, 4)
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(content, 20, 5), tf.uint8), tf.int32)
    flags = tf.where(kind == b"VP8X", head[0], tf.where(kind == b"VP8L", head[4], 0))
    return flags // 16 % 2 == 0


def _over_white(image: tf.Tensor) -> tf.Tensor:
    """Returns an image on a white ground, uint8 [height, width, 3 or 4], a fourth value being opacity.

    Rounded as Pillow's `paste` rounds.
    """

    def blended():
        colours, opacity = tf.split(tf.cast(image, tf.int32), [3, 1], axis=2)
        return tf.cast((colours * opacity + 255 * (255 - opacity) + 127) // 255, tf.uint8)

    return tf.cond(tf.reduce_all(image[..., 3:] == 255), lambda: image[..., :3], blended)


def _needed(start: tf.Tensor, length: tf.Tensor, shown: tf.Tensor, side: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the first source pixel that a window needs along one side, and the one after its last, int32."""
    kernel = tf.maximum(length / tf.cast(shown, tf.float32), 1.0)
    first = tf.cast(tf.floor(start - kernel), tf.int32) - _CHROMA_MARGIN
    last = tf.cast(tf.math.ceil(start + length + kernel), tf.int32) + _CHROMA_MARGIN
    first = tf.clip_by_value(first, 0, side - 1)
    return first, tf.clip_by_value(last, first + 1, side)


def _crop(frame: Frame, top: tf.Tensor, left: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> Frame:
    """Returns the window of `rows` x `columns` shown pixels (float32, as its corner is) inside what `frame` shows."""
    down = frame.height / tf.cast(frame.rows, tf.float32)  # source pixels in a shown one
    right = frame.width / tf.cast(frame.columns, tf.float32)
    return Frame(
        frame.top + top * down,
        frame.left + left * right,
        rows * down,
        columns * right,
        tf.cast(rows, tf.int32),
        tf.cast(columns, tf.int32),
    )


def _sides(frame: Frame) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.cast(frame.rows, tf.float32), tf.cast(frame.columns, tf.float32)


def _any_place(room: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    """Returns a whole number uniform in 0..room. Numbers below 1 have 23 bits, so the product stays below room + 1."""
    return tf.floor(number * (room + 1))


def _random_crop(step: RandomCrop, frame: Frame, numbers: tf.Tensor) -> Frame:
    size = tf.constant(step.size, tf.float32)
    rooms = [side - size for side in _sides(frame)]
    top, left = (tf.where(r < 0, centred(r), _any_place(r, numbers[..., i])) for i, r in enumerate(rooms))
    return _crop(frame, top, left, size, size)


def _center_crop(step: CenterCrop, frame: Frame, numbers: tf.Tensor) -> Frame:
    size = tf.constant(step.size, tf.float32)
    top, left = (centred(side - size) for side in _sides(frame))
    return _crop(frame, top, left, size, size)


def _shorter_side(step: ShorterSide, frame: Frame, numbers: tf.Tensor) -> Frame:
    length = step.low + tf.cast(_any_place(tf.constant(step.high - step.low, tf.float32), numbers[..., 0]), tf.int32)
    return _resized(frame, length)


def _resize(step: Resize, frame: Frame, numbers: tf.Tensor) -> Frame:
    return _resized(frame, tf.constant(step.size))


def _resized(frame: Frame, length: tf.Tensor) -> Frame:
    shorter = tf.minimum(frame.rows, frame.columns)
    rows, columns = (resized_side(side, shorter, length) for side in (frame.rows, frame.columns))
    return frame._replace(rows=rows, columns=columns)


def _random_resized_crop(step: RandomResizedCrop, frame: Frame, numbers: tf.Tensor) -> Frame:
    rows, columns = (side[..., tf.newaxis] for side in _sides(frame))
    area, aspect, place = tf.split(numbers, [step.tries, step.tries, 2], axis=-1)
    area = rows * columns * (step.area[0] + (step.area[1] - step.area[0]) * area)
    least, greatest = step.aspect
    # Behind the ten tries stands the fallback, which always fits; the first that fits is taken.
    one = tf.ones_like(numbers[..., :1])
    fallback = one * tf.minimum(rows, tf.round(columns / least)), one * tf.minimum(columns, tf.round(rows * greatest))
    heights = tf.concat([tf.round(tf.sqrt(area / aspect)), fallback[0]], axis=-1)
    widths = tf.concat([tf.round(tf.sqrt(area * aspect)), fallback[1]], axis=-1)
    fits = (heights > 0) & (heights <= rows) & (widths > 0) & (widths <= columns)
    first = tf.argmax(tf.cast(fits, tf.int32), axis=-1)
    height, width = (tf.gather(sides, first, batch_dims=sides.shape.rank - 1) for sides in (heights, widths))
    tried = first < step.tries
    top, left = (
        tf.where(tried, _any_place(room, place[..., i]), room // 2)
        for i, room in enumerate((rows[..., 0] - height, columns[..., 0] - width))
    )
    window = _crop(frame, top, left, height, width)
    shown = (tf.fill(tf.shape(height), side) for side in step.after(None))
    return Frame(*window[:4], *shown)


_FRAMINGS = {
    RandomCrop: _random_crop,
    CenterCrop: _center_crop,
    ShorterSide: _shorter_side,
    Resize: _resize,
    RandomResizedCrop: _random_resized_crop,
}

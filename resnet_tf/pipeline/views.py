"""The views of an image that a network is shown when it is scored, as `presets.augmentation.VIEWS` names them."""

import tensorflow as tf

from resnet_tf.pipeline.crops import no_autograph
from resnet_tf.presets.augmentation import VIEWS
from resnet_tf.presets.rounding import centred


@no_autograph
def views(images: tf.Tensor, view: str, size: int | None = None) -> tf.Tensor:
    """Returns what a network is shown of `images` [batch, height, width, 3]: [batch, views, size, size, 3].

    "1-crop": the middle. "10-crop": top left, top right, bottom left, bottom right and middle, then the same five
    places of the mirror image. "mirror": the middle and its mirror image. "mirror-shift": both of these as they are,
    one pixel further right and down, and one further left and up, edges reflected.

    Args:
        size: of the crops, in pixels; None: whole images (not for "10-crop").

    Raises:
        ValueError: an unknown view, or no size with ten crops.

    Source: Krizhevsky et al. 2012, section 4.1; order and rounding of ten crops as torchvision's TenCrop. The shifts
    are those of Jordan 2024 (arXiv:2404.00498), section 3.5, here with equal weights.
    """
    if view not in VIEWS or (size is None and view == "10-crop"):
        raise ValueError(f"'view' must be one of {', '.join(VIEWS)}; 10-crop needs a size. Received: {view!r}, {size}.")
    height, width = tf.unstack(tf.shape(images)[1:3])
    rows, columns = (height, width) if size is None else (size, size)
    bottom, right = height - rows, width - columns
    places = crop_places(view, bottom, right)
    if view == "mirror-shift":
        images = _crop(images, places[0], rows, columns)
        images = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")
        places = [(1, 1), (0, 0), (2, 2)]
    sources = [images] if view == "1-crop" else [images, tf.reverse(images, [2])]
    crops = [_crop(source, place, rows, columns) for source in sources for place in places]
    return tf.ensure_shape(tf.stack(crops, axis=1), [None, VIEWS[view], size, size, images.shape[3]])


def _crop(images: tf.Tensor, place: tuple, rows: tf.Tensor | int, columns: tf.Tensor | int) -> tf.Tensor:
    y, x = place
    return images[:, y : y + rows, x : x + columns]


def crop_places(view: str, bottom: tf.Tensor | int, right: tf.Tensor | int) -> list[tuple]:
    """Returns where the crops of a view lie in an image, (top, left), without those of its mirror image.

    Args:
        bottom, right: the place of the lowest and of the rightmost crop, in pixels.
    """
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)] if view == "10-crop" else []
    return [*corners, (centred(bottom), centred(right))]

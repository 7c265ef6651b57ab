"""Reads image files inside tf.data: decoded, cropped and resampled by Pillow, in as many threads as there are cores."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from resnet_tf.datasets.decode import BadImage, CropWindow, open_image
from resnet_tf.datasets.folder import broken_files_error
from resnet_tf.errors import UserError
from resnet_tf.pipeline.crops import crop, no_autograph, windows, without_numbers
from resnet_tf.pipeline.python_threads import in_python
from resnet_tf.pipeline.views import crop_places
from resnet_tf.presets.augmentation import VIEWS, Chain, output_shape

_pool = ThreadPoolExecutor(os.cpu_count(), "decode")  # Pillow lets other threads run while it decodes and resizes


@no_autograph
def read_batch(
    paths: tf.Tensor, steps: Chain, numbers: Sequence[tf.Tensor] | None = None, upright: bool = False
) -> tf.Tensor:
    """Reads image files, string [batch], and returns them after `steps`: uint8 [batch, height, width, 3].

    Args:
        numbers: `augment.draws` of the steps, these rows; may be left out where none is random.
        upright: see `decode.open_image`.

    Raises:
        UserError: a file that cannot be decoded; inside tf.data, see `naming_broken_files`.
    """
    shown = _read(paths, numbers, steps, upright, lambda stages: [stages])
    return tf.ensure_shape(shown, [None, 1, *output_shape(steps), 3])[:, 0]


@no_autograph
def read_mirrored(paths: tf.Tensor, steps: Chain, size: int, view: str, upright: bool = False) -> tf.Tensor:
    """Reads image files, string [batch], and returns the crops of "mirror" or "10-crop" of what `steps` show.

    Returns:
        uint8 [batch, views, size, size, 3], the crops and their order those of `views.views`.
    """

    def both(stages: list[CropWindow]) -> list[list[CropWindow]]:
        whole = stages[-1]
        bottom, right = whole.rows - size, whole.columns - size
        places = crop_places(view, bottom, right)
        places += [(top, right - left) for top, left in places]  # those of the mirror image
        return [[*stages[:-1], crop(whole, top, left, size, size)] for top, left in places]

    crops = tf.ensure_shape(_read(paths, None, steps, upright, both), [None, VIEWS[view], size, size, 3])
    half = VIEWS[view] // 2
    return tf.concat([crops[:, :half], tf.reverse(crops[:, half:], [3])], axis=1)


def _read(
    paths: tf.Tensor,
    numbers: Sequence[tf.Tensor] | None,
    steps: Chain,
    upright: bool,
    views: Callable[[list[CropWindow]], list[list[CropWindow]]],
) -> tf.Tensor:
    """Returns uint8 [batch, views, height, width, 3]; `views` gives from an image's windows those of each view."""
    fixed = without_numbers(steps) if numbers is None else None

    def read_one(path: bytes, *own: np.ndarray) -> np.ndarray:
        name = os.fsdecode(path)
        try:
            with open_image(name, upright) as image:
                return np.stack(image.show(views(windows(image.height, image.width, steps, own or fixed or ()))))
        except BadImage as error:
            raise broken_files_error([(name, str(error))]) from error

    def read(paths: np.ndarray, *numbers: np.ndarray) -> np.ndarray:
        with in_python():
            return np.stack(list(_pool.map(read_one, paths, *numbers)))

    return tf.numpy_function(read, [paths, *(numbers or ())], tf.uint8, stateful=False)


@contextlib.contextmanager
def naming_broken_files() -> Iterator[None]:
    """Turns the error of a file that cannot be decoded, which tf.data wraps in its own, back into the UserError."""
    try:
        yield
    except tf.errors.OpError as error:
        message = re.search(r"UserError: (.*)", error.message)
        if message is None:
            raise
        raise UserError(message[1], "image-file-broken") from error

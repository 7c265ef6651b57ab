"""Takes the error of an image file that cannot be read out of TensorFlow's, in which tf.data wraps it."""

import contextlib
import re
from collections.abc import Iterator

import tensorflow as tf

from resnet_tf.errors import UserError


@contextlib.contextmanager
def naming_broken_files() -> Iterator[None]:
    """Turns the error of `read.read_batch` inside tf.data back into the UserError that it was.

    Raises:
        UserError: an image file cannot be decoded; the message names it.
    """
    try:
        yield
    except tf.errors.OpError as error:
        message = re.search(r"UserError: (.*)", error.message)
        if message is None:
            raise
        raise UserError(message[1], "image-file-broken") from error

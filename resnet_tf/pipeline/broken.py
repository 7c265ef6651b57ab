"""Which image file it was that could not be read in the middle of the work: TensorFlow's own error does not say."""

import contextlib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf

from resnet_tf.datasets.image_headers import check_none_broken
from resnet_tf.datasets.splits import ArraySplit, FileSplit
from resnet_tf.pipeline import crops

_OVER_A_FILE = (tf.errors.InvalidArgumentError, tf.errors.NotFoundError, tf.errors.PermissionDeniedError)
_ENOUGH = 4  # files to find before the search ends


@contextlib.contextmanager
def naming_broken_files(suspects: Callable[[], Iterable[ArraySplit | FileSplit]]) -> Iterator[None]:
    """Turns TensorFlow's error over an image file that cannot be read into a UserError that names the file.

    Args:
        suspects: asked once an error has come: where the file is to be looked for, the likeliest split first.

    Raises:
        UserError: as `check_none_broken`.
    """
    try:
        yield
    except _OVER_A_FILE:
        for split in suspects():
            check_none_broken(broken_files(split))
        raise


def broken_files(split: ArraySplit | FileSplit) -> list[tuple[str, str]]:
    """Returns the first files of a split that cannot be decoded, in its order, with TensorFlow's reasons."""
    if isinstance(split, ArraySplit):
        return []
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        reasons = zip(split.paths, pool.map(_reason, split.paths), strict=True)
        return list(itertools.islice(((path, reason) for path, reason in reasons if reason), _ENOUGH))
    finally:
        pool.shutdown(cancel_futures=True)


def _reason(path: str) -> str | None:
    """Returns why a file cannot be decoded, None if it can."""
    try:
        crops.read_framed(tf.constant(os.fsencode(path)))
    except tf.errors.OpError as error:
        return re.sub(r"\{\{.*?\}\} ?| ?\[Op:.*", "", error.message, flags=re.DOTALL).strip()
    return None

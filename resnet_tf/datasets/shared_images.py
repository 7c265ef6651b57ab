"""Images that stand in two splits at once: a network has seen the answer to what it is asked there."""

import hashlib
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np

from resnet_tf.datasets.cache import File
from resnet_tf.datasets.splits import Dataset
from resnet_tf.format import printable
from resnet_tf.log import logger

_THREADS = 8  # hide the disk's latency
_TAIL = 4096  # bytes; of photos of one size few end alike


def report_shared_files(splits: Mapping[str, Sequence[File]]) -> None:
    """Warns how many files of a split have the very bytes of a file in an earlier one.

    Args:
        splits: files by the name of their split, such as "training", "validation", "test".
    """
    for (earlier, first), (later, second) in combinations(splits.items(), 2):
        pairs = shared_files(first, second)
        if pairs:
            such = "the same bytes, such as {} and {}".format(*map(printable, pairs[0]))
            logger.warning(_in_words((earlier, len(first)), (later, len(second)), len(pairs), such))


def report_shared_images(dataset: Dataset) -> None:
    """Warns how many test images have the very pixels of a training image, as it was counted when they were read."""
    if dataset.shared:
        logger.warning(
            _in_words(("training", len(dataset.train)), ("test", len(dataset.test)), dataset.shared, "the same pixels")
        )


def _in_words(earlier_split: tuple[str, int], later_split: tuple[str, int], count: int, how: str) -> str:
    """Returns the sentence that `count` images of a split are in an earlier one; a split is (name, images)."""
    (earlier, first), (later, second) = earlier_split, later_split
    if count == second == first:
        return f"the {later} split is the {earlier} split ({count:,} images): it says nothing about new images"
    return (
        f"{count:,} of {second:,} {later} images are also in the {earlier} split ({how}): the accuracy on new "
        f"images is lower than on these"
    )


def shared_files(first: Sequence[File], second: Sequence[File]) -> list[tuple[str, str]]:
    """Returns (path, path of a file in `first` with the same content) for every file of `second` that has one.

    Sizes are compared first, then the files' ends, and whole files are read only where both agree.
    """
    with ThreadPoolExecutor(_THREADS) as pool:

        def by(key: Callable[[File], Hashable], files: Sequence[File]) -> list[tuple[Hashable, File]]:
            return list(zip(pool.map(key, files), files, strict=True))

        for key in (lambda file: file.size, _end_of):
            known, asked = by(key, first), by(key, second)
            common = {value for value, _ in known} & {value for value, _ in asked}
            first = [file for value, file in known if value in common]
            second = [file for value, file in asked if value in common]
        path_of = {content: file.path for content, file in by(_hash_of, first)}
        return [(file.path, path_of[content]) for content, file in by(_hash_of, second) if content in path_of]


def _end_of(file: File) -> tuple[int, bytes]:
    with open(file.path, "rb") as opened:
        opened.seek(-min(_TAIL, os.fstat(opened.fileno()).st_size), os.SEEK_END)
        return file.size, opened.read()


def _hash_of(file: File) -> bytes:
    with open(file.path, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def shared_images(first: np.ndarray, second: np.ndarray) -> int:
    """Returns how many images of `second`, uint8 [n, height, width, 3], have the pixels of one of `first`."""
    seen = {hashlib.sha256(np.ascontiguousarray(image)).digest() for image in first}
    return sum(hashlib.sha256(np.ascontiguousarray(image)).digest() in seen for image in second)

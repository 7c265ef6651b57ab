"""What every data set is once it has been read: splits, class names, and a fingerprint of the content."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from resnet_tf.errors import UserError

SEEDS = 1 << 40  # how many there are to choose from; the later phases of a run take theirs beyond


@dataclass(frozen=True, eq=False)
class ArraySplit:
    """Images of one size, in memory or mapped from a file.

    Attributes:
        images: uint8 [n, height, width, 3], RGB, 0-255.
        labels: int32 [n], places in the data set's class names.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "ArraySplit":
        """Returns the examples at `indices`, copied, in that order."""
        return ArraySplit(self.images[indices], self.labels[indices])


@dataclass(frozen=True, eq=False)
class FileSplit:
    """Images that stay on disk, of any size.

    Attributes:
        paths: object [n], the files' paths as str.
        labels: int32 [n], places in the data set's class names.
        upright: whether images are shown as they are meant to be seen, turned as their EXIF orientation says and their
            transparency laid over white, or as they are stored.
    """

    paths: np.ndarray
    labels: np.ndarray
    upright: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> "FileSplit":
        """Returns the examples at `indices`, in that order."""
        return FileSplit(self.paths[indices], self.labels[indices], self.upright)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set that has been found and read.

    Attributes:
        name: what presets call it ("cifar10").
        title: the name, with what sets this copy apart ("cifar10 (folder copy, not the official bytes)").
        source: where it came from, for people.
        class_names: in the order of the labels.
        train: the images to learn from; where `validation` is None, validation is split off them.
        test: the images that evaluation alone looks at.
        fingerprint: SHA-256 in hex; equal where the content is equal.
        official: whether this is known to be the published data; a user's own folder never is.
        validation: the images to select by, where the data set has a split of its own for that; else None.
        shared: how many test images have the pixels of a training image; counted in copies of published data alone.
    """

    name: str
    title: str
    source: str
    class_names: tuple[str, ...]
    train: ArraySplit | FileSplit
    test: ArraySplit | FileSplit
    fingerprint: str
    official: bool
    validation: ArraySplit | FileSplit | None = None
    shared: int = 0

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)


def canonical(split: ArraySplit) -> tuple[ArraySplit, list[bytes]]:
    """Puts a split in the order of its examples' hashes, so that any container of the same images gives the same order.

    Returns:
        The split and, in its order, the hashes: SHA-256 of an image's bytes and its label (int32, little-endian).
    """
    images = np.ascontiguousarray(split.images)
    labels = split.labels.astype("<i4")
    hashes = [_hash(image, label) for image, label in zip(images, labels, strict=True)]
    order = sorted(range(len(hashes)), key=hashes.__getitem__)
    ordered = ArraySplit(images[order], labels[order].astype(np.int32))
    return ordered, [hashes[index] for index in order]


def _hash(image: np.ndarray, label: np.integer) -> bytes:
    digest = hashlib.sha256(image)
    digest.update(label.tobytes())
    return digest.digest()


def fingerprint(train: Sequence[bytes], test: Sequence[bytes], validation: Sequence[bytes] = ()) -> str:
    """Returns one SHA-256 over what describes the examples of all splits; their order does not matter."""
    digest = hashlib.sha256()
    for name, rows in (("train", train), ("test", test), *([("validation", validation)] if validation else [])):
        digest.update(f"{name} {len(rows)}\n".encode())
        for row in sorted(rows):
            digest.update(row)
    return digest.hexdigest()


def training_and_validation(
    dataset: Dataset, validation_size: int, seed: int
) -> tuple[ArraySplit | FileSplit, ArraySplit | FileSplit]:
    """Returns the images to learn from and those to select by, which may be none.

    A data set's own validation split goes before `validation_size`, which is then not applied.

    Raises:
        UserError: as `split_train_validation`.
    """
    if dataset.validation is not None:
        return dataset.train, dataset.validation
    training, held_out = split_train_validation(dataset.train.labels, validation_size, seed)
    return dataset.train.take(training), dataset.train.take(held_out)


def split_train_validation(labels: np.ndarray, validation_size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Splits a training set in two, each class in proportion (largest remainder, ties to the lower label).

    Every example draws a 64-bit number from Philox(seed), and in each class the lowest go to validation: the raw stream
    of a bit generator stays the same over NumPy versions, where the methods built on it may change.

    Args:
        labels: int [n], 0 or more.
        validation_size: how many examples are held out, 0 to n - 1.
        seed: 0 to 2**40 - 1.

    Returns:
        The indices of the training and of the validation examples, int64, each rising.

    Raises:
        UserError: a size or seed out of range.
    """
    size = len(labels)
    if not 0 <= validation_size < size:
        raise UserError(f"validation_size must be 0 to {size - 1}, as there are {size} images. Got: {validation_size}.")
    if not 0 <= seed < SEEDS:
        raise UserError(f"seed must be 0 to {SEEDS - 1:,}. Received: {seed}.")
    counts = np.bincount(labels)
    quotas, remainders = np.divmod(counts * validation_size, size)
    missing = validation_size - quotas.sum()
    quotas[np.argsort(-remainders, kind="stable")[:missing]] += 1
    draws = np.random.Philox(seed).random_raw(size)
    held_out = np.zeros(size, bool)
    for label, quota in enumerate(quotas):
        members = np.flatnonzero(labels == label)
        held_out[members[np.argsort(draws[members], kind="stable")[:quota]]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)

"""A data set that has been read: splits, class names, and a fingerprint of the content."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from resnet_tf.errors import UserError

SEEDS = 1 << 40  # seeds are 0 to SEEDS - 1; the later phases of a run use larger ones


@dataclass(frozen=True, eq=False)
class ArraySplit:
    """Images of one size, in memory or mapped from a file.

    Attributes:
        images: uint8 [n, height, width, 3], RGB, 0-255.
        labels: int32 [n], indices into the data set's class names.
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
        labels: int32 [n], indices into the data set's class names.
        upright: whether images are rotated as their EXIF orientation says and transparent pixels are blended with
            white, or are shown as they are stored.
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
        name: as presets call it ("cifar10").
        title: the name, and what is special about this copy ("cifar10 (folder copy, not the official bytes)").
        source: where it came from, for people.
        class_names: in the order of the labels.
        train: the training images; where `validation` is None, they include the validation images.
        test: the test images.
        fingerprint: SHA-256 in hex; equal where the content is equal.
        official: whether this is known to be the published data; a user's own folder never is.
        validation: the validation images of a data set that has such a split; else None.
        shared: how many test images have the same pixels as a training image; counted only in copies of published data.
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
    """Sorts a split by the hashes of its examples, so that the order does not depend on where the images came from.

    Returns:
        The split and, in its order, the hashes: SHA-256 of an image's bytes and its label (int32, little-endian).
    """
    images = np.ascontiguousarray(split.images)
    labels = split.labels.astype("<i4")
    examples = zip(images, labels, strict=True)
    hashes = [hashlib.sha256(image.tobytes() + label.tobytes()).digest() for image, label in examples]
    order = sorted(range(len(hashes)), key=hashes.__getitem__)
    ordered = ArraySplit(images[order], labels[order].astype(np.int32))
    return ordered, [hashes[index] for index in order]


def fingerprint(train: Sequence[bytes], test: Sequence[bytes], validation: Sequence[bytes] = ()) -> str:
    """Returns one SHA-256 over the hashes of the examples of all splits, whatever their order."""
    digest = hashlib.sha256()
    for name, rows in (("train", train), ("test", test), *([("validation", validation)] if validation else [])):
        digest.update(f"{name} {len(rows)}\n".encode())
        for row in sorted(rows):
            digest.update(row)
    return digest.hexdigest()


def training_and_validation(
    dataset: Dataset, validation_size: int, seed: int
) -> tuple[ArraySplit | FileSplit, ArraySplit | FileSplit]:
    """Returns the training and the validation images; there may be no validation images.

    Where a data set has a validation split of its own, `validation_size` is not applied.

    Raises:
        UserError: as `split_train_validation`, or a class is left without training images.
    """
    check_seed(seed)
    if dataset.validation is not None:
        return dataset.train, dataset.validation
    labels = dataset.train.labels
    training, held_out = split_train_validation(labels, validation_size, seed)
    emptied = np.setdiff1d(labels, labels[training])
    if len(emptied):
        names = ", ".join(dataset.class_names[label] for label in emptied[:3]) + ", ..." * (len(emptied) > 3)
        raise UserError(
            f"validation_size must leave each class a training image. Received: {validation_size}, which takes all of "
            f"{names}.",
            "validation-takes-class",
        )
    return dataset.train.take(training), dataset.train.take(held_out)


def split_train_validation(labels: np.ndarray, validation_size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Splits a training set in two, each class in proportion (largest remainder, ties to the lower label).

    Every example gets a 64-bit number from Philox(seed), and in each class those with the lowest are held out. The raw
    stream of a bit generator is the same in every NumPy version; the methods that use it may change.

    Args:
        labels: int [n], 0 or more.
        validation_size: how many examples are held out, 0 to n - 1.
        seed: 0 to 2**40 - 1.

    Returns:
        The indices of the training and of the validation examples, int64, each increasing.

    Raises:
        UserError: a size or seed out of range.
    """
    size = len(labels)
    if not 0 <= validation_size < size:
        message = f"validation_size must be 0 to {size - 1} for {size} images. Received: {validation_size}."
        raise UserError(message, "validation-size-out-of-range")
    check_seed(seed)
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


def check_seed(seed: int) -> None:
    """Raises UserError where a seed is outside 0 to `SEEDS` - 1."""
    if not 0 <= seed < SEEDS:
        raise UserError(f"seed must be 0 to {SEEDS - 1:,}. Received: {seed}.", "seed-out-of-range")

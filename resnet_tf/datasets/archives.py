"""Archives of published data sets: verified by their checksums and read without unpacking them."""

import hashlib
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnet_tf.datasets.splits import ArraySplit
from resnet_tf.errors import UserError
from resnet_tf.presets.catalogue import Description

_CHUNK = 1000  # images whose pixels are squared at a time


@dataclass(frozen=True)
class Archive:
    """An archive in which a data set is published.

    Attributes:
        file: the archive's name.
        folder: the folder it unpacks to, which is also the prefix of its members.
        train: the files of the training split in that folder, in the order `parse` needs.
        test: those of the test split.
        md5: published checksums by file name, of the archive and of the files (where there are any).
        parse: turns the files' contents into images uint8 [n, side, side, 3] and labels int32 [n]; raises ValueError.
            It is called only after the checksums in `md5` were verified.
    """

    file: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    md5: Mapping[str, str]
    parse: Callable[[list[bytes]], tuple[np.ndarray, np.ndarray]]

    @property
    def files(self) -> tuple[str, ...]:
        """The files of both splits."""
        return *self.train, *self.test


@dataclass(frozen=True)
class PixelSums:
    """Exact integer sums over all pixels of a split, for R, G and B: they identify its images in any order and format.

    JPEG or resizing changes every one of them. They follow from the published mean and deviation: with N pixels,
    sums = N mean and squares = N (mean^2 + deviation^2), and both are whole numbers.
    """

    images: int
    sums: tuple[int, int, int]
    squares: tuple[int, int, int]


@dataclass(frozen=True)
class PublishedDataset:
    """A published data set of equally sized images.

    Attributes:
        name: as presets and tensorflow-datasets call it.
        description: its entry in the catalogue.
        url: what tensorflow-datasets downloads.
        archives: the archives in which it is published.
        sums: of the splits "train" and "test"; where one is missing, a copy without checksums is never official.
    """

    name: str
    description: Description
    url: str
    archives: tuple[Archive, ...]
    sums: Mapping[str, PixelSums]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the official order."""
        return self.description.class_names

    @property
    def side(self) -> int:
        """Height and width in pixels."""
        return self.description.image_size

    @property
    def sizes(self) -> tuple[int, int]:
        """The numbers of training and of test images."""
        return self.description.train_size, self.description.test_size


def pixel_sums(images: np.ndarray) -> PixelSums:
    """Returns the exact sums of images uint8 [n, height, width, 3]."""
    sums, squares = np.zeros(3, np.int64), np.zeros(3, np.int64)
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK]
        values = chunk.reshape(len(chunk), -1).astype(np.uint32)
        sums += values.sum(axis=0, dtype=np.int64).reshape(-1, 3).sum(axis=0)  # summing over images first is faster
        squares += (values * values).sum(axis=0, dtype=np.int64).reshape(-1, 3).sum(axis=0)
    return PixelSums(len(images), tuple(sums.tolist()), tuple(squares.tolist()))


def is_official(dataset: PublishedDataset, train: ArraySplit, test: ArraySplit) -> bool:
    """Returns whether the splits have the published pixels: their sizes, class counts and pixel sums are compared.

    Sums cannot show which label belongs to which image, only that all classes are equally large.
    """
    if (len(train), len(test)) != dataset.sizes:
        return False
    for split in (train, test):
        counts = np.bincount(split.labels, minlength=len(dataset.class_names))
        if np.any(counts * len(dataset.class_names) != len(split)):
            return False
    splits = {"train": train, "test": test}
    return all(pixel_sums(split.images) == dataset.sums.get(name) for name, split in splits.items())


def read_archive(dataset: PublishedDataset, path: Path) -> tuple[ArraySplit, ArraySplit]:
    """Reads the train and test split out of an archive. Its checksum identifies it, whatever its name.

    Raises:
        UserError: the checksum is not one of the published ones, or the archive is broken.
    """
    with open(path, "rb") as file:
        md5 = hashlib.file_digest(file, "md5").hexdigest()
    archive = next((archive for archive in dataset.archives if archive.md5[archive.file] == md5), None)
    if archive is None:
        known = ", ".join(f"{archive.file} {archive.md5[archive.file]}" for archive in dataset.archives)
        raise UserError(
            f"the MD5 of {path} is not that of an official {dataset.name} archive. Received: {md5}. "
            f"Known: {known}. Download it again, or check the path.",
            "data-wrong-checksum",
        )
    return _parse(archive, _members(path, [f"{archive.folder}/{file}" for file in archive.files]), path)


def _members(path: Path, names: list[str]) -> list[bytes]:
    """Returns the contents of an archive's members by name."""
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if name in names and member.isfile():
                    contents[name] = archive.extractfile(member).read()
                if len(contents) == len(names):  # gigabytes of unlabelled images may follow
                    break
        return [contents[name] for name in names]
    except KeyError as error:
        raise UserError(f"archive {path} has no member {error}. Download it again.", "data-incomplete") from error
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise UserError(f"archive {path} cannot be read: {error}. Download it again.", "data-broken") from error


def read_folder(dataset: PublishedDataset, archive: Archive, folder: Path) -> tuple[ArraySplit, ArraySplit]:
    """Reads the train and test split from the unpacked files of an archive.

    Where the checksums of the files are not published, the pixel sums are compared instead.

    Raises:
        UserError: a file is missing, or is not the official one.
    """
    contents = []
    for file in archive.files:
        try:
            contents.append((folder / file).read_bytes())
        except OSError as error:
            message = f"{folder} needs the file {file!r} of {archive.file}: {error.strerror}."
            raise UserError(message, "data-incomplete") from error
    train, test = _parse(archive, contents, folder)
    if not set(archive.files) <= set(archive.md5) and not is_official(dataset, train, test):
        message = f"the images in {folder} are not those of the official {archive.file}. Unpack it again."
        raise UserError(message, "data-not-official")
    return train, test


def _parse(archive: Archive, contents: list[bytes], path: Path) -> tuple[ArraySplit, ArraySplit]:
    """Verifies the published checksums of the files' contents, then returns the train and test split in them."""
    for file, content in zip(archive.files, contents, strict=True):
        md5 = hashlib.md5(content).hexdigest()
        if md5 != archive.md5.get(file, md5):
            raise UserError(
                f"{path / file} is not the official file. MD5 expected: {archive.md5[file]}. Received: {md5}. "
                f"Get {archive.file} again.",
                "data-wrong-checksum",
            )
    try:
        train = archive.parse(contents[: len(archive.train)])
        test = archive.parse(contents[len(archive.train) :])
    except ValueError as error:
        raise UserError(f"{path} has not the format of {archive.file}: {error}.", "data-broken") from error
    return ArraySplit(*train), ArraySplit(*test)

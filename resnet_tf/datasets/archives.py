"""Published archives: their known checksums, and reading them by member name without unpacking or running anything."""

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
    """One form a data set is published in.

    Attributes:
        file: the archive's name.
        folder: the folder it unpacks to, which is also the prefix of its members.
        train: the files of the training split in that folder, in the order `parse` wants them.
        test: those of the test split.
        md5: checksums by file name, of the archive and of the files (where they are published).
        parse: turns the files' bytes into images uint8 [n, side, side, 3] and labels int32 [n]; raises ValueError.
    """

    file: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    md5: Mapping[str, str]
    parse: Callable[[list[bytes]], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class PixelSums:
    """What identifies a split's images in any order and container: exact integer sums over all pixels, for R, G and B.

    JPEG or resizing changes every one of them. They follow from the published mean and deviation: with N pixels,
    sums = N mean and squares = N (mean^2 + deviation^2), and both come out whole.
    """

    images: int
    sums: tuple[int, int, int]
    squares: tuple[int, int, int]


@dataclass(frozen=True)
class Official:
    """What is known of a published data set of equally sized images.

    Attributes:
        name: as presets and tensorflow-datasets call it.
        about: its entry in the catalogue.
        url: what tensorflow-datasets downloads.
        archives: the forms it is published in.
        sums: by split, "train" and "test"; where one is absent, no copy without a checksum is ever called official.
    """

    name: str
    about: Description
    url: str
    archives: tuple[Archive, ...]
    sums: Mapping[str, PixelSums]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the official order."""
        return self.about.class_names

    @property
    def side(self) -> int:
        """Height and width in pixels."""
        return self.about.image_size

    @property
    def sizes(self) -> tuple[int, int]:
        """Images of the train and the test split."""
        return self.about.train_size, self.about.test_size


def pixel_sums(images: np.ndarray) -> PixelSums:
    """Returns the exact sums of images uint8 [n, height, width, 3]."""
    sums, squares = np.zeros(3, np.int64), np.zeros(3, np.int64)
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK]
        values = chunk.reshape(len(chunk), -1).astype(np.uint32)
        sums += values.sum(axis=0, dtype=np.int64).reshape(-1, 3).sum(axis=0)  # over images first: long rows are quick
        squares += (values * values).sum(axis=0, dtype=np.int64).reshape(-1, 3).sum(axis=0)
    return PixelSums(len(images), tuple(sums.tolist()), tuple(squares.tolist()))


def is_official(official: Official, train: ArraySplit, test: ArraySplit) -> bool:
    """Tells whether the splits hold the published pixels, by size, balance of the classes and pixel sums.

    Which label goes with which image cannot be told from sums: of the labels, only that the classes are equally large.
    """
    if (len(train), len(test)) != official.sizes:
        return False
    for split, size in zip((train, test), official.sizes, strict=True):
        counts = np.bincount(split.labels, minlength=len(official.class_names))
        if np.any(counts * len(official.class_names) != size):
            return False
    splits = {"train": train, "test": test}
    return all(pixel_sums(split.images) == official.sums.get(name) for name, split in splits.items())


def read_archive(official: Official, path: Path) -> tuple[ArraySplit, ArraySplit]:
    """Reads the train and test split out of an archive, which its checksum identifies whatever it is called.

    Raises:
        UserError: the checksum is none of the known ones, or the archive is broken.
    """
    md5 = _md5(path)
    forms = [form for form in official.archives if form.md5[form.file] == md5]
    if not forms:
        known = ", ".join(f"{form.file} {form.md5[form.file]}" for form in official.archives)
        raise UserError(
            f"the MD5 of {path} is not that of an official {official.name} archive. Received: {md5}. "
            f"Known: {known}. Download it again, or check the path."
        )
    form = forms[0]
    contents = _members(path, [f"{form.folder}/{file}" for file in (*form.train, *form.test)])
    return _parse(form, contents, path)


def _members(path: Path, names: list[str]) -> list[bytes]:
    """Returns the contents of an archive's members by name."""
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if name in names and member.isfile():
                    contents[name] = archive.extractfile(member).read()
                if len(contents) == len(names):  # what follows may be gigabytes of unlabelled images
                    break
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise UserError(f"archive {path} cannot be read: {error}. Download it again.") from error
    for name in names:
        if name not in contents:
            raise UserError(f"archive {path} has no member {name!r}. Download it again.")
    return [contents[name] for name in names]


def read_folder(official: Official, form: Archive, folder: Path) -> tuple[ArraySplit, ArraySplit]:
    """Reads the train and test split from the unpacked files of an archive.

    Files whose checksums are not published are held against the pixel sums instead.

    Raises:
        UserError: a file is missing, or is not the official one.
    """
    contents = []
    for file in (*form.train, *form.test):
        try:
            contents.append((folder / file).read_bytes())
        except OSError as error:
            raise UserError(f"{folder} needs the file {file!r} of {form.file}: {error.strerror}.") from error
        md5 = hashlib.md5(contents[-1]).hexdigest()
        if file in form.md5 and form.md5[file] != md5:
            raise UserError(
                f"{folder / file} is not the official file. MD5 expected: {form.md5[file]}. Received: {md5}. "
                f"Unpack {form.file} again."
            )
    train, test = _parse(form, contents, folder)
    checked = all(file in form.md5 for file in (*form.train, *form.test))
    if not checked and not is_official(official, train, test):
        raise UserError(f"the images in {folder} are not those of the official {form.file}. Unpack it again.")
    return train, test


def _parse(form: Archive, contents: list[bytes], path: Path) -> tuple[ArraySplit, ArraySplit]:
    """Returns the train and test split in the contents of the form's files."""
    try:
        train = form.parse(contents[: len(form.train)])
        test = form.parse(contents[len(form.train) :])
    except ValueError as error:
        raise UserError(f"{path} is not in the form of {form.file}: {error}.") from error
    return ArraySplit(*train), ArraySplit(*test)


def _md5(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        raise UserError(f"archive {path} cannot be read: {error.strerror}.") from error

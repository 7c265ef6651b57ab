"""Finds a data set by name, reads it once, and returns its images as arrays, or as files, with labels.

Wherever the images come from, the classes are in the official order and arrays are sorted by the hashes of their
content: an archive, a folder and tensorflow-datasets give the same data set, order and fingerprint.

A folder copy of a published data set is called official only if the sums over its pixels are the published ones.
Re-encoded copies (JPEG) are not official, and their title says so. Versions of the JPEG library may decode single
pixels differently, which changes the fingerprint.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from resnet_tf.datasets import cache as caching
from resnet_tf.datasets import shapes10, tfds
from resnet_tf.datasets.archives import PublishedDataset, is_official, read_archive, read_folder
from resnet_tf.datasets.cache import File, describe, key_of, load_or_build
from resnet_tf.datasets.cifar import CIFAR10, CIFAR100
from resnet_tf.datasets.folder import (
    VALIDATION,
    check_classes,
    class_folders,
    find_splits,
    load_folder,
    read_arrays,
    scan,
)
from resnet_tf.datasets.imagenet import load_imagenet
from resnet_tf.datasets.shared_images import report_shared_images, shared_images
from resnet_tf.datasets.splits import ArraySplit, Dataset, canonical, fingerprint
from resnet_tf.datasets.stl10 import STL10
from resnet_tf.errors import UserError, unknown
from resnet_tf.files import sha256_of_file
from resnet_tf.log import logger
from resnet_tf.presets import preset_files
from resnet_tf.presets.catalogue import DATASETS

_COMPARED = " compared"  # in the keys of copies, because older entries did not count shared images
PUBLISHED: dict[str, PublishedDataset] = {dataset.name: dataset for dataset in (CIFAR10, CIFAR100, STL10)}


def load(name: str, data: str | None = None, cache: str | None = None) -> Dataset:
    """Finds and reads a data set.

    It is read from `data`, else from RESNET_DATA, else from what tensorflow-datasets has prepared, else downloaded. If
    a given place does not have it, that is an error; no other place is tried.

    Args:
        name: one of DATASETS.
        data: a folder or an archive, see each data set's `wants`; or a folder that contains such a folder or archive,
            or one that is named after the data set.
        cache: the folder of decoded arrays; default: RESNET_CACHE, else ~/.cache/resnet_tf.

    Returns:
        The data set: `imagenet` and `folder` as FileSplits, the others as ArraySplits mapped from the cache.

    Raises:
        UserError: an unknown name, or no data; the message says where it was looked for and how to provide it.
    """
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS, "dataset-unknown")
    cache_folder = caching.default_folder(cache)
    if name == "shapes10":
        return _load_shapes10(data, cache_folder)
    if data == "":
        raise UserError("--data needs a path. Received: an empty text.", "data-not-found")
    given = data if data is not None else os.environ.get("RESNET_DATA") or None
    if given is not None:
        label = f"{'--data' if data is not None else 'RESNET_DATA'} {given!r}"
        try:
            return _load_given(name, Path(os.path.expanduser(given)), label, cache_folder)
        except OSError as error:
            message = f"{label} cannot be read: {error.filename}: {error.strerror}."
            raise UserError(message, "data-unreadable") from error
    if name in PUBLISHED:
        return _load_place(PUBLISHED[name], _prepared_place(PUBLISHED[name]), cache_folder)
    if name == "imagenet" and (version := tfds.find("imagenet2012")):
        unpacked = cache_folder / f"imagenet-{key_of(str(version), tfds.files_of(version))[:20]}"
        tfds.unpack_imagenet(version, unpacked)
        return load_imagenet(unpacked, f"tensorflow-datasets {version}")
    prepared = f"; no imagenet2012 is prepared in {tfds.folder()}" if name == "imagenet" else ""
    message = f"{name} was not found: --data and RESNET_DATA are not set{prepared}. {_help(name)}"
    raise UserError(message, "data-not-found")


def _help(name: str) -> str:
    return f"Give --data PATH or set RESNET_DATA to {DATASETS[name].wants}."


def _load_shapes10(data: str | None, cache_folder: Path) -> Dataset:
    """Draws `shapes10`, or reads it from the cache while the code that draws it is the same."""
    if data is not None:
        message = f"shapes10 is drawn by the package and takes no data. Received: --data {data!r}. Leave it out."
        raise UserError(message, "data-not-needed")
    description = DATASETS["shapes10"]

    def build() -> Dataset:
        logger.info(f"shapes10: drawing {description.train_size + description.test_size:,} images (once)")
        arrays = shapes10.draw(0, description.train_size, description.test_size)
        splits = ArraySplit(*arrays[:2]), ArraySplit(*arrays[2:])
        return _assemble("shapes10", "drawn by resnet_tf", splits)

    key = key_of(f"shapes10 {description} {sha256_of_file(shapes10.__file__)}")
    return load_or_build(cache_folder, "shapes10", key, build)


def _load_given(name: str, root: Path, label: str, cache_folder: Path) -> Dataset:
    """Reads a data set from the place that the user gave, which messages call `label`."""
    if not root.exists():
        raise UserError(f"{label} does not exist. {_help(name)}", "data-not-found")
    parent = _parent_of_split(root)
    if name in PUBLISHED:
        place = _find_place(PUBLISHED[name], root.resolve(), label)
        if place is not None:
            return _load_place(PUBLISHED[name], place, cache_folder)
    elif not root.is_dir():
        raise UserError(f"{label} is not a folder. {_help(name)}", "data-not-found")
    if name == "folder":
        if parent:
            logger.info(
                f"{label} is one split of {parent}: give that folder to use its splits; now a fifth is held out"
            )
        return load_folder(root.resolve())
    if parent:
        message = f"{label} contains no {name}: it is one split of {parent}. Give that folder."
        raise UserError(message, "data-is-one-split")
    if name in PUBLISHED:
        names = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
        content = f"Its content: {', '.join(names[:6]) or 'nothing'}{', ...' if len(names) > 6 else ''}."
        raise UserError(f"{label} contains no {name}. {content} {_help(name)}", "data-not-found")
    inner = root / name
    return load_imagenet((inner if inner.is_dir() and not (root / "train").exists() else root).resolve())


def _parent_of_split(root: Path) -> Path | None:
    """Returns the folder that contains `root` as a split, such as c10 for c10/train; else None."""
    root = root.resolve()
    try:
        splits = find_splits(root.parent, ("test", *VALIDATION)) if root.is_dir() else None
    except (UserError, OSError):  # the parent was not given: what is wrong with it does not matter
        return None
    return root.parent if splits and root in (splits.train, splits.test, *splits.validation) else None


@dataclass(frozen=True)
class _Place:
    """A place that has a published data set.

    Attributes:
        source: the place, for people.
        files: the files it consists of, for the key of the cache.
        read: reads the train and the test split.
        copy: what a title calls data from there that is not official; None where `read` itself refuses such data.
    """

    source: str
    files: list[File]
    read: Callable[[], tuple[ArraySplit, ArraySplit]]
    copy: str | None = None


def _find_place(dataset: PublishedDataset, root: Path, label: str) -> _Place | None:
    """Finds a published data set in the place that the user gave: an archive, unpacked files, or an image folder.

    Raises:
        UserError: the place has another published data set; the message names it and its presets. Or the image folder
            has other classes.
    """
    other = next((known for known in PUBLISHED.values() if known is not dataset and _looks_like(known, root)), None)
    place = mistake = None
    try:
        if root.is_dir():
            roots = [folder for folder in (root, root / dataset.name) if folder.is_dir()]
            places = (find(dataset, folder) for find in (_official_place, _image_folder_place) for folder in roots)
            place = next(filter(None, places), None)
        elif root.is_file() and other is None:
            place = _archive_place(dataset, root)
    except UserError as error:
        mistake = error
    if place is None and other is not None:
        known = preset_files.readable().values()
        presets = [preset.name for preset in known if preset.data.dataset == other.name]
        raise UserError(
            f"{label} contains {other.name}, not {dataset.name}. Choose a preset of {other.name}: "
            f"--preset {', '.join(presets[:3])}{' or another of --list' if len(presets) > 3 else ''}.",
            "data-of-another-dataset",
        ) from mistake
    if mistake is not None:
        raise mistake
    return place


def _looks_like(dataset: PublishedDataset, root: Path) -> bool:
    """Returns whether a place has the file or class names of a published data set."""
    if root.is_file():
        return root.name in {archive.file for archive in dataset.archives}
    for archive in dataset.archives:
        if (root / archive.train[0]).is_file() or (root / archive.folder).is_dir() or (root / archive.file).is_file():
            return True
    try:
        splits = find_splits(root)
    except UserError:
        return False
    return splits is not None and set(class_folders(splits.train)) == set(dataset.class_names)


def _official_place(dataset: PublishedDataset, folder: Path) -> _Place | None:
    """Finds the official files in a folder: unpacked, in the folder they unpack to, or as an archive."""
    for archive in dataset.archives:
        for unpacked in (folder, folder / archive.folder):
            if (unpacked / archive.train[0]).is_file():
                paths = [unpacked / name for name in archive.files]
                files = [describe(path) for path in paths if path.exists()]
                return _Place(f"official files {unpacked}", files, partial(read_folder, dataset, archive, unpacked))
        if (folder / archive.file).is_file():
            return _archive_place(dataset, folder / archive.file)
    return None


def _archive_place(dataset: PublishedDataset, path: Path) -> _Place:
    return _Place(f"archive {path}", [describe(path)], partial(read_archive, dataset, path))


def _image_folder_place(dataset: PublishedDataset, root: Path) -> _Place | None:
    """Finds train/<class>/* and test/<class>/* in a folder."""
    import PIL

    splits = find_splits(root)
    if splits is None:
        return None
    for unused in splits.validation:
        logger.info(f"{unused} is ignored: validation is split off the training images of {dataset.name}")
    train, test = (scan(folder) for folder in (splits.train, splits.test))
    for tree, folder in ((train, splits.train), (test, splits.test)):
        check_classes(tree, dataset.class_names, folder)

    def read() -> tuple[ArraySplit, ArraySplit]:
        return tuple(read_arrays(tree, dataset.class_names, dataset.side) for tree in (train, test))

    files = [file for tree in (train, test) for class_files in tree.values() for file in class_files]
    decoder = File(f"Pillow {PIL.__version__}", 0, 0)  # another JPEG library may decode other pixels
    return _Place(f"image folder {root}", [*files, decoder], read, copy="folder copy")


def _prepared_place(dataset: PublishedDataset) -> _Place:
    """Finds a data set that tensorflow-datasets has prepared, or lets it download and prepare it."""
    version = tfds.find(dataset.name)
    if version is None:
        logger.info(f"{dataset.name}: not prepared in {tfds.folder()}, downloading it with tensorflow-datasets")
        try:
            version = tfds.download(dataset)
        except UserError as error:
            raise UserError(
                f"{dataset.name} was not found: --data and RESNET_DATA are not set; "
                f"none is prepared by tensorflow-datasets in {tfds.folder()}; "
                f"and it could not be downloaded from {dataset.url} ({error}). {_help(dataset.name)}",
                "data-not-found",
            ) from error
    read = partial(tfds.read_arrays, version, dataset)
    return _Place(f"tensorflow-datasets {version}", tfds.files_of(version), read, copy="tensorflow-datasets copy")


def _load_place(dataset: PublishedDataset, place: _Place, cache_folder: Path) -> Dataset:
    """Reads a published data set from a place, or from the cache where it was read before."""

    def build() -> Dataset:
        logger.info(f"{dataset.name}: reading {place.source} (once)")
        splits = place.read()
        built = _assemble(dataset.name, place.source, splits)
        if place.copy is None or is_official(dataset, *splits):
            return built
        title = f"{dataset.name} ({place.copy}, not the official bytes)"
        return replace(built, title=title, official=False, shared=shared_images(*(split.images for split in splits)))

    # What decides whether a copy is official is part of the key.
    rules = "" if place.copy is None else f" {dict(dataset.sums)}{_COMPARED}"
    key = key_of(f"{dataset.name} {place.source}{rules}", place.files)
    loaded = load_or_build(cache_folder, dataset.name, key, build)
    report_shared_images(loaded)
    return loaded


def _assemble(name: str, source: str, splits: tuple[ArraySplit, ArraySplit]) -> Dataset:
    """Returns official splits as a data set, in canonical order and with its fingerprint."""
    (train, train_hashes), (test, test_hashes) = map(canonical, splits)
    digest = fingerprint(train_hashes, test_hashes)
    return Dataset(name, name, source, DATASETS[name].class_names, train, test, digest, official=True)

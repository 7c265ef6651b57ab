"""Where images come from: finds a data set by name, reads it once, and gives it back as arrays or files with labels.

Whatever the source, the classes are in the official order, and arrays are in the order of their content's hashes: the
same images give the same data set, order and fingerprint from an archive, a folder or tensorflow-datasets.

A folder copy of a published data set is called official only if the exact sums over its pixels are the published
data's; re-encoded copies (JPEG) are not, and their title says so. JPEG decoding may differ by single grey levels
between versions of the JPEG library, and the fingerprint with it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from resnet_tf.datasets import cache as caching
from resnet_tf.datasets import shapes10, tfds
from resnet_tf.datasets.archives import Official, is_official, read_archive, read_folder
from resnet_tf.datasets.cache import File, describe, key_of, load_or_build
from resnet_tf.datasets.cifar import CIFAR10, CIFAR100
from resnet_tf.datasets.folder import (
    VALIDATION,
    SplitFolders,
    check_classes,
    find_splits,
    load_folder,
    read_arrays,
    scan,
)
from resnet_tf.datasets.imagenet import load_imagenet
from resnet_tf.datasets.shared_images import report_shared_images, shared_images
from resnet_tf.datasets.splits import ArraySplit, Dataset, FileSplit, canonical, fingerprint, split_train_validation
from resnet_tf.datasets.stl10 import STL10
from resnet_tf.errors import UserError, unknown
from resnet_tf.files import sha256_of_file
from resnet_tf.log import logger
from resnet_tf.presets import preset_files
from resnet_tf.presets.catalogue import DATASETS

__all__ = ["DATASETS", "ArraySplit", "Dataset", "FileSplit", "load", "split_train_validation"]

_COMPARED = " compared"  # in the key of a copy: an entry from before its splits were compared is not taken
OFFICIAL: dict[str, Official] = {official.name: official for official in (CIFAR10, CIFAR100, STL10)}


def load(name: str, data: str | None = None, cache: str | None = None) -> Dataset:
    """Finds and reads a data set.

    Looked for in `data`, else RESNET_DATA, else what tensorflow-datasets has tfds, else its download. A place that
    is given and does not serve is an error; no other place is tried then.

    Args:
        name: one of DATASETS.
        data: a folder or an archive; see each data set's `wants`. It may also be a folder that holds such a folder or
            archive, or one named after the data set that does.
        cache: where decoded arrays are kept; default: RESNET_CACHE, else ~/.cache/resnet_tf.

    Returns:
        The data set: `imagenet` and `folder` as FileSplits, the others as ArraySplits mapped from the cache.

    Raises:
        UserError: unknown name, or no data; the message says where it was looked for and how to provide it.
    """
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS)
    folder = caching.default_folder(cache)
    if name == "shapes10":
        return _load_shapes10(data, folder)
    given = data if data is not None else os.environ.get("RESNET_DATA") or None
    if given is not None:
        said = f"{'--data' if data is not None else 'RESNET_DATA'} {given!r}"
        try:
            return _load_given(name, Path(given).expanduser(), said, folder)
        except OSError as error:
            raise UserError(f"{said} cannot be read: {error.filename}: {error.strerror}.") from error
    if name in OFFICIAL:
        return _load_unnamed(OFFICIAL[name], folder)
    if name == "imagenet" and (version := tfds.find("imagenet2012")):
        tree = folder / f"imagenet-{key_of(str(version), tfds.files_of(version))[:20]}"
        tfds.unpack_imagenet(version, tree)
        return load_imagenet(tree, f"tensorflow-datasets {version}")
    looked = f"; no imagenet2012 is prepared in {tfds.folder()}" if name == "imagenet" else ""
    raise UserError(f"{name} was not found: --data and RESNET_DATA are not set{looked}. {_help(name)}")


def _help(name: str) -> str:
    return f"Give --data PATH or set RESNET_DATA to {DATASETS[name].wants}."


def _load_shapes10(data: str | None, folder: Path) -> Dataset:
    """Draws `shapes10`, or takes it from the cache as long as the code that draws it is the same."""
    if data is not None:
        raise UserError(f"shapes10 is drawn by the package and takes no data. Received: --data {data!r}. Leave it out.")
    about = DATASETS["shapes10"]

    def build() -> Dataset:
        logger.info(f"shapes10: drawing {about.train_size + about.test_size:,} images (once)")
        drawn = shapes10.draw(0, about.train_size, about.test_size)
        splits = ArraySplit(*drawn[:2]), ArraySplit(*drawn[2:])
        return _assemble("shapes10", "shapes10", "drawn by resnet_tf", shapes10.CLASS_NAMES, splits, True)

    key = key_of(f"shapes10 {about} {sha256_of_file(shapes10.__file__)}")
    return load_or_build(folder, "shapes10", key, build)


def _load_given(name: str, root: Path, said: str, folder: Path) -> Dataset:
    """Reads a data set from the place the user gave."""
    if not root.exists():
        raise UserError(f"{said} does not exist. {_help(name)}")
    whole = _divided_parent(root)
    if name in OFFICIAL:
        place = _find_official(OFFICIAL[name], root.resolve(), said)
        if place is None:
            if whole:
                raise UserError(f"{said} holds no {name}: it is one split of {whole}. Give that folder.")
            raise UserError(f"{said} holds no {name}. {_inside(root)} {_help(name)}")
        return _load_place(OFFICIAL[name], place, folder)
    if not root.is_dir():
        raise UserError(f"{said} is not a folder. {_help(name)}")
    if name == "folder":
        if whole:
            logger.info(
                f"{said} is one split of {whole}: give that folder for its splits; here a fifth is held out as the test"
            )
        return load_folder(root.resolve())
    if whole:
        raise UserError(f"{said} holds no {name}: it is one split of {whole}. Give that folder.")
    inner = root / name
    return load_imagenet((inner if inner.is_dir() and not (root / "train").exists() else root).resolve())


def _divided_parent(root: Path) -> Path | None:
    """Returns the folder above one that is a split of it, such as c10 above c10/train; else None."""
    root = root.resolve()
    try:
        splits = find_splits(root.parent, ("test", *VALIDATION)) if root.is_dir() else None
    except (UserError, OSError):  # whatever is wrong with the folder above, it was not what was given
        return None
    return root.parent if splits and root in (splits.train, splits.test, *splits.validation) else None


def _inside(root: Path) -> str:
    """Returns what a folder holds, in a few words."""
    names = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    return f"Found in it: {', '.join(names[:6]) or 'nothing'}{', ...' if len(names) > 6 else ''}."


@dataclass(frozen=True)
class _Place:
    """A place that holds a data set of arrays.

    Attributes:
        source: the place, for people.
        kind: what a copy from there is called in the title.
        files: what it consists of, for the cache's key.
        read: reads the train and the test split.
        checked: whether `read` refuses all but the official data by itself.
    """

    source: str
    kind: str
    files: list[File]
    read: Callable[[], tuple[ArraySplit, ArraySplit]]
    checked: bool


def _find_official(official: Official, root: Path, said: str) -> _Place | None:
    """Finds a published data set as `_find_place` does.

    Raises:
        UserError: as there, or the place holds another one; the message names that and its presets.
    """
    other = next((known for known in OFFICIAL.values() if known is not official and _holds(known, root)), None)
    place = mistake = None
    try:
        if other is None or root.is_dir():  # any file would be taken for an archive
            place = _find_place(official, root)
    except UserError as error:
        mistake = error
    if place is None and other is not None:
        found = [name for name in preset_files.names() if preset_files.load_preset(name).data.dataset == other.name]
        raise UserError(
            f"{said} holds {other.name}, not {official.name}. Choose a preset of {other.name}: "
            f"--preset {', '.join(found[:3])}{' or another of --list' if len(found) > 3 else ''}."
        ) from mistake
    if mistake is not None:
        raise mistake
    return place


def _holds(official: Official, root: Path) -> bool:
    """Tells whether a place looks like a published data set, by names alone."""
    if root.is_file():
        return root.name in {form.file for form in official.archives}
    for form in official.archives:
        if (root / form.train[0]).is_file() or (root / form.folder).is_dir() or (root / form.file).is_file():
            return True
    try:
        splits = find_splits(root)
    except UserError:
        return False
    classes = {path.name for path in splits.train.iterdir() if path.is_dir()} if splits else set()
    return classes == set(official.class_names)


def _find_place(official: Official, root: Path) -> _Place | None:
    """Finds a data set in what the user gave: official files first, then an image folder."""
    if root.is_file():
        return _archive_place(official, root)
    roots = (root, root / official.name)
    for folder in roots:
        for form in official.archives:
            for unpacked in (folder, folder / form.folder):
                if (unpacked / form.train[0]).is_file():
                    names = [name for name in (*form.train, *form.test) if (unpacked / name).exists()]
                    return _Place(
                        source=f"official files {unpacked}",
                        kind="files",
                        files=[describe(unpacked / name) for name in names],
                        read=lambda form=form, unpacked=unpacked: read_folder(official, form, unpacked),
                        checked=True,
                    )
            if (folder / form.file).is_file():
                return _archive_place(official, folder / form.file)
    for folder in roots:
        if folder.is_dir() and (splits := find_splits(folder)):
            return _tree_place(official, folder, splits)
    return None


def _archive_place(official: Official, path: Path) -> _Place:
    return _Place(
        source=f"official archive {path}",
        kind="archive",
        files=[describe(path)],
        read=lambda: read_archive(official, path),
        checked=True,
    )


def _tree_place(official: Official, root: Path, splits: SplitFolders) -> _Place:
    import PIL

    for unused in splits.validation:
        logger.info(f"left out: {unused}, as validation is split off the training images of {official.name}")
    train, test = (scan(folder) for folder in (splits.train, splits.test))

    def read() -> tuple[ArraySplit, ArraySplit]:
        return tuple(read_arrays(tree, official.class_names, official.side) for tree in (train, test))

    for tree, folder in ((train, splits.train), (test, splits.test)):
        check_classes(tree, official.class_names, folder)
    files = [file for tree in (train, test) for class_files in tree.values() for file in class_files]
    decoder = File(f"Pillow {PIL.__version__}", 0, 0)  # another JPEG library may give other pixels
    return _Place(f"image folder {root}", "folder copy", [*files, decoder], read, checked=False)


def _load_unnamed(official: Official, folder: Path) -> Dataset:
    """Reads a data set that no place was given for: prepared by tensorflow-datasets, or downloaded by it now."""
    version = tfds.find(official.name)
    if version is None:
        logger.info(f"{official.name}: not prepared in {tfds.folder()}, downloading it with tensorflow-datasets")
        try:
            version = tfds.download(official)
        except UserError as error:
            raise UserError(
                f"{official.name} was not found: --data and RESNET_DATA are not set; "
                f"none is prepared by tensorflow-datasets in {tfds.folder()}; "
                f"and it could not be downloaded from {official.url} ({error}). {_help(official.name)}"
            ) from error
    place = _Place(
        source=f"tensorflow-datasets {version}",
        kind="tensorflow-datasets copy",
        files=tfds.files_of(version),
        read=lambda: tfds.read_arrays(version, official),
        checked=False,
    )
    return _load_place(official, place, folder)


def _load_place(official: Official, place: _Place, folder: Path) -> Dataset:
    """Reads a place, or takes what was read from it before from the cache."""
    name = official.name

    def build() -> Dataset:
        logger.info(f"{name}: reading {place.source} (once)")
        splits = place.read()
        known = place.checked or is_official(official, *splits)
        title = name if known else f"{name} ({place.kind}, not the official bytes)"
        dataset = _assemble(name, title, place.source, official.class_names, splits, known)
        return dataset if known else replace(dataset, shared=shared_images(*(split.images for split in splits)))

    # What decides whether a copy is official is part of the key: an entry from before it was known is not taken.
    by = "" if place.checked else f" {dict(official.sums)}{_COMPARED}"
    dataset = load_or_build(folder, name, key_of(f"{name} {place.source}{by}", place.files), build)
    report_shared_images(dataset)
    return dataset


def _assemble(
    name: str,
    title: str,
    source: str,
    class_names: tuple[str, ...],
    splits: tuple[ArraySplit, ArraySplit],
    official: bool,
) -> Dataset:
    """Puts a data set of arrays together: canonical order, fingerprint."""
    (train, train_hashes), (test, test_hashes) = map(canonical, splits)
    return Dataset(name, title, source, class_names, train, test, fingerprint(train_hashes, test_hashes), official)

"""Image folders: one folder for each class, its name the class's. Small sets are decoded, large ones stay on disk.

Either `train/<class>/*` beside `test/<class>/*`, and `val/<class>/*` for validation if there is one, their names in any
case; or `<class>/*` alone, of which a fixed fifth is then held out as the test split. Read are .jpg, .jpeg, .png, .bmp
and .webp (in any case); hidden files are ignored, and so are others, with a message.

A user's own photos are read upright, as their EXIF orientation says and as `predict.py` reads them. Published data sets
are read as they are stored, as everybody reads them.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from resnet_tf.datasets.cache import File
from resnet_tf.datasets.decode import BadImage, open_image, problem
from resnet_tf.datasets.shared_images import report_shared_files
from resnet_tf.datasets.splits import ArraySplit, Dataset, FileSplit, fingerprint
from resnet_tf.errors import UserError, unknown
from resnet_tf.format import plural, printable
from resnet_tf.log import logger

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
VALIDATION = ("val", "validation", "valid")  # what the folder of a validation split may be called
TEST_PART = 5  # one image in so many is held out where there is no test folder
_THREADS = 8  # hide the disk's latency while scanning and decoding
_NAMED = 3  # broken files that a message names

Tree = Mapping[str, list[File]]  # the image files of each class, both in the order of their names


def scan(folder: Path) -> Tree:
    """Lists the image files of every class folder in `folder`, with sizes and times; logs which others there are."""
    names = class_folders(folder)
    beside, _ = scan_files(folder) if folder.is_dir() else ([], None)
    if names and beside:
        logger.info(f"{folder}: {plural(len(beside), 'image')} outside any class folder ignored")
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(lambda name: scan_files(folder / name), names))
    others = sum((kinds for _, kinds in found), Counter())
    if others:
        kinds = [f"{count:,} {printable(kind)}" for kind, count in others.most_common(6)]
        listed = ", ".join([*kinds, *(["..."] if len(others) > 6 else [])])
        logger.info(f"{folder}: files that are not {', '.join(SUFFIXES)} are ignored: {listed}")
    return {name: files for name, (files, _) in zip(names, found, strict=True)}


def scan_files(folder: Path) -> tuple[list[File], Counter[str]]:
    """Lists the image files in one folder by name; also counts the other entries, hidden ones apart, by suffix."""
    files, others = [], Counter()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_symlink() and not os.path.exists(entry.path):
                others["broken link"] += 1
            elif entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                status = entry.stat()
                files.append(File(entry.path, status.st_size, status.st_mtime_ns))
            else:
                others["folder" if entry.is_dir() else os.path.splitext(entry.name)[1].lower() or "without suffix"] += 1
    return sorted(files), others


def class_folders(folder: Path) -> list[str]:
    """Returns the names of the folders in a folder that are not hidden, sorted; none where it is no folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


class SplitFolders(NamedTuple):
    """Where the splits of an image folder are; `validation`: every folder, but the test's, that is called like one."""

    train: Path
    test: Path
    validation: tuple[Path, ...] = ()


def find_splits(root: Path, test_names: tuple[str, ...] = ("test",)) -> SplitFolders | None:
    """Returns the folders of the splits, whose names are taken in any case, or None where `root` is not divided.

    A `train` folder that holds images instead of folders is a class like any other.

    Args:
        test_names: what the test split's folder may be called, the first that is there.

    Raises:
        UserError: only one of training and test is there, or one of them twice.
    """

    def called(*names: str) -> list[Path]:
        return sorted(root / name for name in os.listdir(root) if name.lower() in names and class_folders(root / name))

    train = _only_one(root, called("train"))
    test = next(filter(None, (_only_one(root, called(name)) for name in test_names)), None)
    if train and test:
        return SplitFolders(train, test, tuple(path for path in called(*VALIDATION) if path != test))
    if train or test:
        lacking = " or ".join(test_names) if train else "train"
        raise UserError(
            f"image folder {root} has {(train or test).name}/<class>/ folders but no {lacking}/<class>/ ones.",
            "image-folder-lacks-split",
        )
    return None


def _only_one(root: Path, found: Sequence[Path]) -> Path | None:
    """Returns the one folder found for a split, or None; raises UserError where there are two."""
    if len(found) > 1:
        both = " and ".join(f"{folder.name}/" for folder in found)
        raise UserError(
            f"image folder {root} must have one folder for a split. Received: {both}. Rename all but one.",
            "image-folder-ambiguous",
        )
    return found[0] if found else None


def check_classes(tree: Tree, class_names: Iterable[str], where: Path) -> None:
    """Raises UserError where a split's class folder is unknown, missing or empty; the message names it."""
    class_names = tuple(class_names)
    missing = ", ".join(repr(name) for name in class_names if name not in tree)
    hint = f"Missing: {missing}. Every class needs a folder with its name." if missing else ""
    for name in tree:
        if name not in class_names:
            raise unknown(f"class folder in {where}:", name, class_names, "data-wrong-classes", hint)
    if missing:
        raise UserError(f"image folder {where} lacks a class. {hint}", "data-wrong-classes")
    for name, files in tree.items():
        if not files:
            raise UserError(
                f"class folder {where / name} holds no image. Accepted are {', '.join(SUFFIXES)}.",
                "class-without-images",
            )


def _examples(tree: Tree, class_names: tuple[str, ...]) -> tuple[list[str], np.ndarray]:
    """Returns the paths and the labels, int32, of a split's files, class by class."""
    paths = [file.path for name in class_names for file in tree[name]]
    counts = [len(tree[name]) for name in class_names]
    return paths, np.repeat(np.arange(len(class_names), dtype=np.int32), counts)


def read_arrays(tree: Tree, class_names: tuple[str, ...], side: int) -> ArraySplit:
    """Decodes a split of equally sized images.

    Raises:
        UserError: a file that is no image, or not `side` pixels high and wide; the message names it.
    """
    paths, labels = _examples(tree, class_names)
    images = np.empty((len(paths), side, side, 3), np.uint8)
    with ThreadPoolExecutor(_THREADS) as pool:
        for index, image in enumerate(pool.map(lambda path: _decode(path, side), paths)):
            images[index] = image
            if (index + 1) % 10_000 == 0:
                logger.info(f"decoded {index + 1:,} of {len(paths):,} images")
    return ArraySplit(images, labels)


def _decode(path: str, side: int) -> np.ndarray:
    """Returns an image file's pixels, uint8 [side, side, 3]."""
    try:
        with open_image(path, upright=False) as image:
            if (image.width, image.height) != (side, side):
                raise UserError(
                    f"image file {path} must be {side}x{side} pixels. Received: {image.width}x{image.height}.",
                    "image-file-size",
                )
            return np.asarray(image.show([[]])[0])
    except BadImage as error:
        raise broken_files_error([(path, str(error))]) from error


def broken_files_error(broken: Sequence[tuple[str, str]]) -> UserError:
    """Returns the error for image files that cannot be read: (path, reason) of each; the first few are named."""
    named = "; ".join(f"{printable(path)} ({reason})" for path, reason in broken[:_NAMED])
    more = f"; and {len(broken) - _NAMED:,} more" if len(broken) > _NAMED else ""
    return UserError(
        f"image files must be whole JPEG, PNG, BMP or WebP images within the limits. Received: {named}{more}. Replace "
        "these files, or move them out of the data set; a run is resumed with the same files only.",
        "image-file-broken",
    )


def to_split(tree: Tree, class_names: tuple[str, ...], upright: bool = False) -> FileSplit:
    """Returns a tree's files as a split that stays on disk.

    Args:
        upright: a user's own photos, shown as they are meant to be seen; they are checked to be whole images by their
            beginnings and ends, which takes a tenth of a millisecond each.

    Raises:
        UserError: `upright`, and some files are no whole images.
    """
    paths, labels = _examples(tree, class_names)
    if upright:
        with ThreadPoolExecutor(_THREADS) as pool:
            broken = [(path, reason) for path, reason in zip(paths, pool.map(problem, paths), strict=True) if reason]
        if broken:
            raise broken_files_error(broken)
    return FileSplit(np.array(paths, dtype=object), labels, upright)


def fingerprint_of_files(train: Tree, test: Tree, validation: Tree | None = None) -> str:
    """Returns a fingerprint over class, file name and file size.

    It is weaker than that of arrays: the files are not read, so a change that keeps a file's size goes unseen.
    """

    def rows(tree: Tree) -> list[bytes]:
        named = [
            (f"{name}\0{os.path.basename(file.path)}", file.size) for name, files in tree.items() for file in files
        ]
        return [f"{place}\0{size}\n".encode("utf-8", "surrogateescape") for place, size in named]

    return fingerprint(rows(train), rows(test), rows(validation or {}))


def hold_out(tree: Tree) -> tuple[Tree, Tree]:
    """Splits a tree in training and test files, a fifth of each class (rounded, one at least) for the test.

    Those whose class and name have the lowest hashes are held out, so that adding a file moves few others across.

    Raises:
        UserError: a class with a single image.
    """
    train, test = {}, {}
    for name, files in tree.items():
        if len(files) < 2:
            raise UserError(
                f"class {name!r} needs two images or more, one of them for the test. Received: {len(files)}.",
                "class-too-small",
            )
        names = {file: f"{name}/{os.path.basename(file.path)}".encode("utf-8", "surrogateescape") for file in files}
        ranked = sorted(files, key=lambda file, names=names: hashlib.sha256(names[file]).digest())
        count = max(1, round(len(files) / TEST_PART))
        test[name], train[name] = sorted(ranked[:count]), sorted(ranked[count:])
    return train, test


def load_folder(root: Path) -> Dataset:
    """Reads any image folder as the data set "folder"; its class names are its folders', sorted.

    Images that stand in two splits are reported.

    Raises:
        UserError: fewer than two classes, a class missing from a split, a class without images, a file that is none.
    """
    folders = find_splits(root, ("test", *VALIDATION))
    if folders is None:
        tree = _scan_classes(root)
        check_classes(tree, tree, root)
        trees = dict(zip(("training", "test"), hold_out(tree), strict=True))
        title = "folder (a fifth held out as test)"
    else:
        trees, title = _scan_splits(root, folders)
    names = tuple(trees["training"])
    report_shared_files({split: [file for name in names for file in tree[name]] for split, tree in trees.items()})
    splits = {split: to_split(tree, names, upright=True) for split, tree in trees.items()}
    return Dataset(
        name="folder",
        title=title,
        source=f"image folder {root}",
        class_names=names,
        train=splits["training"],
        test=splits["test"],
        fingerprint=fingerprint_of_files(trees["training"], trees["test"], trees.get("validation")),
        official=False,
        validation=splits.get("validation"),
    )


def _scan_splits(root: Path, folders: SplitFolders) -> tuple[dict[str, Tree], str]:
    """Returns the files of "training", "validation" (if there is one) and "test", and the data set's title."""
    trees, title = {"training": _scan_classes(folders.train)}, "folder"
    check_classes(trees["training"], trees["training"], folders.train)
    instead = folders.test.name.lower() in VALIDATION  # of a test/ that is not there
    validation = _only_one(root, sorted([*folders.validation, *([folders.test] if instead else [])]))
    if validation is not None and not instead:
        trees["validation"] = scan(validation)
        check_classes(trees["validation"], trees["training"], validation)
        title = "folder (with a validation split of its own)"
        count = sum(map(len, trees["validation"].values()))
        logger.info(f"validation: the {count:,} images of {validation}; data.validation_size is not applied")
    trees["test"] = scan(folders.test)
    check_classes(trees["test"], trees["training"], folders.test)
    if instead:
        logger.info(f"{folders.test} is the test split, as no test/ is beside it; validation is split off train/")
    return trees, title


def _scan_classes(where: Path) -> Tree:
    tree = scan(where)
    if len(tree) < 2:
        found = ", ".join(tree) or "none"
        raise UserError(
            f"image folder {where} needs a folder for each of two classes or more. Received: {found}.",
            "too-few-classes",
        )
    return tree

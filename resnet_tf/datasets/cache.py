"""A cache of decoded data sets as .npy files: the first start decodes them, later ones map the files into memory."""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from resnet_tf.datasets.splits import ArraySplit, Dataset
from resnet_tf.errors import UserError
from resnet_tf.files import locked, sync_folder, write_atomically
from resnet_tf.log import logger

_FORM = 1  # increased when the stored files, or how a data set is read, change


class File(NamedTuple):
    """A file as cache keys and fingerprints know it: path, size in bytes, time of the last change in nanoseconds."""

    path: str
    size: int
    changed: int


def describe(path: str | os.PathLike) -> File:
    """Returns a file's path, size and time, without reading it."""
    status = os.stat(path)
    return File(str(path), status.st_size, status.st_mtime_ns)


def default_folder(given: str | os.PathLike | None = None) -> Path:
    """Returns the folder of the cache: `given`, else RESNET_CACHE, else ~/.cache/resnet_tf."""
    return expanded(given or os.environ.get("RESNET_CACHE") or "~/.cache/resnet_tf", "RESNET_CACHE")


def expanded(path: str | os.PathLike, variable: str) -> Path:
    """Returns a path with `~` replaced by the home folder.

    Raises:
        UserError: this user has none, as in some containers; the message names the variable to set instead.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(f"this user has no home folder. Set {variable} to a folder.", "home-missing") from None


def key_of(source: str, files: Iterable[File] = ()) -> str:
    """Returns a hex key, which depends on the source and on every file's path, size and time of change."""
    digest = hashlib.sha256(f"{_FORM}\0{source}\0".encode("utf-8", "surrogateescape"))
    for file in files:
        digest.update(f"{file.path}\0{file.size}\0{file.changed}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def load_or_build(folder: Path, name: str, key: str, build: Callable[[], Dataset]) -> Dataset:
    """Returns the cached data set, or builds it and caches it.

    Of several processes that start at once, one builds and the others wait for it. Where the cache cannot be written, a
    message is logged and the data set is built.

    Args:
        folder: the cache.
        name: the data set's name.
        key: see `key_of`.
        build: returns the data set, with ArraySplits.
    """
    entry = folder / f"{name}-{key[:20]}"
    cached = _open(entry)
    if cached is not None:
        return cached
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder / f".{name}.lock"))
        except OSError as error:
            logger.info(
                f"the cache {folder} cannot be written ({error.strerror or error}): the next start reads {name} again"
            )
            return build()
        cached = _open(entry)  # another process may have written it while this one waited
        if cached is not None:
            return cached
        dataset = build()
        try:
            _write(entry, dataset)
        except OSError as error:
            logger.info(
                f"{name} could not be cached in {folder} ({error.strerror or error}): the next start reads it again"
            )
            return dataset
        return _open(entry) or dataset


def _open(entry: Path) -> Dataset | None:
    """Returns the data set in a folder, with images mapped read-only; None if there is none or it is damaged."""
    try:
        about = json.loads((entry / "about.json").read_text(encoding="utf-8"))
        train, test = (
            ArraySplit(
                np.asarray(np.load(entry / f"{split}_images.npy", mmap_mode="r")),
                np.load(entry / f"{split}_labels.npy"),
            )
            for split in ("train", "test")
        )
        return Dataset(**about | {"class_names": tuple(about["class_names"])}, train=train, test=test)
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return None


def _write(entry: Path, dataset: Dataset) -> None:
    """Writes a data set to a temporary folder and renames that. The caller has the lock."""
    for leftover in entry.parent.glob(f".{entry.name}.*.tmp"):  # of a process that was killed: this one has the lock
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.rmtree(entry, ignore_errors=True)  # it exists only if it could not be opened
    temporary = entry.with_name(f".{entry.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir()
        for split in ("train", "test"):
            examples = getattr(dataset, split)
            _save(temporary / f"{split}_images.npy", examples.images)
            _save(temporary / f"{split}_labels.npy", examples.labels)
        keys = ("name", "title", "source", "class_names", "fingerprint", "official", "shared")
        about = {key: getattr(dataset, key) for key in keys}
        write_atomically(temporary / "about.json", json.dumps(about, indent=1))
        os.rename(temporary, entry)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_folder(entry.parent)


def _save(path: Path, values: np.ndarray) -> None:
    with open(path, "xb") as file:
        np.save(file, values)
        file.flush()
        os.fsync(file.fileno())

"""Decoded data sets kept as .npy files, so that only the first start decodes; later ones map the files into memory."""

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
from resnet_tf.files import locked, sync_folder, write_atomically
from resnet_tf.log import logger

_FORM = 1  # raised when what is stored, or how it is read, changes


class File(NamedTuple):
    """A file as the cache and fingerprints know it: path, size in bytes, time of the last change in nanoseconds."""

    path: str
    size: int
    changed: int


def describe(path: str | os.PathLike) -> File:
    """Returns what a file looks like from outside, without reading it."""
    status = os.stat(path)
    return File(str(path), status.st_size, status.st_mtime_ns)


def default_folder(given: str | os.PathLike | None = None) -> Path:
    """Returns where data sets are cached: what was given, else RESNET_CACHE, else ~/.cache/resnet_tf."""
    return Path(given or os.environ.get("RESNET_CACHE") or "~/.cache/resnet_tf").expanduser()


def key_of(source: str, files: Iterable[File] = ()) -> str:
    """Returns the hex key of what is read: another source, file, size or time of change is another key."""
    digest = hashlib.sha256(f"{_FORM}\0{source}\0".encode())
    for file in files:
        digest.update(f"{file.path}\0{file.size}\0{file.changed}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def load_or_build(folder: Path, name: str, key: str, build: Callable[[], Dataset]) -> Dataset:
    """Returns the cached data set, or builds it and caches it.

    Of several processes that start at once, one builds and the others wait for it. Where the cache cannot be written,
    that is said and done without.

    Args:
        folder: the cache.
        name: the data set's name.
        key: see `key_of`.
        build: makes the data set, with an ArraySplit for each split.
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
                f"the cache {folder} cannot be written ({error.strerror}): {name} will be read again at the next start"
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
                f"{name} could not be cached in {folder} ({error.strerror}): it will be read again at the next start"
            )
            return dataset
        return _open(entry) or dataset


def _open(entry: Path) -> Dataset | None:
    """Returns the data set stored in a folder, its images mapped read-only; None if there is none or it is spoilt."""
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
    """Writes a data set beside its place and renames it there. The caller holds the lock."""
    for left in entry.parent.glob(
        f".{entry.name}.*.tmp"
    ):  # by a process that was killed: the lock says nobody writes it
        shutil.rmtree(left, ignore_errors=True)
    shutil.rmtree(entry, ignore_errors=True)  # it is there only if it could not be opened
    aside = entry.with_name(f".{entry.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        aside.mkdir()
        for split in ("train", "test"):
            examples = getattr(dataset, split)
            _save(aside / f"{split}_images.npy", examples.images)
            _save(aside / f"{split}_labels.npy", examples.labels)
        about = {
            "name": dataset.name,
            "title": dataset.title,
            "source": dataset.source,
            "class_names": dataset.class_names,
            "fingerprint": dataset.fingerprint,
            "official": dataset.official,
            "shared": dataset.shared,
        }
        write_atomically(aside / "about.json", json.dumps(about, indent=1))
        os.rename(aside, entry)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    sync_folder(entry.parent)


def _save(path: Path, values: np.ndarray) -> None:
    with open(path, "xb") as file:
        np.save(file, values)
        file.flush()
        os.fsync(file.fileno())

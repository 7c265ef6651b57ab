"""Files that a kill, a full disk or a second writer cannot spoil: atomic writes, appended rows, locks, hashes."""

import contextlib
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def write_atomically(path: str | os.PathLike, content: bytes | str) -> None:
    """Replaces a file so that a reader, or a kill at any moment, meets the old content or the new, never a mix.

    Written beside the target, flushed to the disk, then renamed over it; the folder's entry is flushed last.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    aside = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with open(aside, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: str | os.PathLike) -> None:
    """Flushes a folder's entries, so that a rename inside it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_row(path: str | os.PathLike, row: dict) -> None:
    """Appends one JSON row with a single write, so that rows of many processes never mix.

    A torn last line, left by a writer that was killed, is closed first: it costs that row alone.
    """
    line = (json.dumps(row, allow_nan=False) + "\n").encode()
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        end = os.fstat(descriptor).st_size
        if end and os.pread(descriptor, 1, end - 1) != b"\n":
            line = b"\n" + line
        written = os.write(descriptor, line)
        if written != len(line):
            raise OSError(f"wrote {written} of {len(line)} bytes of a row to {path}")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_rows(path: str | os.PathLike) -> tuple[list[dict], int]:
    """Reads a file of JSON rows.

    Returns:
        The rows in order, and how many lines were unreadable (torn by a kill) and skipped. No file: no rows.
    """
    rows, torn = [], 0
    try:
        lines = Path(path).read_bytes().split(b"\n")
    except FileNotFoundError:
        return [], 0
    for line in lines:
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            torn += 1
    return rows, torn


@contextlib.contextmanager
def locked(path: str | os.PathLike, wait: bool = True) -> Iterator[None]:
    """Holds an exclusive lock on a folder, or on a file (made if missing); the kernel frees it when the process ends.

    Raises:
        BlockingIOError: `wait` is false and another process holds it.
    """
    flags = os.O_RDONLY if os.path.isdir(path) else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def sha256_of_file(path: str | os.PathLike) -> str:
    """Returns the SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pack_arrays(arrays: dict[str, "np.ndarray"]) -> bytes:
    """Returns arrays as the bytes of an .npz file, uncompressed."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def unpack_arrays(content: bytes) -> dict[str, "np.ndarray"]:
    """Returns the arrays in the bytes of an .npz file.

    Raises:
        ValueError, zipfile.BadZipFile: not such a file, or one that holds anything but plain arrays.
    """
    import numpy as np

    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def array_shapes(path: str | os.PathLike) -> dict[str, tuple[int, ...]]:
    """Returns name and shape of each array in an .npz file, from the headers: nothing of their size is allocated.

    Raises:
        ValueError, zipfile.BadZipFile: not such a file.
    """
    import zipfile

    from numpy.lib import format as npy

    shapes = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            with archive.open(member) as file:
                version = npy.read_magic(file)
                read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shapes[member.removesuffix(".npy")] = read(file)[0]
    return shapes

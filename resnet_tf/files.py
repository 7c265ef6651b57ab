"""Writes files safely against kills, full disks and second writers: atomic writes, appended rows, locks, hashes."""

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from resnet_tf.errors import UserError
from resnet_tf.format import printable

if TYPE_CHECKING:
    import numpy as np

MAX_ARRAYS = 20_000  # in a file that is read; ResNet-1202 has 6,000


class WriteError(OSError):
    """A file could not be written; the message says why and, on a full disk, how much space was needed."""


@contextlib.contextmanager
def writing(path: str | os.PathLike, size: int) -> Iterator[None]:
    """Turns an OSError while a file or folder of `size` bytes is written into a WriteError."""
    try:
        yield
    except OSError as error:
        if error.errno is None or isinstance(error, WriteError):
            raise
        reason, free = os.strerror(error.errno), ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            with contextlib.suppress(OSError):
                free = f", {shutil.disk_usage(Path(path).parent).free / 1e6:,.3f} MB free"
            reason += f" ({size / 1e6:,.3f} MB needed{free})"
        raise WriteError(error.errno, reason, os.fspath(path)) from error


def write_atomically(path: str | os.PathLike, content: bytes | str) -> None:
    """Replaces a file so that a reader, or a kill at any moment, finds the old content or the new, never a mix.

    The content goes to a temporary file and is flushed to the disk; the file is then renamed over the target.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    with writing(path, len(data)):
        try:
            write_synced(temporary, data)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def save(path: str | os.PathLike, content: bytes | str) -> None:
    """Writes a file where the user asked for it, whole or not at all; a pipe, device or link is written into.

    Raises:
        UserError: it cannot be written.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            path.write_bytes(data)  # a rename would put a file in place of /dev/stdout
        else:
            write_atomically(path, data)
    except OSError as error:
        raise UserError(f"cannot write {printable(str(path))!r}: {error.strerror}.", "cannot-write") from error


def check_folder(path: str | os.PathLike) -> None:
    """Raises UserError where a file could not be written for want of its folder: said before the work, not after it."""
    if not Path(path).resolve().parent.is_dir():
        raise UserError(f"The folder of {printable(str(path))!r} does not exist.", "folder-not-found")


def write_synced(path: str | os.PathLike, data: bytes) -> None:
    """Writes a new file and flushes it to the disk; its name is safe only when its folder is flushed too."""
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: str | os.PathLike) -> None:
    """Flushes a folder's entries, so that a rename inside it survives a power cut; Windows has no way to ask for it."""
    if os.name == "nt":
        return
    with _opened(folder, os.O_RDONLY) as descriptor:
        os.fsync(descriptor)


@contextlib.contextmanager
def _opened(path: str | os.PathLike, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)  # Windows translates ends of lines otherwise
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def append_row(path: str | os.PathLike, row: dict) -> None:
    """Appends one JSON row with a single write, so that rows of many processes never mix.

    If a killed writer left an incomplete last line, the row starts on a new one: only the incomplete row is lost.
    """
    line = (json.dumps(row, allow_nan=False) + "\n").encode()
    with writing(path, len(line)), _opened(path, os.O_RDWR | os.O_APPEND | os.O_CREAT) as descriptor:
        _lock(descriptor)
        end = os.fstat(descriptor).st_size
        if end:
            os.lseek(descriptor, end - 1, os.SEEK_SET)
            if os.read(descriptor, 1) != b"\n":
                line = b"\n" + line
        written = os.write(descriptor, line)
        if written != len(line):
            raise WriteError(errno.ENOSPC, f"wrote {written} of {len(line)} bytes of a row", os.fspath(path))
        os.fsync(descriptor)
        if not end:
            sync_folder(Path(path).parent)  # the file itself may be new


def read_rows(path: str | os.PathLike) -> tuple[list[dict], int]:
    """Reads a file of JSON rows.

    Returns:
        The rows in order, and how many lines were unreadable (torn by a kill) and skipped. No file: no rows.
    """
    try:
        lines = [line for line in Path(path).read_bytes().split(b"\n") if line.strip()]
    except FileNotFoundError:
        return [], 0
    rows = []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            if isinstance(row := json.loads(line), dict):
                rows.append(row)
    return rows, len(lines) - len(rows)


@contextlib.contextmanager
def locked(path: str | os.PathLike, wait: bool = True) -> Iterator[None]:
    """Holds an exclusive lock on a folder or a file (made if missing); the kernel frees it when the process ends.

    Raises:
        BlockingIOError: `wait` is false and another process holds it.
    """
    if os.path.isdir(path) and os.name == "nt":
        path = os.path.join(path, ".lock")  # Windows opens no folder
    flags = os.O_RDONLY if os.path.isdir(path) else os.O_RDWR | os.O_CREAT
    with contextlib.ExitStack() as stack:
        with writing(path, 0):
            descriptor = stack.enter_context(_opened(path, flags))
        _lock(descriptor, wait)
        yield


def _lock(descriptor: int, wait: bool = True) -> None:
    """Locks an opened file or folder for this process alone until it is closed."""
    from filelock import lock_descriptor  # here, since a listing writes nothing

    if not lock_descriptor(descriptor, blocking=wait, poll_interval=0.01):
        raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))


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


def unpack_arrays(content: bytes | BinaryIO) -> dict[str, "np.ndarray"]:
    """Returns the arrays in an .npz file, given as its bytes or opened.

    Raises:
        ValueError, zipfile.BadZipFile: not such a file, or it holds something else than plain arrays.
    """
    import numpy as np

    with np.load(io.BytesIO(content) if isinstance(content, bytes) else content, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def array_headers(file: BinaryIO) -> dict[str, tuple[tuple[int, ...], "np.dtype"]]:
    """Returns {name: (shape, dtype)} of the arrays in an opened .npz file, without reading the arrays.

    Raises:
        ValueError, zipfile.BadZipFile: not such a file, or one with two arrays of the same name.
    """
    import zipfile

    from numpy.lib import format as npy

    headers = {}
    with zipfile.ZipFile(file) as archive:
        if len(archive.namelist()) > MAX_ARRAYS:
            raise ValueError(f"it holds more than {MAX_ARRAYS:,} arrays")
        for member in archive.namelist():
            name = member.removesuffix(".npy")
            if name == member or name in headers:
                raise ValueError(f"{name} is not an array, or occurs twice")
            with archive.open(member) as content:
                version = npy.read_magic(content)
                read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, _, dtype = read(content)
                headers[name] = (shape, dtype)
    return headers

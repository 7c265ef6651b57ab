"""The user's own pictures: found by name, folder or pattern, and decoded in processes of their own."""

import contextlib
import glob
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnet_tf.errors import UserError
from resnet_tf.prediction import sandbox

# Only these files of a folder are photos. HEIC and AVIF are among them so that they get an error, not silence.
_IMAGE_NAME = re.compile(
    r".*\.(jpe?g|jpe|jfif|mpo|a?png|gif|bmp|dib|webp|tiff?|hei[cf]|avif)", re.IGNORECASE | re.DOTALL
)
_ROOT = str(Path(sandbox.__file__).parents[2])  # of the package, where the decoder finds it
_DECODER = """
import sys
sys.path.insert(0, sys.argv[1])  # PYTHONPATH would split a root that has a colon
from resnet_tf.prediction import sandbox
sandbox.serve(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], float(sys.argv[5]))
"""
_MAX_DECODERS = 4


@dataclass(frozen=True, eq=False)
class Photo:
    """One file the user named: pixels, or the reason why there are none.

    Attributes:
        error: one line; None for a good photo, and only then are the other fields set.
        width, height: of the upright photo, pixels.
        fitted: uint8 [crop, crop, 3], RGB: what the network is shown (see `sandbox.squared`).
        preview: uint8 [h, w, 3], RGB: the whole photo, its longest side at most `decode.PREVIEW`.
        activation: float32 [h, w] in 0..1, where in `fitted` the network saw the class put first; None before that.
    """

    path: Path
    error: str | None = None
    width: int | None = None
    height: int | None = None
    fitted: np.ndarray | None = None
    preview: np.ndarray | None = None
    activation: np.ndarray | None = None


def find(patterns: Sequence[str]) -> list[Path]:
    """Finds the photos that the user named, in the order named, the same file once.

    A folder stands for the image files in it and in its subfolders, sorted, hidden ones left out. A name that does
    not exist is tried as a glob pattern (`*`, `?`, `[...]`, `**`), its matches sorted. A file named by itself or by a
    pattern is taken whatever its extension. A name, pattern or folder without any photo stays in the list as it is,
    so that `load_all` gives it a row with the reason.

    Raises:
        UserError: nothing at all was found.
    """
    found = {}
    for pattern in patterns:
        for path in _expand(pattern):
            found.setdefault(os.path.realpath(path) if os.path.lexists(path) else os.fspath(path), path)
    if all(os.path.isdir(path) or not os.path.lexists(path) for path in found.values()):
        named = ", ".join(map(repr, patterns[:3])) + (", ..." if len(patterns) > 3 else "")
        hint = "Give files, folders or patterns such as 'photos/*.jpg'."
        raise UserError(f"no photo found. Received: {named or 'no names'}. {hint}", "photo-not-found")
    return list(found.values())


def _expand(pattern: str) -> list[Path]:
    """Returns the files that one name, folder or pattern stands for, or itself."""
    if os.path.isdir(pattern):
        return _images_in(pattern) or [Path(pattern)]
    if os.path.lexists(pattern):
        return [Path(pattern)]
    folder, name = os.path.split(pattern)
    if os.path.isdir(folder):  # its own brackets are no pattern
        pattern = os.path.join(glob.escape(folder), name)
    matches = sorted(glob.glob(pattern, recursive=True))
    return [path for match in matches for path in _expand(match)] or [Path(pattern)]


def _images_in(folder: str) -> list[Path]:
    """Returns the image files in a folder and its subfolders, sorted; a subfolder that may not be read as itself.

    Links to folders are followed, each folder once.
    """
    images, unread, seen = [], [], {os.path.realpath(folder)}
    for parent, folders, files in os.walk(folder, onerror=unread.append, followlinks=True):
        inner = {name: os.path.realpath(os.path.join(parent, name)) for name in folders if not name.startswith(".")}
        folders[:] = [name for name, place in inner.items() if not (place in seen or seen.add(place))]
        names = [name for name in files if not name.startswith(".") and _IMAGE_NAME.fullmatch(name)]
        images += [Path(parent, name) for name in names]
    return sorted(images + [Path(error.filename) for error in unread])


def load_all(
    paths: Iterable[str | os.PathLike], side: int, crop: int, frame: str = "crop", seconds: float = 5.0
) -> Iterator[Photo]:
    """Decodes photos apart from this process, one `Photo` for each path, in order.

    Up to four decoders (`sandbox.serve`), fresh Python processes without TensorFlow and NumPy, work in turn.
    One that crashes, or that takes more than `seconds` on a photo, costs that photo alone and is replaced.

    Args:
        side: to which a photo is resized, in pixels.
        crop: side of the square that the network is shown, in pixels.
        frame: how a photo becomes a square: one of `sandbox.FRAMES`, see `sandbox.squared`.
        seconds: limit of processor time for one photo.
    """
    paths = [Path(path) for path in paths]
    decoders = [
        _Decoder(side, crop, frame, seconds) for _ in range(min(len(paths), os.cpu_count() or 1, _MAX_DECODERS))
    ]
    try:
        for decoder, path in zip(decoders, paths, strict=False):
            decoder.ask(path)
        for i, path in enumerate(paths):
            decoder = decoders[i % len(decoders)]
            photo = decoder.answer(path)
            if i + len(decoders) < len(paths):
                decoder.ask(paths[i + len(decoders)])  # before the photo is handed out: decode while it is predicted
            yield photo
    finally:
        for decoder in decoders:
            decoder.stop()


class _Decoder:
    """A process that decodes one photo at a time, started when asked and again after it died."""

    def __init__(self, side: int, crop: int, frame: str, seconds: float):
        self._crop, self._seconds = crop, seconds
        self._arguments = [str(value) for value in (side, crop, frame, seconds)]
        self._process: subprocess.Popen | None = None

    def ask(self, path: Path) -> None:
        """Sends a path; `answer` must be called before the next."""
        if self._process is None:
            # Not multiprocessing: a fork would copy TensorFlow's locks, a spawn would import the caller's main script.
            command = [sys.executable, "-P", "-c", _DECODER, _ROOT, *self._arguments]
            pipe, null = subprocess.PIPE, subprocess.DEVNULL
            # Of numpy's threads one is enough: the idle ones would eat up the memory limit.
            variables = os.environ | {"OMP_NUM_THREADS": "1"}
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=null, env=variables)
        with contextlib.suppress(BrokenPipeError):  # it died since its last photo: `answer` will see that
            self._process.stdin.write(json.dumps(os.fspath(path)).encode() + b"\n")
            self._process.stdin.flush()

    def answer(self, path: Path) -> Photo:
        """Waits for the photo asked for."""
        try:
            header = json.loads(self._process.stdout.readline())
            if "error" in header:
                return Photo(path, error=header["error"])
            fitted = self._picture(self._crop, self._crop)
            return Photo(path, None, header["width"], header["height"], fitted, self._picture(*header["preview"]))
        except ValueError:  # a line or picture cut short: the decoder ended
            return Photo(path, error=self._cause_of_death())

    def _picture(self, width: int, height: int) -> np.ndarray:
        return np.frombuffer(self._process.stdout.read(width * height * 3), np.uint8).reshape(height, width, 3)

    def _cause_of_death(self) -> str:
        code = self._process.wait()
        self.stop()
        name = signal.Signals(-code).name if code < 0 else None  # Windows ends no process by a signal
        if name in ("SIGPROF", "SIGALRM"):
            return f"decoding took longer than {self._seconds:g} s"
        if name == "SIGKILL":
            return "the decoder was killed (out of memory?)"
        return f"the decoder {f'crashed ({name})' if name else f'failed (exit code {code})'}"

    def stop(self) -> None:
        """Ends the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            with contextlib.suppress(BrokenPipeError):
                self._process.communicate()
            self._process = None

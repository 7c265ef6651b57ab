"""The state of a training: saved whole or not at all, restored to the bit.

    state/000000703-5f1c/arrays.npz    weights, optimizer slots and metric accumulators, by name; no pickle
    state/000000703-5f1c/state.json    step, best score, schedule state, ...; SHA-256 of both

A folder is written under a name that starts with a dot, flushed to the disk, then renamed: what bears its final name is
whole. The two newest are kept, so that one damaged later still leaves one to continue from.
"""

import hashlib
import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from resnet_tf import files
from resnet_tf.errors import UserError

KEPT = 2


def save(folder: Path, step: int, arrays: dict[str, np.ndarray], values: dict) -> Path:
    """Saves a state and returns its folder.

    Args:
        folder: the run's state folder; made if missing.
        step: updates done; newer states have higher ones.
        arrays: what must come back to the bit.
        values: plain values that go into state.json.
    """
    folder.mkdir(exist_ok=True)
    name = f"{step:09d}-{secrets.token_hex(2)}"
    aside = folder / f".{name}"
    aside.mkdir()
    try:
        content = files.pack_arrays(arrays)
        _write(aside / "arrays.npz", content)
        state = {"step": step, "arrays_sha256": hashlib.sha256(content).hexdigest(), **values}
        _write(aside / "state.json", json.dumps({"sha256": _hash(state), "state": state}, indent=1).encode())
        files.sync_folder(aside)
        os.rename(aside, folder / name)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    files.sync_folder(folder)
    for old in _saved(folder)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    for left in folder.glob(".*"):
        # What a killed save left behind; this run's lock says that nobody is writing it.
        shutil.rmtree(left, ignore_errors=True)
    return folder / name


def load(folder: Path, say: Callable[[str], None]) -> tuple[dict[str, np.ndarray], dict] | None:
    """Loads the newest whole state: its arrays and values. None where nothing was saved yet.

    A damaged state is named with `say`, and the one before it taken.

    Raises:
        UserError: states are there, and every one is damaged.
    """
    damaged = []
    for saved in _saved(folder):
        try:
            return _read(saved)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            damaged.append(f"{saved} ({reason})")
            say(f"damaged state passed over: {damaged[-1]}")
    if damaged:
        raise UserError(f"to resume, one saved state must be whole. Received: {'; '.join(damaged)}.")
    return None


def _read(saved: Path) -> tuple[dict[str, np.ndarray], dict]:
    envelope = json.loads((saved / "state.json").read_bytes())
    state = envelope["state"]
    if envelope["sha256"] != _hash(state):
        raise ValueError("state.json does not match its checksum")
    content = (saved / "arrays.npz").read_bytes()
    if hashlib.sha256(content).hexdigest() != state["arrays_sha256"]:
        raise ValueError("arrays.npz does not match its checksum")
    return files.unpack_arrays(content), state


def _saved(folder: Path) -> list[Path]:
    """Returns the folders of whole states, newest first."""
    found = [path for path in folder.glob("[0-9]*-*") if path.is_dir()]
    return sorted(found, key=lambda path: (int(path.name.split("-")[0]), path.stat().st_mtime_ns), reverse=True)


def _hash(state: dict) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _write(path: Path, content: bytes) -> None:
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

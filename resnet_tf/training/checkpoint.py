"""Checkpoints of a training: saved whole or not at all, restored to the bit.

    state/000000703-0/arrays.npz    weights, running statistics and optimizer slots, by name; no pickle
    state/000000703-0/best.npz      the best weights so far, as in weights/best.npz; once there are any
    state/000000703-0/state.json    step, phase, log rows, best score, schedule state, versions; SHA-256 of all three

A folder is written under a name that starts with a dot, flushed to the disk, then renamed. The rename is what
publishes it, and it is atomic: what bears its final name is whole, and the highest step is the newest. (A separate
pointer to the newest would be one more file to be torn, stale, or to name a state that is not there.) The two newest
are kept, so that one damaged later still leaves one to continue from.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import numpy as np

from resnet_tf import files
from resnet_tf.errors import UserError
from resnet_tf.format import first_line
from resnet_tf.log import logger

MAX_STATES = 2


@dataclass
class Progress:
    """How far a training is: all of its state that is not in the network's and the optimizer's variables.

    Attributes:
        step: updates done.
        phase: the phase they belong to, counted from 1.
        rows: the log's rows, so that a spoilt log costs nothing.
        best_top1: highest validation top-1 so far, in percent.
        epoch_loss: sum over the images of the current epoch of their loss.
        epoch_correct: images of the current epoch that were classified correctly.
        epoch_seconds: training time of the current epoch, over stops and resumes.
        seconds: training time of the epochs before.
        watchers: state of each metric-driven rule of the schedule.
    """

    step: int = 0
    phase: int = 1
    rows: list[dict] = field(default_factory=list)
    best_top1: float | None = None
    epoch_loss: float = 0.0
    epoch_correct: int = 0
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    watchers: list[dict] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class State:
    """All that a training needs to go on.

    Attributes:
        progress: how far it is.
        arrays: the variables of `Step.variables`, by name; they must come back to the bit.
        best: content of the file of best weights; None where there is none yet.
        made_with: versions, device and backend, on which the last bits of a result depend.
    """

    progress: Progress
    arrays: dict[str, np.ndarray]
    best: bytes | None
    made_with: dict


def save(folder: Path, state: State) -> Path:
    """Saves a state and returns its folder.

    Args:
        folder: the run's state folder; made if missing.

    Raises:
        WriteError: it cannot be written; those saved before are as they were.
    """
    contents = {"arrays.npz": files.pack_arrays(state.arrays)}
    if state.best is not None:
        contents["best.npz"] = state.best
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    step = state.progress.step
    about = {"step": step, "files": hashes, "progress": asdict(state.progress), "made_with": state.made_with}
    envelope = {"sha256": _hash(about), "state": about}
    contents["state.json"] = json.dumps(envelope, indent=1, allow_nan=False).encode()
    with files.writing(folder, sum(map(len, contents.values()))):
        if not folder.exists():
            folder.mkdir()
            files.sync_folder(folder.parent)
        # A state of this very step is there only if it could not be read and could not be set aside either.
        name = f"{step:09d}-{len(list(folder.glob(f'{step:09d}-*')))}"
        aside = folder / f".{name}"
        shutil.rmtree(aside, ignore_errors=True)  # left by a save that was killed
        try:
            aside.mkdir()
            for file, content in contents.items():
                files.write_synced(aside / file, content)
            files.sync_folder(aside)
            os.rename(aside, folder / name)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        files.sync_folder(folder)
    _tidy(folder)
    return folder / name


def load(folder: Path) -> State | None:
    """Loads the newest whole state; None where nothing was saved yet.

    A damaged state is logged and set aside as damaged-..., and the one before it is taken.

    Raises:
        UserError: states are there, and every one is damaged; all are left as they are.
    """
    damaged = {}
    for saved in saved_states(folder):
        try:
            state = _read(saved)
        except MemoryError:
            raise
        except Exception as error:  # over a damaged file json, zipfile and numpy raise nearly anything
            damaged[saved] = first_line(error)
            logger.info(f"damaged state passed over: {saved} ({damaged[saved]})")
            continue
        for spoilt in damaged:
            # Out of the way of the states to come: it must not count as one of the two that are kept.
            with contextlib.suppress(OSError):
                os.rename(spoilt, spoilt.with_name(f"damaged-{spoilt.name}"))
        return state
    if damaged:
        told = "; ".join(f"{saved} ({reason})" for saved, reason in damaged.items())
        raise UserError(f"to resume, one saved state must be whole. Received: {told}.")
    return None


def saved_states(folder: Path) -> list[Path]:
    """Returns the folders of the saved states, newest first."""
    found = [path for path in folder.glob("*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: (step_of(path), path.name), reverse=True)


def step_of(saved: Path) -> int:
    """Returns how many updates were done when a state was saved."""
    return int(saved.name.partition("-")[0])


_NAME = re.compile(r"\d+-\w+")


def _read(saved: Path) -> State:
    envelope = json.loads((saved / "state.json").read_bytes())
    about = envelope["state"]
    if envelope["sha256"] != _hash(about):
        raise ValueError("state.json does not match its checksum")
    contents = {}
    for name, expected in about.pop("files").items():
        contents[name] = (saved / name).read_bytes()
        if hashlib.sha256(contents[name]).hexdigest() != expected:
            raise ValueError(f"{name} does not match its checksum")
    arrays, progress = files.unpack_arrays(contents["arrays.npz"]), Progress(**about["progress"])
    if "metric/0" in arrays:  # versions before 0.3 kept these sums as variables of Keras's metrics
        progress.epoch_loss, progress.epoch_correct = float(arrays["metric/0"]), int(arrays["metric/2"])
    return State(progress, arrays, contents.get("best.npz"), about["made_with"])


def _tidy(folder: Path) -> None:
    """Removes the states before the two newest, and what a killed save or removal left behind."""
    with contextlib.suppress(OSError):
        for old in saved_states(folder)[MAX_STATES:]:
            os.rename(old, folder / f".{old.name}")  # under its own name a state is whole, to its end too
        for left in folder.glob(".*"):
            # This run's lock says that nobody is writing it.
            shutil.rmtree(left, ignore_errors=True)


def _hash(about: dict) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def copy_of(variables: dict[str, keras.Variable]) -> dict[str, np.ndarray]:
    """Returns the value of each variable, by name."""
    return {name: np.array(variable) for name, variable in variables.items()}


def not_finite(variables: dict[str, keras.Variable]) -> tuple[str, float] | None:
    """Returns name and value of the first variable that holds infinity or NaN; None where all are finite."""
    for name, variable in variables.items():
        array = np.asarray(variable)
        if not np.isfinite(array).all():
            return name, float(array[~np.isfinite(array)][0])
    return None


def restore(variables: dict[str, keras.Variable], arrays: dict[str, np.ndarray]) -> None:
    """Assigns saved arrays to the variables of the same names.

    Raises:
        UserError: one is missing or has another shape or type, as it is of another network; nothing is assigned.
    """
    for name, variable in variables.items():
        kind = np.dtype(variable.dtype).kind  # of the step's number alone: TensorFlow counts in int64, JAX in int32
        fits = name in arrays and arrays[name].dtype in ((variable.dtype,) if kind == "f" else ("int32", "int64"))
        if not fits or arrays[name].shape != tuple(variable.shape):
            raise UserError(
                f"a state must be of the network and optimizer that the preset builds. Received: one whose {name} is "
                f"{'another' if name in arrays else 'missing'}."
            )
    for name, variable in variables.items():
        variable.assign(arrays[name])

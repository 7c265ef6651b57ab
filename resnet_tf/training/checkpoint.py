"""Checkpoints of a training: saved completely or not at all, restored bit for bit.

    state/000000703-0/arrays.npz    weights, running statistics, optimizer slots and averages, by name; no pickle
    state/000000703-0/best.npz      the best weights so far, as in weights/best.npz; once there are any
    state/000000703-0/state.json    step, phase, log rows, best score, schedule state, versions; SHA-256 of all three

A folder is written under a name that starts with a dot, flushed to the disk, then renamed. The rename publishes it and
is atomic: a folder with its final name is complete, and the highest step is the newest. (A separate pointer to the
newest could itself be torn or out of date.) While a run is trained the two newest are kept, in case one is damaged
later; a finished run keeps one, see `keep_newest`.
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

MAX_STATES = 2  # of a run that is trained


@dataclass
class Progress:
    """The state of a training, apart from the network's and the optimizer's variables. Its names are keys on disk.

    Attributes:
        step: updates done.
        phase: the phase they belong to, counted from 1.
        rows: the log's rows, from which a damaged log is restored.
        best_top1: highest validation top-1 so far, in percent.
        epoch_loss: sum of the losses of the current epoch's images.
        epoch_correct: images of the current epoch that were classified correctly.
        epoch_seconds: training time of the current epoch, over stops and resumes.
        seconds: training time of the epochs before.
        watchers: state of each metric rule of the schedule.
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
        arrays: the values of `Phase.variables`, by name.
        best: content of the file of best weights; None where there is none yet.
        made_with: versions, device and backend, on which the last bits of a result depend.
    """

    progress: Progress
    arrays: dict[str, np.ndarray]
    best: bytes | None
    made_with: dict


def save(folder: Path, state: State) -> Path:
    """Saves a state in a run's state folder, which is made if missing; returns the state's own folder.

    Raises:
        WriteError: it cannot be written; those saved before are as they were.
    """
    contents = {"arrays.npz": files.pack_arrays(state.arrays)}
    if state.best is not None:
        contents["best.npz"] = state.best
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    step = state.progress.step
    values = {"step": step, "files": hashes, "progress": asdict(state.progress), "made_with": state.made_with}
    contents["state.json"] = json.dumps({"sha256": _hash(values), "state": values}, indent=1, allow_nan=False).encode()
    with files.writing(folder, sum(map(len, contents.values()))):
        if not folder.exists():
            folder.mkdir()
            files.sync_folder(folder.parent)
        # A state of this very step exists only if it was damaged and could not be renamed.
        name = f"{step:09d}-{len(list(folder.glob(f'{step:09d}-*')))}"
        temporary = folder / f".{name}"
        shutil.rmtree(temporary, ignore_errors=True)  # left by a save that was killed
        try:
            temporary.mkdir()
            for file, content in contents.items():
                files.write_synced(temporary / file, content)
            files.sync_folder(temporary)
            os.rename(temporary, folder / name)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        files.sync_folder(folder)
    _remove_old(folder)
    return folder / name


def load(folder: Path) -> State | None:
    """Loads the newest undamaged state; returns None where nothing was saved yet.

    Damaged states are logged and renamed to damaged-..., so that they do not count among the two that are kept.

    Raises:
        UserError: every state is damaged; all are left as they are.
    """
    damaged = {}
    for saved in saved_states(folder):
        try:
            state = _read(saved)
        except MemoryError:
            raise
        except Exception as error:  # json, zipfile and numpy raise nearly anything over a damaged file
            damaged[saved] = first_line(error)
            logger.warning(f"damaged checkpoint ignored: {saved} ({damaged[saved]})")
            continue
        for path in damaged:
            with contextlib.suppress(OSError):
                os.rename(path, path.with_name(f"damaged-{path.name}"))
        return state
    if damaged:
        reasons = "; ".join(f"{saved} ({reason})" for saved, reason in damaged.items())
        raise UserError(f"No checkpoint is whole, so the run cannot be resumed: {reasons}.", "states-damaged")
    return None


def keep_newest(folder: Path, best: Path) -> None:
    """Removes all states of a finished run but the newest, from which the run can be made longer.

    All are kept if the newest is damaged. The best weights of the newest become a hard link to the run's file of them,
    where the file system has links. Only after the run's end: before it, damage to that file must not reach a state.

    Args:
        best: the run's file of best weights.
    """
    newest = next(iter(saved_states(folder)), None)
    if newest is None:
        return
    try:
        state = _read(newest)
    except Exception as error:  # as in `load`
        logger.warning(f"all checkpoints are kept, as the newest cannot be read: {newest} ({first_line(error)})")
        return
    _remove_old(folder, 1)
    with contextlib.suppress(OSError):
        own, link = newest / "best.npz", newest / ".best.npz"
        link.unlink(missing_ok=True)  # left by a kill
        # The rename would leave `link` where both names are of one file already.
        if state.best is not None and best.read_bytes() == state.best and not os.path.samefile(best, own):
            os.link(best, link)
            os.replace(link, own)


def discard(folder: Path) -> None:
    """Removes all states of a finished run, which can then not be made longer."""
    removed = folder.with_name(f".{folder.name}")
    shutil.rmtree(removed, ignore_errors=True)  # left by a kill
    try:
        os.rename(folder, removed)  # a state under its own name is complete, while it is removed too
        shutil.rmtree(removed)
    except FileNotFoundError:
        pass  # only the first of several processes saves states
    except OSError as error:
        logger.warning(f"the checkpoint could not be removed: {error.filename}: {error.strerror}")


def saved_states(folder: Path) -> list[Path]:
    """Returns the folders of the saved states, newest first."""
    states = [path for path in folder.glob("*") if re.fullmatch(r"\d+-\w+", path.name)]
    return sorted(states, key=lambda path: (step_of(path), path.name), reverse=True)


def step_of(saved: Path) -> int:
    """Returns how many updates were done when a state was saved."""
    return int(saved.name.partition("-")[0])


def _read(saved: Path) -> State:
    envelope = json.loads((saved / "state.json").read_bytes())
    values = envelope["state"]
    if envelope["sha256"] != _hash(values):
        raise ValueError("state.json does not match its checksum")
    contents = {}
    for name, expected in values.pop("files").items():
        contents[name] = (saved / name).read_bytes()
        if hashlib.sha256(contents[name]).hexdigest() != expected:
            raise ValueError(f"{name} does not match its checksum")
    arrays, progress = files.unpack_arrays(contents["arrays.npz"]), Progress(**values["progress"])
    if "metric/0" in arrays:  # versions before 0.3 kept these sums as variables of Keras's metrics
        progress.epoch_loss, progress.epoch_correct = float(arrays["metric/0"]), int(arrays["metric/2"])
    return State(progress, arrays, contents.get("best.npz"), values["made_with"])


def _remove_old(folder: Path, kept: int = MAX_STATES) -> None:
    """Removes the states before the newest ones, and what a killed save or removal left behind."""
    with contextlib.suppress(OSError):
        for old in saved_states(folder)[kept:]:
            os.rename(old, folder / f".{old.name}")  # a state under its own name is complete, while it is removed too
        for left in folder.glob(".*"):  # nobody else writes here: this process holds the run's lock
            shutil.rmtree(left, ignore_errors=True)


def _hash(values: dict) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


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
        UserError: one is missing or has another shape or type; nothing is assigned.
    """
    for name, variable in variables.items():
        is_float = np.dtype(variable.dtype).kind == "f"
        # The number of a step or of a layer's draw, which TensorFlow and JAX keep in different types.
        dtypes = (variable.dtype,) if is_float else ("int32", "int64", "uint32")
        array = arrays.get(name)
        if array is None or array.dtype not in dtypes or array.shape != tuple(variable.shape):
            raise UserError(
                "a checkpoint must be of the network and optimizer that the preset builds. Received: one whose "
                f"{name} is {'missing' if array is None else 'another'}.",
                "state-of-another-network",
            )
    for name, variable in variables.items():
        variable.assign(arrays[name])

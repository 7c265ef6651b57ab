"""A run on disk: a preset carried out, in one folder.

runs/<preset>/<utc>-s<seed>/
    preset.json     the recipe as it was carried out
    run.json        seed, data, versions, device, status
    log.jsonl       one row per epoch
    weights/        last.npz and best.npz; initial.npz where the training started from another run's weights
    state/          what `--resume` continues from; may be missing in a finished run
    tensorboard/    event files
    figures/        curves.png, and what eval.py draws
    predictions/, export/               written by eval.py and export.py
    result.json     of a pretrained run only: its published test result
"""

import json
import os
import shlex
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnet_tf import files, installation
from resnet_tf.errors import UserError, shown, unknown
from resnet_tf.presets import changes, preset_files, schema
from resnet_tf.presets.schema import Preset
from resnet_tf.runs.records import EvaluationRecord

RUNS = "runs"  # the folder of runs where none is named


def runs_option(runs: str | Path) -> str:
    """Returns what a command needs to find its runs in a folder: " --runs FOLDER", or nothing for the default one."""
    return "" if os.path.abspath(runs) == os.path.abspath(RUNS) else f" --runs {shlex.quote(str(runs))}"


def _path(*parts: str) -> property:
    """Returns a property: the path of a file or folder of the run."""
    return property(lambda run: run.folder.joinpath(*parts))


@dataclass(frozen=True)
class Run:
    """A run's folder and what its files say. A file is read once, and again only after it was replaced."""

    folder: Path
    _files: dict[str, tuple] = field(default_factory=dict, init=False, repr=False, compare=False)

    def _read(self, name: str, build: Callable[[dict], Any]) -> Any:
        path = self.folder / name
        try:
            status = path.stat()
        except OSError:
            return build(read_json(path))  # raises the error that names the file
        version = status.st_ino, status.st_mtime_ns, status.st_size
        if name not in self._files or self._files[name][0] != version:
            self._files[name] = version, build(read_json(path))
        return self._files[name][1]

    @property
    def name(self) -> str:
        """ "<preset>/<utc>-s<seed>", as people and ledger rows call it."""
        return f"{self._absolute.parent.name}/{self._absolute.name}"

    @property
    def as_argument(self) -> str:
        """What a suggested command calls it: its name, then --data and --runs where the training was given them."""
        name, data = shlex.quote(self.name), self.about.get("data_option")
        if self.pretrained:
            return name
        return name + (f" --data {shlex.quote(data)}" if data else "") + runs_option(self._absolute.parent.parent)

    @property
    def _absolute(self) -> Path:
        return Path(os.path.abspath(self.folder))  # "../B" is called after the folder it leads to

    @property
    def preset(self) -> Preset:
        return self._read("preset.json", preset_files.load_preset)

    @property
    def about(self) -> dict:
        """Seed, data, versions, device and status ("running", "stopped", "finished", "diverged").

        It is cached, so do not change it: `update` does.
        """
        return self._read("run.json", dict)

    @property
    def preset_file(self) -> Path | None:
        """The file that its preset came from, if it is still there."""
        path = self.about.get("preset_file")
        return Path(path) if path and Path(path).is_file() else None

    @property
    def pretrained(self) -> bool:
        """Whether it is a published run, or a copy of one."""
        return bool(self.about.get("pretrained"))

    @property
    def published(self) -> EvaluationRecord | None:
        """The test result that a pretrained run was published with; None for any other run."""
        return self._read("result.json", EvaluationRecord.from_row) if self.pretrained else None

    @property
    def rows(self) -> list[dict]:
        """The log: one row an epoch."""
        return [row for row in files.read_rows(self.log)[0] if "epoch" in row]

    @property
    def best_validation_top1(self) -> float | None:
        """The highest validation top-1 of an epoch, in percent; None where no images were held out."""
        return max((row["validation_top1"] for row in self.rows if "validation_top1" in row), default=None)

    log = _path("log.jsonl")
    last = _path("weights", "last.npz")
    best = _path("weights", "best.npz")
    initial = _path("weights", "initial.npz")
    state = _path("state")
    lock = _path("writer.lock")
    predictions = _path("predictions")
    figures = _path("figures")
    curves = _path("figures", "curves.png")
    tensorboard = _path("tensorboard")

    @property
    def progress(self) -> str:
        """How far it is, in words: "stopped, saved up to step 14 of 30"."""
        about = self.about
        saved = max((int(path.name.partition("-")[0]) for path in self.state.glob("[0-9]*-*")), default=0)
        return f"{about.get('status')}, saved up to step {saved:,} of {about.get('steps_planned', 0):,}"

    @property
    def validation_seen(self) -> int:
        """How many of its validation images the weights that it started from were, or may have been, trained on."""
        return (self.about.get("init") or {}).get("validation_seen", 0)

    def changes(self, against: Preset | None = None) -> dict[str, list]:
        """Returns where its training departs from a preset; default: its own preset, as that was when it began.

        `train.init` is shown as the name of the run that gave the initial weights, not as the path or preset in the
        recipe.
        """
        own = self.about.get("changed") or {}
        changed = changes.of_training(own if against is None else schema.changes(self.preset, against))
        if "train.init" in changed and "init" in self.about:
            changed["train.init"] = [self.about["init"]["run"], changed["train.init"][1]]
        return changed

    def weights(self, which: str) -> Path:
        """Returns the file of its "last" or its "best" weights.

        Raises:
            UserError: there are no such weights, or they are missing, as the run is not finished.
        """
        known = {"last": self.last, "best": self.best}
        if which not in known:
            raise unknown("weights", which, known, "weights-unknown")
        path, status = known[which], self.about.get("status")
        # A finished run that is being made longer has the last weights of its shorter self until it is finished again.
        ready = path.exists() if which == "best" else status == "finished"
        if ready:
            return path
        if status == "finished":
            raise UserError(
                f"best weights are those of the highest validation accuracy. Received: {self.name}, which has only "
                "its last weights: it saw no validation images, or was published without the best.",
                "no-best-weights",
            )
        finish = f"{installation.call('train')} --resume {self.as_argument}"
        remedies = [] if status == "diverged" else [f"finish it with {finish}"]
        if self.best.exists():
            remedies.append("take its best weights, with eval, predict or export and --weights best")
        remedy = f": {', or '.join(remedies)}" if remedies else ""
        raise UserError(
            f"Run {self.name} has no {which} weights yet; it is {self.progress}{remedy}.",
            "run-unfinished",
        )

    def scored_as(self, which: str) -> str:
        """Returns what results call its "last" or "best" weights: "last-recalibrated" where they are recalibrated."""
        return which + "-recalibrated" * (which == "last" and bool(self.about.get("recalibrated")))

    def calibration(self, which: str, view: str) -> dict | None:
        """Returns what the validation images say of the probabilities of its weights; None before that.

        See `scoring.diagnosis.Diagnosis.calibrated`. What was measured before the run was trained on does not count,
        nor what was measured during a training.

        Args:
            which: as results call them, see `scored_as`.
        """
        stored = (self.about.get("calibration") or {}).get(f"{view}-{which}")
        step = self.about.get("step")
        return stored if stored and step is not None and stored["trained"] == step else None

    def write_preset(self, preset: Preset) -> None:
        """Writes the recipe, without the results, which belong to the preset's own file."""
        values = {**schema.to_dict(preset), "results": []}
        files.write_atomically(self.folder / "preset.json", preset_files.format_json(values))

    def update(self, **values) -> None:
        """Writes values into run.json, atomically, and keeps what other processes write there."""
        self._change(lambda about: {**about, **values})

    def add_calibration(self, which: str, view: str, calibration: dict) -> None:
        """Adds to run.json what `calibration` returns; see there for the arguments."""
        added = {f"{view}-{which}": calibration}
        self._change(lambda about: {**about, "calibration": {**(about.get("calibration") or {}), **added}})

    def _change(self, changed: Callable[[dict], dict]) -> None:
        path = self.folder / "run.json"
        with files.locked(self.folder):
            known = self.about if path.exists() else {}
            files.write_atomically(path, json.dumps(changed(known), indent=2) + "\n")

    def forget_predictions(self) -> None:
        """Removes the predictions that `eval.py` stored: they are those of earlier weights."""
        shutil.rmtree(self.predictions, ignore_errors=True)


def create_run(preset: Preset, seed: int, runs: str | Path, initial: bytes | None = None, **about) -> Run:
    """Makes the folder of a new run.

    Args:
        initial: the weight file that the training starts from; None: random weights.
        about: further values for run.json.

    Raises:
        UserError: the folder cannot be made.
    """
    parent = Path(runs) / preset.name
    moment = time.gmtime()
    stamp = time.strftime("%Y%m%dT%H%M%SZ", moment)
    for attempt in range(100):
        folder = parent / (f"{stamp}-s{seed}" + (f"-{attempt + 1}" if attempt else ""))
        try:
            (folder / "weights").mkdir(parents=True)
            break
        except FileExistsError:
            continue
        except OSError as error:
            raise not_writable("a run", folder, error) from error
    else:
        raise UserError(
            f"There are a hundred runs of this second already: {folder}. Try again.",
            "folder-not-writable",
        )
    run = Run(folder)
    try:
        run.write_preset(preset)
        if initial is not None:
            files.write_atomically(run.initial, initial)
        # Last: with run.json the folder is a run, which can be resumed.
        run.update(seed=seed, status="running", started=time.strftime("%Y-%m-%dT%H:%M:%SZ", moment), **about)
        for above in (parent, parent.parent):
            files.sync_folder(above)  # the entries of the new folders
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise not_writable("a run", folder, error) from error
    return run


def trained_with(about: dict, what: str) -> str | None:
    """Returns every "device" or "backend" that a run was trained with, in order: "CPU A, then CPU B".

    Args:
        about: `Run.about`.
    """
    known = [each.get(what) for each in (*(about.get("earlier") or ()), about)]
    return ", then ".join(dict.fromkeys(filter(None, known))) or None


def not_writable(what: str, folder: Path, error: OSError) -> UserError:
    """Returns the error for a folder that cannot be made or written to."""
    return UserError(f"The folder of {what} cannot be written to: {folder}: {error.strerror}.", "folder-not-writable")


def read_json(path: Path) -> dict:
    """Reads one of a run's JSON files.

    Raises:
        UserError: missing, or not a JSON object.
    """
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}.", "run-unreadable") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold a JSON object. Received: {shown(values)}.", "run-unreadable")
    return values

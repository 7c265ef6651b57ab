"""A run on disk: a preset carried out, in one folder.

runs/<preset>/<utc>-s<seed>/
    preset.json     the recipe as it was carried out
    run.json        seed, data, versions, device, status
    log.jsonl       a row an epoch
    weights/        last.npz and best.npz
    state/          what `--resume` continues from
    tensorboard/    event files
    predictions/, figures/, export/     what eval.py and export.py leave

Runs that come with the project are such folders too, with what predicting and scoring needs: presets/weights/.
"""

import contextlib
import glob
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from resnet_tf import files
from resnet_tf.errors import UserError, shown
from resnet_tf.format import printable
from resnet_tf.log import logger
from resnet_tf.presets import preset_files, schema
from resnet_tf.presets.schema import Preset
from resnet_tf.runs import ledger

RUNS = "runs"  # the folder of runs where none is named
BUILT_IN = "shapes10"  # the data set that the package draws; a photo shows nothing of its classes
SHIPPED = preset_files.PRESETS_FOLDER / "weights"


@dataclass(frozen=True)
class Run:
    """A run's folder and what its files say."""

    folder: Path

    @property
    def name(self) -> str:
        """ "<preset>/<utc>-s<seed>", as people and ledger rows call it."""
        folder = Path(os.path.normpath(self.folder.absolute()))  # "../B" is called after what it leads to
        return f"{folder.parent.name}/{folder.name}"

    @property
    def preset(self) -> Preset:
        return preset_files.load_preset(read_json(self.folder / "preset.json"))

    @property
    def about(self) -> dict:
        """Seed, data, versions, device and status ("running", "stopped", "finished", "diverged")."""
        return read_json(self.folder / "run.json")

    @property
    def preset_file(self) -> Path | None:
        """The file its preset came from, if it came from one that is still there."""
        path = self.about.get("preset_file")
        return Path(path) if path and Path(path).is_file() else None

    @property
    def shipped(self) -> dict | None:
        """Of a run that comes with the project the ledger row measured with its weights; None for any other."""
        path = self.folder / "result.json"
        return read_json(path) if path.exists() else None

    @property
    def rows(self) -> list[dict]:
        """The log: one row an epoch."""
        return files.read_rows(self.log)[0]

    @property
    def log(self) -> Path:
        return self.folder / "log.jsonl"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions"

    @property
    def tensorboard(self) -> Path:
        return self.folder / "tensorboard"

    @property
    def lock(self) -> Path:
        return self.folder / "writer.lock"

    @property
    def last(self) -> Path:
        return self.folder / "weights" / "last.npz"

    @property
    def best(self) -> Path:
        return self.folder / "weights" / "best.npz"

    @property
    def standing(self) -> str:
        """How far it is, in words: "stopped, saved up to step 14 of 30"."""
        about = self.about
        saved = max((int(path.name.partition("-")[0]) for path in self.state.glob("[0-9]*-*")), default=0)
        return f"{about.get('status')}, saved up to step {saved:,} of {about.get('steps_planned', 0):,}"

    def weights(self, which: str) -> Path:
        """Returns the file of its "last" or its "best" weights.

        Raises:
            UserError: it is not there, as the run is not finished.
        """
        path = {"last": self.last, "best": self.best}[which]
        status = self.about.get("status")
        if path.exists() or status == "finished":
            return path
        ways = [] if status == "diverged" else [f"finish it with python train.py --resume {self.name}"]
        ways += ["take --weights best"] if self.best.exists() else []
        ending = f": {', or '.join(ways)}" if ways else ""
        raise UserError(
            f"a run has its {which} weights once it is finished. Received: {self.name}, {self.standing}{ending}."
        )

    def scored_as(self, which: str) -> str:
        """Returns what results call its "last" or "best" weights: "last-recalibrated" where they were mended."""
        return which + "-recalibrated" * (which == "last" and bool(self.about.get("recalibrated")))

    def extras(self, runs: str | Path) -> Path:
        """Returns where figures and exports go: into the run, or among `runs` where its own folder is the project's."""
        return self.folder if self.shipped is None else Path(runs) / self.name

    def write_preset(self, preset: Preset) -> None:
        """Writes the recipe, without the results, which belong to the preset's own file."""
        values = {**schema.to_dict(preset), "results": []}
        files.write_atomically(self.folder / "preset.json", preset_files.format_json(values))

    def update(self, **values) -> None:
        """Writes values into run.json, atomically."""
        path = self.folder / "run.json"
        known = read_json(path) if path.exists() else {}
        files.write_atomically(path, json.dumps({**known, **values}, indent=2) + "\n")


def create(preset: Preset, seed: int, runs: str | Path, **about) -> Run:
    """Makes the folder of a new run.

    Raises:
        UserError: the folder cannot be made.
    """
    parent = Path(runs) / preset.name
    moment = time.gmtime()
    for attempt in range(100):
        stamp = time.strftime("%Y%m%dT%H%M%SZ", moment)
        folder = parent / (f"{stamp}-s{seed}" + (f"-{attempt + 1}" if attempt else ""))
        try:
            (folder / "weights").mkdir(parents=True)
            break
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"a run needs a folder it can write to. Received: {folder}: {error.strerror}.") from error
    else:
        raise UserError(f"a run needs a folder of its own. Received: {folder}, which is the hundredth of this second.")
    run = Run(folder)
    try:
        run.write_preset(preset)
        run.update(seed=seed, status="running", started=time.strftime("%Y-%m-%dT%H:%M:%SZ", moment), **about)
        for above in (parent, parent.parent):
            files.sync_folder(above)  # the entries of the new folders
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise UserError(f"a run needs a folder it can write to. Received: {folder}: {error.strerror}.") from error
    return run


def find(name: str, runs: str | Path, shipped: bool = False) -> Run:
    """Returns the run of that name ("4/20261122T053000Z-s0") or path.

    Args:
        shipped: look among the runs that come with the project too; not for what writes into a run.

    Raises:
        UserError: there is none.
    """
    for folder in (Path(runs) / name, Path(name), *([SHIPPED / name] if shipped else [])):
        if os.path.isfile(folder / "run.json"):
            return Run(folder)
    known = [run.name for run in every(runs)]
    raise UserError(
        f"a run must exist. Received: {shown(name)}, not found in {runs}. "
        + (f"Newest there: {', '.join(known[-3:])}." if known else "There are no runs there yet.")
    )


def choose(preset: str | None, run: str | None, runs: str | Path, use: str) -> Run:
    """Returns the run named, or the best finished one; says which it is, why, and how accurate.

    Of a preset's runs the best is, among those of its own recipe and whole length, the one with the highest validation
    top-1 of its last epoch, and of equal ones the newest. Where there is none, the pretrained run that comes with the
    project takes its place, and where there is none of these either, the best of the trials by the same figure. The
    test split decides nothing.

    Where no preset is named, the newest finished run says of which preset, those on built-in images apart: they answer
    only where there is nothing else, pretrained runs included.

    Args:
        preset: name or path.
        use: what the run is to do ("evaluate", "predict"), for the message when there is none.

    Raises:
        UserError: there is none, the folder does not exist, or the run named is of another preset than the one named.
    """
    written = None if preset is None else preset_files.load_preset(preset)
    name = None if written is None else written.name
    if run is not None:
        found = find(run, runs, shipped=True)
        if name not in (None, found.preset.name):
            raise UserError(f"a run must be of the preset named with it, {name}. Received: {found.name}.")
        return _introduced(found, "as named", runs)
    check_folder(runs)
    whole, trials, pretrained = _candidates(runs, written)
    if whole or (trials and not pretrained):
        return _introduced(*_best(whole, trials), runs)
    if pretrained:
        lack = "finished run of its recipe" if trials or name else "finished run on images other than built-in ones"
        best = max(pretrained, key=lambda run: run.shipped["top1"])
        return _introduced(best, f"pretrained, as {runs} holds no {lack}", runs)
    needed = f"to {use}, a finished run is needed: train one with python train.py --preset {preset or 'demo'}."
    raise UserError(
        f"{needed}{_other_ways(name, runs)} Received: no such run {f'of preset {name!r} ' if name else ''}in {runs}."
    )


def _other_ways(preset: str | None, runs: str | Path) -> str:
    """Returns what there is besides training anew: an unfinished run of a preset, and weights of other presets."""
    ways, unfinished = "", None
    with contextlib.suppress(UserError):  # of runs that cannot be read others tell
        unfinished = latest(runs, preset, ("running", "stopped"))
    if unfinished is not None:
        ways += f" Or finish {unfinished.name} ({unfinished.standing}): python train.py --resume {unfinished.name}."
    # Of the preset itself they are not, if there are any, as its recipe is another now.
    if others := sorted({run.preset.name for run in every(SHIPPED)} - {preset}):
        ways += f" Published weights exist for {', '.join(others)}: --preset {others[0]}."
    return ways


def _candidates(runs: str | Path, written: Preset | None) -> tuple[list[Run], ...]:
    """Returns, each oldest first, the finished runs of one preset's own recipe, its trials, and pretrained runs.

    Where no preset is given it is that of the newest run on other than built-in images, which count only where there is
    nothing else.
    """
    name = written and written.name
    readable_runs = readable(every(runs, name), lambda run: (run.about, run.preset))
    own = [run for run in readable_runs if run.about.get("status") == "finished"]
    pretrained = [run for run in every(SHIPPED, name) if not _changes(run, written)]
    if written is None:
        own = [run for run in own if run.preset.data.dataset != BUILT_IN] or own * (not pretrained)
        own = [run for run in own if run.folder.parent == own[-1].folder.parent]
        pretrained = [run for run in pretrained if not own or run.folder.parent.name == own[-1].folder.parent.name]
    whole = [run for run in own if not _changes(run, written)]
    return whole, [run for run in own if run not in whole], pretrained


def _changes(run: Run, written: Preset | None = None) -> dict:
    """Returns where a run departs from its preset: as that is now, or where it is not given, as it was then."""
    return run.about.get("changed") or {} if written is None else ledger.training_changes(run.preset, written)


def _best(whole: Sequence[Run], trials: Sequence[Run]) -> tuple[Run, str]:
    """Returns the best run, of those with a changed recipe where there is no other, and why it is."""
    among = whole or trials
    known = {run: top1 for run in among if (top1 := _validation(run)) is not None}
    found = max(known, key=lambda run: (known[run], _age(run))) if known else among[-1]
    rank = f"the {'best' if known else 'newest'} of {len(among)}" if len(among) > 1 else "the only"
    why = f"{rank} finished run{'s' * (len(among) > 1)} of preset {found.folder.parent.name}"
    if not whole:
        why += ", none with the preset's own recipe"
    elif trials:
        why += f", leaving out {len(trials)} with a changed recipe"
    return found, why


def _validation(run: Run) -> float | None:
    """Returns the validation top-1 of a run's last weights, in percent: of the last epoch, if they were not mended."""
    about, last = run.about, run.shipped
    if last is None:
        mended = about.get("recalibrated_top1")
        last = about.get("last") if mended is None else {"validation_top1": mended}
    top1 = last.get("validation_top1") if isinstance(last, dict) else None
    return top1 if isinstance(top1, int | float) else None


def _introduced(run: Run, why: str, runs: str | Path) -> Run:
    """Says which run answers, why, and how accurate it is."""
    validation = _validation(run)
    test = run.shipped or test_row(run, runs) or next(iter(_test_rows(run, runs)), None)
    known = [] if validation is None else [f"validation {validation:.2f} %"]
    if test is not None:
        known.append(f"test {test['top1']:.2f} % ({test['view']}, {test['weights']} weights)")
    changed = ", ".join(_changes(run))
    accuracy = ", ".join(known) or "not scored yet"
    logger.info(printable(f"run {run.name}, {why}{f' (another {changed})' if changed else ''}: {accuracy}"))
    return run


def test_row(run: Run, runs: str | Path) -> dict | None:
    """Returns a run's latest test row by its preset's own protocol; None where there is none of its whole length."""
    own = run.preset.in_phases[-1].evaluation
    protocol = own.view, run.scored_as(own.weights)
    return next((row for row in _test_rows(run, runs) if (row["view"], row["weights"]) == protocol), None)


def _test_rows(run: Run, runs: str | Path) -> list[dict]:
    """Returns the test rows of a run at its present length, newest first, by whatever protocol."""
    wanted = {"run": run.name, "split": "test", "same_data_as_training": True}
    wanted["steps_planned"] = run.about.get("steps_planned")
    rows = [row for row in files.read_rows(Path(runs) / ledger.EVALUATED)[0] if wanted.items() <= row.items()]
    return [row for row in reversed(rows) if row.keys() >= {"top1", "view", "weights"}]


def check_folder(runs: str | Path) -> None:
    """Raises UserError where a folder of runs was named that is none: a slip, which nothing must hide."""
    if str(runs) != RUNS and not os.path.isdir(runs):
        raise UserError(f"a folder of runs must exist. Received: --runs {shown(str(runs))}, which is no folder.")


def every(runs: str | Path, preset: str | None = None) -> list[Run]:
    """Returns the runs in a folder, oldest first; of one preset where it is named."""
    found = [Run(path.parent) for path in Path(runs).glob(f"{glob.escape(preset) if preset else '*'}/*/run.json")]
    return sorted(found, key=_age)


def _age(run: Run) -> tuple[str, str]:
    """Returns what runs are sorted by, oldest first."""
    return run.folder.name, run.folder.parent.name


def readable(runs: Sequence[Run], read: Callable[[Run], object] = lambda run: run.about) -> list[Run]:
    """Returns the runs of which something can be read, run.json where nothing else is said; names each other one."""
    found = []
    for run in runs:
        try:
            read(run)
            found.append(run)
        except UserError as error:
            logger.info(printable(f"passed over: {run.name}: {error}"))
    return found


def latest(runs: str | Path, preset: str | None, statuses: tuple[str, ...]) -> Run | None:
    """Returns the newest run that has one of the statuses, of one preset where it is named; None where there is none.

    Raises:
        UserError: a newer run cannot be read.
    """
    return next((run for run in reversed(every(runs, preset)) if run.about.get("status") in statuses), None)


def read_json(path: Path) -> dict:
    """Reads one of a run's JSON files.

    Raises:
        UserError: missing, or not a JSON object.
    """
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"a run's file must be readable. Received: {path}: {error}.") from error
    if not isinstance(values, dict):
        raise UserError(f"a run's file must hold a JSON object. Received: {path}: {shown(values)}.")
    return values

"""The trials of a sweep: which there are, where each stands, and bringing one to its end. Nothing here knows of Ray.

All that is known of a trial lies in the folder of runs, so a sweep that is started again finds what is done.
"""

import itertools
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from resnet_tf.datasets import sources
from resnet_tf.errors import UserError, shown
from resnet_tf.presets import overrides, preset_files
from resnet_tf.presets.schema import Preset
from resnet_tf.runs import run_folder
from resnet_tf.runs.run_folder import Run, test_row


@dataclass(frozen=True)
class Trial:
    """One training of a sweep. Its preset's file is read once: what it becomes meanwhile is of no concern.

    Attributes:
        preset_file: where its preset came from.
        seed: of weights, order and augmentation.
        settings: "key=value", as `train.py --set` takes them.
        recipe: the preset with these settings.
    """

    preset_file: Path
    seed: int
    settings: tuple[str, ...]
    recipe: Preset

    @classmethod
    def of(cls, preset_file: str | Path, seed: int, settings: Sequence[str] = ()) -> "Trial":
        """Reads a preset's file and returns the trial of it.

        Raises:
            UserError: it cannot be read, or a setting does not fit it.
        """
        written = preset_files.load_preset(Path(preset_file))
        recipe = overrides.apply_settings(written, list(settings))
        return cls(Path(preset_file), seed, tuple(settings), recipe)

    def __str__(self) -> str:
        return " ".join((self.title, f"seed {self.seed}"))

    @property
    def title(self) -> str:
        """Its recipe in words, without the seed."""
        return " ".join((self.recipe.name, *self.settings))


@dataclass
class Outcome:
    """What became of a trial.

    Attributes:
        fingerprint: of the images that it is trained and tested on.
        status: "waiting" (or under way), "finished" (its test row is in the ledger), "diverged", "stopped", "failed".
        run: name of its run, where there is one.
        tries: how often it was started in this sweep.
        error: the line that its last failure left.
    """

    trial: Trial
    fingerprint: str
    status: str = "waiting"
    run: str | None = None
    tries: int = 0
    error: str = ""

    def look(self, runs: str | Path) -> None:
        """Takes up what the folder of runs says of a trial that is neither under way nor given up."""
        run = run_of(self.trial, runs, self.fingerprint)
        if run is not None:
            self.run = run.name
            if is_over(run, runs):
                self.status = run.about["status"]

    def cells(self, runs: str | Path) -> list[str]:
        """Returns the trial, its status, the epochs its run has done, the last validation top-1, and the run."""
        run = Run(Path(runs) / self.run) if self.run else run_of(self.trial, runs, self.fingerprint)
        self.run = run.name if run else None  # once known, its own files are all that is read
        rows = run.rows if run else []
        under_way = self.status == "waiting" and run is not None and run.about["status"] == "running"
        status = "running" if under_way else self.status
        top1 = rows[-1].get("validation_top1") if rows else None
        done = str(rows[-1]["epoch"]) if rows else ""
        return [str(self.trial), status, done, "" if top1 is None else f"{top1:.2f} %", run.name if run else ""]


def trials(names: Sequence[str], seeds: Sequence[int], settings: Sequence[str], varied: Sequence[str]) -> list[Trial]:
    """Returns every combination of presets, seeds and values.

    Args:
        names: of presets, or paths; one given twice counts once, as does a seed.
        settings: "key=value", for all trials.
        varied: "key=[value, value]", JSON lists; one trial for each value.

    Raises:
        UserError: no list of values, a setting that does not fit a preset, or a recipe twice.
    """
    choices = []
    for setting in varied:
        key, equals, text = setting.partition("=")
        try:
            values = json.loads(text)
        except ValueError:
            values = None
        if not equals or not isinstance(values, list) or not values:
            raise UserError(f"--vary takes key=[value, value]. Received: {shown(setting)}.")
        choices.append([f"{key}={json.dumps(value)}" for value in values])
    paths = list(dict.fromkeys(preset_files.find(name).resolve() for name in names))
    found = [
        Trial.of(path, seed, (*settings, *chosen))
        for path, chosen, seed in itertools.product(paths, itertools.product(*choices), dict.fromkeys(seeds))
    ]
    if len({trial.recipe.name for trial in found}) < len(paths):
        raise UserError(f"presets must have different names, as their runs do. Received: {', '.join(map(str, paths))}.")
    different = {(trial.recipe.name, trial.recipe.hash, trial.seed) for trial in found}
    if len(different) < len(found):
        raise UserError(f"trials must differ. Received: {len(found)}, of which {len(different)} are different.")
    return found


def fingerprints(trials: Iterable[Trial], data: str | None) -> dict[str, str]:
    """Returns the fingerprint of each data set's images by its name.

    Raises:
        UserError: a data set is not to be found, or one place is to hold several.
    """
    names = list(dict.fromkeys(trial.recipe.data.dataset for trial in trials))
    if data is not None and len(names) > 1:
        raise UserError(
            f"--data is the place of one data set. Received: presets of {', '.join(names)}. Leave it out and set "
            "RESNET_DATA, or sweep each data set by itself."
        )
    return {name: sources.load(name, data).fingerprint for name in names}


def run_of(trial: Trial, runs: str | Path, fingerprint: str) -> Run | None:
    """Returns the run of a trial's recipe, seed and images: one that is over before any other, else the newest."""
    recipe, found = trial.recipe, []
    for run in run_folder.every(runs, recipe.name):
        try:
            about, same = run.about, run.preset.hash == recipe.hash
        except UserError:  # of a version that knew other keys, or being written
            continue
        if same and (about["seed"], about["data"]["fingerprint"]) == (trial.seed, fingerprint):
            found.append(run)
    return next((run for run in found if is_over(run, runs)), found[-1] if found else None)


def is_over(run: Run, runs: str | Path) -> bool:
    """Says whether nothing is left to do for a run: trained and scored, or diverged, which it would do again."""
    status = run.about["status"]
    return status == "diverged" or (status == "finished" and test_row(run, runs) is not None)


def carry_out(trial: Trial, runs: str, fingerprint: str, data: str | None = None) -> Run:
    """Brings a trial to its end from wherever it stands: trains it, or goes on with it, and scores it; returns its run.

    Raises:
        UserError, Stopped: as `train` and `evaluate` do.
    """
    from resnet_tf.evaluation.evaluate import evaluate, record
    from resnet_tf.training.train import train

    run = run_of(trial, runs, fingerprint)
    if run is None or run.about["status"] != "finished":
        resume = run.name if run else False
        run = train(trial.recipe, data, runs, trial.seed, resume, trial.preset_file)
    if not is_over(run, runs):
        # The preset's own file is left alone: which result goes there is the person's choice.
        record(run, evaluate(run, data=data), runs)
    return run


def report(outcomes: Sequence[Outcome], runs: str | Path) -> str:
    """Returns what came of a sweep: a line a recipe, mean and spread over its seeds; a line a trial not finished."""
    groups: dict[tuple[str, str], dict[int, tuple[float, str]]] = {}
    for outcome in outcomes:
        if outcome.status == "finished":
            row = test_row(Run(Path(runs) / outcome.run), runs)
            group = groups.setdefault((outcome.trial.title, row["data"]["title"]), {})
            group[outcome.trial.seed] = row["top1"], outcome.run
    lines = []
    for (recipe, images), seeds in groups.items():
        top1 = [value for value, _ in seeds.values()]
        spread = f" +/- {statistics.stdev(top1):.2f}" if len(top1) > 1 else ""
        best, run = max(seeds.values())
        lines.append(
            f"{recipe}: test top-1 {statistics.fmean(top1):.2f}{spread} %, seed{'s' * (len(seeds) > 1)} "
            f"{', '.join(map(str, sorted(seeds)))}, {images}; best {best:.2f} % in {run}"
        )
    for outcome in outcomes:
        if outcome.status != "finished":
            why = f": {outcome.error}" if outcome.error else ""
            many = f"{outcome.tries} start{'s' * (outcome.tries != 1)}"
            lines.append(f"{outcome.trial}: {outcome.status} after {many}{why}")
    return "\n".join(lines)

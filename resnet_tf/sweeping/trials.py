"""The trials of a sweep: all combinations, the state of each, and running one. `on_ray` distributes them.

The folder of runs has the state of every trial, so a sweep that is started again skips what is finished.
"""

import itertools
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from resnet_tf.datasets import sources
from resnet_tf.datasets.splits import Dataset, check_seed
from resnet_tf.errors import UserError, shown
from resnet_tf.format import plural, printable
from resnet_tf.lint.check import check_on
from resnet_tf.presets import overrides, preset_files
from resnet_tf.presets.schema import Preset
from resnet_tf.runs.choose import all_runs, latest_test_result
from resnet_tf.runs.run import Run


@dataclass(frozen=True)
class Trial:
    """One training of a sweep. The preset file is read once; later changes of it have no effect.

    Attributes:
        preset_file: the file of its preset.
        seed: of weights, order of images and augmentation.
        settings: "key=value", as `train.py --set` takes them.
        recipe: the preset with these settings.
    """

    preset_file: Path
    seed: int
    settings: tuple[str, ...]
    recipe: Preset

    @classmethod
    def of(cls, preset_file: str | Path, seed: int, settings: Sequence[str] = ()) -> "Trial":
        """Reads a preset file and applies the settings; raises UserError as `apply_settings` does."""
        recipe = overrides.apply_settings(preset_files.load_preset(Path(preset_file)), list(settings))
        return cls(Path(preset_file), seed, tuple(settings), recipe)

    def __str__(self) -> str:
        return f"{self.title} seed {self.seed}"

    @property
    def title(self) -> str:
        """The preset and the settings, without the seed."""
        return " ".join((self.recipe.name, *self.settings))


@dataclass
class Outcome:
    """The state of a trial.

    Attributes:
        fingerprint: of the images that it is trained and tested on.
        status: "waiting" (or running), "finished" (the ledger has its test row), "diverged", "stopped" or "failed".
        run: name of its run, where there is one.
        tries: how often it was started in this sweep.
        error: the message of its last failure.
    """

    trial: Trial
    fingerprint: str
    status: str = "waiting"
    run: str | None = None
    tries: int = 0
    error: str = ""

    @property
    def identity(self) -> tuple:
        """The recipe, the seed and the images, which together tell its run from others."""
        return self.trial.recipe.hash, self.trial.seed, self.fingerprint

    def update(self, runs: str | Path) -> None:
        """Updates run and status from the folder of runs."""
        run = run_of(self.trial, runs, self.fingerprint)
        if run is not None:
            self.run = run.name
            if is_done(run, runs):
                self.status = run.about["status"]

    def cells(self, runs: str | Path) -> list[str]:
        """Returns the trial, its status, the finished epochs, the last validation top-1 and the run, for a table."""
        if self.run is None:
            return [str(self.trial), self.status, "", "", ""]
        run = Run(Path(runs) / self.run)
        status = "running" if self.status == "waiting" and run.about.get("status") == "running" else self.status
        row = run.rows[-1] if run.rows else {}
        top1 = f"{row['validation_top1']:.2f} %" if row.get("validation_top1") is not None else ""
        return [str(self.trial), status, str(row.get("epoch", "")), top1, run.name]


def trials(names: Sequence[str], seeds: Sequence[int], settings: Sequence[str], varied: Sequence[str]) -> list[Trial]:
    """Returns every combination of presets, seeds and values.

    Args:
        names: names or paths of presets; repeated ones count once, as do repeated seeds.
        settings: "key=value", for all trials.
        varied: "key=[value, value]", JSON lists; one trial for each value.

    Raises:
        UserError: a seed out of range, not a list of values, a setting that does not fit a preset, or the same recipe
            twice.
    """
    for seed in seeds:
        check_seed(seed)
    choices = []
    for setting in varied:
        key, equals, text = setting.partition("=")
        try:
            values = json.loads(text)
        except ValueError:
            values = None
        if not equals or not isinstance(values, list) or not values:
            raise UserError(f"--vary takes key=[value, value]. Received: {shown(setting)}.", "vary-wrong-form")
        choices.append([f"{key}={json.dumps(value)}" for value in values])
    paths = list(dict.fromkeys(preset_files.find(name).resolve() for name in names))
    combinations = [
        Trial.of(path, seed, (*settings, *values))
        for path, values, seed in itertools.product(paths, itertools.product(*choices), dict.fromkeys(seeds))
    ]
    if len({trial.recipe.name for trial in combinations}) < len(paths):
        message = f"presets must have different names, because their runs do. Received: {', '.join(map(str, paths))}."
        raise UserError(message, "presets-same-name")
    different = {(trial.recipe.name, trial.recipe.hash, trial.seed) for trial in combinations}
    if len(different) < len(combinations):
        message = f"trials must differ. Received: {len(combinations)}, of which {len(different)} are different."
        raise UserError(message, "trials-repeat")
    return combinations


def check_one_dataset(trials: Iterable[Trial]) -> None:
    """Raises UserError where the trials use several data sets, so that --data cannot be the place of all."""
    names = _dataset_names(trials)
    if len(names) > 1:
        raise UserError(
            f"--data is the place of one data set. Received: presets of {', '.join(names)}. Leave it out and set "
            "RESNET_DATA, or make a sweep for each data set.",
            "data-for-several-datasets",
        )


def datasets(trials: Iterable[Trial], data: str | None) -> dict[str, Dataset]:
    """Returns the data sets that the trials use, by name.

    Raises:
        UserError: a data set is not found.
    """
    return {name: sources.load(name, data) for name in _dataset_names(trials)}


def prepared(trials: Sequence[Trial], data: str | None) -> list[Outcome]:
    """Returns an outcome for each trial, after a look at its images and a check of its recipe; the images are not kept.

    Raises:
        UserError: a data set is not found, or a recipe cannot be trained.
    """
    loaded = datasets(trials, data)
    check_recipes(trials, loaded)
    return [Outcome(trial, loaded[trial.recipe.data.dataset].fingerprint) for trial in trials]


def check_recipes(trials: Iterable[Trial], datasets: dict[str, Dataset]) -> None:
    """Prints what the recipe check finds in each recipe, once for all seeds, before any is trained.

    Raises:
        UserError: a recipe cannot be trained.
    """
    refused = []
    for title, recipe in {trial.title: trial.recipe for trial in trials}.items():
        findings = check_on(recipe, datasets[recipe.data.dataset])
        for finding in findings:
            print(printable(f"{title}: {finding}"))
        if any(finding.severity == "error" for finding in findings):
            refused.append(title)
    if refused:
        raise UserError(
            f"every recipe of a sweep must pass the check; its errors are above. Received: {'; '.join(refused)}.",
            "recipe-refused",
        )


def _dataset_names(trials: Iterable[Trial]) -> list[str]:
    return list(dict.fromkeys(trial.recipe.data.dataset for trial in trials))


def _identity(run: Run) -> tuple | None:
    """Returns recipe, seed and images of a run, as `Outcome.identity` does; None where no trial can have made it."""
    try:
        about, recipe = run.about, run.preset
    except UserError:  # of another version, with other keys, or being written
        return None
    return None if run.pretrained else (recipe.hash, about.get("seed"), (about.get("data") or {}).get("fingerprint"))


def run_of(trial: Trial, runs: str | Path, fingerprint: str) -> Run | None:
    """Returns the run with a trial's recipe, seed and images: a scored one, or a diverged, or the newest; or None."""
    wanted = Outcome(trial, fingerprint).identity
    matching = [run for run in all_runs(runs, trial.recipe.name) if _identity(run) == wanted]
    done = [run for run in matching if is_done(run, runs)] or matching[-1:]
    return min(done, key=lambda run: run.about.get("status") == "diverged", default=None)


class NewRuns:
    """Notices runs that appear in a folder, and reads each once: a sweep asks every other second."""

    def __init__(self, runs: str | Path):
        self.runs = runs
        self.known = {run.folder for run in all_runs(runs)}

    def note(self, outcomes: Iterable[Outcome]) -> None:
        """Enters the runs that have appeared since the last call into the outcomes whose trials they carry out."""
        appeared = [run for run in all_runs(self.runs) if run.folder not in self.known]
        self.known |= {run.folder for run in appeared}
        named = {identity: run.name for run in appeared if (identity := _identity(run)) is not None}
        for outcome in outcomes:
            outcome.run = named.get(outcome.identity, outcome.run)


def is_done(run: Run, runs: str | Path) -> bool:
    """Returns whether a run is trained and scored, or has diverged, which it would do again."""
    status = run.about.get("status")
    return status == "diverged" or (status == "finished" and latest_test_result(run, runs) is not None)


def run_trial(trial: Trial, runs: str, fingerprint: str, data: str | None = None) -> Run:
    """Trains a trial, or resumes its training, scores it, and returns its run.

    Raises:
        UserError, Stopped: as `train` and `evaluate` do.
    """
    from resnet_tf.evaluation.evaluate import evaluate, store
    from resnet_tf.training.train import train

    run = run_of(trial, runs, fingerprint)
    if run is None or run.about.get("status") != "finished":
        resume = run.name if run else False
        run = train(trial.recipe, data, runs, seed=trial.seed, resume=resume, preset_file=trial.preset_file)
    if not is_done(run, runs):
        # Not into the preset file: the user chooses which results go there.
        store(run, evaluate(run, data=data), runs)
    return run


class _Mean(NamedTuple):
    """What the seeds of a mean share.

    Attributes:
        recipe: preset, settings, and whose weights a training started from: of a preset named there, the best run may
            have been another one by then.
    """

    recipe: str
    images: str
    backend: str
    weights: str

    def named(self, others: Iterable["_Mean"]) -> str:
        """Returns the recipe, with the backend and the weights where others of it differ in them."""
        alike = [other for other in others if other.recipe == self.recipe]
        words = [self.backend] if len({other.backend for other in alike}) > 1 else []
        words += [f"{self.weights} weights"] if len({other.weights for other in alike}) > 1 else []
        return self.recipe + (f" ({', '.join(words)})" if words else "")


def report(outcomes: Sequence[Outcome], runs: str | Path) -> str:
    """Returns a line for each recipe, with mean and deviation over its seeds, and one for each unfinished trial."""
    groups: dict[_Mean, dict[int, float]] = {}
    for outcome in outcomes:
        if outcome.status == "finished":
            result = latest_test_result(Run(Path(runs) / outcome.run), runs)
            recipe = outcome.trial.title + (f" from {result.init}" if result.init else "")
            shared = _Mean(recipe, result.data["title"], result.computed_by, result.weights)
            groups.setdefault(shared, {})[outcome.trial.seed] = result.top1
    lines = []
    for shared, seeds in groups.items():
        top1 = list(seeds.values())
        spread = f" +/- {statistics.stdev(top1):.2f}" if len(top1) > 1 else ""
        between = f", from {min(top1):.2f} to {max(top1):.2f} %" if len(top1) > 1 else ""
        lines.append(
            f"{shared.named(groups)}: test top-1 {statistics.fmean(top1):.2f}{spread} %, seed{'s' * (len(seeds) > 1)} "
            f"{', '.join(map(str, sorted(seeds)))}, {shared.images}{between}"
        )
    for outcome in outcomes:
        if outcome.status != "finished":
            reason = f": {outcome.error}" if outcome.error else ""
            lines.append(f"{outcome.trial}: {outcome.status} after {plural(outcome.tries, 'start')}{reason}")
    return "\n".join(lines)

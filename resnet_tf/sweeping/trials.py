"""The trials of a sweep: all combinations, the state of each, and running one. `on_ray` distributes them.

The folder of runs has the state of every trial, so a sweep that is started again skips what is finished.
"""

import itertools
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from resnet_tf.datasets import sources
from resnet_tf.datasets.splits import check_seed
from resnet_tf.errors import UserError, shown
from resnet_tf.format import plural
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

    def update(self, runs: str | Path) -> None:
        """Updates run and status from the folder of runs."""
        run = run_of(self.trial, runs, self.fingerprint)
        if run is not None:
            self.run = run.name
            if is_done(run, runs):
                self.status = run.about["status"]

    def cells(self, runs: str | Path) -> list[str]:
        """Returns the trial, its status, the finished epochs, the last validation top-1 and the run, for a table."""
        run = Run(Path(runs) / self.run) if self.run else run_of(self.trial, runs, self.fingerprint)
        if run is None:
            return [str(self.trial), self.status, "", "", ""]
        self.run = run.name
        status = "running" if self.status == "waiting" and run.about["status"] == "running" else self.status
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
    names = _datasets(trials)
    if len(names) > 1:
        raise UserError(
            f"--data is the place of one data set. Received: presets of {', '.join(names)}. Leave it out and set "
            "RESNET_DATA, or make a sweep for each data set.",
            "data-for-several-datasets",
        )


def fingerprints(trials: Iterable[Trial], data: str | None) -> dict[str, str]:
    """Returns the fingerprint of each data set that the trials use, by its name.

    Raises:
        UserError: a data set is not found.
    """
    return {name: sources.load(name, data).fingerprint for name in _datasets(trials)}


def _datasets(trials: Iterable[Trial]) -> list[str]:
    return list(dict.fromkeys(trial.recipe.data.dataset for trial in trials))


def run_of(trial: Trial, runs: str | Path, fingerprint: str) -> Run | None:
    """Returns the run with a trial's recipe, seed and images: a scored one, or a diverged, or the newest; or None."""
    matching = []
    for run in all_runs(runs, trial.recipe.name):
        try:
            about, recipe_hash = run.about, run.preset.hash
        except UserError:  # of another version, with other keys, or being written
            continue
        identity = recipe_hash, about["seed"], about["data"]["fingerprint"]
        if not run.pretrained and identity == (trial.recipe.hash, trial.seed, fingerprint):
            matching.append(run)
    done = [run for run in matching if is_done(run, runs)] or matching[-1:]
    return min(done, key=lambda run: run.about["status"] == "diverged", default=None)


def is_done(run: Run, runs: str | Path) -> bool:
    """Returns whether a run is trained and scored, or has diverged, which it would do again."""
    status = run.about["status"]
    return status == "diverged" or (status == "finished" and latest_test_result(run, runs) is not None)


def run_trial(trial: Trial, runs: str, fingerprint: str, data: str | None = None) -> Run:
    """Trains a trial, or resumes its training, scores it, and returns its run.

    Raises:
        UserError, Stopped: as `train` and `evaluate` do.
    """
    from resnet_tf.evaluation.evaluate import evaluate, record
    from resnet_tf.training.train import train

    run = run_of(trial, runs, fingerprint)
    if run is None or run.about["status"] != "finished":
        resume = run.name if run else False
        run = train(trial.recipe, data, runs, trial.seed, resume, trial.preset_file)
    if not is_done(run, runs):
        # Not into the preset file: the user chooses which results go there.
        record(run, evaluate(run, data=data), runs)
    return run


def report(outcomes: Sequence[Outcome], runs: str | Path) -> str:
    """Returns a line for each recipe, with mean and deviation over its seeds, and one for each unfinished trial."""
    groups: dict[tuple[str, str], dict[int, float]] = {}
    for outcome in outcomes:
        if outcome.status == "finished":
            result = latest_test_result(Run(Path(runs) / outcome.run), runs)
            # A preset whose weights it starts from may have had another best run by then.
            start = f" from {result.init}" if result.init else ""
            group = groups.setdefault((outcome.trial.title + start, result.data["title"]), {})
            group[outcome.trial.seed] = result.top1
    lines = []
    for (recipe, images), seeds in groups.items():
        top1 = list(seeds.values())
        spread = f" +/- {statistics.stdev(top1):.2f}" if len(top1) > 1 else ""
        between = f", from {min(top1):.2f} to {max(top1):.2f} %" if len(top1) > 1 else ""
        lines.append(
            f"{recipe}: test top-1 {statistics.fmean(top1):.2f}{spread} %, seed{'s' * (len(seeds) > 1)} "
            f"{', '.join(map(str, sorted(seeds)))}, {images}{between}"
        )
    for outcome in outcomes:
        if outcome.status != "finished":
            reason = f": {outcome.error}" if outcome.error else ""
            lines.append(f"{outcome.trial}: {outcome.status} after {plural(outcome.tries, 'start')}{reason}")
    return "\n".join(lines)

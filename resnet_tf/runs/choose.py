"""Finding a run by name, and choosing the best one of a preset."""

import contextlib
import glob
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from resnet_tf import installation
from resnet_tf.errors import UserError, shown
from resnet_tf.format import printable
from resnet_tf.log import logger
from resnet_tf.presets import changes, preset_files
from resnet_tf.presets.schema import Preset
from resnet_tf.runs import ledger, pretrained
from resnet_tf.runs.records import EvaluationRecord
from resnet_tf.runs.run import RUNS, Run, runs_option
from resnet_tf.runs.significance import wilson_interval

BUILT_IN = "shapes10"  # the data set that the package draws; a photo shows none of its classes


def all_runs(runs: str | Path, preset: str | None = None) -> list[Run]:
    """Returns the runs in a folder, copies of pretrained ones too, oldest first; of one preset where it is named."""
    paths = Path(runs).glob(f"{glob.escape(preset) if preset else '*'}/*/run.json")
    return sorted((Run(path.parent) for path in paths if not _is_alias(path.parent)), key=_age)


def _is_alias(folder: Path) -> bool:
    """Returns whether a folder is a link to a run beside it, such as "latest"; its results are that run's."""
    return folder.is_symlink() and folder.resolve().parent == folder.parent.resolve()


def _age(run: Run) -> tuple[str, str]:
    """Returns what runs are sorted by, oldest first."""
    return run.folder.name, run.folder.parent.name


def readable_runs(runs: Sequence[Run], read: Callable[[Run], object] = lambda run: run.about) -> list[Run]:
    """Returns the runs of which `read` can read what it wants, by default run.json; logs the name of each other one."""
    readable = []
    for run in runs:
        try:
            read(run)
            readable.append(run)
        except UserError as error:
            logger.info(printable(f"ignored: {run.name}: {error}"))
    return readable


def own_runs(runs: str | Path) -> list[Run]:
    """Returns the runs in a folder that the user has trained, oldest first; logs each that cannot be read."""
    return [run for run in readable_runs(all_runs(runs)) if not run.pretrained]


def latest_run(runs: str | Path, preset: str | None, statuses: tuple[str, ...]) -> Run | None:
    """Returns the newest run that has one of the statuses, of one preset where it is named; None where there is none.

    Raises:
        UserError: a newer run cannot be read.
    """
    return next((run for run in reversed(all_runs(runs, preset)) if run.about.get("status") in statuses), None)


def check_runs_folder(runs: str | Path) -> None:
    """Raises UserError where the user named a folder of runs that does not exist; the default one may be missing."""
    if str(runs) != RUNS and not os.path.isdir(runs):
        raise UserError(f"The folder of runs does not exist: --runs {shown(str(runs))}.", "runs-folder-not-found")


def find_run(name: str, runs: str | Path, new_folder: bool = False) -> Run:
    """Returns the run of that name ("4/20260101T120000Z-s0") or path, pretrained ones included.

    Args:
        new_folder: whether the folder of runs may be one that does not exist yet.

    Raises:
        UserError: it does not exist.
    """
    for folder in (Path(runs) / name, Path(name)):
        if os.path.isfile(folder / "run.json"):
            return Run(folder.resolve() if _is_alias(folder) else folder)
    if not new_folder:
        check_runs_folder(runs)  # a misspelt folder must not be answered with a pretrained run
    if os.path.isfile(pretrained.FOLDER / name / "run.json"):
        return Run(pretrained.FOLDER / name)
    names = [run.name for run in all_runs(runs)]
    raise UserError(
        f"Run {shown(name)} does not exist in {runs}. "
        + (f"Newest there: {', '.join(names[-3:])}." if names else "There are no runs there yet."),
        "run-not-found",
    )


def named_run(name: str | os.PathLike | Run, runs: str | Path, use: str, new_folder: bool = False) -> Run:
    """Returns a run by its name or folder, or the best one of a preset by the preset's name or file; logs which it is.

    Args:
        use, new_folder: as for `choose_run`.

    Raises:
        UserError: it is neither, or the preset has no finished run.
    """
    if isinstance(name, Run):
        return name
    name = str(name)
    try:
        return choose_run(None, name, runs, use, new_folder)
    except UserError as error:
        if error.code != "run-not-found":
            raise
    try:
        preset_files.find(name)
    except UserError as error:
        raise UserError(f"a run or a preset must exist. Received: {shown(name)}: {error}", error.code) from None
    return choose_run(name, None, runs, use, new_folder)


def choose_run(preset: str | None, name: str | None, runs: str | Path, use: str, new_folder: bool = False) -> Run:
    """Returns the run named, or the best finished one; logs which it is, why, and how accurate.

    Candidates are the finished runs of the preset's unchanged recipe and full length that were trained on the same
    images as the newest such run. The highest validation top-1 wins (see `_best`), for the weights and the view that
    the preset's evaluation names; of equal ones the newest run does. A run without a comparable validation top-1 is
    chosen only if no candidate has one: it held out no images, validated in another view, or started from weights that
    were trained on some of these images. Without candidates a pretrained run is chosen, and without that the best run
    of a changed recipe. The test split is never used.

    If no preset is named, the runs of all presets and the pretrained ones compete by the same rules. Runs on built-in
    images are candidates only if there is nothing else, not even a pretrained run.

    Args:
        preset: name or path.
        name: name or path of a run.
        use: what the run is needed for ("evaluate", "predict"), for the message when there is none.
        new_folder: whether the folder of runs may be one that does not exist yet.

    Raises:
        UserError: there is none, the folder does not exist, or the run named is of another preset than the one named.
    """
    written = None if preset is None else preset_files.load_preset(preset)
    if name is not None:
        run = find_run(name, runs, new_folder)
        if written is not None and written.name != run.preset.name:
            raise UserError(
                f"--run and --preset must agree. Received: run {run.name} and preset {written.name}.",
                "run-of-another-preset",
            )
        return _log_choice(run, "as named", runs)
    if not new_folder:
        check_runs_folder(runs)
    found = _candidates(runs, written)
    if written is None and found.whole:
        found = found._replace(whole=sorted(found.whole + found.published, key=_age), published=[])
    if found.whole or (found.trials and not found.published):
        own = written and written.last_phase.evaluation
        view, weights = (None, None) if own is None else (own.view, own.weights)
        best, reason = _best(found, view, weights)
        return _log_choice(best, reason, runs, weights)
    if found.published:
        lack = "finished run of its recipe" if found.trials or written else "finished run on real images"
        best, _ = _best(_Candidates(found.published), None, "last")  # they have no others
        return _log_choice(best, f"pretrained, as {runs} holds no {lack}", runs)
    raise UserError(
        f"There is no finished run{f' of preset {written.name!r}' if written else ''} in {runs} to {use}. Train one: "
        f"{installation.call('train')} --preset {shlex.quote(preset or 'demo')}{runs_option(runs)}."
        f"{_alternatives(written and written.name, runs)}",
        "no-finished-run",
    )


def _alternatives(preset: str | None, runs: str | Path) -> str:
    """Returns what else could be used than a new training: an unfinished run, or pretrained runs of other presets."""
    ways, unfinished = "", None
    with contextlib.suppress(UserError):  # a run that cannot be read was logged already
        unfinished = latest_run(runs, preset, ("running", "stopped"))
    if unfinished is not None:
        call = installation.call("train")
        ways += f" Or finish {unfinished.name} ({unfinished.progress}): {call} --resume {unfinished.as_argument}."
    # A pretrained run of the preset itself would have been chosen, unless the recipe has changed since.
    if others := sorted({run.preset.name for run in all_runs(pretrained.FOLDER)} - {preset}):
        ways += f" Or use a pretrained network: --preset {' or --preset '.join(others)}."
    return ways


class _Candidates(NamedTuple):
    """The finished runs that may answer, oldest first.

    Attributes:
        whole: of a preset's own recipe.
        trials: of a changed one.
        published: pretrained ones.
        elsewhere: how many of the user's were left out, as they were trained on other images.
    """

    whole: list[Run]
    trials: Sequence[Run] = ()
    published: Sequence[Run] = ()
    elsewhere: int = 0


def _candidates(runs: str | Path, written: Preset | None) -> _Candidates:
    """Returns the candidates among all runs, or those of one preset.

    All have the images of the newest whole run, or of the newest trial where there is none. Where no preset is given,
    published runs have them as well, and runs on built-in images count only where there is nothing else.
    """
    name = written and written.name
    readable = readable_runs(all_runs(runs, name), lambda run: (run.about, run.preset))
    own = [run for run in readable if run.about.get("status") == "finished" and not run.pretrained]
    published = [run for run in all_runs(pretrained.FOLDER, name) if not run.changes(written)]
    if written is None:
        on_real_images = [run for run in own if run.preset.data.dataset != BUILT_IN]
        own = on_real_images or ([] if published else own)
    whole = [run for run in own if not run.changes(written)]
    compete = [run for run in own if _task(run) == _task((whole or own)[-1])]
    leading = compete if written is None and compete else published
    return _Candidates(
        [run for run in compete if run in whole],
        [run for run in compete if run not in whole],
        [run for run in published if _task(run) == _task(leading[-1])],
        len(own) - len(compete),
    )


def _task(run: Run) -> tuple:
    """Returns what two runs must have in common so that their accuracies compare: the data set and its very images."""
    return run.preset.data.dataset, (run.about.get("data") or {}).get("fingerprint")


def _best(found: _Candidates, view: str | None, weights: str | None) -> tuple[Run, str]:
    """Returns the best run by its validation top-1, and why; a trial only where there is no other.

    Runs that hold out other numbers of images compare by the lower end of the figure's 95 % interval.

    Args:
        view, weights: in and of which it was measured; None: as each run's own recipe says.
    """
    finished = found.whole or found.trials
    comparable = [run for run in finished if view in (None, run.preset.last_phase.evaluation.view)]
    known = {run: _at_least(run, top1) for run in comparable if (top1 := _validation_top1(run, weights)) is not None}
    best = max(known, key=lambda run: (known[run], _age(run))) if known else finished[-1]
    among = list(known) or finished
    rank = f"the {'best' if known else 'newest'} of {len(among)}" if len(among) > 1 else "the only"
    presets = sorted({run.folder.parent.name for run in among})
    reason = f"{rank} finished run{'s' * (len(among) > 1)} of preset{'s' * (len(presets) > 1)} {', '.join(presets)}"
    if len(among) < len(finished):
        reason += f", leaving out {len(finished) - len(among)} without a comparable validation accuracy"
    if not found.whole:
        reason += ", none with the preset's own recipe"
    elif found.trials:
        reason += f", leaving out {len(found.trials)} with a changed recipe"
    if found.elsewhere:
        reason += f", leaving out {found.elsewhere} on other images"
    return best, reason


def _at_least(run: Run, top1: float) -> float:
    """Returns the lower end of a validation top-1's 95 % interval, in percent."""
    if run.about.get("own_validation"):
        return top1  # on the same images in every run
    count = run.preset.data.validation_size
    return wilson_interval(round(count * top1 / 100), count)[0]


def _validation_top1(run: Run, weights: str | None) -> float | None:
    """Returns the validation top-1, in percent, of a run's weights: of the best epoch, of the last, or recalibrated.

    None where there is none, and where its initial weights were trained on validation images.

    Args:
        weights: "last" or "best"; None: as the run's own recipe says.
    """
    if run.validation_seen:
        return None
    if (weights or run.preset.last_phase.evaluation.weights) == "best":
        return run.best_validation_top1
    top1, last = run.about.get("recalibrated_top1"), run.about.get("last")
    if top1 is None and isinstance(last, dict):
        top1 = last.get("validation_top1")
    return top1 if isinstance(top1, int | float) else None


def _log_choice(run: Run, reason: str, runs: str | Path, weights: str | None = None) -> Run:
    """Logs which run is used, why, and how accurate it is; returns it."""
    changed = ", ".join(changes.in_words(run.changes()))
    accuracy = recorded_accuracy(run, runs, weights)
    logger.info(printable(f"run {run.name}, {reason}{f' ({changed})' if changed else ''}: {accuracy}"))
    return run


def recorded_accuracy(run: Run, runs: str | Path, weights: str | None = None) -> str:
    """Returns how accurate a run is known to be: "validation 95.30 %, test 93.79 % (mirror-shift, last weights)".

    Args:
        weights: "last" or "best"; default: as the preset says.
    """
    validation = _validation_top1(run, weights)
    test = run.published or latest_test_result(run, runs, weights) or next(iter(_test_results(run, runs)), None)
    known = [] if validation is None else [f"validation {validation:.2f} %"]
    if test is not None:
        known.append(f"test {test.top1:.2f} % ({test.how})")
    return ", ".join(known) or "not scored yet"


def latest_test_result(run: Run, runs: str | Path, weights: str | None = None) -> EvaluationRecord | None:
    """Returns a run's latest test result by its preset's own protocol, at its present step; None without one.

    Args:
        weights: "last" or "best"; default: as the preset says.
    """
    own = run.preset.last_phase.evaluation
    protocol = own.view, run.scored_as(weights or own.weights), None
    results = _test_results(run, runs)
    return next((result for result in results if (result.view, result.weights, result.frame) == protocol), None)


def _test_results(run: Run, runs: str | Path) -> list[EvaluationRecord]:
    """Returns the test results of a run at its present step and length, newest first, by whatever protocol."""
    return [
        result
        for result in reversed(ledger.evaluations_of(run, runs))
        if result.split == "test" and result.same_data_as_training and is_present(run, result)
    ]


def is_present(run: Run, result: EvaluationRecord) -> bool:
    """Returns whether a result is of the run as it is now: it has not been made longer or trained further since."""
    planned, step = run.about.get("steps_planned"), run.about.get("step")
    return planned in (None, result.steps_planned) and result.updates in (None, step)

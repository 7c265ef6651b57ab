"""Tables of trials: what was tried for `quick`, float32 beside bfloat16, and `stl10` at several resolutions."""

import json
import statistics
from collections.abc import Iterable, Sequence

from scipy import stats

from resnet_tf.format import duration, percent
from resnet_tf.presets.changes import in_words
from resnet_tf.report.measured import Group
from resnet_tf.runs.records import EvaluationRecord

QUICK_HEADINGS = ("changed", "precision", "epochs", "training", "validation top-1", "difference")
PRECISION_HEADINGS = ("recipe", "seeds", "float32", "bfloat16", "difference", "training, float32 and bfloat16")
RESOLUTION_HEADINGS = ("scored at", "seed", "after the first phase", "95 % interval")
RESOLUTION_HEADINGS += ("after the second phase", "95 % interval", "difference")
# The same in every trial of `quick`: the images held out, and the length, which has a column of its own.
_SAME = ("data.validation_size", "train.epochs")


def quick_lines(trials: Iterable[EvaluationRecord]) -> list[list[str]]:
    """Returns the cells of each trial of `quick` that was scored on held-out images, the longest first, the best first.

    The difference is that from the unchanged recipe of the same length, precision and seed; "-" where there is none.
    """
    found = [trial for trial in trials if (trial.preset, trial.split) == ("quick", "validation")]
    found.sort(key=lambda trial: (-trial.epochs, -trial.top1))
    plain = {_base(trial): trial.top1 for trial in found if not _own_changes(trial)}
    lines = []
    for trial in found:
        changes = _own_changes(trial)
        base = plain.get(_base(trial))
        lines.append(
            [
                ", ".join(in_words(changes, longest=100)) or "nothing",
                trial.computed_in,
                f"{trial.epochs:g}",
                duration(trial.training_seconds),
                percent(trial.top1),
                "-" if base is None or not changes else f"{trial.top1 - base:+.2f}",
            ]
        )
    return lines


def _base(trial: EvaluationRecord) -> tuple:
    """Returns what a trial shares with the one that it is measured from: the seed, and so the images held out, too."""
    return trial.epochs, trial.computed_in, trial.seed


def _own_changes(trial: EvaluationRecord) -> dict[str, list]:
    return {key: pair for key, pair in trial.changed.items() if key not in _SAME}


def precision_lines(groups: Iterable[Group]) -> list[list[str]]:
    """Returns the cells of each recipe whose test split was scored after trainings in both precisions."""
    recipes: dict[str, dict[str, Group]] = {}
    for group in groups:
        record = group.record
        if record.split == "test":
            trained = record.preset, record.changed, record.epochs, record.computed_by
            recipe = json.dumps([*trained, *record.measurement[2:]])
            recipes.setdefault(recipe, {})[record.computed_in] = group
    return [
        _pair(pair["float32"], pair["mixed_bfloat16"])
        for pair in recipes.values()
        if {"float32", "mixed_bfloat16"} <= set(pair)
    ]


def _pair(exact: Group, short: Group) -> list[str]:
    record = exact.record
    both = [{member.record.seed: member.record.top1 for member in group.members} for group in (exact, short)]
    differences = [both[1][seed] - both[0][seed] for seed in sorted(set(both[0]) & set(both[1]))]
    changes = {key: pair for key, pair in record.changed.items() if key != "train.epochs"}
    backend = [] if record.computed_by == "tensorflow" else [record.computed_by]
    return [
        ", ".join([f"{record.preset}, {record.epochs:g} epochs", *backend, *in_words(changes)]),
        " and ".join(", ".join(map(str, seeds)) for seeds in dict.fromkeys((tuple(exact.seeds), tuple(short.seeds)))),
        mean_and_spread(exact),
        mean_and_spread(short),
        _with_interval(differences),
        " and ".join(duration(statistics.median(_seconds(group))) for group in (exact, short)),
    ]


def resolution_lines(trials: Iterable[EvaluationRecord], preset: str) -> list[list[str]]:
    """Returns the test accuracy of a preset in two phases at each resolution, as either phase left the network.

    A training in progress was scored at the end of its first phase, so its rows have fewer steps than planned.
    """
    found = [trial for trial in trials if (trial.preset, trial.split) == (preset, "test")]
    scored = {(trial.resolution, trial.seed, trial.steps < trial.steps_planned): trial for trial in found}
    both = sorted({key[:2] for key in scored if {(*key[:2], True), (*key[:2], False)} <= set(scored)})
    lines = []
    for resolution, seed in both:
        before, after = scored[resolution, seed, True], scored[resolution, seed, False]
        cells = [cell for trial in (before, after) for cell in (percent(trial.top1), interval(trial))]
        lines.append([f"{resolution} px", str(seed), *cells, f"{after.top1 - before.top1:+.2f}"])
    return lines


def interval(record: EvaluationRecord) -> str:
    """Returns "90.30 to 91.43", the 95 % interval of a record's accuracy in percent."""
    return "{:.2f} to {:.2f}".format(*record.top1_interval)


def mean_and_spread(group: Group) -> str:
    """Returns "94.25 % +/- 0.14", the mean over a group's seeds and their standard deviation; of one seed "94.25 %"."""
    return percent(group.mean) + ("" if group.spread is None else f" +/- {group.spread:.2f}")


def _seconds(group: Group) -> list[float]:
    return [member.record.training_seconds for member in group.members]


def _with_interval(differences: Sequence[float]) -> str:
    """Returns the mean of paired differences and its 95 % interval by Student's t; of one pair, no interval."""
    if not differences:
        return "-"
    mean = statistics.fmean(differences)
    if len(differences) == 1:
        return f"{mean:+.2f}"
    spread = statistics.stdev(differences) / len(differences) ** 0.5
    half = stats.t.ppf(0.975, len(differences) - 1) * spread
    return f"{mean:+.2f} ({mean - half:+.2f} to {mean + half:+.2f})"

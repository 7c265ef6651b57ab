"""Makes the tables of README and docs from preset files and measurements.

    python -m tools.readme_tables README.md docs/presets.md docs/results.md docs/speed.md benchmarks/NOTES.md

Of results, only those on official or built-in images are listed: no published figure may stand beside another. The
plots of the two studies go beside docs/results.md.
"""

import json
import re
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from resnet_tf import files
from resnet_tf.format import duration, markdown_table, percent
from resnet_tf.listing import DESCRIBED, described
from resnet_tf.presets import preset_files
from resnet_tf.presets.schema import Preset
from resnet_tf.report import measured, studies
from resnet_tf.report import tables as report_tables
from resnet_tf.runs import comparison
from tools import collect_trials, speed_table, trial_tables

RESULT_HEADINGS = ("preset", "test top-1", "seeds", "95 % interval", "reference", "difference", "verdict", "epochs")
RESULT_HEADINGS += ("training", "precision", "protocol", "images")
# What a newcomer cares for: the presets of the README's table, and its columns.
HIGHLIGHTS = ("demo", "quick", "quick-long", "4", "resnet20-cifar10-paper")
HIGHLIGHT_HEADINGS = tuple(name for name in RESULT_HEADINGS if name not in ("verdict", "protocol"))
PAPER = tuple(f"resnet{depth}-cifar10-paper" for depth in (20, 32, 44, 56, 110, 1202))
PAPER_HEADINGS = ("network", "parameters", "paper's test error", "measured", "seeds", "95 % interval", "precision")
ROOT = Path(__file__).resolve().parent.parent
SPEED = ROOT / "benchmarks" / "speed.json"


def tables() -> dict[str, str]:
    """Returns the Markdown of each table by the name its markers bear."""
    presets = preset_files.readable()
    official = official_results(presets)
    groups = measured.groups(official)
    leading = filter(None, (measured.leading(groups, name) for name in HIGHLIGHTS))
    trials = collect_trials.read()
    tried = [measured.Measured(trial, presets[trial.preset], None) for trial in trials]
    of_both = measured.groups([*official, *tried])
    return {
        "presets": markdown_table(DESCRIBED, [described(preset) for preset in presets.values()]),
        "results": result_table(RESULT_HEADINGS, groups),
        "highlights": result_table(HIGHLIGHT_HEADINGS, leading),
        "depth": study_table(studies.DEPTH, presets, groups),
        "lr_decay": study_table([name for names in studies.LR_DECAY for name in names], presets, groups),
        "table 6": markdown_table(PAPER_HEADINGS, [paper_line(presets[name], groups) for name in PAPER]),
        "speed": markdown_table(speed_table.SPEED_HEADINGS, speed_table.speed_lines(json.loads(SPEED.read_text()))),
        "quick": markdown_table(trial_tables.QUICK_HEADINGS, trial_tables.quick_lines(trials)),
        "precision": markdown_table(trial_tables.PRECISION_HEADINGS, trial_tables.precision_lines(of_both)),
        "resolutions": markdown_table(trial_tables.RESOLUTION_HEADINGS, trial_tables.resolution_lines(trials, "stl10")),
    }


def official_results(presets: dict[str, Preset]) -> list[measured.Measured]:
    """Returns the results in the preset files that were measured on official images."""
    return [one for one in measured.gather(ROOT / "no runs", presets) if one.record.data["official"]]


def study_table(names: Sequence[str], presets: dict[str, Preset], groups: Sequence[measured.Group]) -> str:
    """Returns a study of presets `1` to `5` as a table, and below it what else the measured points differ in."""
    table = markdown_table(studies.HEADINGS, studies.study_rows(names, presets, groups))
    return f"{table}\n\n{studies.caution(names, groups)}".rstrip()


def paper_line(preset: Preset, groups: Sequence[measured.Group]) -> list[str]:
    """Returns the cells of a network of the paper's table 6, errors in percent; only what may stand beside them."""
    comparable = [group for group in groups if all(member.comparable for member in group.members)]
    group = measured.leading(comparable, preset.name)
    cells = [f"ResNet-{preset.model.depth}", described(preset)[DESCRIBED.index("parameters")]]
    cells.append(percent(100 - preset.reference.test_top1))
    if group is None:
        return [*cells, "-", "-", "-", "-"]
    low, high = group.record.top1_interval
    interval = f"{100 - high:.2f} to {100 - low:.2f}" if group.spread is None else "-"
    seeds = ", ".join(map(str, group.seeds))
    return [*cells, percent(100 - group.mean), seeds, interval, group.record.computed_in]


def result_table(headings: Sequence[str], groups: Iterable[measured.Group]) -> str:
    """Returns a table of some columns of `RESULT_HEADINGS`, with a line for each group of seeds."""
    columns = [RESULT_HEADINGS.index(heading) for heading in headings]
    lines = map(result_line, groups)
    return markdown_table(headings, [[line[column] for column in columns] for line in lines])


def result_line(group: measured.Group) -> list[str]:
    """Returns the cells of a recipe's test results under `RESULT_HEADINGS`; of several seeds the mean."""
    record, comparisons = group.record, [member.comparison for member in group.members]
    reference = comparisons[0].reference if all(member.comparable for member in group.members) else None
    times = [member.record.training_seconds for member in group.members if member.record.training_seconds]
    return [
        report_tables.recipe(record),
        trial_tables.mean_and_spread(group),
        ", ".join(map(str, group.seeds)),
        trial_tables.interval(record) if group.spread is None else "-",
        percent(reference),
        "-" if reference is None else f"{group.mean - reference:+.2f}",
        verdict(comparisons),
        f"{record.epochs:g}",
        duration(statistics.median(times)) if times else "-",
        record.computed_in,
        record.how,
        record.data["title"],
    ]


def verdict(comparisons: Sequence[comparison.Comparison]) -> str:
    """Returns the outcomes of the seeds, and what their comparison assumes: "above or below (epoch assumed)"."""
    outcomes = " or ".join(dict.fromkeys(one.outcome for one in comparisons))
    assumed = next((one.assumed for one in comparisons if one.assumed), "")
    return comparison.Comparison(outcomes, assumed=assumed).summary


def fill(text: str) -> str:
    """Returns a text whose tables, between <!-- name --> and <!-- end -->, are made again."""
    for name, table in tables().items():
        text = re.sub(rf"(<!-- {name} -->\n).*?(<!-- end -->)", rf"\g<1>{table}\n\g<2>", text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        files.write_atomically(path, fill(path.read_text()))
    all_presets = preset_files.readable()
    all_groups = measured.groups(official_results(all_presets))
    for name, plot in (("depth", studies.depth_plot), ("lr_decay", studies.lr_decay_plot)):
        files.write_atomically(ROOT / "docs" / f"{name}.svg", plot(all_presets, all_groups) + "\n")

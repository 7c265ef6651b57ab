"""The pages: all that was measured, and two runs side by side."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from resnet_tf import plots
from resnet_tf.format import duration, iso_time, percent, plural
from resnet_tf.installation import call
from resnet_tf.lint import check
from resnet_tf.listing import DESCRIBED, described
from resnet_tf.presets.schema import Preset
from resnet_tf.report import compare, studies
from resnet_tf.report.compare import Section
from resnet_tf.report.elements import Html, document, escape, folded, table
from resnet_tf.report.measured import Group, Measured, groups, leading
from resnet_tf.report.tables import RESULTS, SEEDS, epochs, result_cells, seed_cells
from resnet_tf.runs import curves
from resnet_tf.runs.run import Run

MOST_RUNS = len(plots.COLOURS)  # of a preset, drawn over each other: the newest
COST_HEADINGS = (*DESCRIBED, "measured", "training", "check")
RUN_HEADINGS = ("", "run", "status", "seed", "epochs", "best validation top-1", "training", "device")


def report_page(presets: dict[str, Preset], measured: Sequence[Measured], runs: Sequence[Run], place: Path) -> str:
    """Returns the report as a page.

    Args:
        presets: the package's, by name.
        runs: the user's, oldest first.
        place: the file that the page is for; links to runs are relative to it.
    """
    found = groups(measured)
    own, published = ([one for one in measured if one.own is which] for which in (True, False))
    nothing = f"<p>No result yet: {call('train')}, then {call('eval')}.</p>"
    costs = [
        "<p>Parameters are the trainable ones; multiply-adds are for one image of the training size. "
        f"{call('train')} --preset NAME --check explains what the check found.</p>",
        table(COST_HEADINGS, [cost_cells(preset, leading(found, name)) for name, preset in presets.items()]),
    ]
    parts = [
        "<h1>What was measured</h1>",
        f"<p>{plural(len(own), 'result')} of your own and {len(published)} published, written {iso_time()}</p>",
        '<nav><a href="#own">Your runs</a> <a href="#published">Published results</a> <a href="#more">Studies and '
        "presets</a></nav>",
        '<h2 id="own">Your runs</h2>',
        *(_results(own, place) if own else [nothing]),
        *_curves(runs, place),
        '<h2 id="published">Published results</h2>',
        *(_results(published, place) if published else ["<p>None of these presets has one.</p>"]),
        "<p>A result is compared with its reference only where images, split, recipe, length and protocol agree; "
        "otherwise the differences are named. <em>Within interval</em>: the reference lies in the 95 % interval of the "
        "result (Wilson, from the number of test images).</p>",
        '<h2 id="more">Studies and presets</h2>',
        folded("Depth and lr_decay, as their author studied them", _studies(presets, found)),
        folded(f"Sizes and costs of {plural(len(presets), 'preset')}", costs),
    ]
    return document("resnet_tf: what was measured", parts)


def comparison_page(ours: Run, theirs: Run, sections: Sequence[Section], place: Path) -> str:
    """Returns two runs side by side as a page: what differs, and their curves over each other."""
    rows = []
    for section in sections:
        rows += [[section.title.capitalize()], *section.rows] if section.rows else []
    parts = ["<h1>Two runs side by side</h1>", _run_table([ours, theirs], place, "AB")]
    parts += ["<h2>What differs</h2>", table(compare.HEADINGS, rows) if rows else ""]
    parts += [f"<p>{escape(section.nothing)}</p>" for section in sections if not section.rows]
    parts += [f"<p>{compare.HOW_TO_READ}</p>" if sections[-1].rows else "", "<h2>Curves</h2>", _plots([ours, theirs])]
    return document(f"{ours.name} and {theirs.name}", parts)


def _results(measured: Sequence[Measured], place: Path) -> list[str]:
    """Returns measurements as a table without empty columns, and a second one of those that have several seeds."""
    verdict, rows = RESULTS.index("verdict"), []
    for one in measured:
        cells = [*result_cells(one), _link(one.run, place)]
        word, _, reasons = cells[verdict].partition(": ")
        cells[verdict] = Html(f'<span class="word {word.split()[0]}">{escape(word)}</span> {escape(reasons)}')
        rows.append(cells)
    filled = [column for column in zip((*RESULTS, "run"), *rows, strict=True) if set(column[1:]) != {"-"}]
    headings, *rows = zip(*filled, strict=True)
    seeds = [seed_cells(group) for group in groups(measured) if len(group.members) > 1]
    return [table(headings, rows), f"<h3>Seeds</h3>{table(SEEDS, seeds)}" if seeds else ""]


def _link(run: Run | None, place: Path) -> str:
    """Returns a link to a run's folder from the page at `place`."""
    if run is None:
        return "-"
    path = os.path.relpath(run.folder, place.parent)
    return Html(f'<a href="{quote(os.fsencode(path))}/">{escape(run.name)}</a>')


def _studies(presets: dict[str, Preset], found: Sequence[Group]) -> list[str]:
    if not studies.are_known(presets):
        return ["<p>One of the presets 1 to 5 cannot be read or is no longer of these studies.</p>"]
    decays = [name for names in studies.LR_DECAY for name in names]
    parts = [
        "<p>Measured points have their 95 % interval, or the range of the seeds where there are several. Hollow ones "
        "are not comparable with what was reported: recipe, length, images or protocol are others.</p>",
        f'<div class="plots">{studies.depth_plot(presets, found)}{studies.lr_decay_plot(presets, found)}</div>',
    ]
    for title, names in (("Depth, lr_decay 0.96", studies.DEPTH), ("lr_decay, at 32 and at 56 layers", decays)):
        parts += [f"<h3>{title}</h3>", table(studies.HEADINGS, studies.study_rows(names, presets, found))]
        unreported = [presets[name] for name in names if presets[name].reference.test_top1 is None]
        notes = [f"Preset {preset.name}: {preset.reference.note}" for preset in unreported]
        parts += [f"<p>{escape(sentence)}</p>" for sentence in (studies.caution(names, found), *notes) if sentence]
    return parts


def cost_cells(preset: Preset, group: Group | None) -> list[str]:
    """Returns the cells of a preset under `COST_HEADINGS`."""
    cost, record = "-", group and group.record
    if record and record.training_seconds is not None:
        cost = f"{duration(record.training_seconds)} for {epochs(record)} epochs, {record.device or 'device not said'}"
    outcomes = [member.comparison.outcome for member in group.members] if group else []
    measured = percent(group and group.mean) + ", not comparable" * ("not comparable" in outcomes)
    rules = list(dict.fromkeys(finding.rule for finding in check.check(preset)))
    checked = ", ".join([*rules, *(f"({name}, silenced)" for name in preset.silence)])
    return [*described(preset), measured, cost, checked or "nothing found"]


def _curves(runs: Sequence[Run], place: Path) -> list[str]:
    """Returns the curves of each preset's runs, the preset of the newest run first and unfolded."""
    by_preset: dict[str, list[Run]] = {}
    for run in reversed(runs):
        if run.rows:
            by_preset.setdefault(run.folder.parent.name, []).append(run)
    parts = []
    for name, own in by_preset.items():
        newest = own[:MOST_RUNS][::-1]
        left_out = f", the newest {MOST_RUNS} are drawn" if len(own) > MOST_RUNS else ""
        content = [_plots(newest), "<p>Solid: validation. Dashed: training, on augmented images.</p>"]
        content.append(_run_table(newest, place))
        parts.append(folded(f"Curves of preset {name}: {plural(len(own), 'run')}{left_out}", content, not parts))
    return parts or ["<p>No run has a log yet.</p>"]


def _plots(runs: Sequence[Run]) -> str:
    """Returns loss, top-1 and learning rate over epochs, each run in a colour of its own; no plot of what none logs."""
    logs = [run.rows for run in runs]
    elements = []
    for title in curves.PANELS:
        figure = plots.figure(4.2, 2.7)
        if curves.draw(figure.subplots(), title, logs):
            elements.append(plots.svg_element(figure, f"{title} over epochs"))
    return f'<div class="plots">{"".join(elements)}</div>'


def _run_table(runs: Sequence[Run], place: Path, letters: str = "") -> str:
    rows = []
    for run, colour, letter in zip(runs, plots.COLOURS, letters or " " * MOST_RUNS, strict=False):
        about, log = run.about, run.rows
        seconds = about.get("seconds") or sum(row["timing"]["seconds"] for row in log if "timing" in row)
        swatch = Html(f'<span style="color:{colour}">&#9632;</span> {letter}')
        plain = [about.get("status", "?"), str(about.get("seed", "?")), str(log[-1]["epoch"]) if log else "0"]
        rows.append(
            [
                swatch,
                _link(run, place),
                *plain,
                percent(run.best_validation_top1) + ", trained on before" * bool(run.validation_seen),
                duration(seconds),
                about.get("device", "?"),
            ]
        )
    return table(RUN_HEADINGS, rows)

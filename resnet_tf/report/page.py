"""One HTML page that needs nothing but itself: tables, and plots as inline SVG; no script, no request."""

import html
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from resnet_tf import plots
from resnet_tf.format import duration, iso_time, percent, printable
from resnet_tf.installation import call
from resnet_tf.lint import check
from resnet_tf.listing import DESCRIBED, described
from resnet_tf.presets.schema import Preset
from resnet_tf.report import compare, studies
from resnet_tf.report.measured import Group, Measured, groups, leading
from resnet_tf.report.tables import RESULTS, SEEDS, epochs, result_cells, seed_cells
from resnet_tf.runs import curves
from resnet_tf.runs.run import Run

MOST_RUNS = len(plots.COLOURS)  # of a preset, drawn over each other: the newest
COSTS = (*DESCRIBED, "measured", "training", "check")
RUNS = ("", "run", "status", "seed", "epochs", "best validation top-1", "training", "device")
NUMBERS = ("top-1", "95 % interval", "reference", "gap", "epochs", "seed", "units", "depth", "lr_decay", "reported")
NUMBERS += ("measured", "parameters", "mult-adds", "difference", "top-1, mean", "spread", "lowest to highest")

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><title>{title}</title><style>{style}</style></head>
<body>
{body}
</body></html>
"""
STYLE = """
body { margin: 1rem auto; padding: 0 1rem; max-width: 1500px; color: #1c2430; font: 15px/1.5 system-ui, sans-serif; }
h1, td { overflow-wrap: anywhere; } p { max-width: 75ch; } nav a { margin-right: 1rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 0.88rem; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.6rem; border-bottom: 1px solid #dfe4ea; }
th { background: #f5f7f9; } td { min-width: 5rem; } td:first-child { font-weight: 600; }
.number { text-align: right; white-space: nowrap; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); gap: 0.75rem; }
svg { width: 100%; max-width: 560px; height: auto; }
.word { padding: 0 0.45rem; border-radius: 0.7rem; background: #f5f7f9; white-space: nowrap; }
.above { background: #d9f0e3; } .below { background: #fbe0d8; } .within { background: #dcebfa; }
"""


class Html(str):
    """Text that is HTML already."""


def escape(value: str) -> str:
    """Returns a text as HTML, what is not printable written as an escape."""
    return value if isinstance(value, Html) else html.escape(printable(value))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table; where the screen is too narrow, it scrolls sideways."""

    def line(tag: str, cells: Sequence[str]) -> str:
        numbers = [' class="number"' if heading in NUMBERS else "" for heading in headings]
        pairs = zip(numbers, cells, strict=True)
        return f"<tr>{''.join(f'<{tag}{number}>{escape(cell)}</{tag}>' for number, cell in pairs)}</tr>"

    lines = [line("th", headings), *(line("td", cells) for cells in rows)]
    return '<div class="wide"><table>\n{}\n</table></div>'.format("\n".join(lines))


def document(title: str, parts: Sequence[str]) -> str:
    """Returns a whole page."""
    return PAGE.format(title=escape(title), style=STYLE, body="\n".join(part for part in parts if part))


def report_page(presets: dict[str, Preset], measured: Sequence[Measured], runs: Sequence[Run], place: Path) -> str:
    """Returns the report as a page.

    Args:
        presets: the package's, by name.
        runs: all there are, oldest first.
        place: the file that the page is for; links to runs are relative to it.
    """
    found = groups(measured)
    several = [group for group in found if len(group.members) > 1]
    results = [[*_verdict_in_colour(result_cells(one)), _link(one.run, place)] for one in measured]
    parts = [
        "<h1>What was measured</h1>",
        f"<p>Results: {len(measured)}, of presets: {len({one.record.preset for one in measured})}, "
        f"runs: {len(runs)}, written {iso_time()}</p>",
        '<nav><a href="#results">Results</a> <a href="#studies">Depth and lr_decay</a> <a href="#presets">Presets and '
        'costs</a> <a href="#curves">Curves</a></nav>',
        '<h2 id="results">Results beside their references</h2>',
        "<p>A result is compared with its reference only where images, split, recipe, length and protocol agree; "
        "otherwise the differences are named. <em>Within noise</em>: the reference lies in the 95 % interval of the "
        "result (Wilson, from the number of test images). The spread between seeds has a table of its own.</p>",
        table((*RESULTS, "run"), results) if results else f"<p>Nothing yet: {call('train')}, then {call('eval')}.</p>",
        f"<h3>Seeds</h3>{table(SEEDS, [seed_cells(group) for group in several])}" if several else "",
        *_studies(presets, found),
        '<h2 id="presets">Presets: sizes and costs</h2>',
        "<p>Parameters are the trainable ones; multiply-adds are for one image of the training size. "
        f"{call('train')} --preset NAME --check explains what the check found.</p>",
        table(COSTS, [cost_cells(preset, leading(found, name)) for name, preset in presets.items()]),
        '<h2 id="curves">Curves</h2>',
        "<p>Solid: validation. Dashed: training, on augmented images and averaged over the epoch.</p>",
        *_curves(runs, place),
    ]
    return document("resnet_tf: what was measured", parts)


def comparison_page(ours: Run, theirs: Run, tables: dict[str, list[list[str]]], place: Path) -> str:
    """Returns two runs side by side as a page: what differs, and their curves over each other."""
    parts = [f"<h1>{escape(ours.name)} and {escape(theirs.name)}</h1>"]
    for title, rows in tables.items():
        nothing = f"<p>{escape(compare.NOTHING[title])}</p>"
        parts.append(f"<h2>{title.capitalize()}</h2>")
        parts.append(table(compare.headings(title, ours, theirs), rows) if rows else nothing)
    parts += [f"<p>{compare.HOW_TO_READ}</p>" if tables["paired test"] else "", "<h2>Curves</h2>"]
    parts += [_plots([ours, theirs]), _run_table([ours, theirs], place)]
    return document(f"{ours.name} and {theirs.name}", parts)


def _verdict_in_colour(cells: list[str]) -> list[str]:
    place = RESULTS.index("verdict")
    word, _, reasons = cells[place].partition(": ")
    badge = f'<span class="word {word.split()[0]}">{escape(word)}</span> {escape(reasons)}'
    return [*cells[:place], Html(badge), *cells[place + 1 :]]


def _link(run: Run | None, place: Path) -> str:
    """Returns a link to a run's folder from the page at `place`."""
    if run is None:
        return "-"
    path = os.path.relpath(run.folder, place.parent)
    return Html(f'<a href="{quote(path)}/">{escape(run.name)}</a>')


def _studies(presets: dict[str, Preset], found: Sequence[Group]) -> list[str]:
    decays = [name for names in studies.LR_DECAY for name in names]
    parts = [
        '<h2 id="studies">Depth and lr_decay, as their author studied them</h2>',
        "<p>Measured points have their 95 % interval, or the range of the seeds where there are several.</p>",
        f'<div class="plots">{studies.depth_plot(presets, found)}{studies.lr_decay_plot(presets, found)}</div>',
    ]
    for title, names in (("Depth, lr_decay 0.96", studies.DEPTH), ("lr_decay, at 32 and at 56 layers", decays)):
        parts += [f"<h3>{title}</h3>", table(studies.HEADINGS, studies.study_rows(names, presets, found))]
        unreported = [presets[name] for name in names if presets[name].reference.test_top1 is None]
        notes = [f"Preset {preset.name}: {preset.reference.note}" for preset in unreported]
        parts += [f"<p>{escape(sentence)}</p>" for sentence in (studies.caution(names, found), *notes)]
    return parts


def cost_cells(preset: Preset, group: Group | None) -> list[str]:
    """Returns the cells of a preset under `COSTS`."""
    cost, record = "-", group and group.record
    if record and record.training_seconds is not None:
        cost = f"{duration(record.training_seconds)} for {epochs(record)} epochs, {record.device or 'device not said'}"
    rules = list(dict.fromkeys(finding.rule for finding in check.check(preset)))
    checked = ", ".join([*rules, *(f"({name}, silenced)" for name in preset.silence)])
    return [*described(preset), percent(group and group.mean), cost, checked or "nothing found"]


def _curves(runs: Sequence[Run], place: Path) -> list[str]:
    by_preset: dict[str, list[Run]] = {}
    for run in runs:
        by_preset.setdefault(run.folder.parent.name, []).append(run)
    parts = []
    for name, own in by_preset.items():
        newest = [run for run in own if run.rows][-MOST_RUNS:]
        if newest:
            left_out = f", the newest {MOST_RUNS} of {len(own)} runs" if len(own) > MOST_RUNS else ""
            parts += [f"<h3>Preset {escape(name)}{left_out}</h3>", _plots(newest), _run_table(newest, place)]
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


def _run_table(runs: Sequence[Run], place: Path) -> str:
    rows = []
    for run, colour in zip(runs, plots.COLOURS, strict=False):
        about, log = run.about, run.rows
        best = max((row["validation_top1"] for row in log if "validation_top1" in row), default=None)
        seconds = about.get("seconds") or sum(row["timing"]["seconds"] for row in log if "timing" in row)
        swatch = Html(f'<span style="color:{colour}">&#9632;</span>')
        plain = [about.get("status", "?"), str(about.get("seed", "?")), str(log[-1]["epoch"]) if log else "0"]
        rows.append([swatch, _link(run, place), *plain, percent(best), duration(seconds), about.get("device", "?")])
    return table(RUNS, rows)

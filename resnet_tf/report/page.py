"""One HTML page that needs nothing but itself: tables, and charts as inline SVG; no script, no request."""

import html
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from resnet_tf.cli.listing import DESCRIBED, described
from resnet_tf.format import printable
from resnet_tf.lint import check
from resnet_tf.presets.schema import Preset
from resnet_tf.report import compare, studies
from resnet_tf.report.charts import COLOURS, Series, line_chart
from resnet_tf.report.measured import Group, Measured, groups, leading
from resnet_tf.report.tables import RESULTS, SEEDS, epochs, percent, result_cells, seed_cells
from resnet_tf.runs import ledger
from resnet_tf.runs.run import Run

MOST_RUNS = 6  # of a preset, drawn over each other: the newest
COSTS = (*DESCRIBED, "measured", "training", "check")
RUNS = ("", "run", "status", "seed", "epochs", "best validation top-1", "training", "device")
NUMBERS = ("top-1", "95 % interval", "reference", "gap", "epochs", "seed", "units", "depth", "lr_decay", "reported")
NUMBERS += ("measured", "parameters", "mult-adds", "difference", "top-1, mean", "spread", "lowest to highest")

STYLE = """
:root { --ink: #1c2430; --faint: #5b6675; --line: #dfe4ea; --soft: #f5f7f9; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem clamp(0.75rem, 3vw, 2.5rem) 3rem; max-width: 1500px; color: var(--ink);
  background: #fff; font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0.5rem 0 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 0.4rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 0.3rem; } p { margin: 0.3rem 0; max-width: 75ch; }
.faint { color: var(--faint); }
table { border-collapse: collapse; width: 100%; margin: 0.5rem 0; font-size: 0.88rem; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.6rem; border-bottom: 1px solid var(--line); }
th { background: var(--soft); font-weight: 600; } .number { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
td { overflow-wrap: break-word; } td:first-child { font-weight: 600; } .wide { overflow-x: auto; }
td:first-child, td:last-child { overflow-wrap: anywhere; min-width: 8rem; }
a { color: #0b5cad; } nav a { margin-right: 1rem; white-space: nowrap; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); gap: 0.75rem; }
svg { width: 100%; max-width: 560px; height: auto; border: 1px solid var(--line); border-radius: 6px; }
svg text { font: 11px system-ui, sans-serif; fill: var(--faint); } svg .title { font-weight: 600; fill: var(--ink); }
svg .grid { stroke: var(--line); } svg polyline, svg g line { stroke-width: 1.7; }
.swatch { display: inline-block; width: 1.6rem; height: 0.35rem; border-radius: 2px; vertical-align: middle; }
.word { display: inline-block; padding: 0 0.45rem; border-radius: 0.7rem; background: var(--soft);
  white-space: nowrap; }
.above { background: #d9f0e3; } .below { background: #fbe0d8; } .within { background: #dcebfa; }
@media (max-width: 900px) {
  thead { display: none; } tr { display: block; padding: 0.4rem 0; border-bottom: 2px solid var(--line); }
  td, td.number { display: flex; gap: 0.8rem; border: 0; padding: 0.1rem 0.2rem; text-align: left;
    white-space: normal; }
  td::before { content: attr(data-label); flex: 0 0 6.5rem; color: var(--faint); }
}
"""


def text(value: str) -> str:
    """Returns a text as HTML."""
    return html.escape(printable(value))


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], to_html: Callable[[str, str], str] | None = None
) -> str:
    """Returns a table; on a narrow screen each row becomes a list with the headings beside it.

    Args:
        to_html: from (heading, cell) to HTML; default: the cell as text.
    """
    to_html = to_html or (lambda heading, cell: text(cell))
    numbers = ['class="number"' if heading in NUMBERS else "" for heading in headings]
    head = "".join(f"<th {number}>{text(name)}</th>" for name, number in zip(headings, numbers, strict=True))
    body = [
        "".join(
            f'<td {number} data-label="{text(name)}"><span>{to_html(name, cell)}</span></td>'
            for name, cell, number in zip(headings, row, numbers, strict=True)
        )
        for row in rows
    ]
    lines = "\n".join(f"<tr>{cells}</tr>" for cells in body)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{lines}\n</tbody></table></div>'


def document(title: str, parts: Sequence[str]) -> str:
    """Returns a whole page."""
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{text(title)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def report_page(presets: dict[str, Preset], measured: Sequence[Measured], runs: Sequence[Run], place: Path) -> str:
    """Returns the report as a page.

    Args:
        presets: the package's, by name.
        runs: all there are, oldest first.
        place: the file that the page is for; links to runs are relative to it.
    """
    found = groups(measured)
    several = [group for group in found if len(group.members) > 1]
    parts = [
        "<h1>What was measured</h1>",
        f'<p class="faint">Results: {len(measured)}, of presets: {len({one.row["preset"] for one in measured})}, '
        f"runs: {len(runs)}, written {ledger.now()}</p>",
        '<nav><a href="#results">Results</a> <a href="#studies">Depth and lr_decay</a> <a href="#presets">Presets and '
        'costs</a> <a href="#curves">Curves</a></nav>',
        '<h2 id="results">Results beside their references</h2>',
        "<p>A figure is compared with its reference only where images, split, recipe, length and protocol agree; else "
        "what differs is named. <em>Within noise</em>: the reference lies in the 95 % interval of the images tested "
        "(Wilson). How much seeds differ stands below.</p>",
        _results(measured, place) if measured else "<p>Nothing yet: python train.py, then python eval.py.</p>",
        "<h3>Seeds</h3>" if several else "",
        table(SEEDS, [seed_cells(group) for group in several]) if several else "",
        *_studies(presets, found),
        '<h2 id="presets">Presets: sizes and costs</h2>',
        "<p>Parameters are trainable ones; multiply-adds are for one image at the training size. The check's rules are "
        "told by python train.py --preset NAME --check.</p>",
        table(COSTS, [cost_cells(preset, leading(found, name)) for name, preset in presets.items()]),
        '<h2 id="curves">Curves</h2>',
        "<p>Solid: validation. Dashed: training, on augmented images and averaged over the epoch.</p>",
        *_curves(runs, place),
    ]
    return document("resnet_tf: what was measured", parts)


def comparison_page(ours: Run, theirs: Run, tables: dict[str, list[list[str]]], place: Path) -> str:
    """Returns two runs side by side as a page: what differs, and their curves over each other."""
    parts = [f"<h1>{text(ours.name)} and {text(theirs.name)}</h1>"]
    for title, rows in tables.items():
        parts.append(f"<h2>{title.capitalize()}</h2>")
        shown = table(compare.headings(title, ours, theirs), rows)
        parts.append(shown if rows else f"<p>{text(compare.NOTHING[title])}</p>")
    parts += [f"<p>{compare.HOW_TO_READ}</p>" if tables["paired test"] else "", "<h2>Curves</h2>"]
    parts += [_charts([ours, theirs]), _run_table([ours, theirs], place)]
    return document(f"{ours.name} and {theirs.name}", parts)


def _results(measured: Sequence[Measured], place: Path) -> str:
    links = {id(one): "-" if one.run is None else link(one.run, place) for one in measured}
    rows = [[*result_cells(one), links[id(one)]] for one in measured]

    def to_html(heading: str, cell: str) -> str:
        if heading == "run":
            return cell  # a link already
        if heading == "verdict":
            word, _, reasons = cell.partition(": ")
            return f'<span class="word {word.split()[0]}">{text(word)}</span> {text(reasons)}'
        return text(cell)

    return table((*RESULTS, "run"), rows, to_html)


def link(run: Run, place: Path) -> str:
    """Returns a link to a run's folder from the page at `place`."""
    path = os.path.relpath(run.folder, place.parent)
    return f'<a href="{quote(path)}/">{text(run.name)}</a>'


def _studies(presets: dict[str, Preset], found: Sequence[Group]) -> list[str]:
    decays = [name for names in studies.LR_DECAY for name in names]
    parts = [
        '<h2 id="studies">Depth and lr_decay, as their author studied them</h2>',
        "<p>Dashed, open dots: what the author reports. Solid: measured here, with the 95 % interval, or the range of "
        "the seeds where there are several.</p>",
        '<div class="charts">',
        studies.depth_chart(presets, found),
        studies.lr_decay_chart(presets, found),
        "</div>",
        f"<p>{_swatch(0)} 32 layers (right chart) {_swatch(1)} 56 layers</p>",
    ]
    for title, names in (("Depth, lr_decay 0.96", studies.DEPTH), ("lr_decay, at 32 and at 56 layers", decays)):
        parts += [f"<h3>{title}</h3>", table(studies.HEADINGS, studies.study_rows(names, presets, found))]
        parts += [f"<p>{studies.caution(names, found)}</p>", *map(_no_figure, (presets[name] for name in names))]
    return parts


def _no_figure(preset: Preset) -> str:
    known = preset.reference
    return f"<p>Preset {text(preset.name)}: {text(known.note)}</p>" if known.test_top1 is None else ""


def cost_cells(preset: Preset, group: Group | None) -> list[str]:
    """Returns the cells of a preset under `COSTS`."""
    row = group.row if group else {}
    seconds = row.get("training_seconds")
    cost = (
        "-" if seconds is None else f"{span(seconds)} for {epochs(row)} epochs, {row.get('device', 'device not said')}"
    )
    rules = list(dict.fromkeys(finding.rule for finding in check.check(preset)))
    return [
        *described(preset),
        percent(group.mean) if group else "-",
        cost,
        ", ".join([*rules, *(f"({name}, silenced)" for name in preset.silence)]) or "nothing found",
    ]


def span(seconds: float) -> str:
    """Returns a time for people: "41 s", "8.1 min", "2.3 h"."""
    for unit, word in ((3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.1f} {word}"
    return f"{seconds:.0f} s"


def _curves(runs: Sequence[Run], place: Path) -> list[str]:
    by_preset: dict[str, list[Run]] = {}
    for run in runs:
        by_preset.setdefault(run.folder.parent.name, []).append(run)
    parts = []
    for name, own in by_preset.items():
        newest = [run for run in own if run.rows][-MOST_RUNS:]
        if newest:
            left_out = f", the newest {MOST_RUNS} of {len(own)} runs" if len(own) > MOST_RUNS else ""
            parts += [f"<h3>Preset {text(name)}{left_out}</h3>", _charts(newest), _run_table(newest, place)]
    return parts or ["<p>No run has a log yet.</p>"]


def _charts(runs: Sequence[Run]) -> str:
    """Returns loss, top-1 and rate over epochs, each run in a colour of its own."""
    logs = [run.rows for run in runs]

    def lines(key: str, dashed: bool = False) -> list[Series]:
        found = []
        for colour, (run, rows) in enumerate(zip(runs, logs, strict=True)):
            points = [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]
            found.append(Series(f"{run.name}, {key}", points, colour, dashed))
        return found

    rates = [row["learning_rate"] for rows in logs for row in rows]
    wide = bool(rates) and min(rates) > 0 and max(rates) > 20 * min(rates)
    charts = [
        line_chart("loss", [*lines("loss", True), *lines("validation_loss")], "epoch"),
        line_chart("top-1 %", [*lines("top1", True), *lines("validation_top1")], "epoch"),
        line_chart("learning rate", lines("learning_rate"), "epoch", logarithmic=wide),
    ]
    return f'<div class="charts">{"".join(charts)}</div>'


def _run_table(runs: Sequence[Run], place: Path) -> str:
    rows = []
    for colour, run in enumerate(runs):
        about, log = run.about, run.rows
        best = max((row["validation_top1"] for row in log if "validation_top1" in row), default=None)
        seconds = about.get("seconds") or sum(row["timing"]["seconds"] for row in log if "timing" in row)
        plain = [about.get("status", "?"), str(about.get("seed", "?")), str(log[-1]["epoch"]) if log else "0"]
        plain += [percent(best), span(seconds), about.get("device", "?")]
        rows.append([_swatch(colour), link(run, place), *map(text, plain)])
    return table(RUNS, rows, lambda heading, cell: cell)


def _swatch(colour: int) -> str:
    return f'<span class="swatch" style="background:{COLOURS[colour % len(COLOURS)]}"></span>'

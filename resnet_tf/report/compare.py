"""Two runs side by side: differing recipe, differing figures, and a paired test on the same images."""

import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnet_tf import format, installation
from resnet_tf.presets import schema
from resnet_tf.runs import ledger, predictions
from resnet_tf.runs.predictions import Predictions
from resnet_tf.runs.records import Evaluation
from resnet_tf.runs.run import Run


@dataclass(frozen=True)
class Paired:
    """McNemar's test: of the images that just one of two networks gets right, does either get more than by chance?

    Attributes:
        count: images.
        ours, theirs: images that only the first, only the second network gets right.
    """

    count: int
    ours: int
    theirs: int

    @property
    def gap(self) -> float:
        """Top-1 of the first less that of the second, in points."""
        return 100 * (self.ours - self.theirs) / self.count

    @property
    def p(self) -> float:
        """Probability of a difference at least as large where both networks are equally good."""
        return mcnemar(self.ours, self.theirs)


def mcnemar(ours: int, theirs: int) -> float:
    """Returns the two-sided p-value of McNemar's exact test: the binomial test of `ours` of `ours + theirs` at 1/2.

    Source: McNemar 1947 (Psychometrika 12).
    """
    from scipy.stats import binomtest

    return float(binomtest(ours, ours + theirs).pvalue) if ours + theirs else 1.0


def paired(ours: Predictions, theirs: Predictions) -> Paired:
    """Counts on which images two networks differ; the images must be the same, in the same order."""
    mine, others = ours.correct, theirs.correct
    return Paired(len(mine), int(np.sum(mine & ~others)), int(np.sum(others & ~mine)))


def compare(ours: Run, theirs: Run, runs: str | Path) -> dict[str, list[list[str]]]:
    """Returns what differs between two runs as tables by title; a row is [what, ours, theirs, more...]."""
    evaluated = ledger.evaluations(runs)
    return {
        "recipe": [[key, *map(_shown, pair)] for key, pair in schema.changes(ours.preset, theirs.preset).items()],
        "run": _differences(_about(ours), _about(theirs)),
        "figures": _differences(_figures(ours, evaluated), _figures(theirs, evaluated), numbers=True),
        "paired test": _paired_rows(ours, theirs),
    }


HEADINGS = {"recipe": "key", "run": "", "figures": "figure", "paired test": "images"}
MORE = {"figures": ("difference",), "paired test": ("gap", "McNemar's p")}
HOW_TO_READ = (
    "Of the images that only one of the two gets right, each should have about half if both are equally good; p is the "
    "probability of a difference at least as large by chance alone (McNemar, exact)."
)
NOTHING = {
    "recipe": "The recipes are the same.",
    "run": "Seed, images, device and versions are the same.",
    "figures": "No figure differs.",
    "paired test": "Both runs need stored predictions of the same images: "
    f"{installation.call('eval')} --run RUN for each.",
}


def headings(table: str, ours: Run, theirs: Run) -> list[str]:
    """Returns a table's headings. The paired test's two columns count the images that only that run gets right."""
    names = [f"only {run.name}" if table == "paired test" else run.name for run in (ours, theirs)]
    return [HEADINGS[table], *names, *MORE.get(table, ())]


def as_text(tables: dict[str, list[list[str]]], ours: Run, theirs: Run) -> str:
    """Returns the tables for a terminal."""
    lines = []
    for title, rows in tables.items():
        text = format.as_text(format.table(headings(title, ours, theirs), rows)) if rows else NOTHING[title]
        lines += [title, textwrap.indent(text, "  ")]
    return "\n".join([*lines, *([HOW_TO_READ] if tables["paired test"] else [])])


def _about(run: Run) -> dict:
    about = run.about
    data = about.get("data", {})
    plain = {key: about.get(key) for key in ("seed", "status", "step", "device", "backend", "precision")}
    return {**plain, "images": data.get("title"), "fingerprint": data.get("fingerprint"), **about.get("versions", {})}


def _figures(run: Run, evaluated: list[Evaluation]) -> dict:
    """Returns a run's figures by what they are: of its last epoch, and of its evaluations."""
    log = run.rows
    figures = {f"last epoch, {key}": value for key, value in (log[-1] if log else {}).items() if key != "timing"}
    validation = [row["validation_top1"] for row in log if "validation_top1" in row]
    figures |= {"best validation_top1": max(validation, default=None), "training seconds": run.about.get("seconds")}
    for row in evaluated:
        if row.run == run.name:
            title = f"{row.split} of {row.data['title']} ({row.view}, {row.weights} weights, {row.resolution} px)"
            figures |= {f"{title}, {key}": getattr(row, key) for key in ("top1", "top5", "loss")}
    return figures


def _differences(ours: dict, theirs: dict, numbers: bool = False) -> list[list[str]]:
    """Returns a row for each value that differs; with `numbers`, also by how much."""
    rows = []
    for key in {**ours, **theirs}:
        pair = ours.get(key), theirs.get(key)
        if pair[0] == pair[1]:
            continue
        known = all(isinstance(value, int | float) for value in pair)
        difference = [f"{pair[0] - pair[1]:+.4g}" if known else "-"] if numbers else []
        rows.append([key, *map(_shown, pair), *difference])
    return rows


def _shown(value) -> str:
    if value is None or value == "":
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _paired_rows(ours: Run, theirs: Run) -> list[list[str]]:
    """Returns a row for each evaluation that both runs have stored."""
    rows = []
    for path in sorted(ours.predictions.glob("*.npz")):
        other = theirs.predictions / path.name
        if not other.exists():
            continue
        mine, others = predictions.load(path), predictions.load(other)
        if mine.images != others.images:
            rows.append([path.stem, "-", "-", "-", "not the same images"])
            continue
        test = paired(mine, others)
        counts = f"{path.stem}, {test.count:,}"
        rows.append([counts, f"{test.ours:,}", f"{test.theirs:,}", f"{test.gap:+.2f}", f"{test.p:.3g}"])
    return rows

"""Two runs side by side: differing recipe, differing figures, and a paired test on the same images."""

import re
from dataclasses import dataclass
from pathlib import Path

from resnet_tf import format, installation
from resnet_tf.presets import changes, schema
from resnet_tf.presets.schema import Preset
from resnet_tf.runs import ledger, predictions, significance
from resnet_tf.runs.choose import is_present
from resnet_tf.runs.records import EvaluationRecord
from resnet_tf.runs.run import Run, runs_option


@dataclass(frozen=True)
class Section:
    """A part of a comparison.

    Attributes:
        rows: [what, of run A, of run B, difference].
        nothing: what is said where there are no rows.
    """

    title: str
    rows: list[list[str]]
    nothing: str


HEADINGS = ("", "A", "B", "difference")
HOW_TO_READ = (
    "The paired test counts the images that only one of the two gets right: about half for each if both are equally "
    "good. p is the probability of a difference at least as large by chance alone (McNemar, exact)."
)


def compare(ours: Run, theirs: Run, runs: str | Path) -> list[Section]:
    """Returns what differs between two runs: recipe, run, figures, and a paired test."""
    recipe = [[key, *map(_shown, pair), ""] for key, pair in _recipe_changes(ours.preset, theirs.preset).items()]
    call = f"{installation.call('eval')} --run RUN{runs_option(runs)}"
    figures = [_figures(run, runs) for run in (ours, theirs)]
    return [
        Section("recipe", recipe, "The recipes are the same."),
        Section("run", _differences(_about(ours), _about(theirs)), "Seed, images, device and versions are the same."),
        Section("figures", _differences(*figures, _held_out(ours) == _held_out(theirs)), "No figure differs."),
        Section(
            "paired test",
            _paired_rows(ours, theirs),
            f"A paired test needs stored predictions of the same images: {call} for each, with the same --view and "
            "--weights.",
        ),
    ]


def _recipe_changes(ours: Preset, theirs: Preset) -> dict[str, list]:
    """Returns where two recipes differ as `schema.changes` does, and of all their phases key by key."""
    found = schema.changes(ours, theirs)
    if "phases" in found:
        phases, counts = found.pop("phases"), [len(each.in_phases) for each in (ours, theirs)]
        found |= {"phases": counts} if counts[0] != counts[1] else {}
        found |= changes.of_phases(*phases)
    return found


def as_text(sections: list[Section], ours: Run, theirs: Run, width: int | None = None) -> str:
    """Returns a comparison as one table for a terminal of `width` characters; default: no cell is folded."""
    rows, notes = [], [section.nothing for section in sections if not section.rows]
    for section in filter(lambda section: section.rows, sections):
        rows += [[section.title, "", "", ""], *([f"  {what}", *cells] for what, *cells in section.rows)]
    table = format.table(HEADINGS, rows, prose=HEADINGS)
    table.columns[0].min_width = max((2 + len(word) for what, *_ in rows for word in what.split()), default=0)
    notes += [HOW_TO_READ] if sections[-1].rows else []
    names = f"A  {ours.name}\nB  {theirs.name}\n"
    return "\n".join([names, format.as_text(table, width and max(width, format.narrowest(table))), "", *notes])


def _about(run: Run) -> dict:
    about = run.about
    data, init = about.get("data", {}), about.get("init") or {}
    plain = {key: about.get(key) for key in ("seed", "status", "step", "device", "backend", "precision")}
    plain |= {"images": data.get("title"), "images, SHA-256": data.get("fingerprint")}
    plain |= {"initial weights": init.get("run"), "initial weights, SHA-256": init.get("sha256")}
    return {**plain, **about.get("versions", {})}


def _figures(run: Run, runs: str | Path) -> dict:
    """Returns a run's figures by what they are: of its last epoch, and of its evaluations."""
    log = run.rows
    figures = {f"last epoch, {key}": value for key, value in (log[-1] if log else {}).items() if key != "timing"}
    figures |= {"best validation_top1": run.best_validation_top1, "training seconds": run.about.get("seconds")}
    for row in ledger.evaluations_of(run, runs):
        if is_present(run, row):
            title = f"{_images(run, row)} ({row.view}, {row.weights} weights, {row.resolution} px)"
            figures |= {f"{title}, {key}": getattr(row, key) for key in ("top1", "top5", "loss")}
    return figures


def _images(run: Run, row: EvaluationRecord) -> str:
    """Returns a name of the images that were scored, which different images do not share."""
    copy = "" if row.data["official"] else f" {row.data['fingerprint'][:8]}"
    cut_off = row.split == "validation" and not run.about.get("own_validation")
    held_out = f", {row.count:,} held out by seed {row.seed}" if cut_off else ""
    held_out += f", {row.validation_seen:,} trained on before" if row.validation_seen else ""
    return f"{row.split} of {row.data['title']}{copy}{held_out}"


def _held_out(run: Run) -> tuple:
    """Returns what decides which images a training validates on, and whether its figures compare with another's."""
    about = run.about
    if run.validation_seen:
        return (run.name,)
    cut_off = None if about.get("own_validation") else (about.get("seed"), run.preset.data.validation_size)
    return about.get("data", {}).get("fingerprint"), cut_off


def _differences(ours: dict, theirs: dict, same_validation: bool = True) -> list[list[str]]:
    """Returns a row for each value that differs; of figures of the same images also by how much.

    Args:
        same_validation: whether both trainings validate on the same images.
    """
    rows = []
    for key in {**ours, **theirs}:
        pair = ours.get(key), theirs.get(key)
        if pair[0] != pair[1]:
            known = all(isinstance(value, int | float) for value in pair) and key != "seed"
            known = known and (same_validation or "validation" not in key)
            rows.append([key, *map(_shown, pair), f"{pair[0] - pair[1]:+.4g}" if known else ""])
    return rows


def _shown(value) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):
        return value[:12]  # of a SHA-256 enough to tell two apart
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _paired_rows(ours: Run, theirs: Run) -> list[list[str]]:
    """Returns a row for each evaluation that both runs have stored."""
    rows = []
    for path in sorted(ours.predictions.glob("*.npz")):
        other = theirs.predictions / path.name
        if not other.exists():
            continue
        mine, others = predictions.load(path), predictions.load(other)
        now = [run.about.get("step") for run in (ours, theirs)]
        stale = any(each.updates not in (None, step) for each, step in zip((mine, others), now, strict=True))
        seen = path.stem.startswith("validation") and (ours.validation_seen or theirs.validation_seen)
        reasons = {"of an earlier step": stale, "not the same images": mine.images != others.images}
        reasons["images that initial weights were trained on"] = seen
        if reason := next(filter(reasons.get, reasons), None):
            rows.append([path.stem, "-", "-", reason])
            continue
        test = significance.paired(mine, others)
        what = f"{path.stem}, {test.count:,} images: right in one alone"
        rows.append([what, f"{test.ours:,}", f"{test.theirs:,}", f"{test.difference:+.2f} points, p = {test.p:.3g}"])
    return rows

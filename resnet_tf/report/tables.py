"""Measurements as tables: cells for people (HTML and Markdown), and CSV for a spreadsheet."""

import csv
import io
import json
from collections.abc import Sequence

from resnet_tf.report.measured import Group, Measured
from resnet_tf.runs.comparison import display_name
from tools import readme_tables

RESULTS = ("preset", "top-1", "95 % interval", "reference", "gap", "verdict", "epochs", "seed", "protocol", "images")
SEEDS = (
    "preset",
    "seeds",
    "top-1, mean",
    "spread",
    "lowest to highest",
    "reference",
    "gap",
    "epochs",
    "protocol",
    "images",
)


def result_cells(one: Measured) -> list[str]:
    """Returns the cells of a measurement under `RESULTS`."""
    row, comparison = one.row, one.comparison
    low, high = row["top1_interval"]
    return [
        display_name(row["preset"], row["changed"]),
        f"{row['top1']:.2f} %",
        f"{low:.2f} to {high:.2f}",
        percent(comparison.reference),
        "-" if comparison.gap is None else f"{comparison.gap:+.2f}",
        ": ".join([comparison.outcome, *(["; ".join(comparison.reasons)] if comparison.reasons else [])]),
        epochs(row),
        str(row["seed"]),
        protocol(row),
        row["data"]["title"],
    ]


def seed_cells(group: Group) -> list[str]:
    """Returns the cells of measurements that differ in the seed alone, under `SEEDS`."""
    row, comparison = group.row, group.members[0].comparison
    low, high = group.interval
    return [
        display_name(row["preset"], row["changed"]),
        ", ".join(map(str, group.seeds)),
        f"{group.mean:.2f} %",
        f"+/- {group.spread:.2f}",
        f"{low:.2f} to {high:.2f}",
        percent(comparison.reference),
        "-" if comparison.reference is None else f"{group.mean - comparison.reference:+.2f}",
        epochs(row),
        protocol(row),
        row["data"]["title"],
    ]


def protocol(row: dict) -> str:
    """Returns on what a row was measured, and how."""
    return f"{row['split']}, {row['view']}, {row['weights']} weights"


def epochs(row: dict) -> str:
    """Returns how long a row's network was trained."""
    return "?" if row["epochs"] is None else f"{row['epochs']:g}"


def percent(value: float | None) -> str:
    """Returns "85.10 %", or "-" where there is nothing."""
    return "-" if value is None else f"{value:.2f} %"


def markdown(measured: Sequence[Measured], groups: Sequence[Group]) -> str:
    """Returns the measurements, and the seeds where there are several of a recipe, as Markdown tables."""
    tables = [_markdown(RESULTS, [result_cells(one) for one in measured])]
    several = [seed_cells(group) for group in groups if len(group.members) > 1]
    if several:
        tables.append(_markdown(SEEDS, several))
    return "\n\n".join(tables) + "\n"


def _markdown(headings: Sequence[str], rows: list[list[str]]) -> str:
    return readme_tables.markdown(headings, [[cell.replace("|", "\\|") for cell in cells] for cells in rows])


def as_csv(measured: Sequence[Measured]) -> str:
    """Returns the measurements as CSV, a line each, numbers as numbers; `changed` is JSON."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    lines = [_csv_line(one) for one in measured]
    writer.writerow(lines[0] if lines else ["preset"])
    writer.writerows(line.values() for line in lines)
    return text.getvalue()


def _csv_line(one: Measured) -> dict:
    row, comparison = one.row, one.comparison
    plain = ("preset", "run", "date", "seed", "split", "view", "weights", "resolution", "epochs", "steps")
    low, high = row["top1_interval"]
    return {
        **{key: row.get(key) for key in plain},
        "top1": row["top1"],
        "top1_low": low,
        "top1_high": high,
        "top5": row.get("top5"),
        "loss": row.get("loss"),
        "count": row["count"],
        "reference": comparison.reference,
        "gap": None if comparison.gap is None else round(comparison.gap, 4),
        "standing": comparison.outcome,
        "reasons": "; ".join(comparison.reasons),
        "changed": json.dumps(row["changed"]),
        "images": row["data"]["title"],
        "official": int(row["data"]["official"]),
        "fingerprint": row["data"]["fingerprint"],
        "training_seconds": row.get("training_seconds"),
        "device": row.get("device"),
    }

"""Measurements as tables: cells of text for HTML and Markdown, and CSV for a spreadsheet."""

import csv
import io
import json
from collections.abc import Sequence

from resnet_tf.format import markdown_table, percent
from resnet_tf.report.measured import Group, Measured
from resnet_tf.runs.comparison import display_name

RESULTS = ("preset", "top-1", "95 % interval", "reference", "gap", "verdict", "epochs", "seed", "protocol", "images")
SEEDS = ("preset", "seeds", "top-1, mean", "spread", "lowest to highest", "reference", "gap")
SEEDS += ("epochs", "protocol", "images")


def result_cells(one: Measured) -> list[str]:
    """Returns the cells of a measurement under `RESULTS`."""
    row, comparison = one.row, one.comparison
    low, high = row["top1_interval"]
    return [
        display_name(row["preset"], row["changed"]),
        percent(row["top1"]),
        f"{low:.2f} to {high:.2f}",
        percent(comparison.reference),
        "-" if comparison.gap is None else f"{comparison.gap:+.2f}",
        f"{comparison.outcome}: {'; '.join(comparison.reasons)}".removesuffix(": "),
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
        percent(group.mean),
        f"+/- {group.spread:.2f}",
        f"{low:.2f} to {high:.2f}",
        percent(comparison.reference),
        "-" if comparison.reference is None else f"{group.mean - comparison.reference:+.2f}",
        epochs(row),
        protocol(row),
        row["data"]["title"],
    ]


def protocol(row: dict) -> str:
    """Returns how a row was measured: "test, 1-crop, last weights"."""
    return f"{row['split']}, {row['view']}, {row['weights']} weights"


def epochs(row: dict) -> str:
    """Returns how many epochs a row's network was trained for, "?" where the row does not say."""
    return "?" if row["epochs"] is None else f"{row['epochs']:g}"


def markdown(measured: Sequence[Measured], groups: Sequence[Group]) -> str:
    """Returns the measurements as a Markdown table, and a second one of the recipes that have several seeds."""
    tables = [markdown_table(RESULTS, [result_cells(one) for one in measured])]
    several = [seed_cells(group) for group in groups if len(group.members) > 1]
    if several:
        tables.append(markdown_table(SEEDS, several))
    return "\n\n".join(tables) + "\n"


def as_csv(measured: Sequence[Measured]) -> str:
    """Returns the measurements as CSV, one line each; numbers are not quoted, and `changed` is JSON."""
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

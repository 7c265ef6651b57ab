"""Measurements as tables: cells of text for HTML and Markdown, and CSV for a spreadsheet."""

import csv
import io
import json
from collections.abc import Sequence

from resnet_tf.format import duration, markdown_table, percent
from resnet_tf.presets import changes
from resnet_tf.report.measured import Group, Measured
from resnet_tf.runs.records import EvaluationRecord

RESULTS = ("preset", "top-1", "95 % interval", "reference", "difference", "verdict")
RESULTS += ("epochs", "seed", "protocol", "images", "trained on")
SEEDS = ("preset", "seeds", "top-1, mean", "spread", "lowest to highest", "reference", "difference")
SEEDS += ("epochs", "protocol", "images")


def result_cells(one: Measured) -> list[str]:
    """Returns the cells of a measurement under `RESULTS`."""
    record, comparison = one.record, one.comparison
    return [
        trained(record),
        percent(record.top1),
        "{:.2f} to {:.2f}".format(*record.top1_interval),
        percent(comparison.reference),
        _signed(comparison.difference),
        comparison.summary,
        epochs(record),
        str(record.seed),
        f"{record.split}, {record.how}",
        record.data["title"],
        _trained_on(one),
    ]


def seed_cells(group: Group) -> list[str]:
    """Returns the cells of measurements that differ in the seed alone, under `SEEDS`."""
    record = group.record
    comparable = all(member.comparable for member in group.members)
    reference = group.members[0].comparison.reference if comparable else None
    return [
        trained(record),
        ", ".join(map(str, group.seeds)),
        percent(group.mean),
        f"+/- {group.spread:.2f}",
        "{:.2f} to {:.2f}".format(*group.interval),
        percent(reference),
        _signed(None if reference is None else group.mean - reference),
        epochs(record),
        f"{record.split}, {record.how}",
        record.data["title"],
    ]


def trained(record: EvaluationRecord) -> str:
    """Returns what was trained (see `recipe`), and whether in bfloat16."""
    return recipe(record) + ", in bfloat16" * (record.computed_in == "mixed_bfloat16")


def recipe(record: EvaluationRecord) -> str:
    """Returns what was trained: the preset, what was changed in it, and whose weights it started from."""
    changed = {key: pair for key, pair in record.changed.items() if key != "train.init" or not record.init}
    name = changes.display_name(record.preset, changed)
    if record.init:
        name += f", fine-tuned from {record.init}"
    if record.validation_seen:
        name += f" ({record.validation_seen:,} of the {record.count:,} images trained on before)"
    return name


def _trained_on(one: Measured) -> str:
    """Returns images, device, precision and time of a training, as far as they are known."""
    record = one.record
    images = record.data["title"] if record.same_data_as_training else "other images"
    time = None if record.training_seconds is None else duration(record.training_seconds)
    return ", ".join(filter(None, (images, record.device, record.precision, time)))


def _signed(difference: float | None) -> str:
    return "-" if difference is None else f"{difference:+.2f}"


def epochs(record: EvaluationRecord) -> str:
    """Returns how many epochs a network was trained for, "?" where its record does not say."""
    return "?" if record.epochs is None else f"{record.epochs:g}"


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
    record, comparison = one.record, one.comparison
    plain = ("preset", "run", "date", "seed", "split", "view", "weights", "resolution", "frame", "epochs", "steps")
    low, high = record.top1_interval
    return {
        **{key: getattr(record, key) for key in plain},
        "top1": record.top1,
        "top1_low": low,
        "top1_high": high,
        **{key: getattr(record, key) for key in ("top5", "loss", "count", "training_top1")},
        "reference": comparison.reference,
        "difference": None if comparison.difference is None else round(comparison.difference, 4),
        "outcome": comparison.outcome,
        "reasons": "; ".join(comparison.reasons),
        "assumed": comparison.assumed,
        "changed": json.dumps(record.changed),
        "init": record.init,
        "validation_seen": record.validation_seen,
        "images": record.data["title"],
        "official": int(record.data["official"]),
        "fingerprint": record.data["fingerprint"],
        "same_data_as_training": int(record.same_data_as_training),
        "training_seconds": record.training_seconds,
        "device": record.device,
        "backend": record.computed_by,
        "precision": record.computed_in,
    }

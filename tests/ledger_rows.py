"""Rows of a ledger as `eval.py` writes them."""

from resnet_tf.presets.schema import Preset
from resnet_tf.report.measured import Group, Measured, groups
from resnet_tf.runs.records import EvaluationRecord
from resnet_tf.runs.significance import wilson_interval

COPY = "cifar10 (folder copy, not the official bytes)"


def row(preset="3", seed=0, correct=9039, **values) -> dict:
    """Returns the row of an evaluation of 10,000 images by a run of a preset's own recipe, but for some values."""
    low, high = wilson_interval(correct, 10_000)
    return {
        "date": "2026-01-01T00:00:00Z",
        "run": f"{preset}/20260101T000000Z-s{seed}",
        "preset": preset,
        "seed": seed,
        "changed": {},
        "steps": 35100,
        "trained": 35100,
        "steps_planned": 35100,
        "epochs": 100,
        "training_seconds": 5400.0,
        "split": "test",
        "view": "1-crop",
        "resolution": 32,
        "weights": "last",
        "protocol": "1-crop, last epoch",
        "data": {"name": "cifar10", "title": "cifar10", "fingerprint": "f" * 64, "official": True},
        "same_data_as_training": True,
        "count": 10_000,
        "correct": correct,
        "top1": correct / 100,
        "top1_interval": [round(low, 2), round(high, 2)],
        "top5": 99.5,
        "loss": 0.4,
        "versions": {"resnet_tf": "0.3.0"},
        **values,
    }


ROWS = [
    row(seed=0, correct=9027),
    row(seed=1, correct=9062),
    row(seed=2, correct=8500),
    row("2", correct=8564, changed={"data.augment": ["pad_crop(4)", "pad_crop(4) | flip_horizontal"]}),
    row("4", correct=8000, data={"name": "cifar10", "title": COPY, "fingerprint": "c" * 64, "official": False}),
    row("5", correct=8650),
    row("1", correct=8580),
]


def grouped(*rows: dict, preset: Preset | None = None) -> list[Group]:
    """Returns the groups of rows, all measured of one preset."""
    return groups([Measured(EvaluationRecord.from_row(one), preset, None) for one in rows])

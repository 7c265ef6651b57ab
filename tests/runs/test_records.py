"""Stored trainings and evaluations: rows of every version are read, and nothing is lost between log and preset file."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from resnet_tf import files
from resnet_tf.presets import preset_files
from resnet_tf.runs import ledger, pretrained
from resnet_tf.runs.choose import all_runs
from resnet_tf.runs.records import EvaluationRecord, TrainingRecord

# As 0.3.0 wrote them.
TRAINED = {
    "date": "2026-01-01T00:00:00Z",
    "run": "4/20260101T000000Z-s0",
    "preset": "4",
    "preset_hash": "0" * 12,
    "seed": 0,
    "data": {"name": "cifar10", "title": "cifar10", "fingerprint": "f" * 64, "official": True, "source": "here"},
    "changed": {},
    "status": "finished",
    "step": 35100,
    "steps_planned": 35100,
    "seconds": 5400.0,
    "device": "CPU",
    "backend": "tensorflow",
    "precision": "float32",
    "jit_compile": False,
    "versions": {"resnet_tf": "0.3.0"},
    "epoch": 100,
    "loss": 0.1,
    "validation_top1": 90.0,
    "best_validation_top1": 90.5,
}
EVALUATED = {
    **{key: TRAINED[key] for key in ("date", "run", "preset", "preset_hash", "seed", "steps_planned", "device")},
    "changed": {},
    "steps": 35100,
    "trained": 35100,
    "epochs": 100,
    "validation_top1": 90.0,
    "training_seconds": 5400.0,
    "split": "test",
    "view": "mirror",
    "resolution": 32,
    "weights": "last-recalibrated",
    "protocol": "mirror, last epoch, batch norm recalibrated",
    "data": TRAINED["data"],
    "same_data_as_training": True,
    "count": 10_000,
    "correct": 8659,
    "top1": 86.59,
    "top1_interval": [85.91, 87.24],
    "top5": 99.5,
    "loss": 0.4,
    "per_class_top1": {"cat": 80.0},
    "seconds": 12.5,
    "versions": {"resnet_tf": "0.3.0", "keras": "3.15.1"},
    "verdict": "within",
    "diagnosis": {"temperature": 1.2},
}


@pytest.mark.parametrize(("kind", "row"), [(TrainingRecord, TRAINED), (EvaluationRecord, EVALUATED)])
def test_a_row_of_0_3_0_is_written_again_as_it_was(kind, row):
    assert kind.from_row(row).to_row() == row
    assert json.loads(json.dumps(kind.from_row(row).to_row())) == row


def test_what_did_not_happen_is_not_in_the_row():
    assert "diverged" not in TrainingRecord.from_row(TRAINED).to_row()
    diverged = {**TRAINED, "status": "diverged", "diverged": {"what": "loss", "value": "nan"}}
    assert TrainingRecord.from_row(diverged).to_row() == diverged
    assert "diagnosis" not in replace(EvaluationRecord.from_row(EVALUATED), diagnosis=None).to_row()


def test_a_row_of_0_2_and_the_published_one_are_read():
    older = {name: value for name, value in EVALUATED.items() if name not in ("trained", "verdict")}
    assert older.items() <= EvaluationRecord.from_row(older).to_row().items()
    for run in all_runs(pretrained.FOLDER):
        row = json.loads((run.folder / "result.json").read_text())
        assert row.items() <= run.published.to_row().items()


@pytest.mark.parametrize("key", ["data", "top1_interval", "steps_planned", "same_data_as_training"])
def test_a_row_without_what_a_comparison_needs_is_none(key):
    assert EvaluationRecord.from_row({name: value for name, value in EVALUATED.items() if name != key}) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [("date", None), ("run", 4), ("changed", None), ("top1", "90"), ("top1_interval", None), ("top1_interval", [1])],
)
def test_a_row_of_wrong_types_is_none(key, value):
    assert EvaluationRecord.from_row({**EVALUATED, key: value}) is None


def test_a_preset_keeps_of_a_result_all_that_a_comparison_needs():
    record = EvaluationRecord.from_row(EVALUATED)
    result = record.to_result()
    assert (result["test_top1"], result["images"], result["version"]) == (86.59, 10_000, "0.3.0")
    again = EvaluationRecord.from_result("4", result)
    for name in ("top1", "top1_interval", "top5", "loss", "count", "protocol", "epochs", "trained", "measurement"):
        assert getattr(again, name) == getattr(record, name)


@pytest.mark.parametrize("name", preset_files.names())
def test_results_in_the_presets_are_read_and_would_be_written_alike(name):
    for result in preset_files.load_preset(name).results:
        record = EvaluationRecord.from_result(name, result)
        again = replace(record, versions={"resnet_tf": result.get("version")}).to_result()
        assert result.items() <= again.items()


def test_rows_are_appended_to_a_folder_that_is_made_and_read_back(tmp_path):
    runs = tmp_path / "new" / "runs"
    for seed in (0, 1):
        ledger.append(runs, ledger.TRAINED, {**TRAINED, "seed": seed, "changed": {"sizes": (1, 2)}})
    assert [row.seed for row in ledger.trainings(runs)] == [0, 1]
    assert files.read_rows(Path(runs) / "train_overall.jsonl")[0][1]["changed"] == {"sizes": [1, 2]}
    ledger.append(runs, ledger.EVALUATED, {"run": "4/old", "top1": 5.0})
    ledger.append(runs, ledger.EVALUATED, EVALUATED)
    assert ledger.evaluations(runs) == [EvaluationRecord.from_row(EVALUATED)]


@pytest.mark.parametrize("data", [None, "cifar10", {"title": "cifar10"}])
def test_a_row_that_does_not_say_its_images_is_none(data):
    assert EvaluationRecord.from_row({**EVALUATED, "data": data}) is None

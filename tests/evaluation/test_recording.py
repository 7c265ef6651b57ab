"""Which results a preset's file records by itself, which only when told to, and which are there already."""

import json

import pytest
from assertions import user_error
from plain import MINE

from resnet_tf.evaluation import recording
from resnet_tf.presets import preset_files, schema
from resnet_tf.runs.records import EvaluationRecord
from resnet_tf.runs.run import create_run

PRESET = schema.from_dict(MINE)
OFFICIAL = {"name": "cifar10", "title": "cifar10", "fingerprint": "f" * 64, "official": True, "source": "here"}
BUILT_IN = {**OFFICIAL, "name": "shapes10", "title": "shapes10"}
OWN = {**OFFICIAL, "name": "folder", "title": "folder", "official": False}
COPY = {**OFFICIAL, "title": "cifar10 (folder copy, not the official bytes)", "official": False}


@pytest.fixture
def preset_file(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(MINE, indent=4))
    return path


@pytest.fixture
def run(tmp_path):
    return create_run(PRESET, 0, tmp_path / "runs")


def result(of, **values) -> EvaluationRecord:
    row = {
        "preset": "mine",
        **{"run": of.name, "date": "2026-01-01T00:00:00Z", "preset_hash": PRESET.hash, "seed": 0, "changed": {}},
        **{"epochs": 100, "steps": 39000, "trained": 39000, "steps_planned": 39000, "training_seconds": 9.0},
        **{"split": "test", "view": "1-crop", "weights": "last", "resolution": 32, "same_data_as_training": True},
        **{"data": OFFICIAL, "count": 10_000, "top1": 86.0, "top1_interval": [85.3, 86.7], "top5": 99.0, "loss": 0.5},
        "validation_top1": 87.0,
        "versions": {"resnet_tf": "0.3.0", "keras": "3.15.1"},
        **values,
    }
    return EvaluationRecord(**row)


@pytest.mark.parametrize(
    "values",
    [
        {"data": OFFICIAL},
        {"data": BUILT_IN},
        {"data": OWN},
        {"view": "mirror"},
        {"weights": "last-recalibrated"},
        {"weights": "best", "steps": 38000, "epochs": 97},
    ],
)
def test_the_preset_carried_out_is_recorded(run, preset_file, values):
    before = preset_file.read_text()
    line = recording.record_in_preset(run, result(run, **values), preset_file)
    assert line == f"recorded in {preset_file}"
    (row,) = preset_files.load_preset(preset_file).results
    assert (row["run"], row["test_top1"], row["preset_hash"]) == (run.name, 86.0, PRESET.hash)
    assert preset_file.read_text().startswith(before.removesuffix("\n}"))


def test_a_pretrained_run_is_recorded_only_when_told_to(run, preset_file):
    run.update(pretrained=True)
    assert recording.record_in_preset(run, result(run), preset_file).startswith("not recorded")
    assert recording.record_in_preset(run, result(run), preset_file, always=True).startswith("recorded")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"changed": {"train.epochs": [1, 100]}}, "train.epochs: 1, the preset's is 100"),
        ({"changed": {"optimizer.learning_rate": [0.2, 0.1]}}, "optimizer.learning_rate"),
        ({"trained": 390}, "390 of 39,000 steps"),
        ({"trained": None, "steps": None}, "of a length that the weights do not say"),
        ({"data": COPY}, "folder copy"),
        ({"data": OWN, "same_data_as_training": False}, "not those that the run was trained on"),
    ],
)
def test_a_trial_is_recorded_only_when_told_to(run, preset_file, values, reason):
    before = preset_file.read_bytes()
    line = recording.record_in_preset(run, result(run, **values), preset_file)
    assert line.startswith(f"not recorded in {preset_file}: ")
    assert reason in line
    assert "--record" in line
    assert preset_file.read_bytes() == before
    recording.record_in_preset(run, result(run, **values), preset_file, always=True)
    assert len(preset_files.load_preset(preset_file).results) == 1


def test_what_is_there_already_is_said_with_its_figure(run, preset_file):
    recording.record_in_preset(run, result(run), preset_file)
    before = preset_file.read_bytes()
    again = result(run, run="mine/later", date="2026-02-02T00:00:00Z", top1=85.99)
    line = recording.record_in_preset(run, again, preset_file)
    assert line.startswith(f"already recorded in {preset_file}: 86.00 %")
    assert "2026-01-01" in line
    assert "0.3.0" in line  # another version may have begun a seed from other weights
    assert "--record" in line
    assert preset_file.read_bytes() == before
    assert recording.record_in_preset(run, again, preset_file, always=True) == f"recorded in {preset_file}"
    assert [row["run"] for row in preset_files.load_preset(preset_file).results] == ["mine/later"]


def test_the_demos_first_result_is_there_already(tmp_path):
    """The README's first command reproduces it: in a fresh clone nothing is changed by it."""
    path, content = tmp_path / "demo.json", preset_files.find("demo").read_bytes()
    path.write_bytes(content)
    demo = preset_files.load_preset(path)
    kept = demo.results[0]
    run = create_run(demo, 0, tmp_path)
    data = {**BUILT_IN, "fingerprint": kept["data"]["fingerprint"]}
    new = result(run, data=data, preset_hash=demo.hash, steps=1120, trained=1120, steps_planned=1120, top1=97.45)
    line = recording.record_in_preset(run, new, path)
    assert "already recorded in" in line
    assert kept["date"][:10] in line
    assert path.read_bytes() == content


def test_what_no_preset_can_take_is_said_and_refused_where_asked_for(run, preset_file):
    assert "recorded in the runs alone" in recording.record_in_preset(run, result(run), None)
    validation = result(run, split="validation")
    assert "recorded in the runs alone" in recording.record_in_preset(run, validation, preset_file)
    assert user_error(recording.check_request, "validation", preset_file).code == "record-not-test"
    assert user_error(recording.check_request, "test", None).code == "record-without-preset"
    recording.check_request("test", preset_file)

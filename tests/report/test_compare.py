"""What a comparison of two runs names."""

from dataclasses import replace

import numpy as np
import pytest
from plain import EVALUATION

from resnet_tf.presets import schema
from resnet_tf.report import compare
from resnet_tf.runs import ledger, predictions
from resnet_tf.runs.predictions import Predictions
from resnet_tf.runs.run import create_run


@pytest.fixture
def two_runs(tmp_path, tiny_preset):
    """Two runs that differ in the rate and the seed, with stored predictions of the same four images."""
    made = []
    for seed, rate in ((0, 0.05), (1, 0.1)):
        preset = schema.from_dict({**tiny_preset, "optimizer": {"name": "sgd", "learning_rate": rate}})
        run = create_run(preset, seed, tmp_path, data={"title": "cifar10", "fingerprint": "f"}, versions={})
        run.log.write_text(f'{{"epoch": 1, "loss": {1 + seed}.5, "learning_rate": {rate}, "validation_top1": 50.0}}\n')
        first = np.array([0, 1, seed, seed], np.int32)
        stored = Predictions("same", np.array([0, 1, 0, 0], np.int32), first, np.ones(4, np.float32))
        predictions.save(predictions.path_of(run, "test", "1-crop", "last"), stored)
        made.append(run)
    return made


def compared(runs, folder) -> dict[str, list[list[str]]]:
    return {section.title: section.rows for section in compare.compare(*runs, folder)}


def test_what_differs_is_named_and_nothing_else(two_runs, tmp_path):
    tables = compared(two_runs, tmp_path)
    assert tables["recipe"] == [["optimizer.learning_rate", "0.05", "0.1", ""]]
    assert tables["run"] == [["seed", "0", "1", ""]]
    assert tables["figures"] == [
        ["last epoch, loss", "1.5", "2.5", "-1"],
        ["last epoch, learning_rate", "0.05", "0.1", "-0.05"],
    ]
    # Two images that only the first gets right: p = 2 * (1/2)**2.
    ((_, *counts, difference),) = tables["paired test"]
    assert counts == ["2", "0"]
    assert difference == "+50.00 points, p = 0.5"


PHASES = [{"train": {"epochs": 6}}, {"train": {"epochs": 5}, "optimizer": {"learning_rate": 0.01}}]


@pytest.mark.parametrize(
    ("ours", "theirs", "rows"),
    [
        (PHASES, [{"train": {"epochs": 9}}, PHASES[1]], [["phases.1.train.epochs", "6", "9", ""]]),
        (
            PHASES,
            PHASES[:1],
            [
                ["phases", "2", "1", ""],
                ["phases.2.train.epochs", "5", "-", ""],
                ["phases.2.optimizer.learning_rate", "0.01", "-", ""],
            ],
        ),
        (PHASES[:1], [], [["phases.1.train.epochs", "6", "-", ""]]),
    ],
)
def test_of_phases_the_keys_that_differ_are_named(tiny_preset, tmp_path, ours, theirs, rows):
    runs = [
        create_run(schema.from_dict({**tiny_preset, "phases": phases}), seed, tmp_path)
        for seed, phases in enumerate((ours, theirs))
    ]
    assert compared(runs, tmp_path)["recipe"] == rows


def test_all_values_of_a_run_stand_below_each_other(two_runs, tmp_path):
    sections = compare.compare(*two_runs, tmp_path)
    wide = compare.as_text(sections, *two_runs)
    assert all(run.name in wide for run in two_runs)
    (heading,) = [line for line in wide.splitlines() if line.split() == ["A", "B", "difference"]]
    for section in sections:
        for what, ours, theirs, _ in section.rows:
            (line,) = [line for line in wide.splitlines() if line.strip().startswith(f"{what} ")]
            assert line[heading.index("A") :].startswith(ours)
            assert line[heading.index("B") :].startswith(theirs)


def test_long_values_are_folded_within_the_terminal(two_runs, tmp_path):
    for run, device in zip(two_runs, ("CPU: of some make, 2 threads, " * 3, "GPU: of another make " * 3), strict=True):
        run.update(device=device)
    sections = compare.compare(*two_runs, tmp_path)
    table = compare.as_text(sections, *two_runs, 80).partition(compare.HOW_TO_READ)[0].splitlines()
    assert max(map(len, table)) <= 80
    (heading,) = [line for line in table if line.split() == ["A", "B", "difference"]]
    assert any(line[heading.index("B") :].startswith("GPU: of") for line in table)


def test_the_weights_that_two_trainings_started_from_are_told_apart(two_runs, tmp_path):
    for run, digest in zip(two_runs, ("a" * 64, "b" * 64), strict=True):
        run.update(init={"run": "quick/x", "weights": "last", "sha256": digest})
    assert ["initial weights, SHA-256", "a" * 12, "b" * 12, ""] in compared(two_runs, tmp_path)["run"]
    assert "initial weights" not in [cells[0] for cells in compared(two_runs, tmp_path)["run"]]
    two_runs[1].update(init=None)
    assert ["initial weights", "quick/x", "-", ""] in compared(two_runs, tmp_path)["run"]


def test_figures_of_other_images_are_not_subtracted(two_runs, tmp_path):
    for run, fingerprint in zip(two_runs, "ab", strict=True):
        data = {"title": "a copy", "fingerprint": 64 * fingerprint, "official": False}
        row = replace(EVALUATION, run=run.name, data=data, top1=90.0)
        ledger.append(tmp_path, ledger.EVALUATED, row.to_row())
    ledger.append(tmp_path, ledger.EVALUATED, {"run": two_runs[0].name, "top1": 5.0})  # of an older form
    for run in two_runs:
        run.update(step=10)
    early = replace(EVALUATION, run=two_runs[0].name, top1=1.0, trained=5, weights="best")
    ledger.append(tmp_path, ledger.EVALUATED, early.to_row())
    figures = [cells for cells in compared(two_runs, tmp_path)["figures"] if "top1" in cells[0]]
    assert figures == [
        ["test of a copy aaaaaaaa (1-crop, last weights, 32 px), top1", "90", "-", ""],
        ["test of a copy bbbbbbbb (1-crop, last weights, 32 px), top1", "-", "90", ""],
    ]
    two_runs[1].update(step=None)  # it is being trained on
    assert not any("bbbbbbbb" in cells[0] for cells in compared(two_runs, tmp_path)["figures"])


def test_images_that_each_seed_holds_out_are_not_subtracted(two_runs, tmp_path):
    for seed, run in enumerate(two_runs):
        row = replace(EVALUATION, run=run.name, seed=seed, split="validation", trained=None, steps=None)
        ledger.append(tmp_path, ledger.EVALUATED, row.to_row())
        run.log.write_text(f'{{"epoch": 1, "loss": 1.0, "validation_top1": {50 + seed}.0}}\n')
    figures = [cells for cells in compared(two_runs, tmp_path)["figures"] if "top1" in cells[0]]
    assert [cells[-1] for cells in figures] == ["", "", "", ""]  # two of the log, one of each evaluation


def test_images_of_a_validation_split_are_subtracted_whatever_the_seed(two_runs, tmp_path):
    for seed, run in enumerate(two_runs):
        run.update(own_validation=True)
        row = replace(
            EVALUATION, run=run.name, seed=seed, split="validation", top1=50.0 + seed, trained=None, steps=None
        )
        ledger.append(tmp_path, ledger.EVALUATED, row.to_row())
        run.log.write_text(f'{{"epoch": 1, "loss": 1.0, "validation_top1": {50 + seed}.0}}\n')
    figures = [cells for cells in compared(two_runs, tmp_path)["figures"] if "top1" in cells[0]]
    assert [cells[-1] for cells in figures] == ["-1", "-1", "-1"]  # two of the log, one of both evaluations


def test_figures_of_images_trained_on_before_are_not_compared(two_runs, tmp_path):
    for run, top1 in zip(two_runs, (50.0, 99.0), strict=True):
        stored = predictions.load(predictions.path_of(run, "test", "1-crop", "last"))
        predictions.save(predictions.path_of(run, "validation", "1-crop", "last"), stored)
        run.log.write_text(f'{{"epoch": 1, "loss": 1.0, "validation_top1": {top1}}}\n')
        run.update(seed=0)
    for seen in (0, 30):
        two_runs[1].update(init={"run": "4/a", "validation_seen": seen})
        tables = compared(two_runs, tmp_path)
        (cells,) = [cells for cells in tables["figures"] if cells[0] == "last epoch, validation_top1"]
        (paired,) = [cells for cells in tables["paired test"] if cells[0].startswith("validation")]
        assert (cells[-1] == "", "points" in paired[-1]) == (bool(seen), not seen)


def test_another_number_of_held_out_images_makes_other_images(two_runs, tmp_path):
    for count, run in zip((5000, 1000), two_runs, strict=True):
        row = replace(EVALUATION, run=run.name, split="validation", count=count, trained=None, steps=None)
        ledger.append(tmp_path, ledger.EVALUATED, row.to_row())
    figures = [cells for cells in compared(two_runs, tmp_path)["figures"] if "validation of" in cells[0]]
    assert figures
    assert all(cells[-1] == "" for cells in figures)


def test_figures_are_those_of_the_log_beside_a_run(two_runs, tmp_path):
    """A run may be given by its path, and the folder of runs may hold another one of the same name."""
    row = replace(EVALUATION, run=two_runs[0].name, top1=90.0, trained=None, steps=None)
    ledger.append(tmp_path, ledger.EVALUATED, row.to_row())
    elsewhere = compared(two_runs, tmp_path / "elsewhere")["figures"]
    assert any(cells[0].endswith("top1") and cells[1] == "90" for cells in elsewhere)


def test_predictions_of_an_earlier_step_are_not_paired(two_runs, tmp_path):
    path = predictions.path_of(two_runs[1], "test", "1-crop", "last")
    for updates, paired in ((10, True), (5, False)):
        predictions.save(path, replace(predictions.load(path), updates=updates))
        two_runs[1].update(step=10)
        ((_, *_, difference),) = compared(two_runs, tmp_path)["paired test"]
        assert ("points" in difference) == paired


def test_other_images_are_not_paired(two_runs, tmp_path):
    path = predictions.path_of(two_runs[1], "test", "1-crop", "last")
    stored = predictions.load(path)
    predictions.save(path, Predictions("other", stored.labels, stored.predicted, stored.probability))
    assert compared(two_runs, tmp_path)["paired test"] == [["test-1-crop-last", "-", "-", "not the same images"]]
    path.unlink()
    sections = compare.compare(*two_runs, tmp_path)
    assert sections[-1].rows == []
    assert "python eval.py" in compare.as_text(sections, *two_runs)

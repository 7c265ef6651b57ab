"""A training is a pure function of (preset, images, seed), however often it is stopped."""

import json
import os
import signal

import numpy as np
import pytest

from resnet_tf import run_folder
from resnet_tf.errors import Stopped, UserError
from resnet_tf.preset_files import load_preset
from resnet_tf.training import keep, loop, state


def quiet(line: str) -> None:
    """Takes what a training says and drops it."""


@pytest.fixture(scope="module")
def trained(image_tree, tiny_preset, tmp_path_factory):
    """An unbroken run of three epochs."""
    runs = tmp_path_factory.mktemp("unbroken")
    return loop.train(load_preset(tiny_preset), str(image_tree), runs, seed=7, say=quiet)


def final_arrays(run) -> dict[str, np.ndarray]:
    return state.load(run.state, quiet).arrays


def without_timing(run) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "timing"} for row in run.rows]


def assert_same_run(run, other) -> None:
    ours, theirs = final_arrays(run), final_arrays(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    assert without_timing(run) == without_timing(other)


def kill_at(monkeypatch, steps: set[int], number: int) -> None:
    """Sends this process a signal when a training has done one of these steps."""
    original = keep.KeepRun.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None):
        if self.progress.step + 1 in steps:
            steps.discard(self.progress.step + 1)
            os.kill(os.getpid(), number)
        original(self, batch, logs)

    monkeypatch.setattr(keep.KeepRun, "on_train_batch_end", on_train_batch_end)


def test_the_log_has_a_row_an_epoch_with_the_rates_of_the_recipe(trained):
    rows = trained.rows
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 10), (2, 20), (3, 30)]
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.05, 0.04, 0.032])
    assert {"loss", "top1", "validation_loss", "validation_top1", "timing"} <= rows[0].keys()
    assert trained.about["status"] == "finished"
    ledger_rows = [json.loads(line) for line in (trained.folder.parents[1] / "train_overall.jsonl").open()]
    assert [(row["run"], row["step"], row["status"]) for row in ledger_rows] == [(trained.name, 30, "finished")]
    assert ledger_rows[0]["data"]["official"] is False


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(trained, image_tree, tiny_preset, tmp_path):
    again = loop.train(load_preset(tiny_preset), str(image_tree), tmp_path, seed=7, say=quiet)
    assert_same_run(trained, again)
    other = loop.train(load_preset(tiny_preset, train={"epochs": 1}), str(image_tree), tmp_path, seed=8, say=quiet)
    assert other.rows[0]["loss"] != trained.rows[0]["loss"]


def test_stopped_in_the_middle_of_an_epoch_and_at_its_end_a_run_ends_in_the_same_bits(
    trained, image_tree, tiny_preset, tmp_path, monkeypatch
):
    kill_at(monkeypatch, {4, 17}, signal.SIGINT)
    preset, data = load_preset(tiny_preset), str(image_tree)
    with pytest.raises(Stopped, match="stopped at step 4 of 30") as stopped:
        loop.train(preset, data, tmp_path, seed=7, say=quiet)
    assert stopped.value.exit_code == 130
    with pytest.raises(Stopped, match="stopped at step 17 of 30"):
        loop.train(preset, data, tmp_path, resume=True, say=quiet)
    kill_at(monkeypatch, {20}, signal.SIGTERM)
    with pytest.raises(Stopped, match="stopped at step 20 of 30") as stopped:
        loop.train(preset, data, tmp_path, resume=True, say=quiet)
    assert stopped.value.exit_code == 143
    run = loop.train(preset, data, tmp_path, resume=True, say=quiet)
    assert_same_run(trained, run)
    assert len(run_folder.every(tmp_path)) == 1


def test_rows_after_the_saved_state_are_done_again(trained, image_tree, tiny_preset, tmp_path, monkeypatch):
    """As after a kill between a row and its state: the row is dropped, and comes again."""
    kill_at(monkeypatch, {14}, signal.SIGINT)
    preset, data = load_preset(tiny_preset), str(image_tree)
    with pytest.raises(Stopped):
        loop.train(preset, data, tmp_path, seed=7, say=quiet)
    run = run_folder.every(tmp_path)[0]
    with run.log.open("a") as log:
        log.write('{"epoch": 2, "loss": 99}\n{"epo')
    assert_same_run(trained, loop.train(preset, data, tmp_path, resume=True, say=quiet))


def test_a_diverging_loss_ends_the_run_and_is_recorded(image_tree, tiny_preset, tmp_path):
    preset = load_preset(tiny_preset, optimizer={"learning_rate": 1e30})
    with pytest.raises(UserError, match=r"a training must stay finite.*nan.*learning_rate"):
        loop.train(preset, str(image_tree), tmp_path, say=quiet)
    (run,) = run_folder.every(tmp_path)
    assert run.about["status"] == "diverged"
    (row,) = (json.loads(line) for line in (tmp_path / "train_overall.jsonl").open())
    assert row["status"] == "diverged"
    assert row["diverged"]["step"] <= 30


def test_another_recipe_or_other_images_do_not_resume(trained, image_tree, tiny_preset, tmp_path, monkeypatch):
    kill_at(monkeypatch, {4}, signal.SIGINT)
    with pytest.raises(Stopped):
        loop.train(load_preset(tiny_preset), str(image_tree), tmp_path, say=quiet)
    changed = load_preset(tiny_preset, optimizer={"learning_rate": 0.01})
    with pytest.raises(UserError, match=r"optimizer\.learning_rate: 0\.05 -> 0\.01"):
        loop.train(changed, str(image_tree), tmp_path, resume=True, say=quiet)
    run_folder.every(tmp_path)[0].update(data={"title": "other", "fingerprint": "0" * 64})
    with pytest.raises(UserError, match="resumed on the images it began with: other"):
        loop.train(load_preset(tiny_preset), str(image_tree), tmp_path, resume=True, say=quiet)


def test_fit_calls_cover_every_step_once():
    assert loop.fit_calls(0, 30, 10) == [(0, 3, 10)]
    assert loop.fit_calls(4, 30, 10) == [(0, 1, 6), (1, 3, 10)]
    assert loop.fit_calls(4, 25, 10) == [(0, 1, 6), (1, 2, 10), (2, 3, 5)]
    assert loop.fit_calls(20, 25, 10) == [(2, 3, 5)]
    assert loop.fit_calls(22, 25, 10) == [(2, 3, 3)]
    assert loop.fit_calls(30, 30, 10) == []

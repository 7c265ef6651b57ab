"""What goes wrong in a training is reported in one line, recorded, and costs nothing that was saved."""

import json
import os
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from assertions import user_error
from messages import listen

from resnet_tf.datasets import sources
from resnet_tf.errors import UserError
from resnet_tf.evaluation.evaluate import evaluate
from resnet_tf.presets.preset_files import load_preset
from resnet_tf.runs.choose import all_runs
from resnet_tf.runs.run import Run
from resnet_tf.scoring.metrics import Scores
from resnet_tf.training import checkpoint, loop, plan
from resnet_tf.training.dry_run import dry_run
from resnet_tf.training.step import TensorFlowStep
from resnet_tf.training.train import train


@pytest.fixture
def refused(image_tree, tiny_preset, tmp_path, on_step):
    """Trains where it must fail; returns the error and the run."""

    def start(**changes) -> tuple[UserError, Run]:
        preset = load_preset(tiny_preset, **changes)
        error = user_error(train, preset, str(image_tree), tmp_path, on_step=on_step)
        (run,) = all_runs(tmp_path)
        return error, run

    return start


def ledger_row(run: Run) -> dict:
    (row,) = (json.loads(line) for line in (run.folder.parents[1] / "train_overall.jsonl").open())
    return row


def test_a_loss_that_is_not_finite_ends_the_run_and_is_recorded(refused):
    error, run = refused(optimizer={"learning_rate": 1e30})
    assert error.code == "training-diverged"
    assert "Try a lower optimizer.learning_rate" in str(error)
    assert run.about["status"] == ledger_row(run)["status"] == "diverged"
    diverged = ledger_row(run)["diverged"]
    assert diverged["what"] == "the loss"
    assert diverged["learning_rate"] == pytest.approx(1e30)
    assert 1 <= diverged["step"] <= 10
    assert not np.isfinite(float(diverged["last_losses"][-1]))
    assert not run.last.exists()


@pytest.mark.parametrize("step", [17, 20])
def test_weights_that_are_not_finite_are_never_saved(refused, at_step, step):
    """No loss has seen them yet: at an epoch's end, and in its middle when the state's minutes have passed."""

    def damage(phase) -> None:
        phase.step.synchronize()
        kernel = phase.step.network.get_layer("head").kernel
        kernel.assign(tf.where(tf.eye(*kernel.shape) == 1, np.inf, kernel))

    at_step(step, damage)
    error, run = refused(train={"epochs": 3, "state_minutes": 1e-9 if step == 17 else 10})
    assert error.code == "training-diverged"
    assert f"at step {step}: model/head/kernel became inf" in str(error)
    assert f"its checkpoint after step {16 if step == 17 else 10} is kept" in str(error)
    good = checkpoint.load(run.state)
    assert all(np.isfinite(array).all() for array in good.arrays.values())
    assert ledger_row(run)["diverged"]["what"] == "model/head/kernel"


def test_a_validation_loss_that_is_not_finite_ends_the_run(refused, monkeypatch):
    def overflowing(model, batches, classes):
        scores = Scores(classes)
        scores.count, scores.loss_sum = 1, np.nan
        return scores

    monkeypatch.setattr(loop, "score", overflowing)
    error, run = refused()
    assert error.code == "training-diverged"
    assert "at step 10: the validation loss became nan" in str(error)
    assert run.rows == []


def test_running_out_of_memory_suggests_a_smaller_batch(refused, at_step):
    def run_out(phase) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[20,32,32,4]")

    at_step(12, run_out)
    error, run = refused(train={"epochs": 2})
    assert error.code == "out-of-memory"
    assert "a smaller batch, such as 10" in str(error)
    assert checkpoint.load(run.state).progress.step == 10


def test_too_little_memory_in_a_later_phase_names_its_own_batch(refused, at_step):
    def run_out(phase) -> None:
        raise MemoryError

    at_step(12, run_out)
    error, _ = refused(phases=[{"train": {"epochs": 1}}, {"train": {"epochs": 1, "batch_size": 40}}])
    assert error.code == "out-of-memory"
    assert "train.batch_size=40 at 32 pixels" in str(error)


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (MemoryError(), "out-of-memory"),
        (tf.errors.InvalidArgumentError(None, None, "UserError: cat/1.png (cut short)"), "image-file-broken"),
    ],
)
def test_a_dry_run_fails_in_one_line_where_a_training_would(image_tree, tiny_preset, monkeypatch, failure, code):
    def fail(step, images, labels):
        raise failure

    monkeypatch.setattr(TensorFlowStep, "__call__", fail)
    assert user_error(dry_run, load_preset(tiny_preset), str(image_tree)).code == code


def test_a_backend_that_trains_nothing_here_is_refused_before_there_is_a_run(tiny_preset, monkeypatch, tmp_path):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    for begin in (train, dry_run):
        assert user_error(begin, load_preset(tiny_preset), runs=tmp_path).code == "backend-unknown"
    assert not list(tmp_path.iterdir())


def test_a_run_that_cannot_be_written_names_the_file_and_the_saved_step(refused, monkeypatch, at_step):
    at_step(15, lambda phase: monkeypatch.setattr(Run, "log", Path("/proc/nothing/log.jsonl")))
    error, run = refused()
    assert error.code == "run-not-writable"
    assert "/proc/nothing/log.jsonl" in str(error)
    assert "after step 10 is saved." in str(error)
    assert f"--resume {run.as_argument}." in str(error)
    assert "--data" in run.as_argument


def test_tensorboard_that_cannot_be_written_gives_one_warning(image_tree, tiny_preset, tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "tensorboard", Path("/proc/nothing"))
    logged = listen()
    preset = load_preset(tiny_preset, train={"epochs": 1})
    run = train(preset, str(image_tree), tmp_path)
    assert run.about["status"] == "finished"
    (warning,) = (line for line in logged if "TensorBoard" in line)
    assert warning.startswith("warning: nothing more is written for TensorBoard (")
    assert "\n" not in warning


def test_validation_that_leaves_no_batch_is_refused_with_a_smaller_size(image_tree, tiny_preset, tmp_path):
    preset = load_preset(tiny_preset, data={"validation_size": 230})  # of 240 images; a batch has 20
    error = user_error(train, preset, str(image_tree), tmp_path)
    assert error.code == "batch-too-large"
    assert "the 10 training images that data.validation_size=230 leaves of 240" in str(error)
    assert "--set data.validation_size=48" in str(error)
    assert not list(tmp_path.iterdir())


def test_training_images_that_are_not_square_are_refused_before_anything_is_done(image_tree, tiny_preset, tmp_path):
    preset = load_preset(tiny_preset, data={"augment": "random_resized_crop(32, width=60)"})
    error = user_error(train, preset, str(image_tree), tmp_path)
    assert (error.code, "32 x 60 pixels" in str(error)) == ("images-of-one-size", True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("held_out", "batch_size", "steps"), [(230, 30, 1), (230, 31, None), (220, 60, 1)])
def test_a_batch_may_be_as_large_as_the_rest_times_its_repeats(image_tree, tiny_preset, held_out, batch_size, steps):
    train = {"batch_size": batch_size, "repeats": 3}
    preset = load_preset(tiny_preset, data={"validation_size": held_out}, train=train)  # of 240 images
    dataset = sources.load(preset.data.dataset, str(image_tree))
    if steps is None:
        assert user_error(plan.make_plans, preset, dataset, seed=7).code == "batch-too-large"
    else:
        assert plan.make_plans(preset, dataset, seed=7)[0].steps_per_epoch == steps


def test_an_own_validation_folder_is_validated_on_and_evaluated(image_tree, tiny_preset, tmp_path):
    folder = tmp_path / "pictures"
    shutil.copytree(image_tree / "train", folder / "Train")
    for split, last in (("test", 4), ("valid", 7)):
        for path in sorted((image_tree / "test").glob("*/*")):
            place = sorted(path.parent.iterdir()).index(path)
            if last - 4 < place < last:
                (folder / split / path.parent.name).mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder / split / path.parent.name)
    data = {"dataset": "folder", "augment": "random_resized_crop(32)", "validation_size": 230}
    preset = load_preset(
        tiny_preset, data=data, evaluation={"frame": "resize(32) | center_crop(32)"}, train={"epochs": 1}
    )
    run = train(preset, str(folder), tmp_path / "runs")
    assert run.about["data"]["title"] == "folder (with a validation split of its own)"
    assert run.about["steps_planned"] == 12  # 240 images in batches of 20: nothing was held out
    result = evaluate(run, "validation", str(folder))
    assert result["count"] == 30
    assert result["top1"] == pytest.approx(run.rows[-1]["validation_top1"], abs=1e-4)


def test_an_image_file_that_breaks_during_a_training_is_named(image_tree, tiny_preset, tmp_path, at_step, on_step):
    folder = shutil.copytree(image_tree, tmp_path / "pictures")

    def damage(phase) -> None:
        for path in phase.plan.batches.split.paths:
            os.truncate(path, 50)

    at_step(3, damage)
    data = {"dataset": "folder", "augment": "random_resized_crop(32)", "validation_size": 20}
    preset = load_preset(tiny_preset, data=data, evaluation={"frame": "resize(32) | center_crop(32)"})
    error = user_error(train, preset, str(folder), tmp_path / "runs", on_step=on_step)
    assert re.search(rf"{folder}/train/\w+/\d+\.png \(.*move them out of the data set", str(error))

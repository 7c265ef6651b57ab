"""A training is a pure function of (preset, images, seed), however often it is stopped."""

import json
import os
import signal
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from messages import listen
from PIL import Image

from resnet_tf.datasets import sources
from resnet_tf.datasets.splits import split_train_validation
from resnet_tf.errors import Stopped
from resnet_tf.presets import schema
from resnet_tf.presets.preset_files import load_preset
from resnet_tf.runs.choose import all_runs
from resnet_tf.training import checkpoint, device
from resnet_tf.training.distributed import ProcessGroup
from resnet_tf.training.train import train as train_preset


def send(number: int):
    return lambda phase: os.kill(os.getpid(), number)


def test_the_log_has_a_row_an_epoch_with_the_rates_of_the_recipe(trained):
    rows = trained.rows
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 10), (2, 20), (3, 30)]
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.05, 0.04, 0.032])
    assert {"loss", "top1", "validation_loss", "validation_top1", "timing"} <= rows[0].keys()
    with Image.open(trained.curves) as figure:
        assert figure.format == "PNG"
    assert trained.about["status"] == "finished"
    ledger_rows = [json.loads(line) for line in (trained.folder.parents[1] / "train_overall.jsonl").open()]
    assert [(row["run"], row["step"], row["status"]) for row in ledger_rows] == [(trained.name, 30, "finished")]
    assert ledger_rows[0]["data"]["official"] is False


def test_best_weights_are_those_of_the_epoch_with_the_highest_validation_top1(trained):
    scores = [row["validation_top1"] for row in trained.rows]
    with np.load(trained.best) as best, np.load(trained.last) as last:
        about = json.loads(str(best["__about__"]))
        assert about["epoch"] == 1 + scores.index(max(scores))
        assert json.loads(str(last["__about__"]))["epoch"] == 3
    assert checkpoint.load(trained.state).best == trained.best.read_bytes()


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(trained, train, assert_same_run):
    assert_same_run(trained, train())
    assert train(seed=8, train={"epochs": 1}).rows[0]["loss"] != trained.rows[0]["loss"]


def test_stopped_in_the_middle_of_an_epoch_and_at_its_end_a_run_ends_in_the_same_bits(
    trained, train, tmp_path, on_step, assert_same_run
):
    seconds = []
    for step, number in ((4, signal.SIGINT), (17, signal.SIGINT), (20, signal.SIGTERM)):
        on_step.acts = {step: send(number)}
        with pytest.raises(Stopped, match=f"stopped at step {step} of 30") as stopped:
            train(resume=step > 4)
        assert stopped.value.exit_code == 128 + number
        assert f"--resume {all_runs(tmp_path)[0].name} " in str(stopped.value)
        seconds.append(all_runs(tmp_path)[0].about["seconds"])
    assert 0 < seconds[0] < seconds[1] < seconds[2]
    logged = listen()
    assert_same_run(trained, train(resume=True))
    assert len(all_runs(tmp_path)) == 1
    assert any("after step 20" in line for line in logged)


class SignalledWhileAsking(ProcessGroup):
    """A group whose process gets a signal while it waits for the other processes."""

    def any_of(self, signal_number, due):
        if self.asked.append(signal_number) or len(self.asked) == 4:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.1)
        return signal_number, due


def test_a_signal_that_comes_while_processes_agree_stops_at_the_next_step(image_tree, tiny_preset, tmp_path):
    group = SignalledWhileAsking()
    object.__setattr__(group, "asked", [])
    with pytest.raises(Stopped, match="stopped at step 5 of 30"):
        train_preset(load_preset(tiny_preset), str(image_tree), tmp_path, group=group)


def test_an_epochs_figures_are_the_means_of_its_steps(train, on_step):
    steps = []
    on_step.acts = {step: lambda phase: steps.append(phase.last) for step in range(1, 31)}
    rows = train().rows
    assert len(steps) == 30
    for row, first in zip(rows, (0, 10, 20), strict=True):
        for name in ("loss", "top1"):
            assert np.mean([step[name] for step in steps[first : first + 10]]) == pytest.approx(row[name], rel=1e-6)


def test_the_log_has_the_rate_of_an_epochs_last_step_though_a_rule_lowers_it_after_that_step(train, on_step):
    """A loss never falls by 99 %, so every second epoch ends with a reduction."""
    rates = []
    on_step.acts = {step: lambda phase: rates.append(float(phase.step.optimizer.learning_rate)) for step in (9, 19, 29)}
    plateau = {"name": "plateau", "metric": "training_loss", "every_steps": 10, "patience": 0, "threshold": 0.99}
    rows = train(schedule=plateau).rows
    assert rates == pytest.approx([0.05, 0.05, 0.005])
    assert [row["learning_rate"] for row in rows] == pytest.approx(rates)


def test_a_plateau_on_the_validation_loss_lowers_the_rate(train, on_step):
    """A loss never falls by 99 %, so with a patience of 0 every epoch but the first ends with a reduction."""
    rates = []
    on_step.acts = {step: lambda phase: rates.append(float(phase.step.optimizer.learning_rate)) for step in (1, 11, 21)}
    train(schedule={"name": "plateau", "metric": "validation_loss", "patience": 0, "threshold": 0.99})
    assert rates == pytest.approx([0.05, 0.05, 0.005])


def test_a_warm_up_until_it_learns_starts_at_its_own_rate(train, on_step):
    """The first step has it, not the schedule's; no training error is below 0, so it stays."""
    rates = []
    on_step.acts = {step: lambda phase: rates.append(float(phase.step.optimizer.learning_rate)) for step in (1, 10)}
    warm_up = {"learning_rate": 0.01, "training_error_below": 1e-9, "every_steps": 5}
    train(schedule={"warmup_until": warm_up}, train={"epochs": 1})
    assert rates == pytest.approx([0.01, 0.01])


def test_a_second_phase_has_a_new_optimizer_and_batches_of_its_own(train, on_step):
    def look(phase) -> None:
        optimizer = phase.step.optimizer
        found.append((int(optimizer.iterations), float(optimizer.learning_rate)))
        labels.append(next(iter(phase.plan.batches.dataset(0, 1)))[1].numpy())

    found, labels = [], []
    on_step.acts = {1: look, 11: look, 12: look, 22: look}
    second = {"train": {"epochs": 2}, "optimizer": {"learning_rate": 0.02}}
    train(phases=[{"train": {"epochs": 1}}, second])  # the rate falls by 0.8 an epoch
    assert [iterations for iterations, _ in found] == [1, 1, 2, 12]
    assert [rate for _, rate in found] == pytest.approx([0.05, 0.02, 0.02, 0.016])
    assert not np.array_equal(labels[0], labels[1])


def test_the_input_is_normalised_by_the_images_that_are_trained_on(image_tree, tiny_preset, tmp_path):
    """Not by those held out; per pixel by the mean image and one deviation, the root of the mean variance."""
    dataset = sources.load("cifar10", str(image_tree))
    for normalize in ("per_channel", "per_pixel"):
        preset = load_preset(tiny_preset, data={"normalize": normalize}, train={"steps": 1, "epochs": None})
        run = train_preset(preset, str(image_tree), tmp_path, seed=7)
        kept, held_out = split_train_validation(dataset.train.labels, 40, 7)
        assert (len(kept), len(held_out)) == (200, 40)
        pixels = dataset.train.images[kept].astype(np.float64)
        deviation = pixels.std(axis=(0, 1, 2))
        mean = pixels.mean(axis=(0, 1, 2))
        if normalize == "per_pixel":
            mean, deviation = pixels.mean(axis=0), np.sqrt(np.mean(deviation**2))
        with np.load(run.last) as arrays:
            np.testing.assert_allclose(arrays["normalization/mean"], mean, rtol=1e-6)
            np.testing.assert_allclose(
                arrays["normalization/deviation"], np.broadcast_to(deviation, mean.shape), rtol=1e-6
            )


def test_what_was_measured_before_a_run_is_trained_on_counts_no_more(train, on_step, tmp_path):
    def look(phase) -> None:
        seen.append((phase.session.run.calibration("best", "1-crop"), phase.session.run.predictions.exists()))

    seen = []
    on_step.acts = {14: send(signal.SIGINT), 15: look}
    with pytest.raises(Stopped):
        train()
    (run,) = all_runs(tmp_path)
    run.update(calibration={"1-crop-best": {"temperature": 2.0, "trained": 14}})
    run.predictions.mkdir()
    assert run.calibration("best", "1-crop")
    train(resume=True)
    assert seen == [(None, False)]


def test_state_is_saved_whenever_the_minutes_have_passed(train, at_step):
    def look(phase) -> None:
        found.extend(checkpoint.step_of(saved) for saved in checkpoint.saved_states(phase.session.run.state))

    found = []
    at_step(5, look)
    train(train={"epochs": 1, "state_minutes": 1e-9})
    assert found == [4, 3]  # at the fifth step's end, before its own save


@pytest.mark.parametrize("choice", [{"precision": "mixed_bfloat16"}, {"jit_compile": True}])
def test_precision_and_xla_are_choices_that_a_run_records(image_tree, tiny_preset, tmp_path, trained, choice):
    """The same recipe within 8 bits of precision: its first epoch ends near float32's."""
    preset = load_preset(tiny_preset, train={"epochs": 1, **choice})
    logged = listen()
    run = train_preset(preset, str(image_tree), tmp_path, seed=7)
    assert run.about["precision"] == choice.get("precision", "float32")
    assert run.about["jit_compile"] == choice.get("jit_compile", False)
    assert sum("train.jit_compile=false" in line for line in logged) == run.about["jit_compile"]
    assert any(("mixed_bfloat16" in line) == ("precision" in choice) and line.startswith("on CPU") for line in logged)
    assert run.rows[0]["loss"] == pytest.approx(trained.rows[0]["loss"], rel=0.02)
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(
    ("allowed", "override", "expected"), [(True, None, True), (False, None, False), (True, "0", False)]
)
def test_the_device_says_whether_a_gpu_may_round_float32(monkeypatch, allowed, override, expected):
    monkeypatch.setattr(device, "_gpus", lambda: ["a GPU", "another"])
    config = tf.config.experimental
    monkeypatch.setattr(config, "get_device_details", lambda gpu: {"device_name": "NVIDIA H200"})
    monkeypatch.setattr(config, "tensor_float_32_execution_enabled", lambda: allowed)
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    if override is not None:
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", override)
    assert device.device_description() == "2 x NVIDIA H200" + ", TF32 allowed" * expected


def test_xla_is_warned_of_on_a_processor_alone(tiny_preset, monkeypatch):
    logged = listen()
    compiled = load_preset({**tiny_preset, "phases": [{}, {"train": {"jit_compile": True}}]})
    device.warn_of_xla(load_preset(tiny_preset))
    assert logged == []
    device.warn_of_xla(compiled)
    assert len(logged) == 1
    with monkeypatch.context() as patch:
        patch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
        device.warn_of_xla(compiled)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    device.warn_of_xla(compiled)
    assert len(logged) == 1


def test_a_square_window_of_a_wide_resized_crop_is_trained_on(image_tree, tiny_preset, tmp_path):
    wide = "random_resized_crop(36, width=68) | random_crop(32) | flip_horizontal"
    steps = {"steps": 2, "epochs": None}
    preset = load_preset(tiny_preset, data={"augment": wide}, train=steps)
    run = train_preset(preset, str(image_tree), tmp_path, seed=7)
    assert [(row["step"], run.about["status"]) for row in run.rows] == [(2, "finished")]
    assert np.isfinite([run.rows[0]["loss"], run.rows[0]["validation_loss"]]).all()
    narrow = load_preset(preset, data={"augment": wide.replace(", width=68", "")})
    other = train_preset(narrow, str(image_tree), tmp_path, seed=7)
    assert run.rows[0]["loss"] != other.rows[0]["loss"]  # the network saw other pixels


def test_a_whitened_stem_is_set_from_the_images_and_stays_fixed(image_tree, tiny_preset, tmp_path):
    model = {"num_residual_units": 1, "filters": [24], "stem": "whitened-2x2"}
    phases = [{}, {"optimizer": {"learning_rate": 0.01}}]
    preset = load_preset(tiny_preset, model=model, train={"epochs": 1})
    preset = load_preset({**schema.to_dict(preset), "phases": phases})
    run = train_preset(preset, str(image_tree), tmp_path)
    with np.load(run.last) as arrays:
        kernel, mean, deviation = (
            arrays[name] for name in ("whitening/kernel", "normalization/mean", "normalization/deviation")
        )
    images = np.stack([np.asarray(Image.open(path)) for path in sorted((image_tree / "train").rglob("*.png"))])
    windows = np.lib.stride_tricks.sliding_window_view((images - mean) / deviation, (2, 2), axis=(1, 2))
    responses = np.einsum("nyxcij,ijco->nyxo", windows, kernel).reshape(-1, 12)
    correlation = np.corrcoef(responses.T) - np.eye(12)
    assert np.abs(correlation).max() < 0.2  # not 0: of 240 images 40 are held out
    assert np.abs(correlation).mean() < 0.02

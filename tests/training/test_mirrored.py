"""One training mirrored over several devices by TensorFlow: what one device would have computed, stopped or not."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from messages import listen

from resnet_tf import files
from resnet_tf.presets.preset_files import load_preset
from resnet_tf.runs.choose import all_runs
from resnet_tf.training.train import train

ROOT = Path(__file__).resolve().parents[2]

# A processor in two halves stands for two GPUs; that must be set before TensorFlow looks at its devices.
IN_HALVES = """
import os, signal, sys
import tensorflow as tf
processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)

import functools
from resnet_tf.cli import train
from resnet_tf.cli import command
from resnet_tf.training import train as training

signalled_at = int(sys.argv.pop(1))

def on_step(phase):
    assert phase.step.replicas == 2 and phase.step.mirrored
    if phase.progress.step == signalled_at:
        os.kill(os.getpid(), signal.SIGTERM)

training.train = functools.partial(training.train, on_step=on_step)
sys.exit(command.run_command(train.main))
"""


@pytest.fixture
def train_in_halves(tiny_preset, image_tree, tmp_path):
    """Trains with seed 7 on two devices, until a TERM signal at a step (0: to the end); returns the run."""
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(tiny_preset))

    def start(runs: Path, *arguments, signalled_at: int = 0):
        command = ["--preset", path, "--data", image_tree, "--runs", runs, "--seed", 7, "--distribute", *arguments]
        command = [sys.executable, "-c", IN_HALVES, signalled_at, *command]
        done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == (143 if signalled_at else 0), done.stderr
        assert "distributed over 2 devices of 1 process (tensorflow, float32)" in done.stdout
        (run,) = all_runs(runs)
        return run

    return start


def test_two_devices_begin_and_one_goes_on(train_in_halves, tiny_preset, image_tree, tmp_path):
    preset = load_preset(tiny_preset, train={"epochs": 1})
    wanted = train(preset, str(image_tree), tmp_path / "alone", seed=7)
    train_in_halves(tmp_path / "runs", "--set", "train.epochs=1", signalled_at=6)
    logged = listen()
    run = train(preset, str(image_tree), tmp_path / "runs", resume=True)
    assert any("the last bits may differ" in line and "distributed over 2 devices" in line for line in logged)
    assert_almost_equal(run, wanted)
    (row,) = files.read_rows(tmp_path / "runs" / "train_overall.jsonl")[0]
    first, then, last = row["device"].partition(", then ")
    assert ("distributed" in first, bool(then), "distributed" in last) == (True, True, False)
    assert row["backend"] == "tensorflow"


def assert_almost_equal(run, wanted, difference: float = 1e-4) -> None:
    (row,), (other,) = run.rows, wanted.rows
    assert row["loss"] == pytest.approx(other["loss"], rel=1e-4)
    assert row["top1"] == other["top1"]
    assert row["validation_loss"] == pytest.approx(other["validation_loss"], rel=1e-4)
    with np.load(run.last) as ours, np.load(wanted.last) as theirs:
        assert ours.files == theirs.files
        for name in (name for name in ours.files if ours[name].dtype.kind == "f"):
            largest = max(1.0, np.abs(theirs[name]).max())
            np.testing.assert_allclose(ours[name], theirs[name], atol=difference * largest, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "changes", "difference"),
    [
        ("optimizer", {"name": "muon", "learning_rate": 0.05, "norms": {"learning_rate_factor": 2.0}}, 5e-3),
        ("optimizer", {"ema": {"decay": 0.8}}, 1e-4),
        ("optimizer", {"lookahead": {"every_steps": 3, "start_epoch": 0}}, 1e-4),
        ("model", {"stochastic_depth": 0.5}, 1e-4),
        ("train", {"mixup": 0.2, "cutmix": 1.0}, 1e-4),
    ],
)
def test_pieces_of_recipes_on_two_devices(
    section, changes, difference, train_in_halves, tiny_preset, image_tree, tmp_path
):
    """Muon also enlarges rounding: weights that are off by their last bit end 2e-3 apart on one device."""
    preset = load_preset(load_preset(tiny_preset, **{section: changes}), train={"epochs": 1})
    wanted = train(preset, str(image_tree), tmp_path / "alone", seed=7)
    settings = ("--set", "train.epochs=1", "--set", f"{section}={json.dumps(changes)}")
    assert_almost_equal(train_in_halves(tmp_path / "runs", *settings), wanted, difference)


@pytest.mark.slow
def test_a_stop_changes_nothing_on_two_devices(train_in_halves, assert_same_run, tmp_path):
    unbroken = train_in_halves(tmp_path / "unbroken")
    train_in_halves(tmp_path / "stopped", signalled_at=14)
    assert_same_run(train_in_halves(tmp_path / "stopped", "--resume"), unbroken)

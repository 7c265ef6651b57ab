"""One training by several processes on this machine: what one process would have computed, whoever is killed."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from assertions import user_error

from resnet_tf.errors import Stopped
from resnet_tf.presets.preset_files import load_preset
from resnet_tf.presets.sections import Train
from resnet_tf.runs.choose import all_runs
from resnet_tf.training import distributed
from resnet_tf.training.distributed import ProcessGroup
from resnet_tf.training.train import train

ROOT = Path(__file__).resolve().parents[2]


def test_rows_of_all_processes_are_the_batch():
    assert [ProcessGroup(index, 4, 8).rows(24) for index in range(4)] == [(0, 6), (6, 6), (12, 6), (18, 6)]
    assert ProcessGroup().rows(7) == (0, 7)


def test_a_batch_that_devices_cannot_share_is_refused(monkeypatch):
    ProcessGroup(0, 2, 8).check(Train(batch_size=24, epochs=1))
    ProcessGroup().check(Train(batch_size=7, epochs=1, jit_compile=True))
    assert user_error(ProcessGroup(0, 2, 8).check, Train(batch_size=20, epochs=1)).code == "batch-not-divisible"
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    compiled = Train(batch_size=20, epochs=1, jit_compile=True)
    assert user_error(ProcessGroup(0, 1, 2).check, compiled).code == "xla-on-several-devices"


def test_processes_must_be_about_to_train_the_same(monkeypatch):
    monkeypatch.setattr(distributed, "_all_gather", lambda values: np.stack([values, values]))
    ProcessGroup(0, 2, 2).check_alike(preset="1", step=3)
    monkeypatch.setattr(distributed, "_all_gather", lambda values: np.stack([values, values + 1]))
    error = user_error(ProcessGroup(0, 2, 2).check_alike, preset="1", step=3)
    assert (error.code, "preset 1, step 3" in str(error)) == ("processes-differ", True)
    ProcessGroup().check_alike(preset="1", step=3)


def test_where_a_process_starts_is_among_what_must_be_alike(
    tiny_preset, image_tree, tmp_path, at_step, on_step, monkeypatch
):
    facts, preset = [], load_preset(tiny_preset, train={"epochs": 1})
    monkeypatch.setattr(ProcessGroup, "check_alike", lambda group, **given: facts.append(given))
    at_step(4, lambda phase: os.kill(os.getpid(), signal.SIGINT))
    for resume in (False, True):
        with contextlib.suppress(Stopped):
            train(preset, str(image_tree), tmp_path, resume=resume, on_step=on_step)
    (run,) = all_runs(tmp_path)
    assert [(given["run"], given["step"]) for given in facts] == [("a new one", 0), (run.name, 4)]


def test_a_process_that_was_not_told_to_distribute_refuses_others_variables(monkeypatch):
    assert distributed.process_group(distribute=False) == ProcessGroup()
    for name, value in zip(distributed.VARIABLES, ("localhost:1", "2", "0"), strict=True):
        monkeypatch.setenv(name, value)
    assert user_error(distributed.process_group, distribute=False).code == "distribute-missing"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("localhost:1", "", "0"), "Received: none for KERAS_DISTRIBUTION_NUM_PROCESSES."),
        (("localhost:1", "two", "0"), "counts from 0 to KERAS_DISTRIBUTION_NUM_PROCESSES - 1. Received: '0' of 'two'"),
        (("localhost:1", "2", "2"), "Received: '2' of '2' processes."),
    ],
)
def test_wrong_process_variables_are_refused(values, message, monkeypatch):
    for name, value in zip(distributed.VARIABLES, values, strict=True):
        monkeypatch.setenv(name, value)
    error = user_error(distributed.check_variables)
    assert (error.code, message in str(error)) == ("process-variables", True)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX would wait for the other process")
def test_several_processes_are_refused_on_tensorflow(monkeypatch):
    for name, value in zip(distributed.VARIABLES, ("localhost:1", "2", "0"), strict=True):
        monkeypatch.setenv(name, value)
    assert user_error(distributed.process_group, distribute=True).code == "backend-single-process"


@pytest.fixture
def launch(tiny_preset, image_tree, tmp_path):
    """Returns what starts a training of 100 steps by so many processes; `run()` is its run."""
    path = tmp_path / "tiny.json"
    # In the middle of an epoch, too, a state is saved: every step takes well over a thousandth of a minute.
    train = {"batch_size": 20, "epochs": 10, "state_minutes": 0.001}
    # A small rate, as steps amplify rounding the more the larger they are: at 0.05 twice the tolerance in 100 steps.
    optimizer = {**tiny_preset["optimizer"], "learning_rate": 0.01}
    path.write_text(json.dumps({**tiny_preset, "train": train, "optimizer": optimizer}))

    def start(processes: int, runs: Path, *arguments) -> list[subprocess.Popen]:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        command = [sys.executable, "train.py", "--preset", str(path), "--data", str(image_tree), "--runs", str(runs)]
        command += ["--distribute", *map(str, arguments)]
        common = {**os.environ, "KERAS_BACKEND": "jax", "KERAS_DISTRIBUTION_JOB_ADDRESSES": address}
        common["KERAS_DISTRIBUTION_NUM_PROCESSES"] = str(processes)
        started = []
        for number in range(processes):
            with open(tmp_path / f"{runs.name}-{number}.txt", "a") as log:
                environment = {**common, "KERAS_DISTRIBUTION_PROCESS_ID": str(number)}
                started.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log))
        return started

    return start


def finish(processes: list[subprocess.Popen]) -> list[int]:
    with contextlib.ExitStack() as all_of_them:
        for process in processes:
            all_of_them.callback(process.kill)
        return [process.wait(timeout=300) for process in processes]


def weights(runs: Path) -> dict[str, np.ndarray]:
    (run,) = all_runs(runs)
    assert run.about["status"] == "finished"
    with np.load(run.last) as arrays:
        return {name: arrays[name] for name in arrays.files if arrays[name].dtype.kind == "f"}


def assert_same(found: Path, expected: Path) -> None:
    (run,), (other,) = all_runs(found), all_runs(expected)
    for row, wanted in zip(run.rows, other.rows, strict=True):
        assert row["loss"] == pytest.approx(wanted["loss"], rel=1e-4)
        assert row["validation_loss"] == pytest.approx(wanted["validation_loss"], rel=1e-3)
    for name, array in weights(found).items():
        largest = np.abs(weights(expected)[name]).max()
        np.testing.assert_allclose(array, weights(expected)[name], atol=1e-4 * max(1.0, largest), err_msg=name)


@pytest.mark.slow
def test_several_processes_train_as_one_and_go_on_after_a_kill(launch, tmp_path):
    pytest.importorskip("jax")
    for processes in (1, 2, 4):
        assert finish(launch(processes, tmp_path / f"by-{processes}")) == [0] * processes
    for processes in (2, 4):
        assert_same(tmp_path / f"by-{processes}", tmp_path / "by-1")

    runs = tmp_path / "killed"
    started = launch(4, runs)
    end = time.monotonic() + 300
    while not any(run.state.is_dir() and len(run.rows) >= 3 for run in all_runs(runs)):
        assert time.monotonic() < end
        time.sleep(0.05)
    started[2].send_signal(signal.SIGKILL)
    assert 0 not in finish(started)
    (run,) = all_runs(runs)
    assert run.about["status"] != "finished"
    assert finish(launch(2, runs, "--resume")) == [0, 0]
    assert_same(runs, tmp_path / "by-1")


@pytest.mark.slow
def test_two_processes_mix_and_drop_the_images_that_one_does(launch, tmp_path):
    pytest.importorskip("jax")
    keys = {"train.epochs": 2, "train.mixup": 0.2, "train.cutmix": 1.0, "model.stochastic_depth": 0.5}
    settings = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    for processes in (1, 2):
        assert finish(launch(processes, tmp_path / f"by-{processes}", *settings)) == [0] * processes
    assert_same(tmp_path / "by-2", tmp_path / "by-1")


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_at_one_step(launch, tmp_path):
    pytest.importorskip("jax")
    started = launch(2, tmp_path / "runs", "--set", "train.epochs=1000")
    end = time.monotonic() + 300
    while not any(run.rows for run in all_runs(tmp_path / "runs")):
        assert time.monotonic() < end
        time.sleep(0.05)
    started[1].send_signal(signal.SIGTERM)
    assert finish(started) == [143, 143]
    (run,) = all_runs(tmp_path / "runs")
    assert run.about["status"] == "stopped"

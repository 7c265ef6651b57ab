"""The same training under TensorFlow and JAX: the same losses, and each goes on with the other's state."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from resnet_tf import files
from resnet_tf.runs import ledger
from resnet_tf.runs.choose import all_runs

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = ("tensorflow", "jax")
# The loss of every step. Every so many steps the weights and the optimizer's variables are written, or read.
LOSSES = """
import json, sys
import numpy as np
from resnet_tf.datasets import sources
from resnet_tf.presets.preset_files import load_preset
from resnet_tf.training.checkpoint import copy_of
from resnet_tf.training.plan import make_plans

path, data, steps, every, folder, what = sys.argv[1:]
preset = load_preset(path)
plan = make_plans(preset, sources.load(preset.data.dataset, data or None), seed=0)[0]
train, losses = plan.build_step(), []
if what == "nudged":  # every weight by its last bit, up or down
    for weight in train.network.trainable_variables:
        up = np.random.default_rng(0).random(weight.shape) < 0.5
        weight.assign(np.nextafter(np.asarray(weight), np.where(up, np.inf, -np.inf).astype(np.float32)))
for step, (images, labels) in enumerate(plan.batches.dataset(0, int(steps)).as_numpy_iterator()):
    if step % int(every) == 0 and what == "write":
        train.synchronize()
        np.savez(f"{folder}/{step}.npz", **copy_of(train.variables))
    if step % int(every) == 0 and what == "read":
        train.synchronize()
        with np.load(f"{folder}/{step}.npz") as arrays:
            for name, variable in train.variables.items():
                variable.assign(arrays[name])
    losses.append(train(images, labels)[0])
print(json.dumps(losses))
"""


def under(backend: str, *arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, *map(str, arguments)]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)


@pytest.mark.slow
def test_losses_of_preset_3_agree(developers_data, tmp_path):
    """On CIFAR-10 where RESNET_DATA has it, else on drawn pictures.

    Four steps at a time from TensorFlow's weights, JAX finds the same losses over 200 steps. Left to itself it goes
    apart from there as TensorFlow does from itself when every weight is off by its last bit: steps amplify rounding.
    """
    pytest.importorskip("jax")
    preset = tmp_path / "3.json"
    values = json.loads((ROOT / "presets" / "3.json").read_text())
    values["data"] |= {"validation_size": 0} if developers_data else {"validation_size": 0, "dataset": "shapes10"}
    preset.write_text(json.dumps(values))

    def losses(backend: str, what: str) -> np.ndarray:
        printed = under(backend, "-c", LOSSES, preset, developers_data or "", 200, 4, tmp_path, what).stdout
        return np.array(json.loads(printed.splitlines()[-1]))  # before it, what a first reading of the images says

    wanted = losses("tensorflow", "write")
    apart = {}
    for name, (backend, what) in {
        "four steps at a time": ("jax", "read"),
        "on its own": ("jax", ""),
        "nudged": ("tensorflow", "nudged"),
    }.items():
        apart[name] = np.abs(losses(backend, what) - wanted) / wanted
        print(f"{name}: {apart[name].max():.1e} at most, {np.median(apart[name]):.1e} in the middle")
    assert apart["four steps at a time"].max() < 1e-3
    assert apart["on its own"][:4].max() < 1e-3
    assert np.median(apart["on its own"]) < 2 * np.median(apart["nudged"])


@pytest.mark.slow
@pytest.mark.parametrize("first", BACKENDS)
def test_one_backend_goes_on_with_the_others_state(first, image_tree, tiny_preset, tmp_path):
    pytest.importorskip("jax")
    second = next(name for name in BACKENDS if name != first)
    preset, runs = tmp_path / "tiny.json", tmp_path / "runs"
    preset.write_text(json.dumps(tiny_preset))
    command = ("train.py", "--preset", preset, "--data", image_tree, "--runs", runs)
    under(first, *command, "--set", "train.epochs=2")
    under(second, *command, "--set", "train.epochs=4", "--resume", all_runs(runs)[0].name)
    under(first, "eval.py", "--preset", preset, "--data", image_tree, "--runs", runs)
    under(first, *command, "--set", "train.epochs=4")
    (mixed, pure) = (run.rows for run in all_runs(runs))
    assert [row["epoch"] for row in mixed] == [1, 2, 3, 4]
    for row, expected in zip(mixed, pure, strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], rel=5e-3)
        assert row["learning_rate"] == expected["learning_rate"]
    rows, _ = files.read_rows(runs / ledger.TRAINED)
    assert [row["backend"] for row in rows] == [first, second, first]
    assert second in rows[1]["versions"]

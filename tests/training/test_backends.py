"""The same training under TensorFlow and JAX: the same losses, and each goes on with the other's state."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from resnet_tf import files, ledger, run_folder

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = ("tensorflow", "jax")
# The loss of every single step, from the means since the epoch's begin that Keras hands out.
LOSSES = """
import json, sys
import keras, numpy as np
from resnet_tf.data import sources
from resnet_tf.preset_files import load_preset
from resnet_tf.training.plan import make_plans

preset = load_preset(sys.argv[1], data={"validation_size": 0})
plan = make_plans(preset, sources.load(preset.data.dataset, sys.argv[2] or None, say=str), seed=0)[0]
means, steps = [], int(sys.argv[3])
follow = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: means.append(float(logs["loss"])))
plan.compiled_network().fit(plan.batches.dataset(0, steps), callbacks=[follow], shuffle=False, verbose=0)
sums = np.arange(1, steps + 1) * means
print(json.dumps(np.diff(sums, prepend=0.0).tolist()))
"""


def under(backend: str, *arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, *map(str, arguments)]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    return subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)


@pytest.mark.slow
def test_losses_of_preset_3_agree(developers_data, tmp_path):
    """On CIFAR-10 where RESNET_DATA has it, else on drawn pictures; float32 rounds otherwise in each backend."""
    pytest.importorskip("jax")
    data, steps = developers_data, 200
    preset = tmp_path / "3.json"
    values = json.loads((ROOT / "presets" / "3.json").read_text())
    if data is None:
        values["data"]["dataset"], data = "shapes10", ""
    preset.write_text(json.dumps(values))
    losses = {name: np.array(json.loads(under(name, "-c", LOSSES, preset, data, steps).stdout)) for name in BACKENDS}
    ours, theirs = (losses[name] for name in BACKENDS)
    difference = np.abs(ours - theirs) / ours
    smooth = np.abs(np.cumsum(ours - theirs)) / np.cumsum(ours)
    worst = difference[:20].max(), difference.max(), smooth.max()
    print("relative difference: {:.1e} in 20 steps, {:.1e} in all, {:.1e} of the means".format(*worst))
    assert difference[:20].max() < 1e-3
    assert smooth.max() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("first", BACKENDS)
def test_one_backend_goes_on_with_the_others_state(first, image_tree, tiny_preset, tmp_path):
    pytest.importorskip("jax")
    second = next(name for name in BACKENDS if name != first)
    preset, runs = tmp_path / "tiny.json", tmp_path / "runs"
    preset.write_text(json.dumps(tiny_preset))
    command = ("train.py", "--preset", preset, "--data", image_tree, "--runs", runs)
    under(first, *command, "--set", "train.epochs=2")
    under(second, *command, "--set", "train.epochs=4", "--resume", run_folder.every(runs)[0].name)
    under(first, "eval.py", "--preset", preset, "--data", image_tree, "--runs", runs)
    under(first, *command, "--set", "train.epochs=4")
    (mixed, pure) = (run.rows for run in run_folder.every(runs))
    assert [row["epoch"] for row in mixed] == [1, 2, 3, 4]
    for row, expected in zip(mixed, pure, strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], rel=5e-3)
        assert row["learning_rate"] == expected["learning_rate"]
    rows, _ = files.read_rows(runs / ledger.TRAINED)
    assert [row["backend"] for row in rows] == [first, second, first]
    assert second in rows[1]["versions"]

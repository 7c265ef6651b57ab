"""A .keras file: written by one process, read by another that has imported resnet_tf and nothing else of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Every stem, unit, shortcut, activation and transition that the presets have, in small networks; and the optimizer that
# each is trained with.
WRITE = """
import sys
import keras
import numpy as np
import resnet_tf
from resnet_tf.models.resnet import set_whitening
from resnet_tf.optim.losses import CrossEntropy
from resnet_tf.optim.optimizers import build_optimizer
from resnet_tf.presets import preset_files
from resnet_tf.presets.optimizer import AdamSpec, SGDSpec

SGD = SGDSpec(learning_rate=0.1, nesterov=True, weight_decay=1e-4)
ADAM = AdamSpec(learning_rate=0.01, weight_decay=1e-4, decay="decoupled")
SMALL = {"num_residual_units": 1, "filters": (4, 6)}
DEEP = {"num_residual_units": 1, "filters": (16, 32), "unit": "bottleneck", "shortcut": "projection"}
LEAKY = {"activation": "leaky_relu", "negative_slope": 0.1}
NORMS = {"norm_momentum": 0.7, "norm_epsilon": 0.3}
QUICK = preset_files.load_preset("quick")
FORMS = {
    "cifar, option A": ({**SMALL, "unit": "bottleneck", "width_per_group": 128}, ADAM),
    "imagenet, in groups": ({**DEEP, "stem": "7x7-pool", "groups": 8, "zero_last_scale": True, **LEAKY}, SGD),
    "stl10": ({**DEEP, "stem": "4x4-valid-pool", "stem_filters": 8, **LEAKY}, ADAM),
    "whitened and pooled": ({**SMALL, "stem": "whitened-2x2", "transition": "pooled", **NORMS}, SGD),
    "plain, with Muon": ({"network": QUICK.model, "filters": (4, 6)}, QUICK.optimizer),
    "stochastic depth": ({**SMALL, "stochastic_depth": 0.5}, SGD),
}
rng, folder = np.random.default_rng(0), sys.argv[1]
images, labels = rng.integers(0, 256, (8, 16, 16, 3)).astype("uint8"), np.arange(8)
for number, (name, (form, spec)) in enumerate(FORMS.items()):
    model = resnet_tf.resnet(**form, image_size=16)
    model.get_layer("normalization").adapt(images)
    if any(layer.name == "whitening" for layer in model.layers):
        set_whitening(model, rng.normal(0, 0.5, (2, 2, 3, 12)))
    optimizer = build_optimizer(spec, np.linspace(0.1, 0.01, 5), steps_per_epoch=1)
    eagerly = keras.backend.backend() == "tensorflow"  # which is quicker there, and far slower in JAX
    model.compile(optimizer, CrossEntropy(0.1, "others"), run_eagerly=eagerly)
    model.train_on_batch(images, labels)
    optimizer.learning_rate_scale.assign(0.5)
    model.save(f"{folder}/{number}.keras")
    slots = {f"slot{place}": np.asarray(variable) for place, variable in enumerate(optimizer.variables)}
    np.savez(f"{folder}/{number}.npz", name=name, images=images, labels=labels, logits=model(images), **slots)
    model.train_on_batch(images, labels)  # what comes next is saved too
    np.save(f"{folder}/{number}.npy", model(images))
"""
READ = """
import sys
import resnet_tf
assert "keras" not in sys.modules, "importing resnet_tf must stay light"
import keras
import numpy as np

folder = sys.argv[1]
for number in range(int(sys.argv[2])):
    model, saved = keras.models.load_model(f"{folder}/{number}.keras"), np.load(f"{folder}/{number}.npz")
    model.run_eagerly = keras.backend.backend() == "tensorflow"  # as it was trained; Keras does not save it
    np.testing.assert_array_equal(model(saved["images"]), saved["logits"], err_msg=str(saved["name"]))
    for place, variable in enumerate(model.optimizer.variables):
        np.testing.assert_array_equal(variable, saved[f"slot{place}"], err_msg=str(saved["name"]))
    assert f"slot{place + 1}" not in saved
    model.train_on_batch(saved["images"], saved["labels"])
    np.testing.assert_array_equal(model(saved["images"]), np.load(f"{folder}/{number}.npy"))
"""
WITHOUT_US = """
import sys
import keras

try:
    keras.models.load_model(f"{sys.argv[1]}/0.keras")
except TypeError as error:
    assert "Could not locate class" in str(error), error
else:
    raise AssertionError("loaded without resnet_tf")
import resnet_tf  # after Keras does as well

keras.models.load_model(f"{sys.argv[1]}/0.keras")
"""


def start(code: str, backend: str, *arguments) -> subprocess.Popen:
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=arguments[0], env=environment, stderr=subprocess.PIPE, text=True)


def assert_done(process: subprocess.Popen) -> None:
    _, errors = process.communicate()
    assert process.returncode == 0, errors[-2000:]


@pytest.mark.parametrize("backend", ["tensorflow", pytest.param("jax", marks=pytest.mark.slow)])
def test_another_process_goes_on_with_a_saved_model_bit_for_bit(backend, tmp_path):
    pytest.importorskip(backend)
    assert_done(start(WRITE, backend, tmp_path))
    readers = start(READ, backend, tmp_path, len(list(tmp_path.glob("*.keras")))), start(WITHOUT_US, backend, tmp_path)
    for reader in readers:
        assert_done(reader)

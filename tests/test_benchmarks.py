"""The benchmarks' own machinery: contestants compute the same, and the figures are what they are said to be."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from assertions import user_error
from PIL import Image
from plain import MINE

from benchmarks import contestants, photo_frames, scaling, speed
from benchmarks.contestants import Case
from resnet_tf.datasets.splits import ArraySplit, Dataset
from resnet_tf.models.layers import BatchNormalization
from resnet_tf.presets.preset_files import load_preset

ROOT = Path(__file__).parents[1]


def test_ours_and_torch_compute_the_same_training_step():
    pytest.importorskip("torch")
    case = Case("demo", 32, 10, 8)
    ours, torch = contestants.CONTESTANTS["ours"](case), contestants.CONTESTANTS["torch"](case)
    torch.take(ours.weights())
    found, expected = ours.check(), torch.check()
    assert set(found) == set(expected)
    assert len([key for key in found if key.startswith("gradient of ")]) == len(ours.model.trainable_weights)
    for key, value in found.items():
        assert np.linalg.norm(value - expected[key]) < 1e-3 * np.linalg.norm(value), key
    torch.take(ours.weights())
    np.testing.assert_allclose(torch.infer(), ours.infer(), atol=1e-4 * np.abs(torch.infer()).max())


LEAKY = MINE | {
    "model": {
        "num_residual_units": 1,
        "filters": [8, 12],
        "unit": "bottleneck",
        "shortcut": "projection",
        "activation": "leaky_relu",
        "negative_slope": 0.5,
    }
}


@pytest.mark.parametrize("preset", ["demo", LEAKY], ids=["demo", "leaky"])
def test_three_steps_as_a_graph_are_those_of_torch(preset):
    """What TensorFlow makes of a step when it sees all of it: losses, weights and running statistics."""
    pytest.importorskip("torch")
    case = Case(preset, 16, 10, 8)
    ours, torch = contestants.CONTESTANTS["ours"](case), contestants.CONTESTANTS["torch"](case)
    torch.take(ours.weights())
    for _ in range(3):
        assert ours.train() == pytest.approx(torch.train(), rel=1e-4)
    expected = torch.weights()
    for name, array in ours.weights().items():
        np.testing.assert_allclose(array, expected[name], atol=1e-4 * np.abs(array).max(), err_msg=name)


@pytest.fixture
def restored(monkeypatch):
    """Undoes what a contestant changes in its process."""
    monkeypatch.setattr("resnet_tf.models.resnet.BatchNormalization", BatchNormalization)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("name", ["keras", "ours-bfloat16", "torch-bfloat16"])
def test_the_other_contestants_compute_the_same(restored, name):
    pytest.importorskip("torch")
    case = Case("demo", 32, 10, 8)
    ours = contestants.CONTESTANTS["ours"](case)
    weights, expected = ours.weights(), [ours.check(), {"logits": ours.infer()}]
    other = contestants.CONTESTANTS[name](case)
    other.take(weights)
    for arrays, ours in zip([other.check(), {"logits": other.infer()}], expected, strict=True):
        speed.compare(name, arrays, ours)
        differs = np.abs(arrays["logits"] - ours["logits"]).max() > 1e-3 * np.abs(ours["logits"]).max()
        assert differs == name.endswith("bfloat16")
    losses = [other.train() for _ in range(4)]
    assert losses[3] < losses[0]


@pytest.mark.parametrize(("name", "variable"), [("keras", "None"), ("ours", "1")])
def test_only_stock_keras_runs_without_our_variable(name, variable):
    """Of oneDNN; what a contestant's process sees before it imports TensorFlow."""
    code = f"""
import os, sys
from benchmarks import contestants
seen = lambda case: print(os.environ.get("TF_ENABLE_ONEDNN_OPTS"), "tensorflow" in sys.modules)
contestants.CONTESTANTS[{name!r}] = seen
contestants.serve({name!r}, None)
"""
    environment = {key: value for key, value in os.environ.items() if key != "TF_ENABLE_ONEDNN_OPTS"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, input="", capture_output=True, text=True, check=True)
    assert done.stderr.split() == [variable, "False"]


def test_the_gate_stops_a_contestant_that_computes_something_else():
    logits, gradient = np.arange(1.0, 5.0), np.arange(2.0, 6.0)
    good = {"logits": logits, "gradient of stem/kernel": gradient, "stem_norm/running_variance": logits}
    speed.compare("torch", good, good)
    speed.compare("keras", {**good, "stem_norm/running_variance": 0.9 * logits}, good)  # Keras keeps the biased one
    speed.compare("torch-bfloat16", {**good, "logits": 1.02 * logits}, good)
    for name, factor in (("torch", 1.15), ("torch-bfloat16", 1.15)):
        for key in good if name == "torch" else ("logits", "stem_norm/running_variance"):
            with pytest.raises(SystemExit, match="does not compute what we compute"):
                speed.compare(name, {**good, key: factor * good[key]}, good)


def test_all_cases_are_presets_that_torch_can_build():
    for case in contestants.CASES.values():
        images, labels = Case(case.preset, 8, case.classes, 2).data()
        assert images.shape == (2, 8, 8, 3)
        assert labels.max() < case.classes
        assert case.network.stem in ("3x3", "7x7-pool", "4x4-valid-pool")


def test_processes_take_turns_and_none_is_always_the_first(monkeypatch):
    """Steps of 20 ms against 50 ms: a second holds 50 or 20 of them, of which at most 30 are timed."""
    started, milliseconds = [], {"ours": 20, "torch": 50}

    class Timed:
        def __init__(self, name):
            self.milliseconds, self.steps = milliseconds[name], 0

        def do(self, what, times=0, path=None):
            self.steps += times
            return {"seconds": times * self.milliseconds / 1000, "cpu_seconds": 2 * times, "page_faults": 7 * times} | {
                "peak_mib": self.steps
            }

    @contextlib.contextmanager
    def start(name, case):
        started.append(name)
        yield Timed(name)

    monkeypatch.setattr(speed, "started", start)
    timing = speed.Timing("infer", Path("weights.npz"), steps=30, seconds=1)
    turns = speed.take_turns("resnet20", ["ours", "torch"], timing, rounds=3)
    assert started == ["ours", "torch", "torch", "ours", "ours", "torch"]
    common = {"cpu_seconds": 2, "page_faults": 7}
    ours = {"first_step_seconds": 0.02, "step_seconds": 0.02, "peak_mib": 3 + 1 + 30}
    torch = {"first_step_seconds": 0.05, "step_seconds": 0.05, "peak_mib": 3 + 1 + 20}
    assert turns == {"ours": 3 * [ours | common], "torch": 3 * [torch | common]}


def test_measurements_are_added_to_those_of_other_days(tmp_path):
    for day in (1, 2):
        speed.add({"date": f"2026-11-{day:02}"}, tmp_path / "speed.json")
    assert json.loads((tmp_path / "speed.json").read_text()) == [{"date": "2026-11-01"}, {"date": "2026-11-02"}]


def test_a_training_on_paper_is_the_arithmetic_written_out():
    """ResNet-34 on ImageNet: 21,797,672 parameters, 36 norms, batch 256, 120 epochs of 1,271,167 images."""
    machine = scaling.Machine(2500, 25, 30e-6, 150, 110e3)
    one, eight = (scaling.cost(load_preset("imagenet-resnet34-exp3"), machine, devices) for devices in (1, 8))
    assert (one.computing, one.gradients, one.norms) == (0.1024, 0, 0)
    assert one.hours == pytest.approx(120 * 4_965 * 256 / 2500 / 3600)  # whole batches of 1,271,167 images
    assert eight.computing == pytest.approx(0.0128)
    assert eight.gradients == pytest.approx(7 / 4 * 4 * 21_797_672 / 25e9)
    assert eight.norms == pytest.approx(4 * 36 * 30e-6)
    assert eight.images_per_second == pytest.approx(256 / (0.0128 + 0.0061033 + 0.00432), rel=1e-4)
    assert eight.cores == pytest.approx(eight.images_per_second / 150)
    assert eight.megabytes_per_second == pytest.approx(eight.images_per_second * 0.11)


def test_what_cannot_be_worked_out_on_paper_is_refused():
    machine = scaling.Machine(2500, 25, 30e-6, 150, 110e3)
    folder = MINE | {"data": {"dataset": "folder"}}
    for preset, code in (("stl10", "several-phases"), (folder, "data-size-unknown")):
        assert user_error(scaling.cost, load_preset(preset), machine, 8).code == code


# Prints how many messages XLA makes of a training step on two devices, for networks of none, one and two norms.
COUNTING = """
import re, jax, keras, numpy
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from resnet_tf.models.layers import BatchNormalization

mesh = Mesh(numpy.array(jax.devices()), ("batch",))
split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (["batch"], []))
for norms in range(3):
    layers = [keras.Input((4, 4, 2))]
    for _ in range(norms):
        layers += [keras.layers.Conv2D(2, 3, use_bias=False, padding="same"), BatchNormalization(), keras.layers.ReLU()]
    network = keras.Sequential([*layers, keras.layers.Conv2D(2, 3, use_bias=False)])

    def loss(weights, others, images):
        outputs, others = network.stateless_call(weights, others, images, training=True)
        return (outputs**2).mean(), others

    weights, others = ([weight.value for weight in kind] for kind in
                       (network.trainable_variables, network.non_trainable_variables))
    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    images = jax.device_put(numpy.ones((4, 4, 4, 2), "float32"), split)
    text = step.lower(*jax.device_put((weights, others), whole), images).compile().as_text()
    print(len(re.findall(r" all-reduce(?:-start)?\\(", text)))
"""


@pytest.mark.slow
def test_a_norm_sends_as_many_messages_as_xla_makes_of_it():
    pytest.importorskip("jax")
    two_on_jax = {"KERAS_BACKEND": "jax", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    command, environment = [sys.executable, "-c", COUNTING], {**os.environ, **two_on_jax}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    none, one, two = map(int, done.stdout.split())
    assert one - none == two - one == scaling.MESSAGES_PER_NORM


def test_the_table_of_docs_scaling_is_what_the_benchmark_prints(capsys):
    scaling.main(["--images-per-second", "2500"])
    assert capsys.readouterr().out in (ROOT / "docs" / "scaling.md").read_text()


def test_windows_are_cut_from_the_images_of_their_class(tmp_path):
    images = np.arange(6 * 8 * 8 * 3).reshape(6, 8, 8, 3).astype(np.uint8)
    split = ArraySplit(images, np.array([0, 1, 2, 0, 1, 2]))
    dataset = Dataset("stl10", "stl10", "memory", ("car", "monkey", "ship"), split, split, "", official=False)
    photo_frames.write_windows(dataset, 0.75, 2, tmp_path, np.random.default_rng(0))
    written = {str(path.relative_to(tmp_path)): np.asarray(Image.open(path)) for path in tmp_path.glob("*/*")}
    assert sorted(written) == ["automobile/0.png", "automobile/3.png", "ship/2.png", "ship/5.png"]
    for name, window in written.items():
        assert sorted(window.shape) == [3, 6, 8]
        image = images[int(Path(name).stem)]
        cuts = np.lib.stride_tricks.sliding_window_view(image, window.shape).reshape(-1, *window.shape)
        assert (cuts == window).all(axis=(1, 2, 3)).any()

"""What a plan makes of a preset: its loss, mixing, precision, XLA and seed reach the training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_tf.datasets import sources
from resnet_tf.datasets.splits import SEEDS
from resnet_tf.models.build import build_network
from resnet_tf.pipeline.mixing import Mixing
from resnet_tf.presets.preset_files import load_preset
from resnet_tf.training.plan import make_plans


@pytest.fixture
def plans(image_tree, tiny_preset):
    def make(seed=7, **changes):
        return make_plans(load_preset(tiny_preset, **changes), sources.load("cifar10", str(image_tree)), seed)

    return make


def test_loss_and_mixing_are_the_presets(plans):
    loss = {"label_smoothing": 0.4, "smoothing_form": "others"}
    (plan,) = plans(train={"mixup": 0.2, "cutmix": 1.0}, loss=loss)
    assert plan.batches.mixing == Mixing(mixup=0.2, cutmix=1.0, classes=10)
    _, shares = next(iter(plan.batches.dataset(0, 1)))
    assert shares.shape == (20, 10)
    logits = np.array([[2, 0, -1, 0, 0, 0, 0, 0, 0, 0]], np.float32)
    wanted = np.array([0.6, *[0.4 / 9] * 9])
    by_hand = -(wanted * (logits[0] - np.log(np.exp(logits[0]).sum()))).sum()
    assert float(plan.build_step().loss_function(np.zeros(1, np.int32), logits)) == pytest.approx(by_hand, rel=1e-5)


def test_a_group_is_frozen_after_its_epoch(train, on_step):
    kernels = {}

    def look(phase) -> None:
        phase.step.synchronize()
        kernels[phase.progress.step] = np.array(phase.step.network.get_layer("head").kernel)

    on_step.acts = dict.fromkeys((9, 10, 11, 20), look)
    train(optimizer={"head": {"frozen_after_epoch": 1}}, train={"epochs": 2})
    assert not np.array_equal(kernels[9], kernels[10])
    np.testing.assert_array_equal(kernels[10], kernels[11])
    np.testing.assert_array_equal(kernels[10], kernels[20])


def test_weights_order_and_augmentation_follow_the_seed(plans):
    preset = {"phases": [{}, {"train": {"epochs": 1}}]}
    of_seven, of_eight = plans(7, **preset), plans(8, **preset)
    kernels = [np.array(first.build_network().get_layer("stem").kernel) for first in (of_seven[0], of_eight[0])]
    assert not np.array_equal(*kernels)
    expected = build_network(of_seven[0].preset, 10, seed=7).get_layer("stem").kernel
    np.testing.assert_array_equal(kernels[0], np.array(expected))
    assert [plan.batches.seed for plan in of_seven] == [7, 7 + SEEDS]
    assert [plan.batches.seed for plan in of_eight] == [8, 8 + SEEDS]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX always compiles")
@pytest.mark.parametrize(("precision", "compiled"), [("float32", False), ("mixed_bfloat16", False), ("float32", True)])
def test_precision_and_xla_are_those_of_the_step(plans, monkeypatch, precision, compiled):
    functions, real = [], tf.function

    def function(*arguments, **options):
        functions.append(options.get("jit_compile", False))
        return real(*arguments, **options)

    (plan,) = plans(train={"precision": precision, "jit_compile": compiled})
    monkeypatch.setattr(tf, "function", function)
    step = plan.build_step()
    assert functions == [compiled]
    assert step.network.jit_compile == compiled
    stem = step.network.get_layer("stem")
    assert (stem.compute_dtype, stem.variable_dtype) == (precision.removeprefix("mixed_"), "float32")

"""Stochastic depth: which images are dropped, and how often; what it leaves of a network, its weights and its files."""

import keras
import numpy as np
import pytest
import scipy.stats
from assertions import user_error

from resnet_tf.models import weights
from resnet_tf.models.folding import folded
from resnet_tf.models.layers import BatchNormalization, StochasticDepth
from resnet_tf.models.resnet import resnet
from resnet_tf.presets.network import Network
from resnet_tf.presets.parsing import build

LIKELY = 1e-3  # least p-value taken for chance; seeds are fixed, so a test that passes goes on passing
FORM = {"stage_sizes": (1, 2), "filters": (4, 6), "shortcut": "projection"}
RATE = 0.6
# (l / L) x rate for the units l = 1 to L = 3.
RATES = {"stage1_unit1_drop": 0.2, "stage2_unit1_drop": 0.4, "stage2_unit2_drop": 0.6}


def random_network(**keys) -> keras.Model:
    """A network in which no norm is as it starts, the same for any `stochastic_depth`."""
    model, rng = resnet(**FORM, **keys, image_size=16, seed=4), np.random.default_rng(0)
    for layer in sorted(model.layers, key=lambda layer: layer.name):
        if isinstance(layer, BatchNormalization):
            for variable in (layer.scale, layer.offset, layer.running_mean, layer.running_variance):
                variable.assign(rng.uniform(0.5, 2.0, variable.shape))
    return model


def images_of(rows: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (rows, 16, 16, 3)).astype(np.float32)


def test_images_are_dropped_and_the_others_scaled_as_torchvision_does():
    """torchvision's rule: input * bernoulli(1 - p) / (1 - p), a number for each row of the batch."""
    x = np.random.default_rng(0).normal(size=(500, 2, 3, 4)).astype(np.float32)
    layer, counts = StochasticDepth(0.3, seed=5), []
    for _ in range(8):
        y = np.array(layer(x, training=True))
        survived = y.any(axis=(1, 2, 3))
        np.testing.assert_allclose(y, x * survived[:, None, None, None] / (1 - 0.3), rtol=1e-6)
        counts.append(survived)
    assert scipy.stats.binomtest(int(np.sum(counts)), 4000, 0.7).pvalue > LIKELY
    # Two steps agree about as many images as two coins do: 0.7^2 + 0.3^2 of 500.
    assert scipy.stats.binomtest(int((counts[0] == counts[1]).sum()), 500, 0.58).pvalue > LIKELY
    np.testing.assert_array_equal(layer(x, training=False), x)
    np.testing.assert_array_equal(StochasticDepth(0.0)(x, training=True), x)
    again, other = StochasticDepth(0.3, seed=5), StochasticDepth(0.3, seed=6)
    np.testing.assert_array_equal(np.array(again(x, training=True)).any(axis=(1, 2, 3)), counts[0])
    assert (np.array(other(x, training=True)).any(axis=(1, 2, 3)) != counts[0]).any()


def test_the_rate_grows_linearly_to_the_last_unit():
    model = resnet(**FORM, stochastic_depth=RATE)
    layers = [layer for layer in model.layers if isinstance(layer, StochasticDepth)]
    assert {layer.name: layer.rate for layer in layers} == pytest.approx(RATES)
    assert len({layer.seed for layer in layers}) == 3
    other = resnet(**FORM, stochastic_depth=RATE, seed=1)
    assert layers[0].seed != other.get_layer(layers[0].name).seed


@pytest.mark.parametrize("unit", ["basic", "bottleneck"])
@pytest.mark.parametrize("dropped", [True, False])
def test_a_dropped_branch_adds_nothing_and_a_surviving_one_more(unit, dropped, monkeypatch):
    """As in a network without the key, whose last norms of each branch are set to 0, or scaled."""
    model, plain = (random_network(unit=unit, stochastic_depth=rate) for rate in (RATE, 0.0))
    uniform = keras.random.uniform

    def decided(*arguments, **keywords):
        return 0 * uniform(*arguments, **keywords) + (0.0 if dropped else 0.999)

    monkeypatch.setattr(keras.random, "uniform", decided)
    last = "norm2" if unit == "basic" else "norm3"
    for name, rate in RATES.items():
        norm = plain.get_layer(name.replace("drop", last))
        for variable in (norm.scale, norm.offset):
            variable.assign(variable * (0.0 if dropped else 1 / (1 - rate)))
    expected = np.array(plain(images_of(4), training=True))
    np.testing.assert_allclose(model(images_of(4), training=True), expected, rtol=1e-4, atol=1e-4)


def test_without_the_key_it_is_the_network_it_was():
    model = resnet(**FORM, stochastic_depth=0.0)
    assert not [layer for layer in model.layers if isinstance(layer, StochasticDepth)]
    assert [each.path for each in model.weights] == [each.path for each in model.variables]


def test_weights_fit_with_and_without_the_key(tmp_path):
    model, plain = (random_network(stochastic_depth=rate) for rate in (RATE, 0.0))
    model(images_of(2), training=True)  # its numbers are drawn; a weight file does not hold that
    weights.save(model, tmp_path / "weights.npz", {})
    weights.load(plain, tmp_path / "weights.npz")
    np.testing.assert_array_equal(plain(images_of(4)), model(images_of(4)))
    weights.save(plain, tmp_path / "plain.npz", {})
    with np.load(tmp_path / "plain.npz") as arrays, np.load(tmp_path / "weights.npz") as others:
        assert set(arrays.files) == set(others.files)
    fresh = resnet(**FORM, image_size=16, stochastic_depth=RATE)
    weights.load(fresh, tmp_path / "plain.npz")
    np.testing.assert_array_equal(fresh(images_of(4)), model(images_of(4)))


def test_folded_and_saved(tmp_path):
    network = Network(**FORM, stochastic_depth=RATE)
    model = random_network(stochastic_depth=RATE)
    expected = np.array(model(images_of(4)))
    inference_model = folded(model, network)
    assert np.abs(np.array(inference_model(images_of(4))) - expected).max() < 1e-4 * np.abs(expected).max()
    model(images_of(8), training=True)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images_of(4)), model(images_of(4)))
    # What comes next is saved too.
    np.testing.assert_array_equal(loaded(images_of(8), training=True), model(images_of(8), training=True))


@pytest.mark.parametrize(
    ("rate", "shortcut", "code"),
    [
        (1, "projection", "preset-wrong-value"),
        (-0.1, "projection", "preset-wrong-value"),
        ("0.1", "projection", "preset-wrong-type"),
        (0.5, "none", "preset-wrong-value"),
    ],
)
def test_what_is_no_rate_is_refused_and_any_without_shortcuts(rate, shortcut, code):
    values = {"num_residual_units": 1, "stochastic_depth": rate, "shortcut": shortcut}
    error = user_error(build, Network, values, "'model'")
    assert error.code == code
    assert "stochastic_depth" in str(error)

"""Kernels that start as the identity, norms without scale, heads without bias and with a factor: against torch."""

import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from assertions import user_error
from plain import AIRBENCH_NETWORK

from resnet_tf.models.cost import network_size
from resnet_tf.models.folding import folded
from resnet_tf.models.layers import BatchNormalization, Dirac
from resnet_tf.models.resnet import resnet
from resnet_tf.presets.network import Network
from resnet_tf.presets.parsing import build

SMALL = {"num_residual_units": 1, "filters": (4, 6), "shortcut": "projection"}
ALL = {**AIRBENCH_NETWORK, "num_residual_units": 1, "filters": (32, 40)}


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 7])
@pytest.mark.parametrize(("inputs", "filters"), [(3, 8), (5, 5), (8, 3)])
def test_dirac_is_torchs(kernel, inputs, filters):
    """torch's is applied to the first filters of a kernel, as airbench94 does; the others are as its layer starts."""
    torch = pytest.importorskip("torch")
    theirs = torch.full((filters, inputs, kernel, kernel), 0.5)
    torch.nn.init.dirac_(theirs[:inputs])
    mine = np.transpose(np.array(Dirac(0.25, seed=1)((kernel, kernel, inputs, filters))), (3, 2, 0, 1))
    np.testing.assert_array_equal(mine[:inputs], theirs[:inputs])
    others = mine[inputs:]
    assert others.size == max(0, filters - inputs) * inputs * kernel**2
    assert np.all(np.abs(others) <= 0.25)
    assert np.all(others != 0)


def test_a_network_that_starts_as_the_identity():
    """Every convolution hands on its first inputs; the others are spread as torch.nn.Conv2d starts them."""
    model = resnet(num_residual_units=1, filters=(24, 48), transition="pooled", initializer="dirac", seed=1)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) == 7
    for layer in convolutions:
        height, width, inputs, filters = layer.kernel.shape
        images = np.random.default_rng(0).normal(size=(2, 5, 6, inputs)).astype(np.float32)
        handed_on = min(inputs, filters)
        np.testing.assert_array_equal(np.array(layer(images))[..., :handed_on], images[..., :handed_on])
        others, bound = np.array(layer.kernel)[..., handed_on:], (height * width * inputs) ** -0.5
        if others.size:
            assert 0.95 * bound < np.abs(others).max() <= bound
            assert others.std() == pytest.approx(bound / 3**0.5, rel=5 / (2 * others.size) ** 0.5)
    again = resnet(num_residual_units=1, filters=(24, 48), transition="pooled", initializer="dirac", seed=1)
    for weight, same in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(weight, same)


def test_norms_without_scale_have_the_parameters_of_torchs():
    pytest.importorskip("torch")
    reference = importlib.import_module("benchmarks.torch_networks")
    network = reference.TorchResNet("basic", (1, 1), (4, 6), "3x3", 4, 10)
    for module in network.modules():
        if isinstance(module, reference.nn.BatchNorm2d):
            module.weight.requires_grad = False
    model = resnet(**SMALL, norm_scale=False)
    ours = {reference.torch_name(weight.path): int(np.prod(weight.shape)) for weight in model.trainable_weights}
    theirs = {name: weight.numel() for name, weight in network.named_parameters() if weight.requires_grad}
    assert ours == theirs
    norms = [layer for layer in model.layers if isinstance(layer, BatchNormalization)]
    assert len(norms) == 6
    assert all(np.array_equal(norm.scale, np.ones(norm.scale.shape)) for norm in norms)


def test_a_head_without_bias_and_with_a_factor():
    """The same kernel as with a bias; the logits by hand from the features."""
    model, usual = resnet(**SMALL, head_bias=False, logit_scale=0.25, seed=2), resnet(**SMALL, seed=2)
    kernel = np.array(model.get_layer("head").kernel)
    np.testing.assert_array_equal(kernel, usual.get_layer("head").kernel)
    assert [weight.path for weight in model.get_layer("head").weights] == ["head/kernel"]
    images = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 3)).astype(np.float32)
    features = np.array(keras.Model(model.input, model.get_layer("pool").output)(images))
    logits = model(images)
    np.testing.assert_allclose(logits, features @ kernel / 4, rtol=1e-4, atol=1e-4)
    assert logits.dtype == usual(images).dtype


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the gradients are TensorFlow's")
@pytest.mark.parametrize("sums", [False, True], ids=["plain", "residual"])
def test_logits_and_gradients_of_airbenchs_network_are_torchs(sums):
    """The network of airbench94 in torch's functions, in float64; with a sum around each second convolution, too."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    model = resnet(Network(**{**ALL, "shortcut": "identity-pad" if sums else "none"}), image_size=18, seed=3)
    rng = np.random.default_rng(0)
    model.get_layer("whitening").kernel.assign(rng.normal(0, 0.5, (2, 2, 3, 12)))
    model.get_layer("stem_bias").bias.assign(rng.normal(0, 0.5, 24))
    images = rng.normal(0, 1, (5, 18, 18, 3)).astype(np.float32)
    values = {weight.path: torch.tensor(np.array(weight, np.float64)) for weight in model.weights}
    trained = [values[weight.path].requires_grad_() for weight in model.trainable_weights]

    def convolution(x, name, padding):
        return functional.conv2d(x, values[f"{name}/kernel"].permute(3, 2, 0, 1), padding=padding)

    def norm(x, name):
        return functional.batch_norm(x, None, None, bias=values[f"{name}/offset"], training=True)

    x = torch.tensor(images, dtype=torch.float64).permute(0, 3, 1, 2)
    x = convolution(x, "whitening", 0)
    x = functional.gelu(torch.cat([x, -x], 1) + values["stem_bias/bias"][:, None, None])
    for stage in ("stage1", "stage2"):
        x = functional.max_pool2d(convolution(x, f"{stage}_transition", 1), 2)
        x = functional.gelu(norm(x, f"{stage}_transition_norm"))
        y = norm(convolution(x, f"{stage}_unit1_conv1", 1), f"{stage}_unit1_norm1")
        x = functional.gelu(x + y if sums else y)
    theirs = x.amax((2, 3)) @ values["head/kernel"] / 8
    theirs.square().sum().backward()

    with tf.GradientTape() as tape:
        ours = model(images, training=True)
        loss = tf.reduce_sum(tf.square(ours))
    np.testing.assert_allclose(ours, theirs.detach(), rtol=0, atol=1e-5 * theirs.abs().max().item())
    for weight, gradient, other in zip(
        model.trainable_weights, tape.gradient(loss, model.trainable_weights), trained, strict=True
    ):
        size = other.grad.abs().max().item()
        np.testing.assert_allclose(gradient, other.grad, rtol=0, atol=1e-4 * size, err_msg=weight.path)


def test_the_papers_plain_network_has_no_sums():
    """Section 4.2: as many parameters as the residual one with identity shortcuts."""
    plain, residual = (network_size(Network(3, shortcut=shortcut), 32, 10) for shortcut in ("none", "identity-pad"))
    assert plain == residual
    model = resnet(num_residual_units=3, shortcut="none")
    assert not [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert len([layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]) == 19


def test_folded_and_saved_it_computes_the_same(tmp_path):
    network = Network(**ALL)
    model, rng = resnet(network, image_size=16, seed=4), np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, BatchNormalization):
            layer.offset.assign(rng.normal(0, 0.3, layer.offset.shape))
            layer.running_mean.assign(rng.normal(0, 0.5, layer.offset.shape))
            layer.running_variance.assign(rng.uniform(0.5, 2.0, layer.offset.shape))
    images = rng.uniform(0, 255, (4, 16, 16, 3)).astype(np.float32)
    expected = np.array(model(images, training=False))
    size = np.abs(expected).max()
    assert np.abs(folded(model, network).predict_on_batch(images) - expected).max() < 1e-4 * size
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.abs(np.array(loaded(images, training=False)) - expected).max() < 1e-6 * size
    assert len(loaded.trainable_weights) == len(model.trainable_weights)


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"activation": "gelu", "negative_slope": 0.1}, "negative_slope"),
        ({"norm_scale": False, "zero_last_scale": True}, "norm_scale"),
        ({"shortcut": "none", "zero_last_scale": True}, "shortcut"),
        ({"initializer": "dirac", "unit": "bottleneck", "groups": 2}, "groups"),
        ({"logit_scale": 0}, "logit_scale"),
        ({"stem_bias": True}, "stem_bias"),
    ],
)
def test_what_does_not_fit_is_refused(keys, named):
    error = user_error(build, Network, {"num_residual_units": 1, **keys}, "'model'")
    assert error.code == "preset-wrong-value"
    assert named in str(error)


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ({"shortcut": "identity"}, "preset-wrong-value"),
        ({"activation": "swish"}, "preset-wrong-value"),
        ({"norm_momentum": 5.0}, "preset-wrong-value"),
        ({"filter": (16, 32)}, "preset-unknown-key"),
    ],
)
@pytest.mark.parametrize("network", [None, Network(num_residual_units=1)], ids=["alone", "changed"])
def test_a_slip_in_a_key_given_directly_is_refused(network, keys, code):
    given = {} if network else {"num_residual_units": 1}
    assert user_error(resnet, network, **given, **keys).code == code

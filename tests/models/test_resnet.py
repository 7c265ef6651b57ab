"""The network against independent torch implementations, its initial weights against He's and torch's rules."""

import importlib
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from assertions import user_error

from resnet_tf.models.folding import folded
from resnet_tf.models.layers import BatchNormalization
from resnet_tf.models.recalibration import recalibrate
from resnet_tf.models.resnet import resnet, set_input_statistics, set_whitening
from resnet_tf.presets.network import Network

CIFAR = {"num_residual_units": 3}
# Stages as for ImageNet, each of a quarter of the width, to save time.
IMAGENET = {"filters": (16, 32, 64, 128), "shortcut": "projection"}
STL10 = {
    "stage_sizes": (4, 9, 8),
    "filters": (30, 60, 96),
    "unit": "bottleneck",
    "stem": "4x4-valid-pool",
    "stem_filters": 64,
    "shortcut": "projection",
    "activation": "leaky_relu",
    "negative_slope": 0.1,
}
POOLED = {"num_residual_units": 1, "filters": (8, 12, 20), "transition": "pooled"}
NEXT = {
    "stage_sizes": (2, 1, 2),
    "filters": (16, 32, 64),
    "unit": "bottleneck",
    "stem": "7x7-pool",
    "shortcut": "projection",
}
OTHER_NORM = {"momentum": 0.3, "eps": 0.3}  # torch's momentum is the new statistics' share
LEAKY_POOL = {"num_residual_units": 1, "filters": (8, 12), "stem": "7x7-pool", "shortcut": "projection"}
# Our keys, pixels, classes; the same network for torch: kind, stage sizes, widths, stem, its width, further arguments.
FORMS = {
    "ResNet-20 A": (CIFAR, 32, 10, ("basic", (3, 3, 3), (16, 32, 64), "3x3", 16), {"option_a": True}),
    "ResNet-29 A, bottleneck": (
        {**CIFAR, "unit": "bottleneck"},
        32,
        10,
        ("bottleneck", (3, 3, 3), (16, 32, 64), "3x3", 16),
        {"option_a": True},
    ),
    "ResNet-18, small stem": (
        {"stage_sizes": (2, 2, 2, 2), **IMAGENET},
        32,
        10,
        ("basic", (2, 2, 2, 2), IMAGENET["filters"], "3x3", 16),
        {},
    ),
    "ResNet-34 B": (
        {"stage_sizes": (3, 4, 6, 3), "stem": "7x7-pool", **IMAGENET},
        64,
        100,
        ("basic", (3, 4, 6, 3), IMAGENET["filters"], "7x7-pool", 16),
        {},
    ),
    "ResNet-50": (
        {"stage_sizes": (3, 4, 6, 3), "stem": "7x7-pool", "unit": "bottleneck", **IMAGENET},
        64,
        100,
        ("bottleneck", (3, 4, 6, 3), IMAGENET["filters"], "7x7-pool", 16),
        {},
    ),
    "ResNet-11, pooled": (
        POOLED,
        18,
        10,
        ("basic", (1, 1, 1), (8, 12, 20), "3x3", 8),
        {"pooled": True},
    ),
    "STL-10": (STL10, 45, 10, ("bottleneck", (4, 9, 8), (30, 60, 96), "4x4-valid-pool", 64), {"slope": 0.1}),
    "ResNeXt, 8 groups": (
        {**NEXT, "groups": 8, "width_per_group": 16},
        40,
        10,
        ("bottleneck", (2, 1, 2), (16, 32, 64), "7x7-pool", 16),
        {"groups": (8, 16)},
    ),
    "twice as wide within": (
        {**NEXT, "width_per_group": 128},
        40,
        10,
        ("bottleneck", (2, 1, 2), (16, 32, 64), "7x7-pool", 16),
        {"groups": (1, 128)},
    ),
    "other norms": (
        {**CIFAR, "norm_momentum": 0.7, "norm_epsilon": 0.3},
        16,
        10,
        ("basic", (3, 3, 3), (16, 32, 64), "3x3", 16),
        {"option_a": True, "norm": OTHER_NORM},
    ),
    "other norms, pooled": (
        {**POOLED, "norm_momentum": 0.0, "norm_epsilon": 1e-3},
        18,
        10,
        ("basic", (1, 1, 1), (8, 12, 20), "3x3", 8),
        {"pooled": True, "norm": {"momentum": 1.0, "eps": 1e-3}},
    ),
    "GELU": (
        {**CIFAR, "activation": "gelu"},
        16,
        10,
        ("basic", (3, 3, 3), (16, 32, 64), "3x3", 16),
        {"option_a": True, "slope": None},
    ),
    "leaky before a padded pool": (
        {**LEAKY_POOL, "activation": "leaky_relu", "negative_slope": 0.3},
        33,
        5,
        ("basic", (1, 1), (8, 12), "7x7-pool", 8),
        {"slope": 0.3},
    ),
}


@pytest.fixture(scope="module")
def reference():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # networks this small lose more to waiting threads than they gain
    return importlib.import_module("benchmarks.torch_networks")


def pair(reference, form: str, pixels: int | None = None):
    """Returns our network, torch's with the same weights, images as ours takes them, and as torch's does."""
    keys, usual, classes, shape, further = FORMS[form]
    pixels = pixels or usual
    model = resnet(**keys, image_size=pixels, classes=classes, seed=3)
    rng = np.random.default_rng(7)
    mean, deviation = np.array([125.3, 122.9, 113.8]), np.array([63.0, 62.1, 66.7])
    set_input_statistics(model, mean, deviation)
    for layer in model.layers:
        if isinstance(layer, BatchNormalization):  # what training would have moved, moved
            width = layer.scale.shape
            layer.scale.assign(rng.uniform(0.5, 1.5, width))
            layer.offset.assign(rng.normal(0, 0.3, width))
            layer.running_mean.assign(rng.normal(0, 0.5, width))
            layer.running_variance.assign(rng.uniform(0.5, 2.0, width))
    if "norm" in further:
        further = {**further, "norm": partial(reference.nn.BatchNorm2d, **further["norm"])}
    with reference.torch.device("meta"):  # no initial values are drawn: all are copied
        network = reference.TorchResNet(*shape, classes, **further)
    reference.copy_weights(model, network.to_empty(device="cpu"))
    images = rng.integers(0, 256, (8, pixels, pixels, 3)).astype(np.float32)
    normalised = reference.torch.tensor(np.moveaxis((images - mean) / deviation, 3, 1).astype(np.float32))
    return model, network, images, normalised


def distance(ours, theirs) -> float:
    """Largest difference, as a share of the largest value where that is above 1."""
    theirs = np.asarray(theirs)
    return float(np.max(np.abs(np.asarray(ours) - theirs)) / max(1.0, np.max(np.abs(theirs))))


@pytest.mark.parametrize("form", FORMS)
def test_logits_and_running_statistics_equal_torch(form, reference):
    model, network, images, normalised = pair(reference, form)
    inference = folded(model, Network(**FORMS[form][0]))
    left = [layer.name for layer in inference.layers if isinstance(layer, BatchNormalization)]
    assert all(name.endswith("transition_norm") for name in left)
    with reference.torch.inference_mode():
        assert distance(model(images, training=False), network.eval()(normalised)) < 1e-4
        assert distance(inference(images), network(normalised)) < 1e-4
        # As a graph, where TensorFlow joins operations.
        assert distance(inference.predict_on_batch(images), network(normalised)) < 1e-4
        assert distance(model(images, training=True), network.train()(normalised)) < 1e-4
    state = network.state_dict()
    moved = [weight for weight in model.weights if "running_" in weight.path]
    assert len(moved) == 2 * sum(isinstance(layer, BatchNormalization) for layer in model.layers)
    for weight in moved:
        assert distance(weight, state[reference.torch_name(weight.path)]) < 1e-4, weight.path


def test_recalibrated_statistics_equal_torch(reference):
    """torch's batch norm without momentum keeps the plain average over all batches since it was reset."""
    model, network, images, normalised = pair(reference, "ResNet-18, small stem")
    before = [np.asarray(weight) for weight in model.trainable_weights]
    recalibrate(model, [images[:4], images[4:], images[:4]])
    for module in network.train().modules():
        if isinstance(module, reference.nn.BatchNorm2d):
            module.momentum = None
            module.reset_running_stats()
    with reference.torch.inference_mode():
        for rows in (normalised[:4], normalised[4:], normalised[:4]):
            network(rows)
    state = network.state_dict()
    for weight in model.weights:
        if "running_" in weight.path:
            assert distance(weight, state[reference.torch_name(weight.path)]) < 1e-4, weight.path
    assert all(np.array_equal(weight, old) for weight, old in zip(model.trainable_weights, before, strict=True))


@pytest.mark.parametrize(
    ("form", "pixels"), [("ResNet-20 A", 16), ("ResNeXt, 8 groups", 24), ("other norms", 16), ("GELU", 16)]
)
def test_gradients_equal_torch(form, pixels, reference):
    """Cross entropy in training mode, by every trainable weight.

    On few pixels: among a million activations some lie so near 0 that rounding decides whether a ReLU lets them pass.
    """
    model, network, images, normalised = pair(reference, form, pixels)
    (loss, expected), (our_loss, got) = torch_step(reference, network, normalised), our_step(reference, model, images)
    assert our_loss == pytest.approx(loss, rel=1e-5)
    assert got.keys() == expected.keys()
    for name, gradient in expected.items():
        assert np.max(np.abs(got[name] - gradient)) < 1e-4 * np.max(np.abs(gradient)), name


@pytest.mark.parametrize(("form", "pixels"), [("ResNet-20 A", 16), ("other norms", 16)])
def test_gradients_are_as_near_to_float64_as_torchs(form, pixels, reference):
    """torch in float64 judges both: by the length of the difference as a share of the gradient's length."""
    model, network, images, normalised = pair(reference, form, pixels)
    (_, single), (_, ours) = torch_step(reference, network, normalised), our_step(reference, model, images)
    network.zero_grad()
    _, exact = torch_step(reference, network.double(), normalised.double())
    errors = {"ours": ours, "torch's": single}
    for whose, gradients in errors.items():
        shares = [np.linalg.norm(gradients[name] - exact[name]) / np.linalg.norm(exact[name]) for name in exact]
        errors[whose] = np.median(shares), np.max(shares)
    assert errors["ours"][0] < 2 * errors["torch's"][0], errors
    assert errors["ours"][1] < 1e-5, errors


def torch_step(reference, network, normalised) -> tuple[float, dict[str, np.ndarray]]:
    """Returns torch's cross entropy in training mode and its gradients by name; running statistics stay."""
    labels = reference.torch.arange(len(normalised)) % 10
    state = {name: value.clone() for name, value in network.state_dict().items()}
    loss = reference.functional.cross_entropy(network.train()(normalised), labels)
    loss.backward()
    network.load_state_dict(state)
    return loss.item(), {name: weight.grad.numpy().copy() for name, weight in network.named_parameters()}


def our_step(reference, model, images) -> tuple[float, dict[str, np.ndarray]]:
    """Returns ours of the same, under torch's names and in its layout."""
    labels = np.arange(len(images)) % 10
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
    weights = model.trainable_weights
    gradients = tape.gradient(loss, [weight.value for weight in weights])
    return float(loss), {
        reference.torch_name(weight.path): reference.as_torch(gradient.numpy()).numpy()
        for weight, gradient in zip(weights, gradients, strict=True)
    }


def test_logits_have_no_activation():
    """A ReLU after the last dense layer stops learning altogether."""
    model = resnet(num_residual_units=1, filters=(4, 6), image_size=9, classes=7)
    assert model.input_shape == (None, 9, 9, 3)
    logits = np.asarray(model(np.random.default_rng(0).uniform(0, 255, (6, 9, 9, 3)).astype(np.float32)))
    assert logits.shape == (6, 7)
    assert logits.min() < 0 < logits.max()


@pytest.mark.parametrize(("policy", "error"), [("mixed_bfloat16", 0.05), ("mixed_float16", 0.01)])
def test_mixed_precision_comes_near_float32(policy, error):
    """Weights, statistics and logits stay float32; the convolutions between round to 8 or 11 bits."""
    images = np.random.default_rng(0).uniform(0, 255, (4, 16, 16, 3)).astype(np.float32)
    wide = resnet(**STL10 | {"stage_sizes": (1, 1, 1)}, image_size=16, seed=1)
    keras.config.set_dtype_policy(policy)
    try:
        narrow = resnet(**STL10 | {"stage_sizes": (1, 1, 1)}, image_size=16, seed=1)
    finally:
        keras.config.set_dtype_policy("float32")
    for model in (wide, narrow):
        set_input_statistics(model, [125.3, 122.9, 113.8], [63.0, 62.1, 66.7])
    assert {weight.dtype for weight in narrow.weights} == {"float32"}
    for training in (True, False):
        logits, expected = narrow(images, training=training), np.asarray(wide(images, training=training))
        assert logits.dtype == "float32"
        assert np.abs(logits - expected).max() < error * np.abs(expected).max()


@pytest.mark.parametrize(
    ("name", "value", "usual"),
    [
        ("image_data_format", "channels_first", "channels_last"),
        ("floatx", "float16", "float32"),
        ("dtype_policy", "bfloat16", "float32"),
    ],
)
def test_settings_under_which_keras_builds_another_network_are_refused(name, value, usual):
    choose = getattr(keras.config, f"set_{name}")
    choose(value)
    try:
        assert user_error(resnet, num_residual_units=1).code == "keras-settings"
    finally:
        choose(usual)


def test_a_whitened_stem_hands_on_its_responses_with_either_sign():
    """The filters' responses by hand, on every window of 2 x 2 pixels; the filters are not trained."""
    network = Network(num_residual_units=1, filters=(24, 26), stem="whitened-2x2")
    model = resnet(network, image_size=9, seed=4)
    assert "whitening" not in {weight.path.split("/")[0] for weight in model.trainable_weights}
    rng = np.random.default_rng(0)
    filters, images = rng.normal(size=(2, 2, 3, 12)), rng.normal(size=(4, 9, 9, 3))
    set_whitening(model, filters)
    responses = sum(images[:, y : y + 8, x : x + 8] @ filters[y, x] for y in range(2) for x in range(2))
    expected = np.maximum(np.concatenate([responses, -responses], axis=-1), 0)
    for built in (model, folded(model, network)):
        stem = keras.Model(built.input, built.get_layer("stem_activation").output)
        assert distance(stem(images.astype(np.float32)), expected) < 1e-5
    assert distance(folded(model, network).predict_on_batch(images), model(images, training=False)) < 1e-4


def test_the_fixed_filters_of_a_whitened_stem_come_from_the_seed():
    network = Network(num_residual_units=1, filters=(24, 26), stem="whitened-2x2")
    kernels = [np.array(resnet(network, seed=seed).get_layer("whitening").kernel) for seed in (4, 4, 5)]
    assert np.array_equal(kernels[0], kernels[1])
    assert distance(kernels[0], kernels[2]) > 0.1
    assert abs(kernels[0].std() / np.sqrt(2 / 12) - 1) < 0.2  # He's deviation, of 144 values


def test_overrides_change_the_given_network():
    network = Network(num_residual_units=1, filters=(4, 6))
    assert resnet(network, image_size=8, unit="bottleneck").name == "resnet8"
    assert resnet(network, image_size=8, num_residual_units=2).name == "resnet10"
    assert resnet(network, image_size=8).output_shape == (None, 10)

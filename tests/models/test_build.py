"""A preset's network: input statistics of the right shape, initial weights, a run's weights."""

import keras
import numpy as np
import pytest
from assertions import user_error

from resnet_tf.models import weights
from resnet_tf.models.build import build_network, load_network
from resnet_tf.models.resnet import set_input_statistics
from resnet_tf.presets.schema import from_dict

BFLOAT16 = {"precision": "mixed_bfloat16"}


def preset(model: dict | None = None, **data):
    return from_dict(
        {
            "name": "small",
            "model": {"num_residual_units": 1, "filters": [2, 3], **(model or {})},
            "data": {"image_size": 8, "validation_size": 0, **data},
            "train": {"epochs": 1},
            "optimizer": {"name": "sgd", "learning_rate": 0.1},
            "schedule": {"name": "exponential", "lr_decay": 1.0},
        }
    )


@pytest.mark.parametrize(
    ("normalize", "size", "shape"),
    [
        ("per_channel", None, (3,)),
        ("imagenet", 12, (3,)),
        ("per_pixel", None, (8, 8, 3)),
        ("per_pixel", 12, (12, 12, 3)),
    ],
)
def test_input_statistics_have_the_shape_that_the_preset_asks_for(normalize, size, shape):
    model = build_network(preset(normalize=normalize), 4, image_size=size)
    layer = model.get_layer("normalization")
    assert tuple(layer.mean.shape) == tuple(layer.deviation.shape) == shape
    pixels = size or 8
    assert model.input_shape == (None, pixels, pixels, 3)
    assert model.output_shape == (None, 4)
    rng = np.random.default_rng(0)
    mean, deviation = rng.uniform(100, 140, shape), rng.uniform(50, 70, shape)
    images = rng.integers(0, 256, (2, pixels, pixels, 3)).astype(np.float32)
    plain = np.asarray(model((images - mean) / deviation))
    set_input_statistics(model, mean, deviation)
    np.testing.assert_allclose(model(images), plain, rtol=1e-4, atol=1e-5)


def test_an_image_must_leave_pixels_to_the_last_stage():
    filters = [2, 3, 3, 4]
    assert build_network(preset({"filters": filters}), 4).output_shape == (None, 4)  # strided: 8, 4, 2 and 1 pixels
    error = user_error(build_network, preset({"filters": filters, "transition": "pooled"}), 4)
    assert (error.code, "8 pixels for 4 stages" in str(error)) == ("images-too-small", True)


def test_precision_is_the_one_asked_for_whatever_keras_is_set_to():
    """Evaluation and prediction promise float32."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        found = [build_network(preset(), 4, **keys).get_layer("stem").compute_dtype for keys in ({}, BFLOAT16)]
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
    assert found == ["float32", "bfloat16"]
    assert build_network(preset(), 4, **BFLOAT16).get_layer("stem").compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"


def test_a_loaded_network_computes_in_float32_whatever_keras_is_set_to(tmp_path):
    weights.save(build_network(preset(), 4), tmp_path / "last.npz", {})
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        loaded, _ = load_network(preset(), 4, tmp_path / "last.npz")
    finally:
        keras.config.set_dtype_policy("float32")
    assert {layer.compute_dtype for layer in loaded.layers} == {"float32"}


def test_the_seed_decides_the_weights():
    first, again, other = (build_network(preset(), 4, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.get_layer("stem").kernel, again.get_layer("stem").kernel)
    assert np.all(np.asarray(first.get_layer("stem").kernel) != np.asarray(other.get_layer("stem").kernel))


def test_load_network_returns_the_saved_network(tmp_path):
    trained = build_network(preset(), 4, seed=3)
    weights.save(trained, tmp_path / "last.npz", {"step": 7})
    images = np.random.default_rng(1).integers(0, 256, (2, 12, 12, 3)).astype(np.float32)
    loaded, metadata = load_network(preset(), 4, tmp_path / "last.npz")
    assert metadata == {"step": 7}
    np.testing.assert_allclose(loaded(images[:, :8, :8]), trained(images[:, :8, :8]), rtol=1e-4, atol=1e-3)
    larger, _ = load_network(preset(), 4, tmp_path / "last.npz", image_size=12)  # weights fit any resolution
    assert larger(images).shape == (2, 4)
    assert user_error(load_network, preset(), 5, tmp_path / "last.npz").code == "weights-of-another-network"

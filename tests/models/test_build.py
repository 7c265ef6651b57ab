"""A preset's network: input statistics of the right shape, the parameter limit, a run's weights."""

import numpy as np
import pytest

from resnet_tf.errors import UserError
from resnet_tf.models import weights
from resnet_tf.models.build import build_network, load_network
from resnet_tf.models.resnet import set_input_statistics
from resnet_tf.presets.schema import from_dict


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


@pytest.mark.parametrize("transition", ["strided", "pooled"])
def test_a_picture_that_is_pooled_away_is_told_in_one_line(transition):
    four = preset({"filters": [2, 3, 3, 4], "transition": transition})
    if transition == "strided":  # rounds up
        assert build_network(four, 4).output_shape == (None, 4)
        return
    with pytest.raises(UserError) as refusal:
        build_network(four, 4)
    assert "must leave some pixels to its last stage. Received: pictures of 8 pixels for 4" in str(refusal.value)


def test_the_parameter_limit_is_enforced():
    """Three channels to two, 2 -> 2 twice, 2 -> 3 and 3 -> 3, a norm after each, and a head of four classes."""
    parameters = 9 * (3 * 2 + 2 * 2 + 2 * 2 + 2 * 3 + 3 * 3) + 2 * (2 + 2 + 2 + 3 + 3) + 3 * 4 + 4
    assert build_network(preset({"parameter_limit": parameters}), 4).count_params() == parameters + 6 + 2 * 12
    with pytest.raises(UserError) as refusal:
        build_network(preset({"parameter_limit": parameters - 1}), 4)
    assert str(refusal.value) == (
        f"the network of preset small may have at most {parameters - 1} parameters (model.parameter_limit). "
        f"Received: {parameters}."
    )


def test_the_seed_decides_the_weights():
    first, again, other = (build_network(preset(), 4, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.get_layer("stem").kernel, again.get_layer("stem").kernel)
    assert np.all(np.asarray(first.get_layer("stem").kernel) != np.asarray(other.get_layer("stem").kernel))


def test_load_network_gives_the_saved_network(tmp_path):
    trained = build_network(preset(), 4, seed=3)
    weights.save(trained, tmp_path / "last.npz", {"step": 7})
    images = np.random.default_rng(1).integers(0, 256, (2, 12, 12, 3)).astype(np.float32)
    loaded, about = load_network(preset(), 4, tmp_path / "last.npz")
    assert about == {"step": 7}
    np.testing.assert_allclose(loaded(images[:, :8, :8]), trained(images[:, :8, :8]), rtol=1e-4, atol=1e-3)
    larger, _ = load_network(preset(), 4, tmp_path / "last.npz", image_size=12)  # weights fit any resolution
    assert larger(images).shape == (2, 4)
    with pytest.raises(UserError, match="Nothing was loaded"):
        load_network(preset(), 5, tmp_path / "last.npz")

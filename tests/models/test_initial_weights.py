"""Initial weights: He's normal values, torch's head, norms at one or zero; a function of the seed alone."""

import zlib

import keras
import numpy as np
import pytest

from resnet_tf.models.layers import BatchNormalization
from resnet_tf.models.resnet import resnet


@pytest.mark.parametrize(
    ("initializer", "slope", "variance"),
    [
        ("he_fan_in", 0.0, lambda k, n, m: 2 / (k * k * n)),
        ("he_fan_out", 0.0, lambda k, n, m: 2 / (k * k * m)),
        ("he_fan_out", 0.5, lambda k, n, m: 2 / (1.25 * k * k * m)),
    ],
)
def test_initial_kernels_are_normal_with_hes_deviation(initializer, slope, variance):
    model = resnet(
        num_residual_units=2,
        filters=(24, 48),
        shortcut="projection",
        initializer=initializer,
        activation="leaky_relu" if slope else "relu",
        negative_slope=slope,
        seed=1,
    )
    kernels = [layer.kernel for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(kernels) == 10
    for kernel in kernels:
        height, width, inputs, outputs = kernel.shape
        assert height == width
        values = np.asarray(kernel).ravel()
        expected = variance(height, inputs, outputs) ** 0.5
        # The deviation of n normal values errs by 1 / sqrt(2n), their mean by 1 / sqrt(n): five times that is allowed.
        assert abs(values.std() / expected - 1) < 5 / (2 * values.size) ** 0.5, kernel.path
        assert abs(values.mean()) < 5 * expected / values.size**0.5, kernel.path
        if values.size > 5000:  # not truncated: 4.6 % of normal values lie beyond two deviations
            assert np.mean(np.abs(values) > 2 * expected) == pytest.approx(0.0455, abs=0.012), kernel.path


def test_initial_head_is_torchs_linear():
    """Kernel and bias uniform within 1 / sqrt(inputs), as torch.nn.Linear's documentation says."""
    head = resnet(num_residual_units=1, filters=(4, 64), image_size=8, classes=400, seed=2).get_layer("head")
    for values in (np.asarray(head.kernel).ravel(), np.asarray(head.bias)):
        bound = 1 / 8
        assert 0.95 * bound < np.abs(values).max() <= bound
        assert values.std() == pytest.approx(bound / 3**0.5, rel=5 / (2 * values.size) ** 0.5)
        assert abs(values.mean()) < 5 * bound / (3 * values.size) ** 0.5


def test_initial_norms_start_at_one_or_zero():
    for zero_last_scale, unit, last in (
        (False, "basic", "norm2"),
        (True, "basic", "norm2"),
        (True, "bottleneck", "norm3"),
        (True, "single", "norm1"),
    ):
        model = resnet(
            num_residual_units=2, filters=(4, 6), shortcut="projection", unit=unit, zero_last_scale=zero_last_scale
        )
        for layer in model.layers:
            if isinstance(layer, BatchNormalization):
                zero = zero_last_scale and layer.name.startswith("stage") and layer.name.endswith(f"_{last}")
                np.testing.assert_array_equal(layer.scale, 0.0 if zero else 1.0, layer.name)
                np.testing.assert_array_equal(layer.offset, 0.0)


def test_initial_weights_are_a_function_of_the_seed():
    def kernels(seed: int) -> dict[str, np.ndarray]:
        model = resnet(num_residual_units=1, filters=(4, 4), image_size=8, seed=seed)
        return {weight.path: np.asarray(weight) for weight in model.weights if "kernel" in weight.path}

    first = kernels(5)
    keras.utils.set_random_seed(99)  # the global seed has no part in it
    again, other = kernels(5), kernels(6)
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])
        assert not np.any(values == other[name]), name
    # Philox's numbers for the checksum of seed and name: the same on every backend.
    draws = np.random.Generator(np.random.Philox(zlib.crc32(b"5/stage1_unit1_conv1"))).standard_normal((3, 3, 4, 4))
    np.testing.assert_allclose(first["stage1_unit1_conv1/kernel"], draws * (2 / 36) ** 0.5, rtol=1e-6)
    same_shape = [values for values in first.values() if values.shape == (3, 3, 4, 4)]
    assert len(same_shape) == 4
    assert not np.any(same_shape[0] == same_shape[1])  # each layer draws its own

"""Each layer against torch, Keras or the formula written out in numpy; both paths of batch norm against each other."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from resnet_tf.models.layers import BatchNormalization, GroupedConv2D, IdentityPad, InputNormalization

SHAPE = (4, 5, 3, 6)


class PlainBatchNormalization(BatchNormalization):
    """The path that other backends than TensorFlow take."""

    _fused = BatchNormalization._plain


def moved(layer: BatchNormalization, seed: int = 1) -> BatchNormalization:
    """Builds a layer and gives it scales, offsets and running statistics of a network in training."""
    rng = np.random.default_rng(seed)
    layer.build(SHAPE)
    for weight, values in zip(
        layer.weights,
        (rng.uniform(0.5, 2, 6), rng.normal(size=6), rng.normal(size=6), rng.uniform(0.5, 3, 6)),
        strict=True,
    ):
        weight.assign(values)
    return layer


def images(seed: int = 0, shape=SHAPE) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(3, 2, shape).astype(np.float32)


def step(layer, x: np.ndarray, upstream: np.ndarray):
    """Returns the training output, the gradients by input, scale and offset, and the running statistics."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
        loss = tf.reduce_sum(tf.cast(y, "float32") * upstream)
    gradients = tape.gradient(loss, [x, layer.scale.value, layer.offset.value])
    return [np.asarray(value) for value in (y, *gradients, layer.running_mean, layer.running_variance)]


@pytest.mark.parametrize("kind", [BatchNormalization, PlainBatchNormalization])
def test_batch_norm_equals_torch(kind):
    torch = pytest.importorskip("torch")
    layer, theirs = moved(kind()), torch.nn.BatchNorm2d(6, eps=1e-5, momentum=0.1)
    names = ("weight", "bias", "running_mean", "running_var")
    theirs.load_state_dict(
        {name: torch.tensor(np.asarray(weight)) for name, weight in zip(names, layer.weights, strict=True)},
        strict=False,
    )
    upstream = images(9)
    for seed in range(3):  # running statistics carry from step to step
        ours = step(layer, images(seed), upstream)
    for seed in range(3):
        x = torch.tensor(np.moveaxis(images(seed), 3, 1), requires_grad=True)
        theirs.zero_grad()
        y = theirs(x)
        (y * torch.tensor(np.moveaxis(upstream, 3, 1))).sum().backward()
    expected = [np.moveaxis(value.detach().numpy(), 1, 3) for value in (y, x.grad)]
    expected += [value.detach().numpy() for value in (theirs.weight.grad, theirs.bias.grad)]
    expected += [theirs.running_mean.numpy(), theirs.running_var.numpy()]
    for got, wanted in zip(ours, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5)
    theirs.eval()
    inference = theirs(torch.tensor(np.moveaxis(images(5), 3, 1))).detach().numpy()
    np.testing.assert_allclose(layer(images(5)), np.moveaxis(inference, 1, 3), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("shape", [SHAPE, (1, 1, 2, 6), (64, 2, 2, 6)])
def test_fused_and_plain_batch_norm_agree(shape, compiled):
    results = []
    for kind in (BatchNormalization, PlainBatchNormalization):
        layer = moved(kind())
        run = tf.function(
            lambda x, layer=layer: layer(x, training=True), input_signature=[tf.TensorSpec((None,) * 3 + (6,))]
        )
        if compiled:  # unknown batch, height and width, as in a traced step
            y = run(images(2, shape))
            results.append([np.asarray(value) for value in (y, layer.running_mean, layer.running_variance)])
        else:
            results.append(step(layer, images(2, shape), images(3, shape)))
    for fused, plain in zip(*results, strict=True):
        np.testing.assert_allclose(fused, plain, atol=5e-5 * max(1, np.abs(plain).max()))


def test_running_statistics_by_hand():
    """Values 1, 2, 3, 6: mean 3, variance 14 / 4, unbiased 14 / 3; a tenth of each joins 0 and 1."""
    layer = BatchNormalization()
    y = layer(np.array([1, 2, 3, 6], np.float32).reshape(1, 2, 2, 1), training=True)
    np.testing.assert_allclose(np.ravel(y), (np.array([1, 2, 3, 6]) - 3) / (3.5 + 1e-5) ** 0.5, rtol=1e-5)
    assert float(layer.running_mean[0]) == pytest.approx(0.3)
    assert float(layer.running_variance[0]) == pytest.approx(0.9 + 0.1 * 14 / 3)


def test_inference_is_the_formula_and_moves_nothing():
    layer, x = moved(BatchNormalization(epsilon=0.1)), images()
    scale, offset, mean, variance = (np.asarray(weight, np.float64) for weight in layer.weights)
    np.testing.assert_allclose(layer(x), scale * (x - mean) / np.sqrt(variance + 0.1) + offset, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(layer.running_mean, mean)
    np.testing.assert_array_equal(layer.running_variance, variance)


def test_zero_scale_silences_a_layer_that_can_still_learn():
    layer = BatchNormalization(zero_scale=True)
    y, _, scale_gradient, *_ = step(layer, images(), images(1))
    np.testing.assert_array_equal(y, 0)
    assert np.all(scale_gradient != 0)


@pytest.mark.parametrize("kind", [BatchNormalization, PlainBatchNormalization])
@pytest.mark.parametrize(("policy", "error"), [("mixed_bfloat16", 2**-8), ("mixed_float16", 2**-11)])
def test_mixed_precision_keeps_float32_statistics(policy, error, kind):
    """Output, gradients and statistics lie within the rounding of the narrow input and output, and no further off."""
    narrow, wide = moved(kind(dtype=policy)), moved(kind())
    x, upstream = images() + 20, images(1)  # a mean far from 0: ten deviations, as before a rarely moved shift
    rounded = np.asarray(tf.cast(tf.cast(x, narrow.compute_dtype), "float32"))
    for training in (True, False):
        y, expected = narrow(x, training=training), np.asarray(wide(rounded, training=training))
        assert keras.backend.standardize_dtype(y.dtype) == narrow.compute_dtype
        np.testing.assert_allclose(np.asarray(tf.cast(y, "float32")), expected, rtol=error, atol=1e-4)
    for weight, other in zip(narrow.weights, wide.weights, strict=True):
        assert weight.dtype == "float32"
        np.testing.assert_allclose(weight, other, rtol=1e-5)
    for gradient in step(narrow, x, upstream)[1:4]:
        assert np.all(np.isfinite(gradient.astype(np.float32)))


def test_input_normalization_a_channel_and_a_pixel():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2, 4, 4, 3)).astype(np.float32)
    for shape in ((3,), (4, 4, 3)):
        layer = InputNormalization(shape)
        np.testing.assert_array_equal(layer(x), x)  # before any statistics are stored
        mean, deviation = rng.uniform(90, 140, shape), rng.uniform(50, 70, shape)
        layer.mean.assign(mean)
        layer.deviation.assign(deviation)
        np.testing.assert_allclose(layer(x), (x - mean) / deviation, rtol=1e-5, atol=1e-6)
        assert layer.trainable_weights == []
        assert [tuple(weight.shape) for weight in layer.weights] == [shape, shape]


@pytest.mark.parametrize(("shape", "axis"), [((3,), -1), ((4, 4, 3), (1, 2, 3))])
def test_adapt_measures_as_numpy_and_keras_do(shape, axis):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (700, 4, 4, 3)).astype(np.uint8)  # more than a block
    theirs = keras.layers.Normalization(axis=axis)
    theirs.adapt(x.astype(np.float32))
    axes = (0, 1, 2) if len(shape) == 1 else 0
    for given in (x, x.astype(np.float32), [x[:300], x[300:]], tf.data.Dataset.from_tensor_slices(x).batch(64)):
        layer = InputNormalization(shape)
        layer.adapt(given)
        np.testing.assert_allclose(layer.mean, x.mean(axes), rtol=1e-6)
        np.testing.assert_allclose(layer.deviation, x.std(axes), rtol=1e-6)
        np.testing.assert_allclose(layer(x[:5]), theirs(x[:5].astype(np.float32)), atol=1e-4)


def test_adapt_divides_by_no_deviation_of_nothing():
    layer = InputNormalization()
    layer.adapt(np.full((2, 4, 4, 3), 7, np.uint8))
    np.testing.assert_array_equal(layer(np.full((1, 4, 4, 3), 8, np.uint8)), 1)
    with pytest.raises(ValueError, match="at least one image"):
        layer.adapt([])


@pytest.mark.parametrize("kind", [BatchNormalization, PlainBatchNormalization])
def test_a_frozen_batch_norm_keeps_its_statistics_as_keras_does(kind):
    layer = moved(kind())
    layer.trainable = False
    before = [np.array(weight) for weight in layer.weights]
    np.testing.assert_array_equal(layer(images(), training=True), layer(images(), training=False))
    for weight, old in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_input_normalization_takes_the_mean_off_in_float32():
    """In bfloat16 the mean 125.3 would be 125.5, and grey level 200.4 would be 200."""
    layer = InputNormalization(dtype="mixed_bfloat16")
    layer.build((None, 1, 1, 3))
    layer.mean.assign([125.3] * 3)
    y = layer(np.full((1, 1, 1, 3), 125.4, np.float32))
    assert y.dtype == "bfloat16"
    np.testing.assert_allclose(np.asarray(tf.cast(y, "float32")), 0.1, rtol=2**-8)


@pytest.mark.parametrize(("size", "strides", "filters"), [(4, 2, 5), (5, 2, 3), (4, 1, 8), (1, 2, 6)])
def test_identity_pad_is_option_a(size, strides, filters):
    x = np.arange(2 * size * size * 3, dtype=np.float32).reshape(2, size, size, 3)
    layer = IdentityPad(filters, strides)
    y = np.asarray(layer(x))
    expected = np.zeros((2, -(-size // strides), -(-size // strides), filters), np.float32)
    expected[..., :3] = x[:, ::strides, ::strides]
    np.testing.assert_array_equal(y, expected)
    assert layer.weights == []
    assert tuple(layer.compute_output_shape((2, size, size, 3))) == y.shape


def test_a_grouped_convolution_is_not_left_to_xla():
    """On a CPU XLA takes many times as long for it."""

    def compiled_parts(layer) -> int:
        graph = tf.function(layer).get_concrete_function(tf.TensorSpec((2, 6, 6, 8))).graph
        return sum("_XlaMustCompile" in function.attr for function in graph.as_graph_def().library.function)

    ours, keras_own = (kind(12, 3, 2, groups=4) for kind in (GroupedConv2D, keras.layers.Conv2D))
    for layer in (ours, keras_own):
        layer.build((None, 6, 6, 8))
    keras_own.set_weights(ours.get_weights())
    images = np.random.default_rng(0).normal(size=(2, 6, 6, 8)).astype(np.float32)
    np.testing.assert_allclose(ours(images), keras_own(images), rtol=1e-5, atol=1e-5)
    assert compiled_parts(keras_own) == 1  # else this test sees nothing
    assert compiled_parts(ours) == 0


def test_layers_come_back_from_their_configuration():
    made = (
        BatchNormalization(momentum=0.5, epsilon=0.01, zero_scale=True, name="norm"),
        GroupedConv2D(8, 3, groups=4, name="conv"),
        IdentityPad(7, 2, name="pad"),
        InputNormalization((4, 4, 3), name="input"),
    )
    for layer in made:
        again = type(layer).from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
        assert again.name == layer.name

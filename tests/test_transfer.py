"""A run's weights as a Keras model: the probabilities that predict gives, features, another head, plain `fit`."""

import keras
import numpy as np
import pytest
from assertions import user_error

import resnet_tf
from resnet_tf.models.build import load_network
from resnet_tf.models.folding import folded
from resnet_tf.runs.choose import find_run, named_run

PUBLISHED = "quick-long"


@pytest.fixture(scope="module")
def model():
    return resnet_tf.from_pretrained(PUBLISHED)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3)).astype(np.uint8)


def softmax(logits) -> np.ndarray:
    return np.asarray(keras.ops.softmax(logits))


def test_probabilities_are_those_of_predict(model, images):
    """To the bit once batch norm is folded, as predict does; unfolded, as it trains on, up to the rounding of that."""
    run = named_run(PUBLISHED, "runs", "predict")
    network, _ = load_network(run.preset.last_phase, 10, run.weights("last"))
    expected = network.predict_on_batch(images.astype(np.float32))
    same = folded(model, run.preset.model).predict_on_batch(images)
    np.testing.assert_array_equal(same, expected)
    np.testing.assert_allclose(softmax(model.predict_on_batch(images)), softmax(expected), atol=1e-4)


def test_features_are_what_the_head_takes(model, images):
    features = resnet_tf.from_pretrained(PUBLISHED, include_top=False)
    (kernel,) = (np.asarray(weight) for weight in model.get_layer("head").weights)
    assert features.output_shape == (None, 256)
    logits = np.asarray(features(images)) @ kernel / 256
    np.testing.assert_allclose(logits, model(images), rtol=1e-4, atol=1e-4)


def test_another_head_is_fresh_and_the_rest_the_runs(model):
    other, again, another = (resnet_tf.from_pretrained(PUBLISHED, classes=3, seed=seed) for seed in (0, 0, 1))
    for weight, known in zip(other.weights[:-1], model.weights[:-1], strict=True):
        np.testing.assert_array_equal(weight, known)
    fresh = resnet_tf.resnet(resnet_tf.load_preset(PUBLISHED).model, classes=3, seed=0).get_layer("head")
    for weight, same, expected in zip(other.weights[-1:], again.weights[-1:], fresh.weights, strict=True):
        np.testing.assert_array_equal(weight, expected)
        np.testing.assert_array_equal(weight, same)
    assert not np.array_equal(other.weights[-1], another.weights[-1])


def test_the_logits_of_another_head_are_not_scaled():
    """A scale of 1 / 256 would make an ordinary learning rate 65,536 times too small for the head."""
    assert resnet_tf.load_preset(PUBLISHED).model.logit_scale == 1 / 256
    other = resnet_tf.from_pretrained(PUBLISHED, classes=3)
    assert other.output is other.get_layer("head").output


def test_plain_fit_trains_a_dense_layer_on_frozen_features():
    """Dark against bright noise, which features tell apart; nothing else moves, batch norm's statistics included."""
    rng = np.random.default_rng(1)
    labels = np.arange(16) % 2
    images = (rng.integers(0, 100, (16, 32, 32, 3)) + 150 * labels[:, None, None, None]).astype(np.uint8)
    features = resnet_tf.from_pretrained(PUBLISHED, include_top=False)
    features.trainable = False
    before = [np.array(weight) for weight in features.weights]
    trained = keras.Sequential([features, keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trained.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    trained.fit(images, labels, epochs=20, verbose=0)
    assert trained.evaluate(images, labels, verbose=0)[1] > 0.9
    for weight, old in zip(features.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old, err_msg=weight.path)


def test_bad_names_and_arguments_are_one_line(tmp_path):
    assert user_error(resnet_tf.from_pretrained, "quik-long").code == "preset-not-found"
    assert user_error(resnet_tf.from_pretrained, "quick-long/20200101T000000Z-s0").code == "preset-not-found"
    assert user_error(resnet_tf.from_pretrained, "5", runs=tmp_path).code == "no-finished-run"
    assert user_error(resnet_tf.from_pretrained, PUBLISHED, classes=3, include_top=False).code == "options-conflict"
    assert user_error(resnet_tf.from_pretrained, PUBLISHED, classes=0).code == "classes-out-of-range"


def test_a_run_is_named_by_itself_its_name_its_folder_or_its_preset(published, tmp_path):
    for name in (published, published.name, str(published.folder), published.folder, PUBLISHED):
        assert named_run(name, tmp_path, "load").folder == published.folder
    assert find_run(published.name, tmp_path).folder == published.folder

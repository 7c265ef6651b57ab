"""A step on either backend against the same arithmetic in numpy, where it can be written down: softmax regression."""

import keras
import numpy as np
import pytest

from resnet_tf.optim.losses import CrossEntropy
from resnet_tf.optim.optimizers import build_optimizer
from resnet_tf.presets.optimizer import SGDSpec
from resnet_tf.training.step import build_step

RATES, MOMENTUM, DECAY = (0.5, 0.25, 0.1), 0.9, 0.01


@pytest.mark.parametrize("mixed", [False, True])
def test_three_steps_are_those_of_softmax_regression(mixed):
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(8, 2, 2, 3)).astype(np.float32), rng.integers(0, 4, 8).astype(np.int32)
    head = keras.layers.Dense(4, use_bias=False, name="head")
    network = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.Flatten(), head])
    optimizer = build_optimizer(SGDSpec(learning_rate=0.5, momentum=MOMENTUM, weight_decay=DECAY), np.array(RATES))
    step = build_step(network, optimizer, CrossEntropy())

    x, weights, buffer = images.reshape(8, -1).astype(float), np.array(head.kernel, float), 0.0
    targets = np.eye(4, dtype=np.float32)[labels]
    if mixed:  # each image with the one before it; its own label counts for top-1
        targets = np.float32(0.75) * targets + np.float32(0.25) * np.roll(targets, 1, axis=0)
    for rate in RATES:
        logits = x @ weights
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        loss, correct = step(images, targets if mixed else labels)
        assert loss == pytest.approx(-(targets * np.log(probabilities)).sum(axis=1).mean(), rel=1e-5)
        assert correct == (logits.argmax(axis=1) == labels).sum()
        gradient = x.T @ (probabilities - targets) / 8 + DECAY * weights
        buffer = MOMENTUM * buffer + gradient
        weights = weights - rate * buffer
    step.synchronize()
    np.testing.assert_allclose(np.array(head.kernel), weights, rtol=1e-5, atol=1e-6)
    assert int(np.array(optimizer.iterations)) == len(RATES)


def test_what_is_assigned_between_steps_counts():
    """As resuming assigns the saved variables, and a metric rule the learning rate's scale."""
    network = keras.Sequential([keras.Input((1, 1, 3)), keras.layers.Flatten(), keras.layers.Dense(2, name="head")])
    step = build_step(network, build_optimizer(SGDSpec(learning_rate=1.0), np.array([1.0])), CrossEntropy())
    images, labels = np.ones((4, 1, 1, 3), np.float32), np.zeros(4, np.int32)
    step(images, labels)
    step.synchronize()
    before = np.array(network.get_layer("head").kernel)
    step.optimizer.learning_rate_scale.assign(0.0)
    step(images, labels)
    step.synchronize()
    np.testing.assert_array_equal(np.array(network.get_layer("head").kernel), before)

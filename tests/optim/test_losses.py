"""Cross entropy and both forms of label smoothing against numpy, torch and Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from assertions import user_error

from resnet_tf.optim.losses import CrossEntropy, build_loss
from resnet_tf.presets.optimizer import LossSpec
from resnet_tf.presets.parsing import build

CLASSES, BATCH = 7, 12
FORMS = [(0.0, "keras"), (0.0, "others"), (0.1, "keras"), (0.1, "others"), (0.4, "others")]


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Returns labels int64 [12] with every class among them, and logits float32 [12, 7], a row of them huge."""
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 3, (BATCH, CLASSES)).astype(np.float32)
    logits[3] *= 100
    return np.arange(BATCH) % CLASSES, logits


def by_definition(labels: np.ndarray, logits: np.ndarray, smoothing: float, form: str) -> float:
    """Returns the mean cross entropy in float64 from written-out target rows."""
    shares = {"keras": (1 - smoothing + smoothing / CLASSES, smoothing / CLASSES)}
    shares["others"] = (1 - smoothing, smoothing / (CLASSES - 1))
    true, other = shares[form]
    targets = np.full(logits.shape, other)
    targets[np.arange(len(labels)), labels] = true
    np.testing.assert_allclose(targets.sum(1), 1)
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    return float(-(targets * (shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))).sum(1).mean())


@pytest.mark.parametrize(("smoothing", "form"), FORMS)
def test_equals_the_definition(smoothing, form):
    labels, logits = batch()
    loss = build_loss(LossSpec(label_smoothing=smoothing, smoothing_form=form))
    assert float(loss(labels, logits)) == pytest.approx(by_definition(labels, logits, smoothing, form), rel=1e-6)


def test_by_hand():
    """Two classes, logits 0 and log 3: probabilities 1/4 and 3/4; e = 0.2."""
    logits, labels = np.array([[0, np.log(3)]], np.float32), np.array([1])
    quarter, three = np.log(4), np.log(4 / 3)
    assert float(CrossEntropy()(labels, logits)) == pytest.approx(three, rel=1e-6)
    assert float(CrossEntropy(0.2, "keras")(labels, logits)) == pytest.approx(0.9 * three + 0.1 * quarter, rel=1e-6)
    assert float(CrossEntropy(0.2, "others")(labels, logits)) == pytest.approx(0.8 * three + 0.2 * quarter, rel=1e-6)


def mixed() -> tuple[np.ndarray, np.ndarray]:
    """Returns the labels that those of `batch` are mixed with, and the share of each class, float32 [12, 7]."""
    labels, _ = batch()
    others, one_hot = np.roll(labels, 1), np.eye(CLASSES, dtype=np.float32)
    others[0] = labels[0]
    return others, np.float32(0.7) * one_hot[labels] + np.float32(0.3) * one_hot[others]


@pytest.mark.parametrize(("smoothing", "form"), FORMS)
def test_the_loss_of_two_classes_is_each_ones_by_its_share(smoothing, form):
    (labels, logits), (others, shares) = batch(), mixed()
    both = [by_definition(each, logits, smoothing, form) for each in (labels, others)]
    found = float(CrossEntropy(smoothing, form)(shares, logits))
    assert found == pytest.approx(0.7 * both[0] + 0.3 * both[1], rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["labels", "shares"])
def test_value_and_gradient_equal_torch(torch, kind, smoothing):
    labels, logits = batch()
    wanted = labels if kind == "labels" else mixed()[1]
    theirs = torch.tensor(logits, requires_grad=True)
    value = torch.nn.functional.cross_entropy(theirs, torch.tensor(wanted), label_smoothing=smoothing)
    value.backward()
    ours = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(ours)
        loss = CrossEntropy(smoothing)(wanted, ours)
    assert float(loss) == pytest.approx(value.item(), rel=1e-6)
    np.testing.assert_allclose(tape.gradient(loss, ours), theirs.grad.numpy(), atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_labels_may_be_a_column_as_keras_gives_them(smoothing):
    labels, logits = batch()
    loss = CrossEntropy(smoothing)
    assert float(loss(labels[:, None], logits)) == pytest.approx(float(loss(labels, logits)), rel=1e-6)


@pytest.mark.parametrize(("smoothing", "form"), FORMS)
def test_gradient_is_probabilities_less_targets(smoothing, form):
    """The gradient of any cross entropy of logits is softmax - target, over the batch size."""
    labels, logits = batch()
    ours = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(ours)
        loss = CrossEntropy(smoothing, form)(labels, ours)
    gradient = BATCH * tape.gradient(loss, ours).numpy()
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    targets = shifted / shifted.sum(1, keepdims=True) - gradient
    spread = smoothing / (CLASSES - 1) if form == "others" else smoothing / CLASSES
    is_true = np.eye(CLASSES, dtype=bool)[labels]
    np.testing.assert_allclose(targets[~is_true], spread, atol=1e-5)
    np.testing.assert_allclose(targets[is_true], 1 - spread * (CLASSES - 1), atol=1e-5)


def test_in_fit_with_a_partial_batch_and_mixed_precision():
    """fit averages over images, whatever the last batch's size, and float16 logits are taken to float32 first."""
    rng = np.random.default_rng(6)
    inputs, labels = rng.normal(size=(10, 4)).astype(np.float32), rng.integers(0, CLASSES, 10).astype(np.uint8)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(CLASSES, dtype="mixed_float16")])
    model.compile("sgd", build_loss(LossSpec(label_smoothing=0.1, smoothing_form="others")))
    value = model.evaluate(inputs, labels, batch_size=4, verbose=0)
    logits = np.asarray(model.predict(inputs, verbose=0), np.float32)
    assert value == pytest.approx(by_definition(labels, logits, 0.1, "others"), rel=1e-4)
    model.fit(inputs, labels, batch_size=4, epochs=1, verbose=0)


def test_config_round_trip():
    loss = CrossEntropy(0.1, "others", name="cross_entropy")
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    labels, logits = batch()
    assert float(again(labels, logits)) == float(loss(labels, logits))
    assert again.name == "cross_entropy"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"label_smoothing": 1.0}, "preset-wrong-value"),
        ({"label_smoothing": 0.1, "smoothing_form": "other"}, "preset-wrong-value"),
        ({"smoothing": 0.1}, "preset-unknown-key"),
    ],
)
def test_wrong_keys_in_one_line(values, code):
    assert user_error(build, LossSpec, values, "'loss'").code == code

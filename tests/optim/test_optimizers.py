"""SGD and Adam against torch.optim over 50 steps of real gradients; the rate table inside Keras's fit; saved state."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from assertions import user_error

from resnet_tf.optim.optimizers import LearningRateTable, build_optimizer
from resnet_tf.presets.optimizer import OPTIMIZERS, AdamSpec, SGDSpec
from resnet_tf.presets.parsing import build_named
from resnet_tf.presets.schedule import MultiStep

STEPS = 50


def small_problem() -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Returns the first weights of a 6-8-3 network (kernels and biases), its inputs and its labels."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.5, shape).astype(np.float32) for shape in [(6, 8), (8,), (8, 3), (3,)]]
    return weights, rng.normal(size=(32, 6)).astype(np.float32), rng.integers(0, 3, 32)


def our_weights(spec, rates) -> list[np.ndarray]:
    """Returns the small problem's weights after a step at each of the rates, in a traced function as in fit."""
    weights, inputs, labels = small_problem()
    variables = [keras.Variable(value) for value in weights]
    optimizer = build_optimizer(spec, rates)
    optimizer.build(variables)

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            kernel_1, bias_1, kernel_2, bias_2 = (variable.value for variable in variables)
            logits = tf.nn.tanh(inputs @ kernel_1 + bias_1) @ kernel_2 + bias_2
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        optimizer.apply(tape.gradient(loss, [variable.value for variable in variables]), variables)

    for _ in rates:
        step()
    assert int(optimizer.iterations) == len(rates)
    return [np.array(variable) for variable in variables]


def torch_weights(torch, make, rates, decay_on: str, decoupled_by_hand: float = 0.0) -> list[np.ndarray]:
    """Returns the same from torch; `make(groups)` builds its optimizer, the second group being free of decay."""
    weights, inputs, labels = small_problem()
    parameters = [torch.nn.Parameter(torch.tensor(value)) for value in weights]
    decayed = [parameter for parameter in parameters if decay_on == "all" or parameter.ndim > 1]
    free = [parameter for parameter in parameters if not any(parameter is other for other in decayed)]
    groups = [{"params": decayed}] + ([{"params": free, "weight_decay": 0.0}] if free else [])
    optimizer = make(groups)
    inputs, labels = torch.tensor(inputs), torch.tensor(labels)
    for rate in rates:
        for group in optimizer.param_groups:
            group["lr"] = float(rate)
        kernel_1, bias_1, kernel_2, bias_2 = parameters
        logits = torch.tanh(inputs @ kernel_1 + bias_1) @ kernel_2 + bias_2
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, labels).backward()
        with torch.no_grad():
            for parameter in decayed:
                parameter.mul_(1 - rate * decoupled_by_hand)
        optimizer.step()
    return [parameter.detach().numpy() for parameter in parameters]


def assert_equal_weights(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("decay_on", ["all", "kernels"])
@pytest.mark.parametrize(("decay", "weight_decay"), [("coupled", 0.0), ("coupled", 0.03), ("decoupled", 0.03)])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_equals_torch(torch, momentum, nesterov, decay, weight_decay, decay_on):
    """The learning rate falls tenfold at step 20, where a learning rate inside the momentum buffer would show."""
    rates = MultiStep(boundaries_steps=(20,)).rates(0.2, STEPS, 10)
    spec = SGDSpec(
        learning_rate=0.2,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        decay=decay,
        decay_on=decay_on,
    )
    coupled = weight_decay if decay == "coupled" else 0.0
    theirs = torch_weights(
        torch,
        lambda groups: torch.optim.SGD(groups, lr=0.2, momentum=momentum, nesterov=nesterov, weight_decay=coupled),
        rates,
        decay_on,
        decoupled_by_hand=weight_decay - coupled,
    )
    assert_equal_weights(our_weights(spec, rates), theirs)


@pytest.mark.parametrize("decay_on", ["all", "kernels"])
@pytest.mark.parametrize(("decay", "weight_decay"), [("coupled", 0.0), ("coupled", 0.03), ("decoupled", 0.03)])
@pytest.mark.parametrize(("rate", "epsilon"), [(0.01, 1e-8), (0.02, 1e-3)])
def test_adam_equals_torch(torch, rate, epsilon, decay, weight_decay, decay_on):
    """The large epsilon tells its place, before or after the bias correction."""
    rates = MultiStep(boundaries_steps=(20,)).rates(rate, STEPS, 10)
    spec = AdamSpec(learning_rate=rate, epsilon=epsilon, weight_decay=weight_decay, decay=decay, decay_on=decay_on)
    kind = torch.optim.Adam if decay == "coupled" else torch.optim.AdamW
    theirs = torch_weights(
        torch, lambda groups: kind(groups, lr=rate, eps=epsilon, weight_decay=weight_decay), rates, decay_on
    )
    assert_equal_weights(our_weights(spec, rates), theirs)


def test_sgd_by_hand():
    """One weight 1, gradient 1: momentum 0.5, coupled decay 0.5, rates 0.5 then 0.25, worked on paper."""
    variable = keras.Variable(np.ones(1, np.float32))
    optimizer = build_optimizer(SGDSpec(learning_rate=1.0, momentum=0.5, weight_decay=0.5), np.array([0.5, 0.25]))
    seen = []
    for _ in range(3):
        optimizer.apply([tf.ones(1)], [variable])
        seen.append(float(variable.value[0]))
    # buffer 1.5; 0.75 + 1 + 0.125; 0.9375 + 1 + -0.109375: the third step is past the table's end
    assert seen == [0.25, 0.25 - 0.25 * 1.875, 0.25 - 0.25 * 1.875 - 0.25 * 1.828125]


def fitted(optimizer, epochs: int, weights=None, start: int = 0):
    """Returns a small Keras model fitted on data that is the same at every call."""
    rng = np.random.default_rng(1)
    inputs, labels = rng.normal(size=(24, 5)).astype(np.float32), rng.integers(0, 3, 24)
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    optimizer.build(model.trainable_variables)
    if weights is not None:
        model.set_weights(weights[0])
        optimizer.set_weights(weights[1])
    model.fit(inputs, labels, batch_size=4, epochs=epochs, initial_epoch=start, shuffle=False, verbose=0)
    return model


@pytest.mark.parametrize("spec", [SGDSpec(learning_rate=0.1, weight_decay=1e-2), AdamSpec(learning_rate=0.01)])
def test_fit_takes_the_table_and_resumes_bit_for_bit(spec):
    rates = MultiStep(boundaries_steps=(3, 8), factor=0.5).rates(spec.learning_rate, 12, 6)
    whole = fitted(build_optimizer(spec, rates), epochs=2)
    assert float(whole.optimizer.learning_rate) == np.float32(rates[-1])
    half = fitted(build_optimizer(spec, rates), epochs=1)
    assert float(half.optimizer.learning_rate) == np.float32(rates[6])
    saved = half.get_weights(), [np.array(variable) for variable in half.optimizer.variables]
    resumed = fitted(build_optimizer(spec, rates), epochs=2, weights=saved, start=1)
    for one, other in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_scale_multiplies_the_table_and_is_saved():
    rates = np.linspace(0.2, 0.1, 12)
    optimizer = build_optimizer(SGDSpec(learning_rate=0.2), rates)
    assert any(variable is optimizer.learning_rate_scale for variable in optimizer.variables)
    optimizer.learning_rate_scale.assign(0.5)
    scaled = fitted(optimizer, epochs=2)
    plain = fitted(build_optimizer(SGDSpec(learning_rate=0.2), 0.5 * rates), epochs=2)
    for one, other in zip(scaled.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    assert float(build_optimizer(AdamSpec(learning_rate=0.25)).learning_rate) == 0.25  # no table: the spec's own rate


def test_rate_table_exact_in_jit_and_past_its_end():
    rates = MultiStep(boundaries_steps=(2,)).rates(0.1, 5, 1)
    table = LearningRateTable(rates)
    compiled = tf.function(table, jit_compile=True)
    expected = [*rates.astype(np.float32), np.float32(0.01), np.float32(0.01)]
    assert [float(table(step)) for step in range(7)] == expected
    assert [float(compiled(tf.constant(step, tf.int64))) for step in range(7)] == expected


def test_saved_with_its_model(tmp_path):
    spec = AdamSpec(learning_rate=0.01, weight_decay=0.1, decay="decoupled", decay_on="kernels")
    model = fitted(build_optimizer(spec, np.linspace(0.01, 0.001, 12)), epochs=1)
    model.save(tmp_path / "model.keras")
    optimizer = keras.models.load_model(tmp_path / "model.keras").optimizer
    assert optimizer.spec == spec
    assert float(optimizer.learning_rate) == float(model.optimizer.learning_rate)
    for one, other in zip(optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, other)


BAD = [
    ({"name": "sdg", "learning_rate": 0.1}, "preset-wrong-value"),
    ({"name": "sgd"}, "preset-missing-key"),
    ({"name": "sgd", "learning_rate": 0}, "preset-wrong-value"),
    ({"name": "sgd", "learning_rate": 0.1, "momentum": 1.0}, "preset-wrong-value"),
    ({"name": "sgd", "learning_rate": 0.1, "momentum": 0, "nesterov": True}, "preset-wrong-value"),
    ({"name": "sgd", "learning_rate": 0.1, "weight_decay": -1e-4}, "preset-wrong-value"),
    ({"name": "sgd", "learning_rate": 0.1, "decay": "couple"}, "preset-wrong-value"),
    ({"name": "adam", "learning_rate": 0.1, "decay_on": "kernel"}, "preset-wrong-value"),
    ({"name": "adam", "learning_rate": 0.1, "momentum": 0.9}, "preset-unknown-key"),
    ({"name": "adam", "learning_rate": 0.1, "beta_2": 1}, "preset-wrong-value"),
    ({"name": "adam", "learning_rate": 0.1, "epsilon": 0}, "preset-wrong-value"),
]


@pytest.mark.parametrize(("values", "code"), BAD)
def test_wrong_keys_in_one_line(values, code):
    assert user_error(build_named, OPTIMIZERS, values, "'optimizer'").code == code

"""A moving average against torch's AveragedModel, Lookahead against a transcription of airbench94."""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from assertions import user_error

from resnet_tf.evaluation.evaluate import evaluate
from resnet_tf.models.layers import BatchNormalization
from resnet_tf.optim.losses import CrossEntropy
from resnet_tf.optim.optimizers import build_optimizer
from resnet_tf.presets.optimizer import EMA, OPTIMIZERS, Lookahead, SGDSpec
from resnet_tf.presets.parsing import build_named
from resnet_tf.training import checkpoint
from resnet_tf.training.averaging import build_averaging
from resnet_tf.training.step import build_step

STEPS, EPOCH = 27, 4


def training(spec: SGDSpec):
    """Returns the step of a small network with a batch norm, its averaging, and its batch."""
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(8, 4, 4, 3)).astype(np.float32), rng.integers(0, 4, 8).astype(np.int32)
    keras.utils.set_random_seed(3)
    layers = [keras.Input((4, 4, 3)), keras.layers.Conv2D(5, 3, name="conv"), BatchNormalization(name="norm")]
    network = keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(4, name="head")])
    step = build_step(network, build_optimizer(spec, np.full(STEPS, 0.1)), CrossEntropy())
    preset = SimpleNamespace(optimizer=spec)
    plan = SimpleNamespace(preset=preset, total_steps=STEPS, steps_per_epoch=EPOCH)
    return step, build_averaging(step, plan), (images, labels)


def values(step) -> list[np.ndarray]:
    step.synchronize()
    return [np.array(weight) for weight in step.network.variables]


def assert_close(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)


def test_the_moving_average_is_torchs():
    """With the buffers, batch norm's running statistics; the training itself is that without averages."""
    torch = pytest.importorskip("torch")
    step, averaging, batch = training(SGDSpec(learning_rate=0.1, ema=EMA(decay=0.8)))
    plain, _, _ = training(SGDSpec(learning_rate=0.1))

    class Holder(torch.nn.Module):
        def __init__(self, arrays):
            super().__init__()
            for number, array in enumerate(arrays):
                self.register_buffer(f"b{number}", torch.tensor(array))

    holder = Holder(values(step))
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(0.8)
    model = torch.optim.swa_utils.AveragedModel(holder, multi_avg_fn=average, use_buffers=True)
    for number in range(1, STEPS + 1):
        step(*batch)
        plain(*batch)
        averaging.after_step(number)
        trained = values(step)
        for buffer, array in zip(holder.buffers(), trained, strict=True):
            buffer.copy_(torch.tensor(array))
        model.update_parameters(holder)
        expected = [buffer.numpy() for buffer in model.module.buffers()]
        with averaging.in_network():
            assert_close(values(step), expected)
        for value, before, unaveraged in zip(values(step), trained, values(plain), strict=True):
            np.testing.assert_array_equal(value, before)
            np.testing.assert_array_equal(value, unaveraged)
    assert max(np.abs(mean - value).max() for mean, value in zip(expected, trained, strict=True)) > 1e-3
    averaging.load()
    assert_close(values(step), expected)


def test_an_error_while_the_network_holds_the_averages_leaves_the_trained_weights():
    step, averaging, batch = training(SGDSpec(learning_rate=0.1, ema=EMA(decay=0.8)))
    for number in (1, 2):
        step(*batch)
        averaging.after_step(number)
    trained = values(step)

    def interrupted_validation():
        with averaging.in_network():
            assert any(np.any(mean != value) for mean, value in zip(values(step), trained, strict=True))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_validation()
    for value, before in zip(values(step), trained, strict=True):
        np.testing.assert_array_equal(value, before)


@pytest.mark.parametrize(("every", "power", "start"), [(5, 3.0, 3), (2, 0.0, 0), (3, 1.0, 1)])
def test_lookahead_is_airbench94s(every, power, start):
    """The transcription averages what the same steps give; then both go on from the average."""
    spec = Lookahead(decay=0.9, every_steps=every, power=power, start_epoch=start)
    step, averaging, batch = training(SGDSpec(learning_rate=0.1, lookahead=spec))
    other, _, _ = training(SGDSpec(learning_rate=0.1))
    slow, moved = None, 0
    for number in range(1, STEPS + 1):
        step(*batch)
        averaging.after_step(number)
        other(*batch)
        fast = values(other)
        if (number - 1) // EPOCH >= start and number % every == 0:
            if slow is None:
                slow = fast
            else:
                keep = 0.9**every * (number / STEPS) ** power
                slow = [keep * mean + (1 - keep) * value for mean, value in zip(slow, fast, strict=True)]
                fast = slow
                moved += 1
        if slow is not None and (number % EPOCH == 0 or number == STEPS):
            fast = slow
        for weight, value in zip(other.network.variables, fast, strict=True):
            weight.assign(value)
        for mine, theirs in zip(values(step), fast, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)
    assert moved > 1


def test_what_is_evaluated_and_saved_is_the_average(train, trained, image_tree):
    """The last weights are the averages of the state, and the trained weights are those of the run without."""
    run = train(optimizer={"ema": {"decay": 0.9}})
    arrays, plain = checkpoint.load(run.state).arrays, checkpoint.load(trained.state).arrays
    with np.load(run.last) as last:
        for name in last.files:
            if name != "__about__":
                np.testing.assert_array_equal(last[name], arrays[f"average/{name}"])
                np.testing.assert_array_equal(arrays[f"model/{name}"], plain[f"model/{name}"])
    scores = [[row["validation_loss"] for row in each.rows] for each in (run, trained)]
    assert not set(scores[0]) & set(scores[1])
    assert [row["loss"] for row in run.rows] == [row["loss"] for row in trained.rows]
    for each in (run, trained):  # the best weights are those that were validated then
        with np.load(each.best) as best:
            epoch = json.loads(str(best["__about__"]))["epoch"]
        scored = evaluate(each, "validation", str(image_tree), weights="best")
        assert scored["loss"] == pytest.approx(each.rows[epoch - 1]["validation_loss"], abs=1e-5)


def test_each_phase_begins_an_average_of_its_own(train, on_step):
    kernels = []

    def look(phase) -> None:
        phase.step.synchronize()
        kernels.append(np.array(phase.step.network.get_layer("head").kernel))

    on_step.acts = dict.fromkeys(range(11, 21), look)
    run = train(phases=[{"train": {"epochs": 1}}, {"train": {"epochs": 1}}], optimizer={"ema": {"decay": 0.9}})
    assert [row["epoch"] for row in run.rows] == [1, 2]
    mean = kernels[0]  # the weights after the phase's first step
    for kernel in kernels[1:]:
        mean = 0.9 * mean + 0.1 * kernel
    with np.load(run.last) as last:
        np.testing.assert_allclose(last["head/kernel"], mean, rtol=1e-4, atol=1e-6)


def test_a_run_with_lookahead_does_not_grow(train):
    changes = {"lookahead": {"start_epoch": 0}}
    run = train(optimizer=changes, train={"epochs": 1})
    error = user_error(train, resume=run.name, optimizer=changes, train={"epochs": 2})
    assert error.code == "resume-cannot-grow"


@pytest.mark.parametrize(
    "averages", [{"ema": {}, "lookahead": {}}, {"ema": {"decay": 1}}, {"lookahead": {"every_steps": 0}}]
)
def test_wrong_averages_are_refused(averages):
    values = {"name": "adam", "learning_rate": 0.1, **averages}
    assert user_error(build_named, OPTIMIZERS, values, "'optimizer'").code == "preset-wrong-value"

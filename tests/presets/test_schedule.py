"""Schedules against tables worked by hand and against torch.optim.lr_scheduler; the metric rules' exact resume."""

import json
import math

import numpy as np
import pytest
from assertions import user_error

from resnet_tf.optim.metric_rules import metric_rules
from resnet_tf.presets.parsing import build_named
from resnet_tf.presets.schedule import (
    SCHEDULES,
    Constant,
    CosineRestarts,
    Exponential,
    MultiStep,
    OneCycle,
    Plateau,
    Warmup,
    WarmupUntil,
)


def torch_optimizer(rate: float):
    """Returns torch and an SGD over one weight, for a torch scheduler to drive."""
    torch = pytest.importorskip("torch")
    return torch, torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)


def torch_rates(optimizer, scheduler, steps: int, position=lambda step: ()) -> list[float]:
    """Returns the rate that each step would be made at; `position` gives scheduler.step's arguments."""
    rates = []
    for step in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*position(step + 1))
    return rates


HALF = math.sqrt(0.5)
BY_HAND = [
    # schedule, then the rates of the first steps, two steps an epoch, base rate 1
    (Constant(), [1, 1, 1, 1, 1]),
    (Exponential(lr_decay=0.5), [1, 1, 0.5, 0.5, 0.25, 0.25]),
    (Exponential(lr_decay=1.0), [1, 1, 1, 1]),
    (MultiStep(boundaries_steps=(2, 3)), [1, 1, 0.1, 0.01, 0.01]),
    (MultiStep(factor=0.5, boundaries_epochs=(1, 2)), [1, 1, 0.5, 0.5, 0.25, 0.25]),
    (Plateau(), [1, 1, 1]),
    (CosineRestarts(period_epochs=2), [1, (1 + HALF) / 2, 0.5, (1 - HALF) / 2, 1, (1 + HALF) / 2]),
    (CosineRestarts(period_epochs=1, peak_decay=0.5), [1, 0.5, 0.5, 0.25, 0.25, 0.125]),
    (CosineRestarts(period_epochs=1, peak_decay=0.1, minimum=0.2), [1, 0.6, 0.2, 0.2, 0.2]),
    (CosineRestarts(period_epochs=1, period_factor=2), [1, 0.5, 1, (1 + HALF) / 2, 0.5, (1 - HALF) / 2, 1]),
    (CosineRestarts(period_epochs=None), [1, (1 + HALF) / 2, 0.5, (1 - HALF) / 2]),
    (OneCycle(warmup_fraction=0.5, start_factor=0.0, end_factor=0.0, shape="linear"), [0, 0.5, 1, 2 / 3, 1 / 3, 0]),
    (OneCycle(warmup_fraction=0.6, start_factor=0.5, end_factor=0.0), [0.5, 0.75, 1, 0.5, 0]),
    (OneCycle(warmup_fraction=0.0, end_factor=0.0, shape="linear"), [1, 0.5, 0]),
    (Constant(warmup=Warmup(steps=4)), [0, 0.25, 0.5, 0.75, 1, 1]),
    (MultiStep(boundaries_steps=(3,), warmup=Warmup(steps=2, start_factor=0.5)), [0.5, 0.75, 1, 0.1]),
]


@pytest.mark.parametrize(("schedule", "expected"), BY_HAND)
def test_rates_by_hand(schedule, expected):
    rates = schedule.rates(1.0, len(expected), 2)
    assert rates.dtype == np.float64
    np.testing.assert_allclose(rates, expected, atol=1e-12)


@pytest.mark.parametrize("schedule", [MultiStep(factor=0.3, boundaries_steps=(7, 20, 41)), Exponential(lr_decay=0.96)])
def test_multi_step_and_exponential_equal_torch(schedule):
    torch, optimizer = torch_optimizer(0.1)
    if isinstance(schedule, MultiStep):
        scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [7, 20, 41], gamma=0.3)
    else:
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.96)
    np.testing.assert_allclose(schedule.rates(0.1, 60, 1), torch_rates(optimizer, scheduler, 60), rtol=1e-12)


@pytest.mark.parametrize(("factor", "minimum"), [(1, 0.0), (2, 0.0), (3, 0.004)])
def test_cosine_restarts_equal_torch(factor, minimum):
    torch, optimizer = torch_optimizer(0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3, factor, eta_min=minimum)
    expected = torch_rates(optimizer, scheduler, 300, position=lambda step: (step / 7,))
    schedule = CosineRestarts(period_epochs=3, period_factor=float(factor), minimum=minimum)
    np.testing.assert_allclose(schedule.rates(0.1, 300, 7), expected, atol=1e-12)


def test_plain_cosine_equals_torch():
    torch, optimizer = torch_optimizer(0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50, eta_min=0.001)
    schedule = CosineRestarts(period_epochs=None, minimum=0.001)
    np.testing.assert_allclose(schedule.rates(0.1, 50, 7), torch_rates(optimizer, scheduler, 50), atol=1e-12)


@pytest.mark.parametrize(("steps", "fraction"), [(100, 0.3), (97, 0.45), (11, 0.3)])
@pytest.mark.parametrize(("shape", "torch_shape"), [("linear", "linear"), ("cosine", "cos")])
def test_one_cycle_equals_torch(steps, fraction, shape, torch_shape):
    torch, optimizer = torch_optimizer(0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.1, total_steps=steps, pct_start=fraction, anneal_strategy=torch_shape, cycle_momentum=False
    )
    schedule = OneCycle(warmup_fraction=fraction, shape=shape)
    np.testing.assert_allclose(schedule.rates(0.1, steps, 7), torch_rates(optimizer, scheduler, steps), atol=1e-12)


def test_warmup_equals_torch():
    torch, optimizer = torch_optimizer(0.1)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.2, total_iters=9)
    schedule = Constant(warmup=Warmup(steps=9, start_factor=0.2))
    np.testing.assert_allclose(schedule.rates(0.1, 20, 1), torch_rates(optimizer, scheduler, 20), rtol=1e-12)


def noisy_series(metric: str, length: int = 200) -> np.ndarray:
    """Returns a made-up metric that improves, stalls, and improves again, with noise."""
    rng = np.random.default_rng(3)
    time = np.arange(length)
    loss = 2 * np.exp(-time / 15) + 0.3 * (time < 120) + 0.2 + rng.normal(0, 0.03, length)
    return loss if metric.endswith("loss") else 100 * np.exp(-loss)


PLATEAUS = [
    {"patience": 5},
    {"patience": 3, "threshold": 0.01},
    {"patience": 0, "factor": 0.8},
    {"patience": 2, "cooldown": 4, "factor": 0.5},
    {"patience": 2, "minimum": 0.003, "factor": 0.3},
    {"patience": 4, "cooldown": 1, "factor": 0.5, "minimum": 1e-3, "threshold": 0.0},
    {"patience": 1, "factor": 0.1},  # goes down to torch's eps
]


@pytest.mark.parametrize("metric", ["validation_loss", "validation_top1"])
@pytest.mark.parametrize("mode", ["relative", "absolute"])
@pytest.mark.parametrize("keys", PLATEAUS)
def test_plateau_equals_torch(metric, mode, keys):
    torch, optimizer = torch_optimizer(0.1)
    renamed = {"minimum": "min_lr"}
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode="min" if metric.endswith("loss") else "max",
        threshold_mode=mode[:3],
        **{"factor": 0.1, **{renamed.get(key, key): value for key, value in keys.items()}},
    )
    (rule,) = metric_rules(Plateau(metric=metric, threshold_mode=mode, **keys), 0.1)
    falls = 0
    for value in noisy_series(metric):
        scheduler.step(value)
        changed = rule.update(value)
        assert rule.rate == optimizer.param_groups[0]["lr"]
        assert rule.scale == rule.rate / 0.1
        falls += changed
    assert falls >= 2


def test_plateau_with_nan_equals_torch():
    """A metric that is not a number never counts as better."""
    torch, optimizer = torch_optimizer(0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=2)
    (rule,) = metric_rules(Plateau(patience=2), 0.1)
    for value in [math.nan, math.nan, math.nan, 1.0, math.nan, 0.5, 2, 2, 2, 2]:
        scheduler.step(value)
        rule.update(value)
        assert rule.rate == optimizer.param_groups[0]["lr"]


def test_plateau_fires_one_check_after_patience():
    """Patience 2: the best at check 0, three bad checks, and the third lowers the rate."""
    (rule,) = metric_rules(Plateau(patience=2), 0.1)
    assert [rule.update(value) for value in [1.0, 1.0, 1.0, 1.0, 1.0]] == [False, False, False, True, False]
    assert rule.scale == pytest.approx(0.1)


def test_metric_rules_resume_exactly():
    """Stopped after any step, in the middle of a mean or of a cooldown too, the scales go on as if never stopped."""
    schedule = Plateau(patience=3, cooldown=3, metric="training_loss", every_steps=3, factor=0.5, threshold=0.0)
    series = noisy_series("training_loss", 300)
    (whole,) = metric_rules(schedule, 0.1)
    scales, states = [], [whole.state()]
    for value in series:
        scales.append((whole.add(value), whole.scale))
        states.append(json.loads(json.dumps(whole.state(), allow_nan=False)))
    assert sum(changed for changed, _ in scales) >= 2
    for cut, state in enumerate(states):
        (resumed,) = metric_rules(schedule, 0.1)
        resumed.restore(state)
        assert [(resumed.add(value), resumed.scale) for value in series[cut:]] == scales[cut:]


def test_add_decides_on_the_mean():
    (rule,) = metric_rules(Plateau(patience=0, metric="training_loss", every_steps=2, threshold=0.0), 1.0)
    losses = [5, 1, 0, 5.8, 0, 6.4]  # means 3, 2.9, 3.2: only the third is worse, though single losses rise before
    assert [rule.add(loss) for loss in losses] == [False] * 5 + [True]


def test_warmup_until_ends_once():
    """ResNet-110: a tenth of the plan until the error is below 80 %, that is top-1 above 20 %; then 1 for good."""
    schedule = MultiStep(
        boundaries_steps=(4,), warmup_until=WarmupUntil(learning_rate=0.01, training_error_below=0.8, every_steps=2)
    )
    (rule,) = metric_rules(schedule, 0.1)
    top1 = [10, 12, 20, 20, 30, 12, 5, 5]  # means 11, 20 (not below), 21, 5
    plan = schedule.rates(0.1, len(top1), 352)
    rates = []
    for step, value in enumerate(top1):
        rates.append(plan[step] * rule.scale)
        rule.add(value)
    np.testing.assert_allclose(rates, [0.01, 0.01, 0.01, 0.01, 0.001, 0.001, 0.01, 0.01])
    (again,) = metric_rules(schedule, 0.1)
    again.restore(rule.state())
    assert again.scale == 1


def test_pure_schedules_have_no_metric_rule():
    for schedule, _ in BY_HAND:
        assert len(metric_rules(schedule, 0.1)) == isinstance(schedule, Plateau)


GOOD = [
    ({"name": "constant"}, "constant"),
    ({"name": "exponential", "lr_decay": 0.96}, "x0.96 an epoch"),
    ({"name": "exponential", "lr_decay": 1}, "constant"),
    ({"name": "multi_step", "factor": 0.1, "boundaries_steps": [32000, 48000]}, "/10 at steps 32k, 48k"),
    ({"name": "multi_step", "boundaries_epochs": [30, 60, 90]}, "/10 at epochs 30, 60, 90"),
    (
        {
            "name": "multi_step",
            "boundaries_steps": [32000],
            "warmup_until": {"learning_rate": 0.01, "training_error_below": 0.8},
        },
        "0.01 until training error < 80 %, then /10 at steps 32k",
    ),
    ({"name": "plateau", "patience": 5}, "/10 when validation_loss stalls for over 5 epochs"),
    (
        {"name": "plateau", "patience": 1000, "metric": "training_loss", "every_steps": 1},
        "/10 when training_loss stalls for over 1k steps",
    ),
    (
        {"name": "cosine_restarts", "period_epochs": 50, "period_factor": 2, "peak_decay": 0.8},
        "cosine, restart every 50 epochs (x2 each time), peak x0.8",
    ),
    ({"name": "cosine_restarts", "period_epochs": None}, "cosine to 0"),
    ({"name": "one_cycle", "shape": "linear"}, "one linear cycle, peak at 30 %"),
    ({"name": "constant", "warmup": {"steps": 1500}}, "1.5k steps of warm-up, then constant"),
]


@pytest.mark.parametrize(("values", "line"), GOOD)
def test_built_from_json(values, line):
    assert build_named(SCHEDULES, values, "'schedule'").describe() == line


BAD = [
    ({"name": "exponental"}, "preset-wrong-value", "exponential"),
    ({"name": "exponential"}, "preset-missing-key", "lr_decay"),
    ({"name": "exponential", "lr_decay": 1.1}, "preset-wrong-value", "lr_decay"),
    ({"name": "multi_step"}, "preset-wrong-value", "exactly one"),
    ({"name": "multi_step", "boundaries_steps": [1], "boundaries_epochs": [1]}, "preset-wrong-value", "exactly one"),
    ({"name": "multi_step", "boundaries_steps": []}, "preset-wrong-value", "boundaries"),
    ({"name": "multi_step", "boundaries_steps": [30, 30]}, "preset-wrong-value", "boundaries"),
    ({"name": "multi_step", "boundaries_steps": [0, 30]}, "preset-wrong-value", "boundaries"),
    ({"name": "multi_step", "boundaries_epochs": [1.5]}, "preset-wrong-type", "whole number"),
    ({"name": "plateau", "factor": 1.0}, "preset-wrong-value", "factor"),
    ({"name": "plateau", "patience": -1}, "preset-wrong-value", "patience"),
    ({"name": "plateau", "threshold_mode": "relativ"}, "preset-wrong-value", "relative"),
    ({"name": "plateau", "metric": "validation_los"}, "preset-wrong-value", "validation_loss"),
    ({"name": "plateau", "every_steps": 10}, "preset-wrong-value", "training metric"),
    ({"name": "plateau", "metric": "training_loss", "every_steps": 0}, "preset-wrong-value", "every_steps"),
    ({"name": "cosine_restarts"}, "preset-missing-key", "period_epochs"),
    ({"name": "cosine_restarts", "period_epochs": 0}, "preset-wrong-value", "period_epochs"),
    ({"name": "cosine_restarts", "period_epochs": 5, "period_factor": 0.5}, "preset-wrong-value", "period_factor"),
    ({"name": "cosine_restarts", "period_epochs": 5, "peak_decay": 0}, "preset-wrong-value", "peak_decay"),
    ({"name": "cosine_restarts", "period_epochs": 5, "minimum": -0.1}, "preset-wrong-value", "minimum"),
    ({"name": "one_cycle", "warmup_fraction": 1}, "preset-wrong-value", "warmup_fraction"),
    ({"name": "one_cycle", "end_factor": 2}, "preset-wrong-value", "end_factor"),
    ({"name": "constant", "warmup": {"steps": 0}}, "preset-wrong-value", "steps"),
    ({"name": "constant", "warmup": {"steps": 5, "start_factor": 1.5}}, "preset-wrong-value", "start_factor"),
    (
        {"name": "constant", "warmup_until": {"learning_rate": 0, "training_error_below": 0.8}},
        "preset-wrong-value",
        "learning_rate",
    ),
    (
        {"name": "constant", "warmup_until": {"learning_rate": 0.1, "training_error_below": 80}},
        "preset-wrong-value",
        "training_error_below",
    ),
    (
        {
            "name": "constant",
            "warmup": {"steps": 5},
            "warmup_until": {"learning_rate": 0.1, "training_error_below": 0.8},
        },
        "preset-wrong-value",
        "not both",
    ),
]


@pytest.mark.parametrize(("values", "code", "named"), BAD)
def test_a_wrong_schedule_is_refused(values, code, named):
    error = user_error(build_named, SCHEDULES, values, "'schedule'")
    assert error.code == code
    assert named in str(error)


def test_a_long_phase_is_quick_and_ends_right():
    rates = CosineRestarts(period_epochs=1, period_factor=1.1, peak_decay=0.9).rates(0.1, 1_000_000, 1)
    assert rates.shape == (1_000_000,)
    assert rates.min() >= 0
    assert rates.max() == 0.1

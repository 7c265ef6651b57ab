"""Rules that change the learning rate by a metric: small state machines, each with a `scale` for the learning rate.

A training makes them with `metric_rules`, gives each one its `metric`, and multiplies the scheduled learning rate by
the product of their scales. `state` and `restore` carry them over a stop, in the middle of a mean too.
"""

import math
from abc import ABC, abstractmethod

from resnet_tf.presets.schedule import Plateau, Schedule, WarmupUntil


class MetricRule(ABC):
    """A rule that follows one metric.

    Attributes:
        metric: what to follow: losses as they are, top-1 in percent.
        every_steps: call `add` every step, which decides once in so many steps; None: call `update` once an epoch.
    """

    state_fields: tuple[str, ...] = ("total", "count")  # the attributes that `state` saves

    def __init__(self, metric: str, every_steps: int | None):
        self.metric, self.every_steps = metric, every_steps
        self.total, self.count = 0.0, 0

    @property
    @abstractmethod
    def scale(self) -> float:
        """The factor that multiplies the scheduled learning rate."""

    @abstractmethod
    def update(self, value: float) -> bool:
        """Decides on one value of the metric; returns whether the scale changed."""

    def add(self, value: float) -> bool:
        """Takes one step's value; every `every_steps`-th decides on their mean. Returns whether the scale changed."""
        self.total += float(value)
        self.count += 1
        if self.count < self.every_steps:
            return False
        mean = self.total / self.count
        self.total, self.count = 0.0, 0
        return self.update(mean)

    def state(self) -> dict:
        """Returns all that `restore` needs, as plain JSON values."""
        values = {name: getattr(self, name) for name in self.state_fields}
        return {name: value if math.isfinite(value) else None for name, value in values.items()}

    def restore(self, state: dict) -> None:
        """Restores what `state` returned into a new rule, which then decides exactly as the saved one would."""
        for name in self.state_fields:
            if state[name] is not None:  # None is the infinity that `best` starts with
                setattr(self, name, state[name])


class PlateauRule(MetricRule):
    """ReduceLROnPlateau, line by line as PyTorch's, `eps` included."""

    state_fields = (*MetricRule.state_fields, "rate", "best", "bad", "cooling")
    smallest_change = 1e-8  # torch's `eps`: the learning rate is not lowered by less

    def __init__(self, plateau: Plateau, learning_rate: float):
        super().__init__(plateau.metric, plateau.every_steps)
        self.plateau, self.learning_rate, self.rate = plateau, learning_rate, learning_rate
        self.rising = plateau.metric.endswith("top1")
        self.best = -math.inf if self.rising else math.inf
        self.bad = self.cooling = 0

    @property
    def scale(self) -> float:
        return self.rate / self.learning_rate

    def update(self, value: float) -> bool:
        value = float(value)
        if self._improves(value):
            self.best = value
            self.bad = 0
        else:
            self.bad += 1
        if self.cooling > 0:
            self.cooling -= 1
            self.bad = 0
        if self.bad <= self.plateau.patience:
            return False
        self.cooling = self.plateau.cooldown
        self.bad = 0
        lower = max(self.rate * self.plateau.factor, self.plateau.minimum)
        if self.rate - lower <= self.smallest_change:
            return False
        self.rate = lower
        return True

    def _improves(self, value: float) -> bool:
        relative = self.plateau.threshold_mode == "relative"
        needed = self.plateau.threshold if self.rising else -self.plateau.threshold
        bar = self.best * (1 + needed) if relative else self.best + needed
        return value > bar if self.rising else value < bar


class WarmupRule(MetricRule):
    """ResNet-110's warm-up: a lower learning rate until the training error is below a bound, then the full one."""

    state_fields = (*MetricRule.state_fields, "done")

    def __init__(self, warmup: WarmupUntil, learning_rate: float):
        super().__init__("training_top1", warmup.every_steps)
        self.warmup, self.learning_rate, self.done = warmup, learning_rate, False

    @property
    def scale(self) -> float:
        return 1.0 if self.done else self.warmup.learning_rate / self.learning_rate

    def update(self, value: float) -> bool:
        before = self.done
        self.done = before or 100 - float(value) < 100 * self.warmup.training_error_below
        return self.done != before


def metric_rules(schedule: Schedule, learning_rate: float) -> list[MetricRule]:
    """Returns the metric rules of a schedule in their initial state; none where it depends on the step alone."""
    rules: list[MetricRule] = []
    if schedule.warmup_until is not None:
        rules.append(WarmupRule(schedule.warmup_until, learning_rate))
    if isinstance(schedule, Plateau):
        rules.append(PlateauRule(schedule, learning_rate))
    return rules

"""The part of a schedule that waits for a metric: small state machines whose `scale` multiplies the table of rates.

A trainer makes them by `watchers_of`, feeds each its `metric`, and sets the optimizer's scale to the product of theirs
whenever one says that it changed. `state` and `restore` carry them over a stop, in the middle of a mean too.
"""

import math
from abc import ABC, abstractmethod

from resnet_tf.presets.schedule import Plateau, Schedule, WarmupUntil


class Watcher(ABC):
    """Watches one metric and keeps the factor that follows from it.

    Attributes:
        metric: what to feed: losses as they are, top-1 in percent.
        every_steps: feed `add` every step, and a decision falls every so many; None: feed `update` once an epoch.
    """

    kept: tuple[str, ...] = ("total", "count")  # the attributes that are the state

    def __init__(self, metric: str, every_steps: int | None):
        self.metric = metric
        self.every_steps = every_steps
        self.total = 0.0
        self.count = 0

    @property
    @abstractmethod
    def scale(self) -> float:
        """The factor that the table's rates are to be multiplied by now."""

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
        """Returns all that `restore` needs, as plain values (JSON-safe)."""
        values = {name: getattr(self, name) for name in self.kept}
        return {name: value if math.isfinite(value) else None for name, value in values.items()}

    def restore(self, state: dict) -> None:
        """Takes up a `state` in a fresh watcher, which then goes on bit for bit like the one that gave it."""
        for name in self.kept:
            if state[name] is not None:  # None stands for the infinity that a new watcher starts with
                setattr(self, name, state[name])


class PlateauWatcher(Watcher):
    """ReduceLROnPlateau, line by line as PyTorch's, `eps` included."""

    kept = (*Watcher.kept, "rate", "best", "bad", "cooling")
    smallest_change = 1e-8  # torch's `eps`: a smaller fall of the rate is not made

    def __init__(self, plateau: Plateau, learning_rate: float):
        super().__init__(plateau.metric, plateau.every_steps)
        self.plateau = plateau
        self.learning_rate = learning_rate
        self.rising = plateau.metric.endswith("top1")
        self.rate = learning_rate
        self.best = -math.inf if self.rising else math.inf
        self.bad = 0
        self.cooling = 0

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
        sign = 1 if self.rising else -1
        needed = sign * self.plateau.threshold
        bar = self.best * (1 + needed) if relative else self.best + needed
        return value > bar if self.rising else value < bar


class WarmupWatcher(Watcher):
    """ResNet-110's warm-up: scaled down to its own rate until the training error is low enough, then 1 for good."""

    kept = (*Watcher.kept, "done")

    def __init__(self, rule: WarmupUntil, learning_rate: float):
        super().__init__("training_top1", rule.every_steps)
        self.rule = rule
        self.learning_rate = learning_rate
        self.done = False

    @property
    def scale(self) -> float:
        return 1.0 if self.done else self.rule.learning_rate / self.learning_rate

    def update(self, value: float) -> bool:
        before = self.done
        self.done = before or 100 - float(value) < 100 * self.rule.training_error_below
        return self.done != before


def watchers_of(schedule: Schedule, learning_rate: float) -> list[Watcher]:
    """Returns the watchers that a schedule needs on a base rate, fresh; none for a pure function of the step."""
    watchers: list[Watcher] = []
    if schedule.warmup_until is not None:
        watchers.append(WarmupWatcher(schedule.warmup_until, learning_rate))
    if isinstance(schedule, Plateau):
        watchers.append(PlateauWatcher(schedule, learning_rate))
    return watchers

"""Learning-rate schedules: frozen dataclasses that return the learning rate of every step of a phase as a table.

The learning rate of a step is `rates(...)[step]` times a scale. The scale is 1 except for the two rules that need a
metric, `Plateau` and `warmup_until`: `resnet_tf.optim.metric_rules` computes theirs.

Each field is a JSON key: {"name": "multi_step", "factor": 0.1, "boundaries_steps": [32000, 48000]}.
"""

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from resnet_tf.format import thousands
from resnet_tf.presets.parsing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

Metric = Literal["validation_loss", "validation_top1", "training_loss", "training_top1"]


def log_key(metric: str) -> str:
    """Returns what a run's log calls a metric: "training_loss" is "loss" there."""
    return metric.removeprefix("training_")


@dataclass(frozen=True, kw_only=True)
class Warmup:
    """Linear warm-up: the schedule times a factor that grows from `start_factor` at step 0 to 1 at step `steps`.

    Source: Goyal et al. 2017 (arXiv:1706.02677), section 2.2; the form of `torch.optim.lr_scheduler.LinearLR`.
    """

    steps: PositiveInt
    start_factor: Annotated[float, "[0, 1]"] = 0.0

    def factors(self, step: np.ndarray) -> np.ndarray:
        """Returns the factor of each step, float64."""
        return self.start_factor + (1 - self.start_factor) * (step / self.steps).clip(max=1.0)


@dataclass(frozen=True, kw_only=True)
class WarmupUntil:
    """Train at `learning_rate`, instead of the optimizer's, until the training error is below a fraction.

    The steps of the warm-up count as steps of the schedule.

    Attributes:
        training_error_below: a fraction, not percent.
        every_steps: the error is the mean over this many steps, compared once after each such stretch.

    Source: He et al. 2015, section 4.2: ResNet-110 starts at 0.01 until the training error is below 80 % (about 400
    steps), then goes on at 0.1.
    """

    learning_rate: PositiveFloat
    training_error_below: Annotated[float, "(0, 1]"]
    every_steps: PositiveInt = 100


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """What all schedules share.

    Attributes:
        warmup, warmup_until: a warm-up of either kind, not both.
        by_factors: whether the learning rate falls by factors, so that a plot uses a logarithmic axis.
    """

    warmup: Warmup | None = None
    warmup_until: WarmupUntil | None = None

    by_factors: ClassVar[bool] = False

    def __post_init__(self):
        if self.warmup is not None and self.warmup_until is not None:
            raise ValueError("a schedule has 'warmup' or 'warmup_until', not both.")

    def rates(self, learning_rate: float, steps: int, steps_per_epoch: int) -> np.ndarray:
        """Returns the learning rate of every step of a phase, float64 [steps].

        Args:
            learning_rate: the optimizer's.
            steps: of the whole phase.
            steps_per_epoch: steps of an epoch.
        """
        step = np.arange(steps)
        rates = self._rates(learning_rate, step, steps_per_epoch)
        return rates if self.warmup is None else rates * self.warmup.factors(step)

    def describe(self) -> str:
        """Returns one line that describes the schedule: "/10 at steps 32k, 48k"."""
        line = self._describe()
        if self.warmup is not None:
            line = f"{thousands(self.warmup.steps)} steps of warm-up, then {line}"
        if self.warmup_until is not None:
            rule = self.warmup_until
            line = f"{rule.learning_rate:g} until training error < {100 * rule.training_error_below:g} %, then {line}"
        return line

    def brief(self) -> str:
        """Returns a shorter `describe`, for a table."""
        warm = self.warmup is not None or self.warmup_until is not None
        return f"{'warm-up, ' if warm else ''}{self._brief()}"

    def _rates(self, learning_rate: float, step: np.ndarray, steps_per_epoch: int) -> np.ndarray:
        """Returns the learning rate of each `step` (0, 1, ...) without warm-up, float64: constant by default."""
        return np.full(len(step), float(learning_rate))

    @abstractmethod
    def _describe(self) -> str:
        """Returns `describe` without warm-up."""

    def _brief(self) -> str:
        return self._describe()


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """The same learning rate at every step."""

    def _describe(self):
        return "constant"


@dataclass(frozen=True, kw_only=True)
class Exponential(Schedule):
    """The learning rate times `lr_decay` after every epoch; 1 keeps it constant."""

    lr_decay: Annotated[float, "(0, 1]"]

    by_factors: ClassVar[bool] = True

    def _rates(self, learning_rate, step, steps_per_epoch):
        return learning_rate * self.lr_decay ** (step // steps_per_epoch).astype(float)

    def _describe(self):
        return "constant" if self.lr_decay == 1 else f"x{self.lr_decay:g} an epoch"


@dataclass(frozen=True, kw_only=True)
class MultiStep(Schedule):
    """The learning rate times `factor` at every boundary; the boundary's step is the first at the lower rate.

    Attributes:
        boundaries_steps: whole numbers above 0 that grow; give these or `boundaries_epochs`.
        boundaries_epochs: the same, counted in epochs.

    Source: He et al. 2015, section 4.2 (divided by 10 at 32k and 48k steps).
    """

    factor: Annotated[float, "(0, 1)"] = 0.1
    boundaries_steps: tuple[int, ...] | None = None
    boundaries_epochs: tuple[int, ...] | None = None

    by_factors: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        if (self.boundaries_steps is None) == (self.boundaries_epochs is None):
            raise ValueError("give exactly one of 'boundaries_steps' and 'boundaries_epochs'.")
        boundaries = self._boundaries()
        if not boundaries or any(low >= high for low, high in itertools.pairwise((0, *boundaries))):
            raise ValueError(f"boundaries must be whole numbers above 0 that grow. Received: {boundaries}.")

    def _boundaries(self) -> tuple[int, ...]:
        return self.boundaries_epochs if self.boundaries_steps is None else self.boundaries_steps

    def _rates(self, learning_rate, step, steps_per_epoch):
        unit = steps_per_epoch if self.boundaries_steps is None else 1
        passed = np.searchsorted(unit * np.array(self._boundaries()), step, side="right")
        return learning_rate * self.factor ** passed.astype(np.float64)

    def _describe(self):
        unit = "epochs" if self.boundaries_steps is None else "steps"
        return f"/{1 / self.factor:g} at {unit} {', '.join(map(thousands, self._boundaries()))}"


@dataclass(frozen=True, kw_only=True)
class Plateau(Schedule):
    """The learning rate times `factor` when a metric stops improving, exactly as PyTorch's ReduceLROnPlateau.

    `rates` returns a constant: the factors are the scale of `resnet_tf.optim.metric_rules`.

    Attributes:
        patience: checks without improvement that are allowed; the next one lowers the learning rate.
        threshold: a value must be better than the best one by more than this.
        threshold_mode: whether `threshold` is a fraction of the best value ("relative") or an amount ("absolute").
        cooldown: checks after a reduction that are not counted.
        minimum: the learning rate never falls below this.
        metric: a loss, which should fall, or a top-1 accuracy, which should rise.
        every_steps: check the mean of a training metric over this many steps; None: check once an epoch.
    """

    factor: Annotated[float, "(0, 1)"] = 0.1
    patience: NonNegativeInt = 10
    threshold: NonNegativeFloat = 1e-4
    threshold_mode: Literal["relative", "absolute"] = "relative"
    cooldown: NonNegativeInt = 0
    minimum: NonNegativeFloat = 0.0
    metric: Metric = "validation_loss"
    every_steps: PositiveInt | None = None

    by_factors: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        if self.every_steps is not None and not self.metric.startswith("training"):
            raise ValueError(
                f"'every_steps' needs a training metric; validation comes once an epoch. Received: {self.metric!r}."
            )

    def _describe(self):
        unit = "epochs" if self.every_steps is None else "steps"
        wait = self.patience * (self.every_steps or 1)
        return f"/{1 / self.factor:g} when {self.metric} stalls for over {thousands(wait)} {unit}"

    def _brief(self):
        return f"/{1 / self.factor:g} on plateaus"


@dataclass(frozen=True, kw_only=True)
class CosineRestarts(Schedule):
    """Cosine annealing from a peak to `minimum` in every period, then a restart at a peak `peak_decay` times as high.

    The learning rate changes at every step.

    Attributes:
        period_epochs: epochs of the first period; None: one period, the whole phase (plain cosine).
        period_factor: each period is this many times as long as the one before, rounded to whole steps.
        peak_decay: 1 is the source's rule.
        minimum: no peak is below it.

    Source: Loshchilov and Hutter 2016 (arXiv:1608.03983), section 3.
    """

    period_epochs: PositiveInt | None
    period_factor: Annotated[float, "[1, inf)"] = 1.0
    peak_decay: Annotated[float, "(0, 1]"] = 1.0
    minimum: NonNegativeFloat = 0.0

    def _rates(self, learning_rate, step, steps_per_epoch):
        ends = np.array(self._period_ends(len(step), steps_per_epoch))
        period = np.searchsorted(ends, step, side="right")
        starts = np.concatenate(([0.0], ends))[period]
        progress = (step - starts) / (ends[period] - starts)
        peaks = np.maximum(learning_rate * self.peak_decay**period, self.minimum)
        return self.minimum + (peaks - self.minimum) * (1 + np.cos(np.pi * progress)) / 2

    def _period_ends(self, steps: int, steps_per_epoch: int) -> list[float]:
        """Returns the step at which each period ends; the last end is that of the phase, or after it."""
        length = float(steps if self.period_epochs is None else self.period_epochs * steps_per_epoch)
        ends = [length]
        while ends[-1] < steps:
            length *= self.period_factor
            ends.append(ends[-1] + round(length))
        return ends

    def _describe(self):
        if self.period_epochs is None:
            return f"cosine to {self.minimum:g}"
        longer = "" if self.period_factor == 1 else f" (x{self.period_factor:g} each time)"
        lower = "" if self.peak_decay == 1 else f", peak x{self.peak_decay:g}"
        return f"cosine, restart every {self.period_epochs} epochs{longer}{lower}"

    def _brief(self):
        return self._describe() if self.period_epochs is None else "cosine with restarts"


@dataclass(frozen=True, kw_only=True)
class OneCycle(Schedule):
    """Up to the optimizer's learning rate over the first part of the phase, then down until its last step.

    Attributes:
        warmup_fraction: the part of the phase that goes up.
        start_factor, end_factor: the first and last learning rate as a fraction of the optimizer's.
        shape: of both parts.

    Source: Smith and Topin 2017 (arXiv:1708.07120), section 2; form and defaults of torch's two-phase OneCycleLR. With
    less than a step of warm-up the first step is the peak; torch's is then one step past it.
    """

    warmup_fraction: Annotated[float, "[0, 1)"] = 0.3
    start_factor: Annotated[float, "[0, 1]"] = 0.04
    end_factor: Annotated[float, "[0, 1]"] = 4e-6
    shape: Literal["linear", "cosine"] = "cosine"

    def _rates(self, learning_rate, step, steps_per_epoch):
        last = max(len(step) - 1, 1)
        peak = max(self.warmup_fraction * len(step) - 1, 0.0)  # as torch: may fall between two steps
        up, down = step / (peak or 1.0), (step - peak) / (last - peak)
        rising = step < peak
        progress = np.where(rising, up, down)
        if self.shape == "cosine":
            progress = (1 - np.cos(np.pi * progress)) / 2
        start = np.where(rising, self.start_factor, 1.0)
        end = np.where(rising, 1.0, self.end_factor)
        return learning_rate * (start + (end - start) * progress)

    def _describe(self):
        return f"one {self.shape} cycle, peak at {100 * self.warmup_fraction:g} %"


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "exponential": Exponential,
    "multi_step": MultiStep,
    "plateau": Plateau,
    "cosine_restarts": CosineRestarts,
    "one_cycle": OneCycle,
}

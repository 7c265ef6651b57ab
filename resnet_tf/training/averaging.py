"""Averages of the weights over the steps of a phase: a moving average that is evaluated, or Lookahead.

Batch norm's running statistics are averaged with the weights, as they belong to them.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from resnet_tf.training.plan import Plan
from resnet_tf.training.step import Step


class Averaging:
    """No averaging, and what every averaging can do.

    Attributes:
        variables: the averages, by name; part of a checkpoint.
    """

    def __init__(self):
        self.variables: dict[str, keras.Variable] = {}

    def after_step(self, step: int) -> None:
        """Updates the averages; `step` counts the updates of the phase from 1."""

    @contextmanager
    def in_network(self) -> Iterator[None]:
        """Lets the network hold the weights that are evaluated."""
        yield

    def load(self) -> None:
        """Leaves the weights that are evaluated in the network, whose training is over."""


class _Averages(Averaging):
    """An average for each weight of the network that a step trains, running statistics included."""

    def __init__(self, step: Step, plan: Plan):
        self.step, self.plan = step, plan
        self.weights = step.network.weights
        self.averages = [
            keras.Variable(initializer="zeros", shape=weight.shape, dtype=weight.dtype, trainable=False)
            for weight in self.weights
        ]
        self.variables = {
            f"average/{weight.path}": average for weight, average in zip(self.weights, self.averages, strict=True)
        }
        self.move = _jax_mover(self) if keras.backend.backend() == "jax" else tf.function(self._move, autograph=False)

    def _move(self, share) -> None:
        """Moves every average by a share, a float32 scalar, of its way to the weight."""
        for average, weight in zip(self.averages, self.weights, strict=True):
            average.assign_add(share * (weight - average))


def _jax_mover(averages: _Averages):
    """Returns `_Averages._move` as a function that JAX compiles."""
    import jax

    compiled = jax.jit(lambda means, weights, share: [m + share * (w - m) for m, w in zip(means, weights, strict=True)])

    def move(share) -> None:
        values = [[variable.value for variable in part] for part in (averages.averages, averages.weights)]
        for average, value in zip(averages.averages, compiled(*values, share), strict=True):
            average.assign(value)

    return move


def _copy(sources: list[keras.Variable], targets: list[keras.Variable]) -> None:
    """Copies values; in JAX two variables must not share an array, since a step takes those of the weights over."""
    for source, target in zip(sources, targets, strict=True):
        target.assign(ops.copy(source))


class _EMA(_Averages):
    """An exponential moving average; the training does not see it.

    Source: Polyak and Juditsky 1992, in the form of torch.optim.swa_utils.AveragedModel.
    """

    def after_step(self, step: int) -> None:
        self.step.synchronize()
        if step == 1:
            _copy(self.weights, self.averages)
        else:
            self.move(np.float32(1 - self.plan.preset.optimizer.ema.decay))

    @contextmanager
    def in_network(self) -> Iterator[None]:
        self.step.synchronize()
        trained = [np.array(weight) for weight in self.weights]
        try:
            _copy(self.averages, self.weights)
            yield
        finally:
            for weight, value in zip(self.weights, trained, strict=True):
                weight.assign(value)

    def load(self) -> None:
        self.step.synchronize()
        _copy(self.averages, self.weights)


class _Lookahead(_Averages):
    """Every few steps the average moves towards the weights, and the training goes on from it.

    After each epoch the training goes on from the average too, which is what validation scores.

    Source: Zhang et al. 2019 (arXiv:1907.08610), with the growing decay of airbench94 (github.com/KellerJordan/
    cifar10-airbench).
    """

    def after_step(self, step: int) -> None:
        spec, plan = self.plan.preset.optimizer.lookahead, self.plan
        # The first step beyond the start that is a multiple of `every_steps`.
        first = (spec.start_epoch * plan.steps_per_epoch // spec.every_steps + 1) * spec.every_steps
        due = step >= first and step % spec.every_steps == 0
        is_scored = step > first and (step % plan.steps_per_epoch == 0 or step == plan.total_steps)
        if not (due or is_scored):
            return
        self.step.synchronize()
        if step == first:
            _copy(self.weights, self.averages)
            return
        if due:
            self.move(np.float32(1 - spec.decay**spec.every_steps * (step / plan.total_steps) ** spec.power))
        _copy(self.averages, self.weights)


def build_averaging(step: Step, plan: Plan) -> Averaging:
    """Returns the averaging of a phase; build it where the step was built."""
    optimizer = plan.preset.optimizer
    if optimizer.ema is not None:
        return _EMA(step, plan)
    return Averaging() if optimizer.lookahead is None else _Lookahead(step, plan)

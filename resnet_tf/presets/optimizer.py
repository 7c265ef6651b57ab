"""Optimizers and losses as presets name them: frozen recipes whose fields are the JSON keys. Imports no framework."""

from dataclasses import dataclass
from typing import Literal

from resnet_tf.presets.schedule import require


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """What all optimizers share: the base rate, and how weights decay.

    `decay` "coupled" adds `weight_decay` x weight to the gradient, before any momentum (He et al. 2015; torch's SGD and
    Adam); "decoupled" takes rate x `weight_decay` x weight off the weight itself (Loshchilov and Hutter 2017,
    arXiv:1711.05101; torch's AdamW). `decay_on` "all" decays every trainable variable, scales and offsets of batch
    norm and biases included (as torch does); "kernels" convolution and dense kernels only.
    """

    learning_rate: float
    weight_decay: float = 0.0
    decay: Literal["coupled", "decoupled"] = "coupled"
    decay_on: Literal["all", "kernels"] = "all"

    def __post_init__(self):
        require(self.learning_rate > 0, "'learning_rate' must be above 0.", self.learning_rate)
        require(self.weight_decay >= 0, "'weight_decay' must be 0 or more.", self.weight_decay)


@dataclass(frozen=True, kw_only=True)
class SGDSpec(OptimizerSpec):
    """Stochastic gradient descent with momentum, in torch's form: the rate multiplies the buffer, it is not in it."""

    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self):
        super().__post_init__()
        require(0 <= self.momentum < 1, "'momentum' must lie in 0 to below 1.", self.momentum)
        require(self.momentum > 0 or not self.nesterov, "'nesterov' needs a 'momentum' above 0.", self.momentum)


@dataclass(frozen=True, kw_only=True)
class AdamSpec(OptimizerSpec):
    """Adam, with `epsilon` added after the bias correction as in torch.

    Source: Kingma and Ba 2014 (arXiv:1412.6980), algorithm 1.
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self):
        super().__post_init__()
        for key in ("beta_1", "beta_2"):
            require(0 <= getattr(self, key) < 1, f"{key!r} must lie in 0 to below 1.", getattr(self, key))
        require(self.epsilon > 0, "'epsilon' must be above 0.", self.epsilon)


@dataclass(frozen=True, kw_only=True)
class LossSpec:
    """Cross entropy, with the true class's share e = `label_smoothing` spread over the classes.

    `smoothing_form` "keras" (torch's too): the true class 1 - e + e/K, each other e/K. "others": the true class 1 - e,
    each other e/(K - 1).
    """

    label_smoothing: float = 0.0
    smoothing_form: Literal["keras", "others"] = "keras"

    def __post_init__(self):
        require(0 <= self.label_smoothing < 1, "'label_smoothing' must lie in 0 to below 1.", self.label_smoothing)


OPTIMIZERS: dict[str, type[OptimizerSpec]] = {"sgd": SGDSpec, "adam": AdamSpec}

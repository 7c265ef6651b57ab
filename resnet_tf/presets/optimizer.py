"""`optimizer` and `loss` of a preset: frozen dataclasses whose fields are the JSON keys."""

from dataclasses import dataclass
from typing import Literal

from resnet_tf.presets.schedule import require


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """What all optimizers share.

    Attributes:
        learning_rate: above 0; the schedule changes it.
        weight_decay: 0 or more.
        decay: "coupled" adds `weight_decay` x weight to the gradient, before any momentum (He et al. 2015; torch's SGD
            and Adam); "decoupled" subtracts learning rate x `weight_decay` x weight from the weight (Loshchilov and
            Hutter 2017, arXiv:1711.05101; torch's AdamW).
        decay_on: "all" trainable variables, with scales and offsets of batch norm and biases (as torch), or "kernels"
            of convolutions and dense layers only.
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
    """Stochastic gradient descent with momentum as in torch: the learning rate multiplies the momentum buffer.

    Attributes:
        momentum: 0 to below 1.
        nesterov: needs a momentum above 0.
    """

    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self):
        super().__post_init__()
        require(0 <= self.momentum < 1, "'momentum' must lie in 0 to below 1.", self.momentum)
        require(self.momentum > 0 or not self.nesterov, "'nesterov' needs a 'momentum' above 0.", self.momentum)


@dataclass(frozen=True, kw_only=True)
class AdamSpec(OptimizerSpec):
    """Adam, with `epsilon` added after the bias correction as in torch.

    Attributes:
        beta_1, beta_2: 0 to below 1.
        epsilon: above 0.

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
    """Cross entropy against smoothed labels over K classes.

    Attributes:
        label_smoothing: the probability e that is taken from the true class, 0 to below 1.
        smoothing_form: "keras" (torch's too): the true class has 1 - e + e/K, each other e/K; "others": the true class
            has 1 - e, each other e/(K - 1).
    """

    label_smoothing: float = 0.0
    smoothing_form: Literal["keras", "others"] = "keras"

    def __post_init__(self):
        require(0 <= self.label_smoothing < 1, "'label_smoothing' must lie in 0 to below 1.", self.label_smoothing)


OPTIMIZERS: dict[str, type[OptimizerSpec]] = {"sgd": SGDSpec, "adam": AdamSpec}

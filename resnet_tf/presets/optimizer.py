"""`optimizer` and `loss` of a preset: frozen dataclasses whose fields are the JSON keys."""

from dataclasses import dataclass
from typing import Annotated, Literal

from resnet_tf.presets.parsing import NonNegativeFloat, PositiveFloat


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec:
    """What all optimizers share.

    Attributes:
        learning_rate: the schedule changes it.
        decay: "coupled" adds `weight_decay` x weight to the gradient, before any momentum (He et al. 2015; torch's SGD
            and Adam); "decoupled" subtracts learning rate x `weight_decay` x weight from the weight (Loshchilov and
            Hutter 2017, arXiv:1711.05101; torch's AdamW).
        decay_on: "all" trainable variables, with scales and offsets of batch norm and biases (as torch), or "kernels"
            of convolutions and dense layers only.
    """

    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat = 0.0
    decay: Literal["coupled", "decoupled"] = "coupled"
    decay_on: Literal["all", "kernels"] = "all"


@dataclass(frozen=True, kw_only=True)
class SGDSpec(OptimizerSpec):
    """Stochastic gradient descent with momentum as in torch: the learning rate multiplies the momentum buffer.

    Attributes:
        nesterov: needs a momentum above 0.
    """

    momentum: Annotated[float, "[0, 1)"] = 0.9
    nesterov: bool = False

    def __post_init__(self):
        if self.nesterov and self.momentum == 0:
            raise ValueError("'nesterov' needs a 'momentum' above 0. Received: momentum=0.")


@dataclass(frozen=True, kw_only=True)
class AdamSpec(OptimizerSpec):
    """Adam, with `epsilon` added after the bias correction as in torch.

    Source: Kingma and Ba 2014 (arXiv:1412.6980), algorithm 1.
    """

    beta_1: Annotated[float, "[0, 1)"] = 0.9
    beta_2: Annotated[float, "[0, 1)"] = 0.999
    epsilon: PositiveFloat = 1e-8


@dataclass(frozen=True, kw_only=True)
class LossSpec:
    """Cross entropy against smoothed labels over K classes.

    Attributes:
        label_smoothing: the probability e that is taken from the true class.
        smoothing_form: "keras" (torch's too): the true class has 1 - e + e/K, each other e/K; "others": the true class
            has 1 - e, each other e/(K - 1).
    """

    label_smoothing: Annotated[float, "[0, 1)"] = 0.0
    smoothing_form: Literal["keras", "others"] = "keras"


OPTIMIZERS: dict[str, type[OptimizerSpec]] = {"sgd": SGDSpec, "adam": AdamSpec}

"""`optimizer` and `loss` of a preset: frozen dataclasses whose fields are the JSON keys."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from resnet_tf.presets.parsing import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt


@dataclass(frozen=True, kw_only=True)
class EMA:
    """An exponential moving average of the weights, which is evaluated; the training does not see it.

    Attributes:
        decay: fraction of the average that a step keeps.
    """

    decay: Annotated[float, "(0, 1)"] = 0.999


@dataclass(frozen=True, kw_only=True)
class Lookahead:
    """Every few steps an average moves towards the weights, and training goes on from the average.

    After step t of T the average keeps decay^every_steps x (t / T)^power of itself. At the end of an epoch the weights
    are the average too. The defaults are those of airbench94.

    Attributes:
        decay: for each step, at the training's end.
        every_steps: steps between two updates.
        power: of the fraction of the training that is over; 0: the decay does not grow.
        start_epoch: epochs before the first update.

    Source: Zhang et al. 2019 (arXiv:1907.08610); github.com/KellerJordan/cifar10-airbench.
    """

    decay: Annotated[float, "(0, 1)"] = 0.95
    every_steps: PositiveInt = 5
    power: NonNegativeFloat = 3.0
    start_epoch: NonNegativeInt = 3


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
        ema: evaluate a moving average of the weights.
        lookahead: train and evaluate from an average of the weights.
    """

    learning_rate: PositiveFloat
    weight_decay: NonNegativeFloat = 0.0
    decay: Literal["coupled", "decoupled"] = "coupled"
    decay_on: Literal["all", "kernels"] = "all"
    ema: EMA | None = None
    lookahead: Lookahead | None = None

    def __post_init__(self):
        if self.ema is not None and self.lookahead is not None:
            raise ValueError("give one of 'ema' and 'lookahead'.")


@dataclass(frozen=True, kw_only=True)
class Group:
    """What one kind of weights has of its own, as a parameter group in torch.

    Attributes:
        learning_rate_factor: multiplies the learning rate of every step.
        weight_decay, momentum: None: the optimizer's.
        frozen_after_epoch: these weights no longer change after so many epochs of the phase; None: they always do.
    """

    learning_rate_factor: PositiveFloat = 1.0
    weight_decay: NonNegativeFloat | None = None
    momentum: Annotated[float, "[0, 1)"] | None = None
    frozen_after_epoch: PositiveInt | None = None


@dataclass(frozen=True, kw_only=True)
class SGDSpec(OptimizerSpec):
    """Stochastic gradient descent with momentum as in torch: the learning rate multiplies the momentum buffer.

    Attributes:
        nesterov: needs a momentum above 0.
        filters: what the kernels of convolutions have of their own; None: nothing.
        norms: the same for scales and offsets of batch norm.
        stem_bias: the same for the bias of a whitened stem.
        head: the same for the last layer, its bias included.
    """

    momentum: Annotated[float, "[0, 1)"] = 0.9
    nesterov: bool = False
    filters: Group | None = None
    norms: Group | None = None
    stem_bias: Group | None = None
    head: Group | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.nesterov and self.momentum == 0:
            raise ValueError("'nesterov' needs a 'momentum' above 0. Received: momentum=0.")
        for kind in ("norms", "stem_bias"):
            group = getattr(self, kind)
            if self.decay_on == "kernels" and group is not None and group.weight_decay:
                raise ValueError(
                    f"a 'weight_decay' of '{kind}' needs 'decay_on' all. "
                    f"Received: {group.weight_decay:g} with decay_on=kernels."
                )

    def group(self, kind: str) -> Group:
        """Returns what a kind of weights has: "filters", "norms", "stem_bias" or "head"; decay and momentum are set."""
        own = getattr(self, kind) or Group()
        weight_decay = self.weight_decay if own.weight_decay is None else own.weight_decay
        momentum = self.momentum if own.momentum is None else own.momentum
        return replace(own, weight_decay=weight_decay, momentum=momentum)


@dataclass(frozen=True, kw_only=True)
class MuonSpec(SGDSpec):
    """Momentum whose step is orthogonalised, for kernels of convolutions; everything else is trained as by `sgd`.

    The defaults are those of Jordan's CIFAR-10 recipe, airbench94_muon.

    Attributes:
        newton_schulz_steps: iterations that orthogonalise a step; torch's Muon does 5.
        reset_filter_norm: whether each kernel is scaled to a norm of sqrt(its filters) before every update.

    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the CIFAR-10 recipe:
    github.com/KellerJordan/cifar10-airbench.
    """

    momentum: Annotated[float, "[0, 1)"] = 0.6
    nesterov: bool = True
    newton_schulz_steps: PositiveInt = 3
    reset_filter_norm: bool = False


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


OPTIMIZERS: dict[str, type[OptimizerSpec]] = {"sgd": SGDSpec, "muon": MuonSpec, "adam": AdamSpec}

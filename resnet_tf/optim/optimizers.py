"""The optimizers of `presets.optimizer` for Keras: SGD and Adam in torch's form, and Muon, on any backend.

TensorFlow's fused operations (ResourceApplyMomentum, ResourceApplyAdam) gain little: on a CPU an update of ResNet-20
took 1.1 ms either way, of ResNet-56 3.3 ms fused and 4.2 ms so, in steps of 450 and 1,300 ms; a step of ResNet-18 takes
3 % less time with them.
"""

import dataclasses
import math

import keras
import numpy as np
from keras import ops

from resnet_tf.presets import parsing
from resnet_tf.presets.optimizer import AdamSpec, MuonSpec, OptimizerSpec, SGDSpec


@keras.saving.register_keras_serializable(package="resnet_tf")
class LearningRateTable(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of every step, from a table; past its end the last one goes on.

    Args:
        learning_rates: [steps], as `Schedule.rates` returns it; kept as float32.
    """

    def __init__(self, learning_rates: np.ndarray | list[float]):
        self.learning_rates = np.asarray(learning_rates, np.float32)

    def __call__(self, step):
        return ops.take(self.learning_rates, ops.minimum(step, len(self.learning_rates) - 1))

    def get_config(self) -> dict:
        return {"learning_rates": self.learning_rates.tolist()}


class SpecOptimizer(keras.optimizers.Optimizer):
    """An optimizer made from its spec: weight decay of both kinds, and a scale on the learning rate.

    Args:
        spec: the hyperparameters, by name those of a preset's `optimizer`.
        learning_rate: of every step, or their table; None: the spec's.
        steps_per_epoch: needed where the spec counts in epochs.

    Attributes:
        learning_rate_scale: scalar variable, 1 at first, that multiplies the table's learning rate. A training sets it
            by the metric rules (`optim.metric_rules`) between steps. Saved among `variables`.
    """

    spec_type: type[OptimizerSpec]

    def __init__(
        self, spec: OptimizerSpec, learning_rate=None, steps_per_epoch: int | None = None, name: str | None = None
    ):
        # Keras's own weight_decay stays off: it is always decoupled.
        super().__init__(spec.learning_rate if learning_rate is None else learning_rate, name=name)
        self.spec, self.steps_per_epoch = spec, steps_per_epoch
        self.learning_rate_scale = self.add_variable(
            (),
            initializer="ones",
            aggregation="only_first_replica",
            name="rate_scale",  # its name in saved states
        )

    @keras.optimizers.Optimizer.learning_rate.getter
    def learning_rate(self):
        """The learning rate of the next step, scalar float32."""
        return super().learning_rate * self.learning_rate_scale

    def apply_decay(self, gradient, variable, learning_rate, weight_decay: float):
        """Applies weight decay, to the weight itself if decoupled; returns the gradient the update goes on with."""
        gradient = ops.cast(gradient, variable.dtype)
        if weight_decay == 0 or (self.spec.decay_on == "kernels" and len(variable.shape) < 2):
            return gradient
        if self.spec.decay == "coupled":
            return gradient + weight_decay * variable
        self.assign_sub(variable, learning_rate * weight_decay * variable)
        return gradient

    def get_config(self) -> dict:
        learning_rate = super().get_config()["learning_rate"]
        spec = dataclasses.asdict(self.spec)
        return {
            "name": self.name,
            "learning_rate": learning_rate,
            "steps_per_epoch": self.steps_per_epoch,
            "spec": spec,
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None):
        spec = parsing.build(cls.spec_type, config["spec"], "the optimizer's spec")
        return super().from_config({**config, "spec": spec}, custom_objects)


def kind_of(weight: keras.Variable) -> str:
    """Returns a weight's group: "filters" (every kernel but the head's), "norms", "stem_bias" or "head"."""
    for own in ("head", "stem_bias"):
        if own in weight.path.split("/"):
            return own
    return "filters" if len(weight.shape) > 1 else "norms"


@keras.saving.register_keras_serializable(package="resnet_tf")
class SGD(SpecOptimizer):
    """buffer = momentum x buffer + gradient; weight -= learning rate x buffer, with Nesterov's form as an option.

    Nesterov's step is gradient + momentum x buffer. Unlike Keras's, the buffer does not contain the learning rate: when
    that falls tenfold, so does the very next step.
    """

    spec_type = SGDSpec

    def build(self, variables) -> None:
        if not self.built:
            super().build(variables)
            self.buffers = self.add_optimizer_variables(variables, "momentum")
            self.kinds = [kind_of(variable) for variable in variables]
            if self.steps_per_epoch is None and any(self.spec.group(kind).frozen_after_epoch for kind in self.kinds):
                raise ValueError("'steps_per_epoch' must be given with 'frozen_after_epoch'. Received: None.")

    def update_step(self, gradient, variable, learning_rate) -> None:
        learning_rate, step = self.momentum_step(gradient, variable, learning_rate)
        self.assign_sub(variable, learning_rate * step)

    def momentum_step(self, gradient, variable, learning_rate):
        """Applies weight decay and updates the buffer; returns the weight's own learning rate, and its step."""
        index = self._get_variable_index(variable)
        buffer, group = self.buffers[index], self.spec.group(self.kinds[index])
        learning_rate = ops.cast(learning_rate, variable.dtype) * group.learning_rate_factor
        learning_rate *= self.not_frozen(group, variable.dtype)
        gradient = self.apply_decay(gradient, variable, learning_rate, group.weight_decay)
        self.assign(buffer, group.momentum * buffer + gradient)
        return learning_rate, gradient + group.momentum * buffer if self.spec.nesterov else buffer

    def not_frozen(self, group, dtype):
        """Returns 1 while a group is trained and 0 once it is frozen: a float, or a scalar of `dtype`."""
        if group.frozen_after_epoch is None:
            return 1.0
        return ops.cast(self.iterations < group.frozen_after_epoch * self.steps_per_epoch, dtype)


@keras.saving.register_keras_serializable(package="resnet_tf")
class Muon(SGD):
    """SGD whose step is orthogonalised for kernels of convolutions: weight -= learning rate x orthogonalised(step)."""

    spec_type = MuonSpec

    def update_step(self, gradient, variable, learning_rate) -> None:
        if self.kinds[self._get_variable_index(variable)] != "filters":
            super().update_step(gradient, variable, learning_rate)
            return
        if self.spec.reset_filter_norm:
            scale = ops.sqrt(variable.shape[-1] / ops.sum(ops.square(variable)))
            trained = self.not_frozen(self.spec.group("filters"), variable.dtype)
            self.assign(variable, variable * (scale * trained + (1 - trained)))
        learning_rate, step = self.momentum_step(gradient, variable, learning_rate)
        self.assign_sub(variable, learning_rate * orthogonalised(step, self.spec.newton_schulz_steps))


def orthogonalised(kernel, steps: int):
    """Returns a kernel [..., filters] with the singular values of its matrix moved towards 1.

    The matrix is filters x (inputs x height x width), or its transpose: both have the same result. It is first divided
    by its Frobenius norm. Singular values of at least 0.02 then lie between 0.68 and 1.21 after three iterations, those
    of at least 0.003 after five. The matrix stays float32 (TF32 on GPUs that have it), where the published code rounds
    to bfloat16.

    Args:
        steps: Newton-Schulz iterations.

    Source: Jordan et al. 2024, the quintic Newton-Schulz iteration and its coefficients.
    """
    matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix
    x = x / (ops.sqrt(ops.sum(ops.square(x))) + 1e-7)
    for _ in range(steps):
        gram = ops.matmul(x, ops.transpose(x))
        x = 3.4445 * x + ops.matmul(-4.7750 * gram + 2.0315 * ops.matmul(gram, gram), x)
    return ops.reshape(ops.transpose(x) if tall else x, kernel.shape)


@keras.saving.register_keras_serializable(package="resnet_tf")
class Adam(SpecOptimizer):
    """weight -= learning rate x m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon), t counting from 1."""

    spec_type = AdamSpec

    def build(self, variables) -> None:
        if not self.built:
            super().build(variables)
            self.means, self.squares = self.add_optimizer_variables(variables, ("mean", "square"))

    def update_step(self, gradient, variable, learning_rate) -> None:
        learning_rate = ops.cast(learning_rate, variable.dtype)
        gradient = self.apply_decay(gradient, variable, learning_rate, self.spec.weight_decay)
        index = self._get_variable_index(variable)
        mean, square = self.means[index], self.squares[index]
        beta_1, beta_2 = self.spec.beta_1, self.spec.beta_2
        self.assign_add(mean, (1 - beta_1) * (gradient - mean))
        self.assign_add(square, (1 - beta_2) * (gradient * gradient - square))
        corrected_rate = learning_rate / self._correction(beta_1, variable.dtype)
        root = ops.sqrt(square / self._correction(beta_2, variable.dtype))
        self.assign_sub(variable, corrected_rate * mean / (root + self.spec.epsilon))

    def _correction(self, beta: float, dtype):
        """Returns 1 - beta^t, without the cancellation that float32 would suffer while t is small."""
        if beta == 0:
            return ops.ones((), dtype)
        return -ops.expm1(ops.cast(self.iterations + 1, dtype) * math.log(beta))


def build_optimizer(
    spec: OptimizerSpec, learning_rates: np.ndarray | None = None, steps_per_epoch: int | None = None
) -> SpecOptimizer:
    """Returns the Keras optimizer of a spec.

    Args:
        learning_rates: of every step, from `Schedule.rates`; None: the spec's own throughout.
        steps_per_epoch: needed where the spec counts in epochs (`frozen_after_epoch`).
    """
    optimizer = {SGDSpec: SGD, MuonSpec: Muon, AdamSpec: Adam}[type(spec)]
    return optimizer(spec, None if learning_rates is None else LearningRateTable(learning_rates), steps_per_epoch)

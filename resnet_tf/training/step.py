"""One training step: forward pass, loss, gradients, update, and batch norm's running statistics.

`TensorFlowStep` and `JaxStep` do the same arithmetic in the manner of their backends. The optimizer applies weight
decay, momentum and the learning rate (`optim.optimizers`); batch norm updates its own running statistics
(`models.layers`).
"""

from abc import ABC, abstractmethod
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from resnet_tf.errors import unknown
from resnet_tf.optim.losses import CrossEntropy
from resnet_tf.optim.optimizers import SpecOptimizer


class Step(ABC):
    """Trains a network by one batch a call.

    Args:
        network: float32 images [batch, height, width, 3] in 0..255 to logits [batch, classes].
        optimizer: updates the network's weights; built here.
        loss_function: labels, as `__call__` takes them, and logits to the batch's mean loss.
        jit_compile: XLA compiles the step.
    """

    def __init__(
        self, network: keras.Model, optimizer: SpecOptimizer, loss_function: CrossEntropy, jit_compile: bool = False
    ):
        self.network, self.optimizer, self.loss_function = network, optimizer, loss_function
        self.jit_compile = jit_compile
        optimizer.build(network.trainable_variables)

    @abstractmethod
    def __call__(self, images: Any, labels: Any) -> tuple[float, int]:
        """Updates the network; returns the batch's mean loss and how many of its images were classified correctly.

        Args:
            images: float32 [batch, height, width, 3] in 0..255; each of several processes passes its rows.
            labels: int32 [batch], or the share of each class, float32 [batch, classes]. An image that is mixed of two
                is classified correctly by the class with the larger share.
        """

    @abstractmethod
    def synchronize(self) -> None:
        """Makes the network's and the optimizer's variables current; call it before they are read or assigned."""

    @property
    def variables(self) -> dict[str, keras.Variable]:
        """What changes from step to step, by name: weights, running statistics, numbers of draws, optimizer slots."""
        weights = {f"model/{variable.path}": variable for variable in self.network.variables}
        # Without the optimizer's own name, which Keras numbers: the second one of a process is "sgd_1".
        slots = {f"optimizer/{variable.path.partition('/')[2]}": variable for variable in self.optimizer.variables}
        return weights | slots


class TensorFlowStep(Step):
    """A step as a TensorFlow graph. Several devices take equal parts of the batch (`tf.distribute`)."""

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self.strategy = tf.distribute.get_strategy()
        self.replicas, self.mirrored = self.strategy.num_replicas_in_sync, tf.distribute.has_strategy()
        self.graph = tf.function(self._on_every_device, autograph=False, jit_compile=self.jit_compile)

    def update(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The mathematics of a step on one device, for its part of the batch.

        Args:
            images: [batch, size, size, 3] in 0..255.
            labels: int32 [batch], or shares of the classes, float32 [batch, classes].

        Returns:
            The loss, and how many images are predicted correctly.
        """
        with tf.GradientTape() as tape:
            logits = self.network(images, training=True)  # batch norm updates its running statistics here
            loss = self.loss_function(labels, logits)  # Keras divides it by the number of devices
        weights = self.network.trainable_variables
        gradients = tape.gradient(loss, weights)
        self.optimizer.apply(gradients, weights)  # sums over the devices, then decay, momentum and learning rate
        classes = labels if labels.shape.rank == 1 else tf.argmax(labels, axis=-1, output_type=tf.int32)
        correct = tf.math.count_nonzero(tf.argmax(logits, axis=-1, output_type=classes.dtype) == classes)
        return loss, correct

    def _on_every_device(self, images, labels):
        if not self.mirrored:
            return self.update(images, labels)
        results = self.strategy.run(self.update, [self._spread(images), self._spread(labels)])
        return tuple(self.strategy.reduce(tf.distribute.ReduceOp.SUM, result, axis=None) for result in results)

    def _spread(self, batch: tf.Tensor):
        parts = tf.split(batch, self.replicas)
        spread = self.strategy.experimental_distribute_values_from_function
        return spread(lambda device: parts[device.replica_id_in_sync_group])

    def __call__(self, images, labels) -> tuple[float, int]:
        loss, correct = self.graph(images, labels)
        return float(loss), int(correct)

    def synchronize(self) -> None:
        pass  # the graph updates the variables themselves


class JaxStep(Step):
    """A step as a pure function that JAX compiles. Its state replaces the variables until `synchronize`.

    With `keras.distribution.DataParallel` the batch is distributed over all devices of all processes.
    """

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        import jax

        self.state, self.rows, everywhere = None, None, None
        if keras.distribution.distribution() is not None:
            mesh = keras.distribution.distribution().device_mesh.backend_mesh
            self.rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(mesh.axis_names[0]))
            everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        self.compiled = jax.jit(self.update, donate_argnums=0, out_shardings=everywhere)

    def update(self, state: tuple, images, labels) -> tuple[tuple, Any, Any]:
        """The mathematics of a step; images and labels are those of `TensorFlowStep.update`.

        Returns:
            The new state (weights, running statistics, the optimizer's variables), the loss, and how many images are
            predicted correctly.
        """
        import jax

        weights, statistics, slots = state

        def loss_of(weights):
            logits, updated = self.network.stateless_call(weights, statistics, images, training=True)
            return self.loss_function(labels, logits), (logits, updated)

        (loss, (logits, statistics)), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights)
        weights, slots = self.optimizer.stateless_apply(slots, gradients, weights)  # decay, momentum, learning rate
        classes = labels if labels.ndim == 1 else ops.argmax(labels, axis=-1)
        correct = ops.sum(ops.argmax(logits, axis=-1) == classes)
        return (weights, statistics, slots), loss, correct

    def __call__(self, images, labels) -> tuple[float, int]:
        images, labels = np.asarray(images), np.asarray(labels)
        if self.rows is not None:
            import jax

            images, labels = (jax.make_array_from_process_local_data(self.rows, part) for part in (images, labels))
        if self.state is None:
            self.state = tuple([variable.value for variable in part] for part in self._parts)
        self.state, loss, correct = self.compiled(self.state, images, labels)
        return float(loss), int(correct)

    def synchronize(self) -> None:
        if self.state is not None:
            for variables, values in zip(self._parts, self.state, strict=True):
                for variable, value in zip(variables, values, strict=True):
                    variable.assign(value)
            self.state = None

    @property
    def _parts(self) -> tuple[list, list, list]:
        return self.network.trainable_variables, self.network.non_trainable_variables, self.optimizer.variables


STEPS = {"tensorflow": TensorFlowStep, "jax": JaxStep}


def check_backend() -> None:
    """Raises UserError where Keras has a backend that trains nothing here."""
    if keras.backend.backend() not in STEPS:
        raise unknown("backend for training:", keras.backend.backend(), STEPS, "backend-unknown")


def build_step(
    network: keras.Model, optimizer: SpecOptimizer, loss_function: CrossEntropy, jit_compile: bool = False
) -> Step:
    """Returns the step of Keras's backend; see `Step` for the arguments."""
    return STEPS[keras.backend.backend()](network, optimizer, loss_function, jit_compile)

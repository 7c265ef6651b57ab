"""What a residual network needs beyond Keras's layers: normalisations, shortcut, activation, initial weights."""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="resnet_tf")
class Drawn(keras.initializers.Initializer):
    """Initial weights drawn by numpy, so that a seed means the same on every backend; Keras's own differ there.

    Args:
        distribution: "normal" with mean 0 and deviation `scale`, or "uniform" between -`scale` and `scale`.
        seed: of numpy's Philox generator.
    """

    def __init__(self, distribution: str, scale: float, seed: int):
        self.distribution, self.scale, self.seed = distribution, scale, seed

    def __call__(self, shape, dtype=None):
        draws = np.random.Generator(np.random.Philox(self.seed))
        if self.distribution == "normal":
            values = self.scale * draws.standard_normal(shape)
        else:
            values = draws.uniform(-self.scale, self.scale, shape)
        return ops.convert_to_tensor(values.astype(np.float32), dtype)

    def get_config(self):
        return {"distribution": self.distribution, "scale": self.scale, "seed": self.seed}


class InputNormalization(keras.layers.Layer):
    """Subtracts a mean and divides by a deviation that are stored with the weights.

    Inside the network, so that training, evaluation, prediction and export normalise alike by construction.

    Args:
        statistics_shape: `(3,)` a value a channel, or `(height, width, 3)` a value a pixel.

    Input: float [batch, height, width, 3] in 0..255. Output: the same shape in the compute dtype.
    """

    def __init__(self, statistics_shape: tuple[int, ...] = (3,), **kwargs):
        # Under mixed precision too the mean is taken off in float32: bfloat16 would round grey levels to whole ones.
        super().__init__(autocast=False, **kwargs)
        self.statistics_shape = tuple(statistics_shape)

    def build(self, input_shape):
        self.mean = self.add_weight(
            name="mean", shape=self.statistics_shape, initializer="zeros", trainable=False, autocast=False
        )
        self.deviation = self.add_weight(
            name="deviation", shape=self.statistics_shape, initializer="ones", trainable=False, autocast=False
        )

    def call(self, images):
        return ops.cast((images - self.mean) / self.deviation, self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "statistics_shape": self.statistics_shape}


class BatchNormalization(keras.layers.Layer):
    """Batch normalisation over batch, height and width, with torch's defaults and torch's running variance.

    The batch is the global one, however many devices share it. On TensorFlow, on one device, the training step is the
    fused `FusedBatchNormV3`, about 1.4 times the step rate of Keras's own layer on a CPU; other backends, and several
    devices, take plain Keras operations. Both keep the running variance unbiased (Bessel's correction), as torch and
    the fused operation do and Keras's layer does not.

    Args:
        momentum: share of the old running statistics that a step keeps; 0.9 is torch's `momentum=0.1`.
        epsilon: added to the variance.
        zero_scale: start the scale at 0 instead of 1 (the last norm of a residual unit: Goyal et al. 2017, 5.1).

    Source: Ioffe and Szegedy 2015 (arXiv:1502.03167), algorithms 1 and 2.
    """

    def __init__(self, momentum: float = 0.9, epsilon: float = 1e-5, zero_scale: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.momentum, self.epsilon, self.zero_scale = momentum, epsilon, zero_scale

    def build(self, input_shape):
        shape = (input_shape[-1],)
        scale = "zeros" if self.zero_scale else "ones"
        # Statistics and scales stay float32 under mixed precision, as the fused operation wants them.
        self.scale = self.add_weight(name="scale", shape=shape, initializer=scale, autocast=False)
        self.offset = self.add_weight(name="offset", shape=shape, initializer="zeros", autocast=False)
        self.running_mean = self.add_weight(
            name="running_mean", shape=shape, initializer="zeros", trainable=False, autocast=False
        )
        self.running_variance = self.add_weight(
            name="running_variance", shape=shape, initializer="ones", trainable=False, autocast=False
        )

    def call(self, x, training=False):
        if not training:
            return self._normalised(x, self.running_mean, self.running_variance)
        fused = keras.backend.backend() == "tensorflow" and _replicas() == 1
        y, mean, variance = self._fused(x) if fused else self._plain(x)
        keep = self.momentum
        self.running_mean.assign(keep * self.running_mean + (1 - keep) * mean)
        self.running_variance.assign(keep * self.running_variance + (1 - keep) * variance)
        return y

    def _fused(self, x):
        import tensorflow as tf

        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x,
            scale=self.scale,
            offset=self.offset,
            mean=[],
            variance=[],
            epsilon=self.epsilon,
            is_training=True,
        )
        return y, mean, variance

    def _plain(self, x):
        mean, variance = ops.moments(ops.cast(x, "float32"), axes=(0, 1, 2))
        batch, height, width, _ = ops.shape(x)
        if (replicas := _replicas()) > 1:
            mean, variance = _over_replicas(mean, variance)
        count = ops.cast(batch * height * width * replicas, "float32")
        return self._normalised(x, mean, variance), mean, variance * count / ops.maximum(count - 1.0, 1.0)

    def _normalised(self, x, mean, variance):
        """In float32 whatever `x` is, as the fused operation: a shift rounded to 8 bits would move a whole channel."""
        factor = self.scale * ops.rsqrt(variance + self.epsilon)
        shift = self.offset - mean * factor
        return ops.cast(ops.cast(x, "float32") * factor + shift, x.dtype)

    def get_config(self):
        config = {"momentum": self.momentum, "epsilon": self.epsilon, "zero_scale": self.zero_scale}
        return {**super().get_config(), **config}


def _replicas() -> int:
    """Returns how many devices share a batch of which each sees its part: TensorFlow's way. In JAX a step sees all."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def _over_replicas(mean, variance):
    """Returns mean and variance of a batch from those of its equal parts, without the difference of large sums."""
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    overall = replica.all_reduce(tf.distribute.ReduceOp.MEAN, mean)
    return overall, replica.all_reduce(tf.distribute.ReduceOp.MEAN, variance + tf.square(mean - overall))


@keras.saving.register_keras_serializable(package="resnet_tf")
class GroupedConv2D(keras.layers.Conv2D):
    """Keras's convolution in `groups`, on TensorFlow by TensorFlow's own operation.

    Keras lets XLA compile it there. On a CPU that takes 40 to 280 times as long (64 channels in 4 or 32 groups, with
    gradients).
    """

    def convolution_op(self, inputs, kernel):
        if keras.backend.backend() != "tensorflow":
            return super().convolution_op(inputs, kernel)
        import tensorflow as tf

        return tf.nn.conv2d(inputs, kernel, self.strides, self.padding.upper())


class IdentityPad(keras.layers.Layer):
    """The parameter-free shortcut: every `strides`-th pixel, and zeros for the channels that are missing.

    Input: [batch, height, width, channels]. Output: [batch, ceil(height / strides), ceil(width / strides), filters].

    Source: He et al. 2015 (arXiv:1512.03385), section 3.3, option A.
    """

    def __init__(self, filters: int, strides: int, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.strides = filters, strides

    def call(self, x):
        x = x[:, :: self.strides, :: self.strides, :]
        return ops.pad(x, [(0, 0), (0, 0), (0, 0), (0, self.filters - x.shape[-1])])

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        rows, columns = (None if side is None else -(-side // self.strides) for side in (height, width))
        return batch, rows, columns, self.filters

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "strides": self.strides}


@keras.saving.register_keras_serializable(package="resnet_tf")
class LeakyReLUOfSum(keras.layers.LeakyReLU):
    """Keras's LeakyReLU behind a sum; in inference as the larger of x and slope * x, the same for slopes up to 1.

    Where oneDNN is on, TensorFlow 2.21 joins a graph's convolution, bias, sum and LeakyRelu to one operation, which
    then has the slope 0.2 whatever was asked for.
    """

    def call(self, x, training=False):
        return super().call(x) if training else ops.maximum(x, self.negative_slope * x)

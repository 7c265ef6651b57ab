"""Layers and initial weights that Keras does not have, or not as a ResNet needs them."""

import math
from collections.abc import Iterable

import keras
import numpy as np
from keras import ops

BLOCK = 500 * 32**2  # pixels measured at a time: their float64 copies stay small, 12 MB


@keras.saving.register_keras_serializable(package="resnet_tf", name="Drawn")  # its name in .keras files
class NumpyInitializer(keras.initializers.Initializer):
    """Random initial weights from numpy: a seed gives the same weights on every backend, as Keras's own do not.

    Args:
        distribution: "normal" with mean 0 and deviation `scale`, or "uniform" between -`scale` and `scale`.
        seed: of numpy's Philox generator.
    """

    def __init__(self, distribution: str, scale: float, seed: int):
        self.distribution, self.scale, self.seed = distribution, scale, seed

    def __call__(self, shape, dtype=None):
        return ops.convert_to_tensor(self.draw(shape).astype(np.float32), dtype)

    def draw(self, shape: tuple[int, ...]) -> np.ndarray:
        generator = np.random.Generator(np.random.Philox(self.seed))
        if self.distribution == "normal":
            return self.scale * generator.standard_normal(shape)
        return generator.uniform(-self.scale, self.scale, shape)

    def get_config(self):
        return {"distribution": self.distribution, "scale": self.scale, "seed": self.seed}


@keras.saving.register_keras_serializable(package="resnet_tf")
class Dirac(NumpyInitializer):
    """Initial kernel [height, width, inputs, filters] whose filter i copies the centre pixel of input channel i.

    Filters beyond the number of inputs are uniform within 1 / sqrt(height x width x inputs), as torch's convolution
    starts.

    Source: Zagoruyko and Komodakis 2017 (arXiv:1706.00388); torch.nn.init.dirac_.
    """

    def __init__(self, scale: float, seed: int):
        super().__init__("uniform", scale, seed)

    def draw(self, shape: tuple[int, int, int, int]) -> np.ndarray:
        height, width, inputs, filters = shape
        kernel, same = super().draw(shape), np.arange(min(inputs, filters))
        kernel[..., same] = 0
        kernel[height // 2, width // 2, same, same] = 1
        return kernel

    def get_config(self):
        return {"scale": self.scale, "seed": self.seed}


@keras.saving.register_keras_serializable(package="resnet_tf")
class InputNormalization(keras.layers.Layer):
    """Subtracts a mean and divides by a deviation that are stored with the weights.

    As part of the network it is the same in training, evaluation, prediction and export. At first the mean is 0 and the
    deviation 1; `adapt` measures them on images.

    Args:
        statistics_shape: `(3,)`: one value per channel, or `(height, width, 3)`: one per pixel.

    Input: float [batch, height, width, 3] in 0..255. Output: the same shape in the compute dtype.
    """

    def __init__(self, statistics_shape: tuple[int, ...] = (3,), **kwargs):
        # Float32 even under mixed precision: bfloat16 has 8 bits and would round fractions of pixel values away.
        super().__init__(autocast=False, **kwargs)
        self.statistics_shape = tuple(statistics_shape)

    def build(self, input_shape):
        constant = {"shape": self.statistics_shape, "trainable": False, "autocast": False}
        self.mean = self.add_weight(name="mean", initializer="zeros", **constant)
        self.deviation = self.add_weight(name="deviation", initializer="ones", **constant)

    def adapt(self, images: np.ndarray | Iterable) -> None:
        """Stores the mean and deviation of images, as the layer `Normalization` of Keras does.

        With one value per pixel, each pixel is divided by a deviation of its own; a preset's "per_pixel" divides all by
        one number. A deviation below 1 is stored as 1, so that a channel without variation is not
        amplified.

        Args:
            images: [n, height, width, 3] in 0..255, or an iterable of such batches, for instance a `tf.data.Dataset`.
        """
        if not self.built:
            self.build(None)
        blocks = images
        if hasattr(images, "shape"):
            size = max(1, BLOCK // math.prod(images.shape[1:3]))
            blocks = (images[start : start + size] for start in range(0, len(images), size))
        axes = tuple(range(4 - len(self.statistics_shape)))  # all images, and all pixels for one value per channel
        total, squares, count = 0.0, 0.0, 0
        for block in blocks:
            pixels = np.asarray(block, np.float64)
            total += pixels.sum(axes)
            squares += np.square(pixels).sum(axes)
            count += math.prod(pixels.shape[axis] for axis in axes)
        if count == 0:
            raise ValueError("`images` must hold at least one image. Received: none.")
        mean = total / count
        self.mean.assign(mean)
        self.deviation.assign(np.maximum(np.sqrt(np.maximum(squares / count - mean**2, 0)), 1.0))

    def call(self, images):
        return ops.cast((images - self.mean) / self.deviation, self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "statistics_shape": self.statistics_shape}


@keras.saving.register_keras_serializable(package="resnet_tf")
class Bias(keras.layers.Layer):
    """Adds a trained value to each channel; all start at 0.

    Input and output: float [..., channels].
    """

    def build(self, input_shape):
        self.bias = self.add_weight(name="bias", shape=(input_shape[-1],), initializer="zeros")

    def call(self, x):
        return x + self.bias


@keras.saving.register_keras_serializable(package="resnet_tf")
class BatchNormalization(keras.layers.Layer):
    """Batch normalisation over batch, height and width, with torch's defaults and torch's running variance.

    The statistics are those of the global batch, also where several devices share it. With TensorFlow on one device the
    training step uses the fused `FusedBatchNormV3`: on a CPU about 1.4 times as many steps a second as with Keras's
    layer. Otherwise plain Keras operations do the same. The running variance is unbiased (Bessel's correction), as in
    torch; in Keras's layer it is not. A layer whose `trainable` is false uses its running statistics and keeps them, in
    training too, as Keras's does.

    Args:
        momentum: weight of the old running statistics in a step's new ones; 0.9 is torch's `momentum=0.1`.
        epsilon: added to the variance.
        zero_scale: start the scale at 0 instead of 1 (the last norm of a residual unit: Goyal et al. 2017, 5.1).
        train_scale: False leaves the scale as it starts.

    Source: Ioffe and Szegedy 2015 (arXiv:1502.03167), algorithms 1 and 2.
    """

    def __init__(
        self,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        zero_scale: bool = False,
        train_scale: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.momentum, self.epsilon = momentum, epsilon
        self.zero_scale, self.train_scale = zero_scale, train_scale

    def build(self, input_shape):
        # All stay float32 under mixed precision, as the fused operation requires.
        vector = {"shape": (input_shape[-1],), "autocast": False}
        scale = "zeros" if self.zero_scale else "ones"
        self.scale = self.add_weight(name="scale", initializer=scale, trainable=self.train_scale, **vector)
        self.offset = self.add_weight(name="offset", initializer="zeros", **vector)
        self.running_mean = self.add_weight(name="running_mean", initializer="zeros", trainable=False, **vector)
        self.running_variance = self.add_weight(name="running_variance", initializer="ones", trainable=False, **vector)

    def call(self, x, training=False):
        if not (training and self.trainable):
            return self._normalised(x, self.running_mean, self.running_variance)
        fused = keras.backend.backend() == "tensorflow" and _replicas() == 1
        y, mean, variance = self._fused(x) if fused else self._plain(x)
        keep = self.momentum
        self.running_mean.assign(keep * self.running_mean + (1 - keep) * mean)
        self.running_variance.assign(keep * self.running_variance + (1 - keep) * variance)
        return y

    def _fused(self, x):
        import tensorflow as tf

        inputs = {"x": x, "scale": self.scale, "offset": self.offset, "mean": [], "variance": []}
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(**inputs, epsilon=self.epsilon, is_training=True)
        return y, mean, variance

    def _plain(self, x):
        mean, variance = ops.moments(ops.cast(x, "float32"), axes=(0, 1, 2))
        batch, height, width, _ = ops.shape(x)
        if (replicas := _replicas()) > 1:
            mean, variance = _over_replicas(mean, variance)
        count = ops.cast(batch * height * width * replicas, "float32")
        return self._normalised(x, mean, variance), mean, variance * count / ops.maximum(count - 1.0, 1.0)

    def _normalised(self, x, mean, variance):
        """Normalises in float32, as the fused operation does: a shift in bfloat16 would displace a whole channel."""
        factor = self.scale * ops.rsqrt(variance + self.epsilon)
        shift = self.offset - mean * factor
        return ops.cast(ops.cast(x, "float32") * factor + shift, x.dtype)

    def get_config(self):
        names = ("momentum", "epsilon", "zero_scale", "train_scale")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _replicas() -> int:
    """Returns how many devices see a part of the batch each (TensorFlow); a step in JAX sees all of it."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync


def _over_replicas(mean, variance):
    """Returns mean and variance of the global batch from those of its equal parts, one a device."""
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    overall = replica.all_reduce(tf.distribute.ReduceOp.MEAN, mean)
    return overall, replica.all_reduce(tf.distribute.ReduceOp.MEAN, variance + tf.square(mean - overall))


@keras.saving.register_keras_serializable(package="resnet_tf")
class StochasticDepth(keras.layers.Layer):
    """In training, images are dropped at random: set to 0, and the others divided by the survival probability.

    Which images of a batch are dropped follows from the seed and the number of training steps before, a variable that a
    checkpoint and a .keras file hold and a weight file does not. Several devices drop the images that one would drop.
    TensorFlow and JAX draw different numbers.

    Args:
        rate: the chance that an image is dropped, from 0, below 1.
        seed: whole number from 0, below 2**32.

    Input and output: [batch, ...].

    Source: Huang et al. 2016 (arXiv:1603.09382), section 3; scaled, and image by image, as torchvision's
    stochastic_depth in mode "row".
    """

    def __init__(self, rate: float, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.rate, self.seed = rate, seed
        # Keras does not count the generator's variable among a model's weights.
        self.numbers = keras.random.SeedGenerator(seed, name=f"{self.name}_numbers")

    def call(self, x, training=False):
        if not training:
            return x
        batch, replicas = ops.shape(x)[0], _replicas()
        survives = keras.random.uniform((batch * replicas,), dtype="float32", seed=self.numbers) >= self.rate
        if replicas > 1:  # every device draws for the global batch and takes its own part
            import tensorflow as tf

            place = tf.distribute.get_replica_context().replica_id_in_sync_group
            survives = survives[place * batch : (place + 1) * batch]
        factors = ops.cast(survives, "float32") / (1 - self.rate)
        return x * ops.cast(ops.reshape(factors, (-1, *[1] * (len(x.shape) - 1))), x.dtype)

    def save_own_variables(self, store):
        store["numbers"] = self.numbers.state

    def load_own_variables(self, store):
        self.numbers.state.assign(store["numbers"])

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


@keras.saving.register_keras_serializable(package="resnet_tf")
class GroupedConv2D(keras.layers.Conv2D):
    """Keras's convolution in `groups`, computed by TensorFlow's own operation where that is the backend.

    Keras has XLA compile it there, which takes a CPU 40 to 280 times as long (64 channels in 4 or 32 groups, with
    gradients).
    """

    def convolution_op(self, inputs, kernel):
        if keras.backend.backend() != "tensorflow":
            return super().convolution_op(inputs, kernel)
        import tensorflow as tf

        return tf.nn.conv2d(inputs, kernel, self.strides, self.padding.upper())


@keras.saving.register_keras_serializable(package="resnet_tf")
class IdentityPad(keras.layers.Layer):
    """The shortcut without parameters: takes every `strides`-th pixel and adds channels of zeros.

    Input: [batch, height, width, channels]. Output: [batch, ceil(height / strides), ceil(width / strides), filters].

    Source: He et al. 2015 (arXiv:1512.03385), section 3.3, option A.
    """

    def __init__(self, filters: int, strides: int, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.strides = filters, strides

    def call(self, x):
        # The mean of each single pixel: slices with strides, and their gradients, are several times slower on a CPU.
        x = ops.average_pool(x, pool_size=1, strides=self.strides)
        return ops.pad(x, [(0, 0), (0, 0), (0, 0), (0, self.filters - x.shape[-1])])

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        rows, columns = (None if side is None else -(-side // self.strides) for side in (height, width))
        return batch, rows, columns, self.filters

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "strides": self.strides}


@keras.saving.register_keras_serializable(package="resnet_tf")
class LeakyReLUOfSum(keras.layers.LeakyReLU):
    """LeakyReLU after a sum; in inference it is computed as max(x, slope * x), which is the same for slopes up to 1.

    With oneDNN, TensorFlow 2.21 fuses a graph's convolution, bias, sum and LeakyRelu into one operation, whose slope is
    always 0.2.
    """

    def call(self, x, training=False):
        return super().call(x) if training else ops.maximum(x, self.negative_slope * x)

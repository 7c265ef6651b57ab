"""One residual network whose parameters make every ResNet of the presets.

Source: He, Zhang, Ren, Sun 2015, "Deep Residual Learning for Image Recognition" (arXiv:1512.03385).
"""

import dataclasses
import math
import sys
import zlib
from contextlib import contextmanager
from dataclasses import dataclass

import keras
from keras import layers, ops

from resnet_tf.errors import UserError
from resnet_tf.models.layers import (
    BatchNormalization,
    Bias,
    Dirac,
    GroupedConv2D,
    IdentityPad,
    InputNormalization,
    LeakyReLUOfSum,
    NumpyInitializer,
    StochasticDepth,
)
from resnet_tf.presets import parsing
from resnet_tf.presets.network import Network

LAYERS_PER_WEIGHTED_ONE = 5  # at most, on the longest path: padding, convolution, norm, activation, sum or pooling


def resnet(
    network: Network | None = None,
    *,
    image_size: int | None = 32,
    classes: int = 10,
    statistics_shape: tuple[int, ...] = (3,),
    seed: int = 0,
    folded: bool = False,
    **overrides,
) -> keras.Model:
    """Builds a residual network that takes images and returns logits.

    `resnet(num_residual_units=3)` is the paper's ResNet-20 for CIFAR; `resnet(network)` follows a preset's `model`.

    The input's mean is 0 and its deviation 1 until they are measured on the training images:
    `model.get_layer("normalization").adapt(images)`.

    Args:
        network: the shape of the network; see `presets.Network` for every key.
        image_size: height and width of the input in pixels; None: any.
        classes: number of logits.
        statistics_shape: shape of the input's mean and deviation: `(3,)` or `(image_size, image_size, 3)`.
        seed: initial weights are a pure function of it and the layer's name.
        folded: the form for inference, in which the norm after a convolution is part of it; see `folding`.
        overrides: keys of `Network` given directly, and checked as a preset's; without `network`, the CIFAR form is the
            default.

    Returns:
        A model from float32 [batch, image_size, image_size, 3] in 0..255 to float32 logits [batch, classes].

    Raises:
        UserError: an unknown key or a wrong value in `overrides`; or Keras is set to another order of axes, or to
            another type of numbers.
    """
    _check_settings()
    if network is None or overrides:
        given = dataclasses.asdict(network) if network else {}
        network = parsing.build(Network, {**given, **overrides}, "the network")
    build = _Builder(network, seed, folded)
    unit = {"single": _single_unit, "basic": _basic_unit, "bottleneck": _bottleneck_unit}[network.unit]

    images = keras.Input((image_size, image_size, 3), name="images")
    x = InputNormalization(statistics_shape, name="normalization")(images)
    x = _stem(x, build)
    for stage, (units, filters) in enumerate(zip(network.units_per_stage, network.filters, strict=True), start=1):
        if network.transition == "pooled":
            x = _pooled_transition(x, filters * network.unit_expansion, build, name=f"stage{stage}_transition")
        for number in range(1, units + 1):
            strides = 2 if network.transition == "strided" and stage > 1 and number == 1 else 1
            build_unit = dataclasses.replace(build, drop_rate=network.drop_rate(stage, number))
            x = unit(x, filters, strides, build_unit, name=f"stage{stage}_unit{number}")
    pooling = {"average": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D}[network.head_pooling]
    x = pooling(name="pool")(x)
    with _recursion(LAYERS_PER_WEIGHTED_ONE * network.depth):
        return keras.Model(images, _head(x, classes, build), name=f"resnet{network.depth}")


def _check_settings() -> None:
    """Raises UserError for settings of Keras, in keras.json or by a call, that would make this another network."""
    settings = {"image_data_format": keras.config.image_data_format(), "floatx": keras.config.floatx()}
    settings["variables of the dtype policy"] = keras.config.dtype_policy().variable_dtype
    wanted = {"image_data_format": "channels_last", "floatx": "float32", "variables of the dtype policy": "float32"}
    if settings != wanted:
        raise UserError(f"Keras must be set to {wanted}. Received: {settings}.", "keras-settings")


@contextmanager
def _recursion(calls: int):
    """Raises Python's recursion limit by `calls`: Keras walks a network by recursion, and ResNet-1202 is too deep."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + calls)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def set_input_statistics(model: keras.Model, mean, deviation) -> None:
    """Stores the training set's mean and deviation (0..255, of the model's `statistics_shape`) in the network."""
    layer = model.get_layer("normalization")
    layer.mean.assign(mean)
    layer.deviation.assign(deviation)


def set_whitening(model: keras.Model, filters) -> None:
    """Stores the fixed filters [kernel, kernel, 3, outputs] of a whitened stem in the network."""
    model.get_layer("whitening").kernel.assign(filters)


def _stem(x, build: "_Builder"):
    network, stem = build.network, build.network.stem_shape
    if stem.whitened:
        # Random until `set_whitening`, like those of any other convolution.
        start = NumpyInitializer("normal", math.sqrt(2 / (3 * stem.kernel**2)), _layer_seed(build.seed, "whitening"))
        fixed = {"use_bias": False, "trainable": False, "kernel_initializer": start, "name": "whitening"}
        x = layers.Conv2D(stem.responses, stem.kernel, stem.strides, **fixed)(x)
        x = ops.concatenate([x, -x], axis=-1)
        if network.stem_bias:
            x = Bias(name="stem_bias")(x)
    else:
        x = build.conv_norm(x, network.stem_width, stem.kernel, stem.strides, "stem", padding=stem.padding)
    x = build.activation("stem_activation")(x)
    if stem.pool:
        if stem.pool_padding:
            # Not zeros: after a leaky activation all values at a border may be below zero.
            border = (stem.pool_padding, stem.pool_padding)
            x = ops.pad(x, ((0, 0), border, border, (0, 0)), constant_values=-math.inf)
        x = layers.MaxPooling2D(stem.pool, stem.pool_strides, name="stem_pool")(x)
    return x


def _pooled_transition(x, filters: int, build: "_Builder", name: str):
    """A 3x3 convolution to the next stage's width, then 2x2 max-pooling, then batch norm, on a quarter of the pixels.

    Its norm is not folded into the convolution: a scale below 0 would turn the maxima into minima.
    """
    kernel = build.initial_kernel(9 * x.shape[-1], 9 * filters, name)
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer=kernel, name=name)(x)
    x = layers.MaxPooling2D(2, name=f"{name}_pool")(x)
    return build.activation(f"{name}_activation")(build.norm(name)(x))


def _head(x, classes: int, build: "_Builder"):
    """The logits, in float32. Initial kernel and bias are torch's: uniform within +-1 / sqrt(inputs)."""
    network, bound = build.network, 1 / math.sqrt(x.shape[-1])
    kernel, bias = (NumpyInitializer("uniform", bound, _layer_seed(build.seed, name)) for name in ("head", "head_bias"))
    start = {"kernel_initializer": kernel, "bias_initializer": bias}
    x = layers.Dense(classes, use_bias=network.head_bias, **start, dtype="float32", name="head")(x)
    return x if network.logit_scale == 1 else layers.Rescaling(network.logit_scale, dtype="float32", name="logits")(x)


def _single_unit(x, filters: int, strides: int, build: "_Builder", name: str):
    """One 3x3 convolution."""
    y = build.conv_norm(x, filters, 3, strides, f"{name}_conv1", zero_scale=build.network.zero_last_scale)
    return _add_shortcut(x, y, strides, build, name)


def _basic_unit(x, filters: int, strides: int, build: "_Builder", name: str):
    """Two 3x3 convolutions (paper, figure 5 left)."""
    y = build.conv_norm(x, filters, 3, strides, f"{name}_conv1")
    y = build.activation(f"{name}_activation1")(y)
    y = build.conv_norm(y, filters, 3, 1, f"{name}_conv2", zero_scale=build.network.zero_last_scale)
    return _add_shortcut(x, y, strides, build, name)


def _bottleneck_unit(x, filters: int, strides: int, build: "_Builder", name: str):
    """1x1 down, 3x3, 1x1 up to `expansion` times the width (figure 5 right); the 3x3 strides, as torchvision's."""
    network, inner = build.network, build.network.inner_width(filters)
    y = build.conv_norm(x, inner, 1, 1, f"{name}_conv1")
    y = build.activation(f"{name}_activation1")(y)
    y = build.conv_norm(y, inner, 3, strides, f"{name}_conv2", groups=network.groups)
    y = build.activation(f"{name}_activation2")(y)
    y = build.conv_norm(y, filters * network.expansion, 1, 1, f"{name}_conv3", zero_scale=network.zero_last_scale)
    return _add_shortcut(x, y, strides, build, name)


def _add_shortcut(x, y, strides: int, build: "_Builder", name: str):
    if build.network.shortcut == "none":
        return build.activation(f"{name}_out")(y)
    filters = y.shape[-1]
    if strides > 1 or x.shape[-1] != filters:
        if build.network.shortcut == "identity-pad":
            x = IdentityPad(filters, strides, name=f"{name}_shortcut")(x)
        else:
            x = build.conv_norm(x, filters, 1, strides, f"{name}_shortcut")
    if build.drop_rate and not build.folded:
        y = StochasticDepth(build.drop_rate, _layer_seed(build.seed, f"{name}_drop"), name=f"{name}_drop")(y)
    return build.activation(f"{name}_out", LeakyReLUOfSum)(layers.Add(name=f"{name}_add")([x, y]))


@dataclass(frozen=True)
class _Builder:
    """Builds the layers of one network; for its fields see `resnet`, and for that of a unit `Network.drop_rate`."""

    network: Network
    seed: int
    folded: bool
    drop_rate: float = 0.0

    def conv_norm(
        self,
        x,
        filters: int,
        kernel: int,
        strides: int,
        name: str,
        *,
        padding: int | None = None,
        groups: int = 1,
        zero_scale: bool = False,
    ):
        """A convolution and its norm. The padding is the same on all sides, so strided pixels match the shortcut's."""
        padding = kernel // 2 if padding is None else padding
        same, inputs = strides == 1 and kernel == 2 * padding + 1, x.shape[-1] // groups
        if padding and not same:
            # With a stride, Keras's "same" pads one side more, which would shift the output against the shortcut.
            x = layers.ZeroPadding2D(padding, name=f"{name}_pad")(x)
        x = (layers.Conv2D if groups == 1 else GroupedConv2D)(
            filters,
            kernel,
            strides,
            padding="same" if same else "valid",
            groups=groups,
            use_bias=self.folded,
            kernel_initializer=self.initial_kernel(kernel**2 * inputs, kernel**2 * filters, name),
            name=name,
        )(x)
        return x if self.folded else self.norm(name, zero_scale)(x)

    def norm(self, name: str, zero_scale: bool = False) -> BatchNormalization:
        """The batch norm after the convolution `name`."""
        network = self.network
        settings = (network.norm_momentum, network.norm_epsilon, zero_scale, network.norm_scale)
        return BatchNormalization(*settings, name=norm_name(name))

    def activation(self, name: str, leaky: type[layers.LeakyReLU] = layers.LeakyReLU):
        if self.network.activation == "relu":
            return layers.ReLU(name=name)
        if self.network.activation == "gelu":
            return layers.Activation("gelu", name=name)  # Keras's default is the exact form
        return leaky(negative_slope=self.network.negative_slope, name=name)

    def initial_kernel(self, fan_in: int, fan_out: int, name: str) -> NumpyInitializer:
        """The initial values of a convolution: He's normal ones before (leaky) ReLU (arXiv:1502.01852), or `Dirac`.

        For a convolution in groups, `fan_in` counts one group and `fan_out` all, as in torch.
        """
        if self.network.initializer == "dirac":
            return Dirac(1 / math.sqrt(fan_in), _layer_seed(self.seed, name))
        gain = 2.0 / (1.0 + self.network.negative_slope**2)
        fan = {"he_fan_in": fan_in, "he_fan_out": fan_out}[self.network.initializer]
        return NumpyInitializer("normal", math.sqrt(gain / fan), _layer_seed(self.seed, name))


def norm_name(name: str) -> str:
    """Returns the name of the norm after a convolution: "..._norm1" for "..._conv1", "stem_norm" for "stem"."""
    return name.replace("_conv", "_norm") if "_conv" in name else f"{name}_norm"


def _layer_seed(seed: int, name: str) -> int:
    return zlib.crc32(f"{seed}/{name}".encode())

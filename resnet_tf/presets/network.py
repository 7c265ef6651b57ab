"""`model` of a preset: the shape of a residual network as plain values, without Keras."""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from resnet_tf.presets.parsing import PositiveFloat, PositiveInt


class Stem(NamedTuple):
    """The first convolution and the max-pooling after it, in pixels.

    Attributes:
        pool: 0 means no pooling.
        whitened: the convolution is not trained. Its filters whiten the patches of the training images; the next layer
            receives their outputs and the negatives of these.
    """

    kernel: int
    strides: int
    padding: int
    pool: int = 0
    pool_strides: int = 0
    pool_padding: int = 0
    whitened: bool = False

    @property
    def responses(self) -> int:
        """The number of whitening filters: one for each value of a patch, 3 x kernel x kernel."""
        return 3 * self.kernel**2


STEMS = {
    "3x3": Stem(3, 1, 1),
    "whitened-2x2": Stem(2, 1, 0, whitened=True),
    "7x7-pool": Stem(7, 2, 3, pool=3, pool_strides=2, pool_padding=1),
    "4x4-valid-pool": Stem(4, 1, 0, pool=2, pool_strides=2),
}

CONVOLUTIONS = {"single": 1, "basic": 2, "bottleneck": 3}  # of a unit on its main path


@dataclass(frozen=True)
class Network:
    """`model` of a preset: the shape of the residual network.

    Attributes:
        num_residual_units: units n of every stage (depth 6n+2; 9n+2 with bottlenecks).
        stage_sizes: units of each stage; give these or `num_residual_units`.
        filters: channels of each stage; a bottleneck's output has `expansion` times as many.
        unit: "basic" (two 3x3 convolutions), "bottleneck" (1x1, 3x3, 1x1) or "single" (one 3x3 convolution).
        groups: groups of channels in a bottleneck's 3x3 convolution (ResNeXt, arXiv:1611.05431).
        width_per_group: channels of each such group where a stage has 64 filters, in proportion elsewhere, as
            torchvision counts: ResNeXt-50 32x4d has 32 groups of 4; a wide ResNet-50 has 1 of 128.
        stem: "3x3" (CIFAR), "whitened-2x2" (CIFAR in a hurry), "7x7-pool" (ImageNet) or "4x4-valid-pool" (STL-10).
        stem_filters: channels of the stem; None: those of the first stage. Not for a whitened stem.
        stem_bias: whether a whitened stem has a bias, which is trained; the filters never are.
        transition: how a stage begins: "strided", with a unit whose first convolution halves the image (the paper's;
            not in the first stage), or "pooled", with a convolution of its own and max-pooling before its units (every
            stage; Page 2018, "How to Train Your ResNet").
        shortcut: where the shape changes, "identity-pad" (the paper's option A) or "projection" (option B); "none": no
            unit has a shortcut, which is the paper's plain network (section 4.2).
        activation: "relu", "leaky_relu", or "gelu" in its exact form, with the error function (torch's default).
        negative_slope: of leaky_relu, above 0 to 1; 0 for others.
        initializer: "he_fan_in" (the paper's), "he_fan_out" (torchvision's), or "dirac": filter i copies input channel
            i, and filters beyond the number of inputs are uniform within 1 / sqrt(fan-in), torch's default.
        zero_last_scale: whether each unit's last batch-norm scale starts at 0.
        stochastic_depth: the chance that an image skips the residual branch of the last unit in a training step; it
            grows linearly from the first unit to it, see `drop_rate`. 0: no unit is skipped.
        norm_scale: whether batch norm's scales are trained; if not, they stay 1, or as `train.init` loads them.
        norm_momentum: fraction of batch norm's running statistics that a step keeps; 0.9 is torch's `momentum=0.1`.
        norm_epsilon: added to the variance by batch norm.
        head_pooling: what the last layer sees of each channel, its "average" (the paper's) or its "max" over the image.
        head_bias: whether the last layer adds a bias.
        logit_scale: multiplies the logits.
        parameter_limit: a network with more trainable parameters is refused.
    """

    num_residual_units: PositiveInt | None = None
    stage_sizes: tuple[PositiveInt, ...] | None = None
    filters: tuple[PositiveInt, ...] = (16, 32, 64)
    unit: Literal["basic", "bottleneck", "single"] = "basic"
    stem: Literal["3x3", "whitened-2x2", "7x7-pool", "4x4-valid-pool"] = "3x3"
    stem_filters: PositiveInt | None = None
    stem_bias: bool = False
    transition: Literal["strided", "pooled"] = "strided"
    shortcut: Literal["identity-pad", "projection", "none"] = "identity-pad"
    activation: Literal["relu", "leaky_relu", "gelu"] = "relu"
    negative_slope: Annotated[float, "[0, 1]"] = 0.0
    initializer: Literal["he_fan_in", "he_fan_out", "dirac"] = "he_fan_in"
    zero_last_scale: bool = False
    stochastic_depth: Annotated[float, "[0, 1)"] = 0.0
    norm_scale: bool = True
    expansion: PositiveInt = 4
    groups: PositiveInt = 1
    width_per_group: PositiveInt = 64
    norm_momentum: Annotated[float, "[0, 1)"] = 0.9
    norm_epsilon: PositiveFloat = 1e-5
    head_pooling: Literal["average", "max"] = "average"
    head_bias: bool = True
    logit_scale: PositiveFloat = 1.0
    parameter_limit: PositiveInt | None = None

    def __post_init__(self):
        if (self.num_residual_units is None) == (self.stage_sizes is None):
            raise ValueError("give one of 'num_residual_units' and 'stage_sizes'.")
        if len(self.units_per_stage) != len(self.filters) or not self.filters:
            raise ValueError(
                f"'stage_sizes' and 'filters' must be equally long. Received: {self.stage_sizes}, {self.filters}."
            )
        if (self.activation == "leaky_relu") != (self.negative_slope > 0):
            raise ValueError(
                "'negative_slope' must be above 0 for leaky_relu and 0 for others. "
                f"Received: {self.negative_slope} for {self.activation}."
            )
        if self.zero_last_scale and not self.norm_scale:
            raise ValueError("'zero_last_scale' needs 'norm_scale': a scale that stays 0 silences its unit for good.")
        if self.zero_last_scale and self.shortcut == "none":
            raise ValueError("'zero_last_scale' needs a shortcut: without one every unit returns 0. Received: none.")
        if self.stochastic_depth and self.shortcut == "none":
            raise ValueError("'stochastic_depth' needs a shortcut for the images that skip a unit. Received: none.")
        if self.initializer == "dirac" and self.groups > 1:
            raise ValueError(f"the initializer dirac is for convolutions without 'groups'. Received: {self.groups}.")
        if self.unit != "bottleneck" and (self.groups, self.width_per_group, self.expansion) != (1, 64, 4):
            raise ValueError(
                f"'groups', 'width_per_group' and 'expansion' are for the unit bottleneck. Received: {self.unit}."
            )
        if any(self.inner_width(width) < 1 for width in self.filters):
            raise ValueError(
                "'width_per_group' must leave each group a channel. "
                f"Received: {self.width_per_group} for 'filters' {list(self.filters)}."
            )
        if self.stem_shape.whitened and self.stem_filters is not None:
            raise ValueError(f"'stem_filters' is not for a whitened stem. Received: {self.stem_filters}.")
        if self.stem_bias and not self.stem_shape.whitened:
            raise ValueError(f"'stem_bias' is for a whitened stem; others have a batch norm. Received: {self.stem}.")
        widths = (self.stem_width, *(width * self.unit_expansion for width in self.filters))
        if self.shortcut == "identity-pad" and self.transition == "strided" and list(widths) != sorted(widths):
            raise ValueError(f"an identity-pad shortcut cannot narrow. Received: 'filters' {list(self.filters)}.")

    def inner_width(self, filters: int) -> int:
        """Returns the channels of a bottleneck's 3x3 convolution in a stage of `filters` channels."""
        return filters * self.width_per_group // 64 * self.groups

    def drop_rate(self, stage: int, unit: int) -> float:
        """Returns the chance that an image skips a unit's residual branch; stages and units are counted from 1.

        Source: Huang et al. 2016 (arXiv:1603.09382), equation 4: unit l of L survives with 1 - (l / L) (1 - p_L).
        """
        place = sum(self.units_per_stage[: stage - 1]) + unit
        return self.stochastic_depth * place / sum(self.units_per_stage)

    @property
    def units_per_stage(self) -> tuple[int, ...]:
        """The number of units of each stage."""
        if self.stage_sizes is None:
            return (self.num_residual_units,) * len(self.filters)
        return self.stage_sizes

    @property
    def stem_shape(self) -> Stem:
        """The kernel, strides and pooling of the stem."""
        return STEMS[self.stem]

    @property
    def stem_width(self) -> int:
        """The channels that come out of the stem; a whitened one gives each response and its negative."""
        if self.stem_shape.whitened:
            return 2 * self.stem_shape.responses
        return self.stem_filters or self.filters[0]

    @property
    def unit_expansion(self) -> int:
        """How many times as many channels a unit has at its end as in its convolutions."""
        return self.expansion if self.unit == "bottleneck" else 1

    @property
    def depth(self) -> int:
        """The trained layers on the main path, stem and head included: the number in "ResNet-56"."""
        transitions = len(self.filters) if self.transition == "pooled" else 0
        units = sum(self.units_per_stage) * CONVOLUTIONS[self.unit]
        return (not self.stem_shape.whitened) + transitions + units + 1

"""What a residual network costs, computed from its description alone (no Keras needed): parameters, multiply-adds."""

from dataclasses import dataclass

from resnet_tf.format import as_text, large, table
from resnet_tf.presets.network import Network
from resnet_tf.presets.schema import Preset


@dataclass(frozen=True)
class StageSize:
    """One row of a summary: a stage, the shape it hands on, what it costs for one image, its batch norms."""

    name: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    norms: int


@dataclass(frozen=True)
class NetworkSize:
    """The cost of a network, stage by stage and in all.

    `parameters` are the trainable ones; `multiply_adds` are those of convolutions and head for one image; `norms` is
    the number of batch norms.
    """

    stages: tuple[StageSize, ...]

    @property
    def parameters(self) -> int:
        return sum(stage.parameters for stage in self.stages)

    @property
    def multiply_adds(self) -> int:
        return sum(stage.multiply_adds for stage in self.stages)

    @property
    def norms(self) -> int:
        return sum(stage.norms for stage in self.stages)


def network_size(network: Network, image_size: int, classes: int) -> NetworkSize:
    """Computes the size of `resnet(network, image_size=..., classes=...)`.

    Counted as the paper counts: a multiply and an add are one operation; convolutions and the head only.
    """
    stem = network.stem_shape
    width = network.stem_width
    size = _output_size(image_size, stem.kernel, stem.strides, stem.padding)
    parameters, multiply_adds = _convolution(network, stem.kernel, 3, stem.responses if stem.whitened else width, size)
    if stem.whitened:  # fixed filters, and no norm
        parameters = width * network.stem_bias
    if stem.pool:
        size = _output_size(size, stem.pool, stem.pool_strides, stem.pool_padding)
    stages = [StageSize("stem", (size, size, width), parameters, multiply_adds, 0 if stem.whitened else 1)]
    for stage, (units, filters) in enumerate(zip(network.units_per_stage, network.filters, strict=True), start=1):
        costs = []
        if network.transition == "pooled":
            outputs = filters * network.unit_expansion
            costs = [_convolution(network, 3, width, outputs, size)]
            width, size = outputs, size // 2
        for number in range(units):
            strides = 2 if network.transition == "strided" and stage > 1 and number == 0 else 1
            costs += _unit_convolutions(network, width, filters, size, strides)
            width, size = filters * network.unit_expansion, -(-size // strides)
        sums = map(sum, zip(*costs, strict=True))
        # Every convolution has a norm.
        stages.append(StageSize(f"stage {stage} (x{units})", (size, size, width), *sums, norms=len(costs)))
    head = width * classes
    stages.append(StageSize("head", (classes,), head + network.head_bias * classes, head, 0))
    return NetworkSize(tuple(stages))


def describe_network(preset: Preset, classes: int, image_size: int | None = None) -> str:
    """Returns one line: "ResNet-20, 269,722 parameters, 40.55M multiply-adds at 32 px"."""
    pixels = image_size or preset.data.image_size
    size = network_size(preset.model, pixels, classes)
    cost = f"{size.parameters:,} parameters, {large(size.multiply_adds)} multiply-adds at {pixels} px"
    return f"ResNet-{preset.model.depth}, {cost}"


def describe_stages(size: NetworkSize) -> str:
    """Returns a table: each stage's output shape, parameters and multiply-adds, and their sums."""
    rows = [
        [stage.name, " x ".join(map(str, stage.output_shape)), f"{stage.parameters:,}", f"{stage.multiply_adds:,}"]
        for stage in size.stages
    ]
    rows.append(["total", "", f"{size.parameters:,}", f"{size.multiply_adds:,}"])
    headings = ("", "output", "parameters", "multiply-adds")
    return as_text(table(headings, rows, headings[1:]))


def _unit_convolutions(network: Network, inputs: int, filters: int, size: int, strides: int) -> list[tuple[int, int]]:
    """Returns (parameters, multiply-adds) of each convolution of a residual unit, its shortcut's included."""
    small = -(-size // strides)
    outputs, inner = filters * network.unit_expansion, network.inner_width(filters)
    if network.unit == "single":
        costs = [_convolution(network, 3, inputs, filters, small)]
    elif network.unit == "basic":
        costs = [_convolution(network, 3, inputs, filters, small), _convolution(network, 3, filters, filters, small)]
    else:
        costs = [
            _convolution(network, 1, inputs, inner, size),
            _convolution(network, 3, inner, inner, small, network.groups),
            _convolution(network, 1, inner, outputs, small),
        ]
    if network.shortcut == "projection" and (strides > 1 or inputs != outputs):
        costs.append(_convolution(network, 1, inputs, outputs, small))
    return costs


def _convolution(
    network: Network, kernel: int, inputs: int, outputs: int, size: int, groups: int = 1
) -> tuple[int, int]:
    weights = kernel * kernel * (inputs // groups) * outputs
    scale_and_offset = (1 + network.norm_scale) * outputs
    return weights + scale_and_offset, weights * size * size


def _output_size(size: int, kernel: int, strides: int, padding: int) -> int:
    return (size + 2 * padding - kernel) // strides + 1

"""Parameters and multiply-adds against published tables, and against the network that Keras really builds."""

import dataclasses
import math

import keras
import pytest

from resnet_tf.models.cost import describe_network, describe_stages, network_size
from resnet_tf.models.layers import BatchNormalization
from resnet_tf.models.resnet import resnet
from resnet_tf.presets.network import Network
from resnet_tf.presets.preset_files import load_preset

WIDE = Network(stage_sizes=(2, 2, 2, 2), filters=(64, 128, 256, 512), shortcut="projection")
STL10 = Network(
    stage_sizes=(4, 9, 8),
    filters=(30, 60, 96),
    unit="bottleneck",
    stem="4x4-valid-pool",
    stem_filters=64,
    shortcut="projection",
    activation="leaky_relu",
    negative_slope=0.1,
)


def imagenet(sizes: tuple[int, ...], unit: str = "basic") -> Network:
    return dataclasses.replace(WIDE, stage_sizes=sizes, unit=unit, stem="7x7-pool")


IMAGENET = {
    18: imagenet((2, 2, 2, 2)),
    34: imagenet((3, 4, 6, 3)),
    50: imagenet((3, 4, 6, 3), "bottleneck"),
    101: imagenet((3, 4, 23, 3), "bottleneck"),
    152: imagenet((3, 8, 36, 3), "bottleneck"),
}
# torchvision's model table: parameters and, at 224 pixels, "GFLOPS" (multiply-adds, to two places).
TORCHVISION = {
    18: (11_689_512, 1.81),
    34: (21_797_672, 3.66),
    50: (25_557_032, 4.09),
    101: (44_549_160, 7.80),
    152: (60_192_808, 11.51),
}
# Bottlenecks of other inner widths: parameters and GFLOPS of the same table; groups and width per group by their names.
GROUPED = {
    "resnext50_32x4d": (50, 32, 4, 25_028_904, 4.23),
    "resnext101_32x8d": (101, 32, 8, 88_791_336, 16.41),
    "resnext101_64x4d": (101, 64, 4, 83_455_272, 15.46),
    "wide_resnet50_2": (50, 1, 128, 68_883_240, 11.40),
    "wide_resnet101_2": (101, 1, 128, 126_886_696, 22.75),
}
# The paper's table 6 to two places (0.27M ... 19.4M); whole numbers as reimplementations of option A publish them.
CIFAR = {3: 269_722, 5: 464_154, 7: 658_586, 9: 853_018, 18: 1_727_962, 200: 19_421_274}


@pytest.mark.parametrize("units", CIFAR)
def test_parameters_of_the_cifar_form(units):
    network = Network(num_residual_units=units)
    assert network_size(network, 32, 10).parameters == CIFAR[units]
    assert network.depth == 6 * units + 2


@pytest.mark.parametrize("depth", TORCHVISION)
def test_torchvisions_table(depth):
    size = network_size(IMAGENET[depth], 224, 1000)
    assert size.parameters == TORCHVISION[depth][0]
    assert size.multiply_adds / 1e9 == pytest.approx(TORCHVISION[depth][1], abs=0.01)
    assert IMAGENET[depth].depth == depth


@pytest.mark.parametrize("name", GROUPED)
def test_torchvisions_table_of_groups_and_widths(name):
    depth, groups, width, parameters, gflops = GROUPED[name]
    size = network_size(dataclasses.replace(IMAGENET[depth], groups=groups, width_per_group=width), 224, 1000)
    assert size.parameters == parameters
    assert size.multiply_adds / 1e9 == pytest.approx(gflops, abs=0.01)


def test_other_published_counts():
    for classes, parameters in ((10, 21_289_802), (100, 21_335_972)):
        assert network_size(IMAGENET[34], 32, classes).parameters == parameters
    assert network_size(WIDE, 32, 10).parameters == 11_173_962
    assert network_size(STL10, 96, 10).parameters == 1_996_986
    assert round(network_size(IMAGENET[34], 224, 1000).multiply_adds / 1e9, 2) == 3.66
    assert round(network_size(IMAGENET[34], 32, 10).multiply_adds / 1e6) == 75
    for units, millions in ((3, 40.55), (9, 125.49)):
        assert round(network_size(Network(num_residual_units=units), 32, 10).multiply_adds / 1e6, 2) == millions


def counted(model: keras.Model) -> tuple[int, int]:
    """Counts a built model: trainable parameters; each kernel once for every pixel of its layer's output."""
    multiply_adds = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            multiply_adds += math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:3])
        elif isinstance(layer, keras.layers.Dense):
            multiply_adds += math.prod(layer.kernel.shape)
    return sum(math.prod(weight.shape) for weight in model.trainable_weights), multiply_adds


SMALL = Network(num_residual_units=2, filters=(4, 6, 10))


@pytest.mark.parametrize(
    ("network", "pixels", "classes"),
    [
        (Network(num_residual_units=3), 32, 10),
        (SMALL, 33, 7),
        (dataclasses.replace(SMALL, shortcut="projection"), 30, 3),
        (dataclasses.replace(SMALL, unit="bottleneck", stem_filters=3), 15, 4),
        (dataclasses.replace(SMALL, unit="bottleneck", shortcut="projection", expansion=2), 17, 4),
        (dataclasses.replace(SMALL, shortcut="projection", stem="7x7-pool", stem_filters=9), 45, 2),
        (dataclasses.replace(SMALL, stem="4x4-valid-pool"), 28, 2),
        (dataclasses.replace(SMALL, filters=(24, 25, 26), stem="whitened-2x2", transition="pooled"), 33, 2),
        (dataclasses.replace(SMALL, unit="bottleneck", transition="pooled"), 24, 2),
        (dataclasses.replace(SMALL, filters=(8, 16, 20), unit="bottleneck", groups=4, width_per_group=24), 16, 2),
        (dataclasses.replace(SMALL, norm_scale=False, head_bias=False, logit_scale=2.0), 32, 7),
        (dataclasses.replace(SMALL, filters=(24, 25, 26), stem="whitened-2x2", stem_bias=True), 32, 7),
        (dataclasses.replace(SMALL, stochastic_depth=0.5, shortcut="projection"), 16, 10),
        (WIDE, 32, 10),
        (dataclasses.replace(IMAGENET[50], stage_sizes=(1, 2, 1, 1)), 97, 1000),
        (dataclasses.replace(STL10, stage_sizes=(2, 1, 1)), 70, 10),
    ],
)
def test_size_is_that_of_the_built_network(network, pixels, classes):
    model, size = resnet(network, image_size=pixels, classes=classes), network_size(network, pixels, classes)
    assert (size.parameters, size.multiply_adds) == counted(model)
    last = [f"stage{stage}_unit{units}_out" for stage, units in enumerate(network.units_per_stage, start=1)]
    shapes = [model.get_layer(name).output.shape[1:] for name in last]
    assert [stage.output_shape for stage in size.stages[1:]] == [*shapes, (classes,)]
    after_stem = model.get_layer("stem_pool" if network.stem_shape.pool else "stem_activation")
    assert size.stages[0].output_shape == after_stem.output.shape[1:]
    assert size.norms == sum(isinstance(layer, BatchNormalization) for layer in model.layers)


def test_summary_of_a_preset():
    preset = load_preset("3")
    assert describe_network(preset, 10) == "ResNet-20, 269,722 parameters, 40.55M multiply-adds at 32 px"
    larger = 4 * (40_551_040 - 640) + 640  # the head sees one pixel at any resolution
    assert describe_network(preset, 10, 64).endswith(f"{larger / 1e6:.2f}M multiply-adds at 64 px")
    table = describe_stages(network_size(preset.model, 32, 10)).splitlines()
    assert [line.split()[0] for line in table[1:]] == ["stem", "stage", "stage", "stage", "head", "total"]
    assert table[1].split()[1:] == ["32", "x", "32", "x", "16", "464", "442,368"]  # 27 * 16 + 32; 432 * 1024
    assert table[-1].split() == ["total", "269,722", "40,551,040"]
    assert len({len(line) for line in table}) == 1

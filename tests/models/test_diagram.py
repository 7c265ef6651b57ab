"""The picture of a network shows its stages and units, with numbers that Keras counts, and no text over another."""

import itertools

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle

from resnet_tf.models.build import build_network
from resnet_tf.models.diagram import MAX_SLABS, draw_network
from resnet_tf.presets.preset_files import load_preset

PRESETS = ("4", "quick", "stl10", "imagenet-resnet34-exp2", "resnet1202-cifar10-paper", "resnet18-small-stem-cifar10")


def texts(figure) -> list:
    return [text for text in figure.axes[0].texts if text.get_text()]


def words(figure) -> list[str]:
    return [line for text in texts(figure) for line in text.get_text().splitlines()]


@pytest.mark.parametrize("name", PRESETS)
def test_no_text_lies_over_another_or_outside(name):
    preset = load_preset(name)
    figure = draw_network(preset, preset.classes)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = {text: text.get_window_extent(canvas.get_renderer()) for text in texts(figure)}
    for (one, first), (other, second) in itertools.combinations(boxes.items(), 2):
        assert not first.overlaps(second), (one.get_text(), other.get_text())
    for text, box in boxes.items():
        assert figure.bbox.contains(box.x0, box.y0), text.get_text()
        assert figure.bbox.contains(box.x1, box.y1), text.get_text()


@pytest.mark.parametrize("name", ["4", "stl10"])
def test_numbers_are_those_that_keras_counts(name):
    preset = load_preset(name)
    shown = words(draw_network(preset, preset.classes))
    model = build_network(preset, preset.classes, image_size=preset.last_phase.data.image_size)
    for stage, units in enumerate(preset.model.units_per_stage, start=1):
        shape = model.get_layer(f"stage{stage}_unit{units}_out").output.shape[1:]
        assert " × ".join(map(str, shape)) in shown
        layers = [layer for layer in model.layers if layer.name.startswith(f"stage{stage}_")]
        trained = sum(weight.shape.num_elements() for layer in layers for weight in layer.trainable_weights)
        assert f"{trained:,} parameters" in shown
        assert f"{units} units" in shown


@pytest.mark.parametrize(("name", "slabs"), [("4", 27 + 3), ("resnet1202-cifar10-paper", 3 * MAX_SLABS + 3)])
def test_a_stage_has_a_slab_for_each_unit(name, slabs):
    preset = load_preset(name)
    (axes,) = draw_network(preset, preset.classes).axes
    assert len([patch for patch in axes.patches if isinstance(patch, Rectangle)]) == slabs


def test_a_unit_is_drawn_as_the_preset_builds_it():
    basic, bottleneck = (words(draw_network(preset, 10)) for preset in map(load_preset, ("4", "stl10")))
    assert [line for line in basic if "conv, " in line] == ["3×3 conv, c", "3×3 conv, c"]
    assert [line for line in bottleneck if "conv, " in line] == ["1×1 conv, c", "3×3 conv, c", "1×1 conv, 4c"]
    pooled = words(draw_network(load_preset("quick"), 10))
    changing = [any("where the shape changes" in line for line in shown) for shown in (basic, bottleneck, pooled)]
    assert changing == [True, True, False]


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ({"activation": "relu"}, "ReLU"),
        ({"activation": "leaky_relu", "negative_slope": 0.1}, "leaky ReLU"),
        ({"activation": "gelu"}, "GELU"),
    ],
)
def test_a_unit_names_its_activation(keys, name):
    shown = words(draw_network(load_preset("4", model=keys), 10))
    assert [line for line in shown if line.endswith("LU")] == [name, name]

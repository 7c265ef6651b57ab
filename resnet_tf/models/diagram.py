"""A picture of a network: its stages from image to classes, what each hands on and costs, and a residual unit."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from resnet_tf import plots
from resnet_tf.format import large, plural
from resnet_tf.models.cost import describe_network, network_size
from resnet_tf.presets.network import CONVOLUTIONS, Network
from resnet_tf.presets.schema import Preset

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_SLABS = 40  # a stage of more units is drawn with so many
WIDTH = 0.62  # of a stage; its column is 1 wide
UNIT_AT = -1.5  # height of the residual unit's middle


def draw_network(preset: Preset, classes: int) -> "Figure":
    """Returns a picture of a preset's network at the image size of its last phase.

    A stage has a slab for each of its units. Its height goes with the square root of its output's side in pixels.
    """
    network, size = preset.model, preset.last_phase.data.image_size
    stem, *stages, head = network_size(network, size, classes).stages
    columns = len(stages) + 3
    figure = plots.figure(
        max(9.0, 1.8 * columns), 6.2, f"preset {preset.name}: {describe_network(preset, classes, size)}"
    )
    axes = figure.subplots()
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(-1.85, 1.05))
    axes.axis("off")

    def column(place: int, words: Sequence[str], side: int, slabs: int, colour: str) -> None:
        _draw_stage(axes, place, (side / size) ** 0.5, min(slabs, MAX_SLABS), colour)
        for line, text in enumerate(words):
            style = {"weight": "bold", "size": 11} if line == 0 else {"size": 9}
            axes.text(place, -0.14 - 0.115 * line, text, ha="center", va="center", color=plots.INK, **style)

    column(0, ["image", f"{size} × {size} × 3"], size, 1, plots.FAINT)
    for place, stage in enumerate((stem, *stages, head), start=1):
        shape = " × ".join(map(str, stage.output_shape))
        cost = [f"{stage.parameters:,} parameters", f"{large(stage.multiply_adds)} multiply-adds"]
        if stage is stem:
            column(place, ["stem", shape, *cost, *_stem(network)], stage.output_shape[0], 1, plots.INK)
        elif stage is head:
            words = ["head", f"{classes:,} classes", *cost, f"global {network.head_pooling} pool,", "dense layer"]
            column(place, words, 1, 1, plots.INK)
        else:
            number = place - 1
            words = [f"stage {number}", shape, *cost, *_stage(network, number)]
            colour = plots.COLOURS[(number - 1) % len(plots.COLOURS)]
            column(place, words, stage.output_shape[0], network.units_per_stage[number - 1], colour)
        _arrow(axes, (place - 1 + WIDTH / 2, 0.45), (place - WIDTH / 2, 0.45))
    _draw_unit(axes, network, columns)
    return figure


def _stem(network: Network) -> list[str]:
    """Returns what the stem does, in short lines."""
    stem = network.stem_shape
    kind = "whitening, not trained" if stem.whitened else "convolution"
    pool = [f"{stem.pool}×{stem.pool} max-pool, stride {stem.pool_strides}"] * bool(stem.pool)
    return [f"{stem.kernel}×{stem.kernel} {kind}{f', stride {stem.strides}' * (stem.strides > 1)}", *pool]


def _stage(network: Network, number: int) -> list[str]:
    """Returns what a stage does, in short lines."""
    units = plural(network.units_per_stage[number - 1], "unit")
    if network.transition == "pooled":
        return ["3×3 convolution,", "2×2 max-pool,", units]
    return [units, *["the first with stride 2"] * (number > 1)]


def _draw_stage(axes: "Axes", place: int, height: float, slabs: int, colour: str) -> None:
    """Draws slabs side by side, their middle at the column's middle; `height` of 1 is the image's."""
    from matplotlib.patches import Rectangle

    slab = WIDTH / slabs
    for number in range(slabs):
        corner = place - WIDTH / 2 + number * slab, 0.45 - height / 2
        gap = 0.15 * slab if slabs > 1 else 0.0
        axes.add_patch(Rectangle(corner, slab - gap, height, facecolor=colour, edgecolor="none", alpha=0.85))


def _draw_unit(axes: "Axes", network: Network, columns: int) -> None:
    """Draws a residual unit: its convolutions in a row, the shortcut above them, and what the letter c stands for."""
    activation = {"relu": "ReLU", "leaky_relu": "leaky ReLU", "gelu": "GELU"}[network.activation]
    convolutions = ["3×3 conv, c"] * CONVOLUTIONS[network.unit]
    if network.unit == "bottleneck":
        grouped = f"\nin {network.groups} groups" * (network.groups > 1)
        convolutions = ["1×1 conv, c", f"3×3 conv, c{grouped}", f"1×1 conv, {network.expansion}c"]
    boxes = [word for each in convolutions for word in (f"{each}\nbatch norm", activation)]
    if network.shortcut != "none":
        boxes[-1:] = ["+", activation]
    left, right = 0.9, columns - 1.3
    places = [left + (right - left) * number / (len(boxes) - 1) for number in range(len(boxes))]
    style = {"ha": "center", "va": "center", "size": 9, "color": plots.INK}
    frame = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": plots.FAINT}
    start, end = left - 0.62, right + 0.62
    axes.text(start - 0.05, UNIT_AT, "a unit", ha="right", va="center", size=11, weight="bold", color=plots.INK)
    for here, there in pairwise([start, *places, end]):
        _arrow(axes, (here, UNIT_AT), (there, UNIT_AT))
    for place, text in zip(places, boxes, strict=True):
        axes.text(place, UNIT_AT, text, bbox=frame, zorder=3, **style)
    widths = [network.inner_width(width) if network.unit == "bottleneck" else width for width in network.filters]
    stages = f"stage{f's 1 to {len(widths)}' if len(widths) > 1 else ' 1'}"
    axes.text(
        (left + right) / 2, UNIT_AT - 0.25, f"c, the channels: {', '.join(map(str, widths))} in {stages}", **style
    )
    if network.shortcut == "none":
        return
    fork, above = start + 0.15, UNIT_AT + 0.3
    axes.plot([fork, fork, places[-2]], [UNIT_AT, above, above], color=plots.INK, lw=1.2)
    _arrow(axes, (places[-2], above), (places[-2], UNIT_AT + 0.06))
    shortcut = "shortcut: the input"
    if network.transition == "strided":  # elsewhere no unit changes the shape
        changed = {
            "identity-pad": "strided, with zeros as new channels",
            "projection": "a 1×1 conv and batch norm of it",
        }
        shortcut += f"; where the shape changes, {changed[network.shortcut]}"
    axes.text((fork + places[-2]) / 2, above + 0.07, shortcut, **style)


def _arrow(axes: "Axes", start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>", "color": plots.INK, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=style)

"""Plots of a diagnosis: the confusion matrix, the calibration, and the most confident mistakes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from resnet_tf import plots
from resnet_tf.format import plural, printable
from resnet_tf.scoring.diagnosis import FEW_IMAGES, Diagnosis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MISTAKES = 40
MAX_CLASSES_WRITTEN = 20  # of more classes the matrix shows neither names nor counts, and bars name the worst pairs
PAIRS = 20
LONGEST_NAME = 24  # characters of a class's name beside a bar


def draw(
    diagnosis: Diagnosis,
    mistaken: Sequence[np.ndarray],
    names: Sequence[str],
    title: str,
    temperature: float | None = None,
) -> dict[str, bytes]:
    """Returns the PNGs of a diagnosis by name: "confusion", "calibration", "mistakes".

    Args:
        mistaken: the images at `diagnosis.mistakes(MISTAKES)`, each uint8 [size, size, 3].
        names: of the classes.
        title: what was evaluated.
        temperature: fitted on other images; None: there is none.
    """
    figures = {
        "confusion": confusion_figure(diagnosis, names, title),
        "calibration": calibration_figure(diagnosis, title, temperature),
        "mistakes": mistakes_figure(diagnosis, mistaken, names, title),
    }
    return {name: plots.encode(figure, "png") for name, figure in figures.items()}


def confusion_figure(diagnosis: Diagnosis, names: Sequence[str], title: str) -> "Figure":
    """Returns the confusion matrix: each cell's share of its true class's images as a colour, their number as text.

    Of many classes it orders them so that confused ones lie side by side, and names the most frequent mistakes in bars.
    """
    if len(names) <= MAX_CLASSES_WRITTEN:
        figure = plots.figure(8.5, 7.5, title)
        _matrix(figure.subplots(), diagnosis.confusion, [printable(name) for name in names])
        return figure
    order = diagnosis.confused_together
    figure = plots.figure(14, 7.2, title)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _matrix(left, diagnosis.confusion[np.ix_(order, order)])
    left.set_title(f"{len(names)} classes, ordered so that confused ones lie side by side", size=10)
    _bars(right, diagnosis, [_shortened(printable(name)) for name in names])
    return figure


def _matrix(axes: "Axes", counts: np.ndarray, labels: Sequence[str] = ()) -> None:
    """Draws a confusion matrix, with counts and names where there are labels."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # The square root makes the few mistakes visible beside the many hits.
    image = axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts) if labels else ():
        color = "white" if shares[row, column] > 0.3 else "black"
        axes.text(column, row, counts[row, column], ha="center", va="center", size=8, color=color)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right", parse_math=False)
    axes.set_yticks(range(len(labels)), labels, parse_math=False)
    axes.set(xlabel="predicted class", ylabel="true class")
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.7, ticks=np.sqrt([0, 0.01, 0.05, 0.2, 0.5, 1]))
    bar.ax.set_yticklabels(["0", "1 %", "5 %", "20 %", "50 %", "100 %"])
    bar.set_label("share of the true class's images")


def _bars(axes: "Axes", diagnosis: Diagnosis, names: Sequence[str]) -> None:
    """Draws how many images each of the most frequent mistakes has, "truth -> answer"."""
    pairs = diagnosis.confused(PAIRS)
    plots.tidy(axes)
    axes.grid(False)
    bars = axes.barh(range(len(pairs)), [count for *_, count in pairs], color="#9cc2f5")
    axes.bar_label(bars, padding=3, size=9)
    axes.set_yticks(
        range(len(pairs)), [f"{names[true]} -> {names[answer]}" for true, answer, _ in pairs], parse_math=False
    )
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_title(f"the {len(pairs)} most frequent mistakes, truth -> answer", size=10)
    axes.set_xlabel("images")


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."


def calibration_figure(diagnosis: Diagnosis, title: str, temperature: float | None = None) -> "Figure":
    """Returns accuracy over confidence, and the number of images below; also at a temperature, if one is given."""
    count = len(diagnosis.labels)
    few = f": fewer than {FEW_IMAGES}, so the calibration means little" if count < FEW_IMAGES else ""
    figure = plots.figure(9, 5.5, title)
    figure.supxlabel(f"{plural(count, 'image')}{few}", size=10)
    panels = {"before scaling": 1.0}
    if temperature is not None:
        panels[f"at temperature {temperature:.2f}"] = temperature
    rows = figure.subplots(2, len(panels), sharex=True, height_ratios=(3, 1), squeeze=False)
    for (above, below), (name, temperature) in zip(rows.T, panels.items(), strict=True):
        bins = diagnosis.calibration(temperature)
        middles = (np.arange(len(bins.count)) + 0.5) / len(bins.count)
        plots.tidy(above)
        plots.tidy(below)
        above.bar(middles, np.nan_to_num(bins.accuracy), 0.9 / len(middles), color="#9cc2f5", label="accuracy")
        above.plot([0, 1], [0, 1], color=plots.FAINT, lw=1, ls="--", label="perfect calibration")
        above.plot(bins.confidence, bins.accuracy, "o", color=plots.COLOURS[0], ms=4, label="mean confidence")
        above.set_title(f"{name}: calibration error {100 * bins.error:.2f} %", size=10)
        above.set(xlim=(0, 1), ylim=(0, 1))
        below.bar(middles, bins.count, 0.9 / len(middles), color="#c3cedd")
        below.set_xlabel("confidence")
    rows[0, 0].set_ylabel("accuracy")
    rows[1, 0].set_ylabel("images")
    rows[0, 0].legend(loc="upper left", fontsize="small")
    return figure


def mistakes_figure(diagnosis: Diagnosis, images: Sequence[np.ndarray], names: Sequence[str], title: str) -> "Figure":
    """Returns the most confident mistakes, each with the predicted and the true class; `images` as in `draw`."""
    columns = 8
    rows = max(1, -(-len(images) // columns))
    figure = plots.figure(11, 0.6 + 1.65 * rows, title)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, place in zip(grid.flat, images, diagnosis.mistakes(MISTAKES), strict=False):
        axes.imshow(image, interpolation="nearest")
        predicted, true = (printable(names[which[place]]) for which in (diagnosis.predicted, diagnosis.labels))
        axes.set_title(f"{predicted} {diagnosis.confidence[place]:.0%}\nis {true}", size=8, parse_math=False)
    return figure

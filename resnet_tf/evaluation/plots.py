"""Plots of a diagnosis: the confusion matrix, the calibration, and the most confident mistakes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from resnet_tf import plots
from resnet_tf.format import printable
from resnet_tf.scoring.diagnosis import Diagnosis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISTAKES = 40
MAX_CLASSES_WRITTEN = 20  # of more classes the matrix shows neither names nor counts


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
    """Returns the confusion matrix: each cell's share of its true class's images as a colour, their number as text."""
    figure = plots.figure(8.5, 7.5, title)
    axes = figure.subplots()
    counts = diagnosis.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # The square root makes the few mistakes visible beside the many hits.
    image = axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    if len(names) <= MAX_CLASSES_WRITTEN:
        for row, column in np.argwhere(counts):
            color = "white" if shares[row, column] > 0.3 else "black"
            axes.text(column, row, counts[row, column], ha="center", va="center", size=8, color=color)
        labels = [printable(name) for name in names]
        axes.set_xticks(range(len(names)), labels, rotation=45, ha="right", parse_math=False)
        axes.set_yticks(range(len(names)), labels, parse_math=False)
    axes.set(xlabel="predicted class", ylabel="true class")
    bar = figure.colorbar(image, ax=axes, shrink=0.7, ticks=np.sqrt([0, 0.01, 0.05, 0.2, 0.5, 1]))
    bar.ax.set_yticklabels(["0", "1 %", "5 %", "20 %", "50 %", "100 %"])
    bar.set_label("share of the true class's images")
    return figure


def calibration_figure(diagnosis: Diagnosis, title: str, temperature: float | None = None) -> "Figure":
    """Returns accuracy over confidence, and the number of images below; also at a temperature, if one is given."""
    figure = plots.figure(9, 5.5, title)
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

"""A diagnosis as pictures: confusion matrix, calibration, and the mistakes that the network was surest of."""

import io
from collections.abc import Sequence

import numpy as np

from resnet_tf.format import printable
from resnet_tf.scoring.diagnosis import Diagnosis

MISTAKES = 40
_MOST_WRITTEN = 20  # classes whose counts are written into the matrix


def draw(diagnosis: Diagnosis, mistaken: np.ndarray, names: Sequence[str], title: str) -> dict[str, bytes]:
    """Returns the PNGs of a diagnosis by name: "confusion", "calibration", "mistakes".

    Args:
        mistaken: uint8 [m, size, size, 3], the images at `diagnosis.mistakes(MISTAKES)`.
        names: of the classes.
        title: what was evaluated.
    """
    return {
        "confusion": confusion_picture(diagnosis, names, title),
        "calibration": calibration_picture(diagnosis, title),
        "mistakes": mistakes_picture(diagnosis, mistaken, names, title),
    }


def confusion_picture(diagnosis: Diagnosis, names: Sequence[str], title: str) -> bytes:
    """Returns a PNG of the confusion matrix: the share of each true class's images, and their number."""
    figure = _figure(8.5, 7.5, title)
    axes = figure.subplots()
    counts = diagnosis.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # The root lets the few mistakes be seen beside the many hits.
    picture = axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    if len(names) <= _MOST_WRITTEN:
        for row, column in np.argwhere(counts):
            dark = shares[row, column] > 0.3
            axes.text(
                column, row, counts[row, column], ha="center", va="center", size=8, color="white" if dark else "black"
            )
        told = [printable(name) for name in names]
        axes.set_xticks(range(len(names)), told, rotation=45, ha="right", parse_math=False)
        axes.set_yticks(range(len(names)), told, parse_math=False)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    bar = figure.colorbar(picture, ax=axes, shrink=0.7, ticks=np.sqrt([0, 0.01, 0.05, 0.2, 0.5, 1]))
    bar.ax.set_yticklabels(["0", "1 %", "5 %", "20 %", "50 %", "100 %"])
    return _png(figure)


def calibration_picture(diagnosis: Diagnosis, title: str) -> bytes:
    """Returns a PNG of accuracy over confidence, before and after the fitted temperature, and of the counts below."""
    figure = _figure(9, 5.5, title)
    both = {"as it is": 1.0, f"at temperature {diagnosis.temperature:.2f}": diagnosis.temperature}
    rows = figure.subplots(2, 2, sharex=True, height_ratios=(3, 1))
    for column, (name, temperature) in enumerate(both.items()):
        found = diagnosis.calibration(temperature)
        middles = (np.arange(len(found.count)) + 0.5) / len(found.count)
        above, below = rows[:, column]
        above.plot([0, 1], [0, 1], color="#8a8a8a", lw=1, ls="--", label="as sure as right")
        above.bar(middles, np.nan_to_num(found.accuracy), 0.9 / len(middles), color="#9cc2f5", label="share right")
        above.plot(found.confidence, found.accuracy, "o", color="#1f5fa8", ms=4)
        above.set_title(f"{name}: calibration error {100 * found.error:.2f} %", size=10)
        above.set_xlim(0, 1)
        above.set_ylim(0, 1)
        below.bar(middles, found.count, 0.9 / len(middles), color="#dbe3ee")
        below.set_xlabel("probability of the class put first")
    rows[0, 0].set_ylabel("share of images that are of it")
    rows[1, 0].set_ylabel("images")
    rows[0, 0].legend(loc="upper left", fontsize="small")
    return _png(figure)


def mistakes_picture(diagnosis: Diagnosis, images: np.ndarray, names: Sequence[str], title: str) -> bytes:
    """Returns a PNG of the most confident mistakes; `images` as in `draw`."""
    columns = 8
    rows = max(1, -(-len(images) // columns))
    figure = _figure(11, 0.6 + 1.65 * rows, title)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, place in zip(grid.flat, images, diagnosis.mistakes(MISTAKES), strict=False):
        axes.imshow(image, interpolation="nearest")
        guess, true = (printable(names[which[place]]) for which in (diagnosis.predicted, diagnosis.labels))
        axes.set_title(f"{guess} {diagnosis.confidence[place]:.0%}\nis {true}", size=8, parse_math=False)
    return _png(figure)


def _figure(width: float, height: float, title: str):
    from matplotlib.figure import Figure  # without pyplot: no display, no global state

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    figure.suptitle(printable(title), size=11, parse_math=False)
    return figure


def _png(figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()

"""How trainings went, drawn: loss, top-1 and learning rate over epochs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from resnet_tf import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Title of each plot: what the dashed and the solid line show, as the log calls it.
PANELS = {
    "loss": ("loss", "validation_loss"),
    "top-1, %": ("top1", "validation_top1"),
    "learning rate": (None, "learning_rate"),
}
_DECADES = 1000  # what a logarithmic axis shows at most, from its highest value down


def draw(axes: "Axes", title: str, logs: Sequence[Sequence[dict]]) -> bool:
    """Draws one of `PANELS` for several runs, each in a colour of its own; returns whether a run logged it.

    Args:
        logs: the rows of each run's log, one an epoch.
    """
    plots.tidy(axes)
    axes.set(xlabel="epoch", ylabel=title)
    for rows, colour in zip(logs, plots.COLOURS, strict=False):
        for key, style in zip(PANELS[title], ("--", "-"), strict=True):
            if points := [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]:
                marker = "o" if len(points) == 1 else ""  # a single point would be no line
                axes.plot(*zip(*points, strict=True), style, marker=marker, color=colour)
    if not axes.lines:
        return False
    low, high = axes.dataLim.intervaly
    if title == "learning rate" and 0 < 20 * low < high:
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(low, high / _DECADES) / 1.3)
    return True


def curves(name: str, rows: Sequence[dict]) -> "Figure":
    """Returns the three plots of one run side by side.

    Args:
        rows: its log, one row an epoch.
    """
    figure = plots.figure(11, 3.2, name)
    for axes, title in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        draw(axes, title, [rows])
        labels = ("training, augmented images", "validation") if PANELS[title][0] else ()
        for line, label in zip(axes.lines, labels, strict=False):
            line.set_label(label)
        if labels and len(axes.lines) == len(labels):
            axes.legend(fontsize=8)
    return figure

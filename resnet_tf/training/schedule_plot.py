"""A picture of the learning rate over a whole run, drawn before it is trained."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from resnet_tf.files import write_atomically
from resnet_tf.plots import drawn
from resnet_tf.presets.schedule import Plateau, Schedule

POINTS = 4000  # a phase's curve is drawn through at most so many steps
INK, FAINT, COLOURS = "#333333", "#8a8a8a", ("#1f5fa8", "#c2571a", "#2e7d4f", "#7b4ea3")


class PlannedPhase(NamedTuple):
    """A schedule and what it is carried out on."""

    schedule: Schedule
    learning_rate: float
    steps: int
    steps_per_epoch: int


def picture(phases: Sequence[PlannedPhase], path: str | os.PathLike, title: str = "") -> None:
    """Writes a figure of the rate against epochs (below) and steps (above), the phases one after another.

    What waits for a metric has no place in time yet: the rates that it may take are dashed lines.

    Args:
        path: of the file; it ends in .png, .pdf or .svg, which says its form.

    Raises:
        UserError: it ends otherwise.
    """
    from matplotlib.figure import Figure  # without pyplot: no display, no global state
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 4.5), dpi=150, layout="constrained")
    axes = figure.subplots()
    steps, epochs = [0], [0.0]
    tables = [phase.schedule.rates(*phase[1:]) for phase in phases]
    for phase, table, colour in zip(phases, tables, COLOURS * len(phases), strict=False):
        index = np.unique(np.linspace(0, phase.steps - 1, POINTS).astype(int))
        start, end = epochs[-1], epochs[-1] + phase.steps / phase.steps_per_epoch
        x = np.append(start + index / phase.steps_per_epoch, end)
        label = phase.schedule.describe()
        axes.plot(x, np.append(table[index], table[-1]), drawstyle="steps-post", color=colour, lw=1.8, label=label)
        dashed = _dashed(phase)
        if dashed:
            style = {"colors": colour, "linestyles": (0, (4, 3)), "lw": 1, "alpha": 0.7}
            axes.hlines(dashed, start, end, label="rates that it may take", **style)
        if len(steps) > 1:
            axes.axvline(start, color=FAINT, lw=0.8, ls=":")
        steps.append(steps[-1] + phase.steps)
        epochs.append(end)

    if all(phase.schedule.by_factors for phase in phases):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        axes.set_ylim(bottom=0, top=1.08 * max(table.max() for table in tables))
    axes.set_xlim(0, epochs[-1])
    axes.set_xlabel("epoch")
    axes.set_ylabel("learning rate")
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    axes.grid(True, color="#e6e6e6", lw=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    above = axes.secondary_xaxis(
        "top", functions=(lambda x: np.interp(x, epochs, steps), lambda x: np.interp(x, steps, epochs))
    )
    above.set_xlabel("step")
    ticks = [tick for tick in MaxNLocator(8, integer=True).tick_values(0, steps[-1]) if tick <= steps[-1]]
    above.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    above.spines["top"].set_color(FAINT)
    for axis in (axes, above):
        axis.tick_params(colors=INK, labelsize=9)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", frameon=False, fontsize=9)

    write_atomically(path, drawn(figure, path))


def _dashed(phase: PlannedPhase) -> list[float]:
    """Returns the rates besides the plan's that metrics may bring: ResNet-110's first, a plateau's next three."""
    schedule, rates = phase.schedule, []
    if schedule.warmup_until is not None:
        rates.append(schedule.warmup_until.learning_rate)
    if isinstance(schedule, Plateau):
        rates += [max(phase.learning_rate * schedule.factor**fall, schedule.minimum) for fall in (1, 2, 3)]
    return rates

"""A plot of the learning rate over a whole run, drawn before anything is trained."""

import os
from collections.abc import Sequence

import numpy as np

from resnet_tf import plots
from resnet_tf.presets.schedule import Plateau
from resnet_tf.training.plan import Plan

POINTS = 4000  # a phase's curve is drawn through at most so many steps


def plot_schedule(plans: Sequence[Plan], path: str | os.PathLike, title: str = "") -> None:
    """Saves a plot of the learning rate against epochs (below) and steps (above), one phase after another.

    When a metric will lower the learning rate is not known yet: the values that it may take are dashed lines.

    Args:
        path: ends in .png, .pdf or .svg, which is the file's format.

    Raises:
        UserError: it ends otherwise, or the file cannot be written.
    """
    from matplotlib.ticker import MaxNLocator

    figure = plots.figure(9, 4.5, title)
    axes = figure.subplots()
    plots.tidy(axes)
    steps, epochs = [0], [0.0]
    for plan, colour in zip(plans, plots.COLOURS * len(plans), strict=False):
        rates = plan.learning_rates
        index = np.unique(np.linspace(0, plan.total_steps - 1, POINTS).astype(int))
        start, end = epochs[-1], epochs[-1] + plan.total_steps / plan.steps_per_epoch
        x = np.append(start + index / plan.steps_per_epoch, end)
        label = plan.preset.schedule.describe()
        axes.plot(x, np.append(rates[index], rates[-1]), drawstyle="steps-post", color=colour, lw=1.8, label=label)
        if possible := _possible_rates(plan):
            style = {"colors": colour, "linestyles": (0, (4, 3)), "lw": 1, "alpha": 0.7}
            axes.hlines(possible, start, end, label="possible learning rates", **style)
        if len(steps) > 1:
            axes.axvline(start, color=plots.FAINT, lw=0.8, ls=":")
        steps.append(steps[-1] + plan.total_steps)
        epochs.append(end)

    if all(plan.preset.schedule.by_factors for plan in plans):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        axes.set_ylim(bottom=0, top=1.08 * max(plan.learning_rates.max() for plan in plans))
    axes.set(xlim=(0, epochs[-1]), xlabel="epoch", ylabel="learning rate")
    to_steps_and_back = (lambda x: np.interp(x, epochs, steps), lambda x: np.interp(x, steps, epochs))
    above = axes.secondary_xaxis("top", functions=to_steps_and_back)
    above.set_xlabel("step")
    # matplotlib's own would include steps after the last, all at the end of the axis.
    ticks = [tick for tick in MaxNLocator(8, integer=True).tick_values(0, steps[-1]) if tick <= steps[-1]]
    above.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    above.tick_params(colors=plots.INK, labelsize=9)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", frameon=False, fontsize=9)
    plots.save(figure, path)


def _possible_rates(plan: Plan) -> list[float]:
    """Returns the learning rates that a metric may bring: that of a warm-up until it, a plateau's next three."""
    schedule, rates = plan.preset.schedule, []
    if schedule.warmup_until is not None:
        rates.append(schedule.warmup_until.learning_rate)
    if isinstance(schedule, Plateau):
        learning_rate = plan.preset.optimizer.learning_rate
        rates += [max(learning_rate * schedule.factor**fall, schedule.minimum) for fall in (1, 2, 3)]
    return rates

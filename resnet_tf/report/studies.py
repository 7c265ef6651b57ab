"""The two studies of presets `1` to `5`, as their author plotted them: accuracy over depth, and over lr_decay."""

import itertools
from collections.abc import Iterable, Sequence

from resnet_tf import plots
from resnet_tf.format import percent
from resnet_tf.presets.schedule import Exponential
from resnet_tf.presets.schema import Preset
from resnet_tf.report.measured import Group, leading
from resnet_tf.report.tables import epochs

DEPTH = ("3", "2", "4")  # 3, 5 and 9 residual units a stage at lr_decay 0.96
LR_DECAY = (("2", "1"), ("5", "4"))  # at 32 and at 56 layers; lr_decay rising
HEADINGS = ("preset", "units", "depth", "lr_decay", "reported", "measured", "epochs", "precision", "images")


def are_known(presets: dict[str, Preset]) -> bool:
    """Returns whether all presets of the studies are there, with the schedule that these are about."""
    names = {*DEPTH, *itertools.chain(*LR_DECAY)}
    return all(name in presets and isinstance(presets[name].schedule, Exponential) for name in names)


def study_rows(names: Sequence[str], presets: dict[str, Preset], found: Sequence[Group]) -> list[list[str]]:
    """Returns the cells of each preset of a study under `HEADINGS`."""
    rows = []
    for name in names:
        preset, group = presets[name], leading(found, name)
        cells = [name, str(preset.model.num_residual_units), str(preset.model.depth), f"{preset.schedule.lr_decay:g}"]
        cells.append(percent(preset.reference.test_top1))
        if group is None:
            rows.append([*cells, "-", "-", "-", "-"])
        else:
            seeds = "" if group.spread is None else f" +/- {group.spread:.2f} ({len(group.members)} seeds)"
            record = group.record
            cells += [percent(group.mean) + seeds, epochs(record), record.computed_in, record.data["title"]]
            rows.append(cells)
    return rows


def depth_plot(presets: dict[str, Preset], found: Sequence[Group]) -> str:
    """Returns test accuracy over depth, reported (dashed) and measured, as SVG."""
    return _plot("layers", [{name: presets[name].model.depth for name in DEPTH}], presets, found)


def lr_decay_plot(presets: dict[str, Preset], found: Sequence[Group]) -> str:
    """Returns test accuracy over lr_decay at two depths, reported (dashed) and measured, as SVG."""
    lines = [{name: presets[name].schedule.lr_decay for name in names} for names in LR_DECAY]
    return _plot("lr_decay", lines, presets, found)


def _plot(subject: str, lines: Sequence[dict[str, float]], presets: dict[str, Preset], found: Sequence[Group]) -> str:
    """Returns test accuracy over a study's subject as SVG.

    Args:
        lines: the subject's value by preset, for each line of the plot.
    """
    figure = plots.figure(4.2, 3.3)
    axes = figure.subplots()
    plots.tidy(axes)
    for values, colour in zip(lines, plots.COLOURS, strict=False):
        layers = f"{presets[next(iter(values))].model.depth} layers, " if len(lines) > 1 else ""
        known = [(value, top1) for name, value in values.items() if (top1 := presets[name].reference.test_top1)]
        axes.plot(*zip(*known, strict=True), "--x", color=colour, label=f"{layers}reported")
        groups = {value: group for name, value in values.items() if (group := leading(found, name))}
        if len(groups) > 1 and not differing(values, found):
            axes.plot(list(groups), [group.mean for group in groups.values()], color=colour)
        drawn = set()
        for value, group in groups.items():
            comparable = all(member.comparable for member in group.members)
            label = f"{layers}measured{'' if comparable else ', not comparable'}"
            axes.vlines(value, *group.interval, color=colour)
            # Each kind of point is named once in the legend.
            fill = colour if comparable else "white"
            axes.plot(value, group.mean, "o", color=colour, mfc=fill, label="_" * (label in drawn) + label)
            drawn.add(label)
    axes.set_xticks(sorted({value for values in lines for value in values.values()}))
    axes.set(xlabel=subject, ylabel="test accuracy, %")
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return plots.svg_element(figure, f"test accuracy over {subject}")


def caution(names: Sequence[str], found: Sequence[Group]) -> str:
    """Returns a sentence on what else the measured points of a study differ in; "" where nothing."""
    if all(leading(found, name) is None for name in names):
        return "Nothing is measured yet."
    others = differing(names, found)
    return f"The measured points differ in {' and '.join(others)}, so no line joins them." if others else ""


def differing(names: Iterable[str], found: Sequence[Group]) -> list[str]:
    """Returns what the measurements of some presets differ in besides the study's subject, such as "epochs"."""
    records = [group.record for name in names if (group := leading(found, name)) is not None]
    values = {
        "epochs": {record.epochs for record in records},
        "precision": {record.computed_in for record in records},
        "images": {record.data["fingerprint"] for record in records},
    }
    return [name for name, several in values.items() if len(several) > 1]

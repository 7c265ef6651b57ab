"""The two studies of family `1` to `5`, as their author drew them: accuracy over depth, and over lr_decay."""

from collections.abc import Iterable, Sequence

from resnet_tf.presets.schema import Preset
from resnet_tf.report.charts import Series, line_chart
from resnet_tf.report.measured import Group, leading
from resnet_tf.report.tables import epochs, percent

DEPTH = ("3", "2", "4")  # 3, 5 and 9 residual units a stage at lr_decay 0.96
LR_DECAY = (("2", "1"), ("5", "4"))  # at 32 and at 56 layers; lr_decay rising
HEADINGS = ("preset", "units", "depth", "lr_decay", "reported", "measured", "epochs", "images")


def study_rows(names: Sequence[str], presets: dict[str, Preset], found: Sequence[Group]) -> list[list[str]]:
    """Returns the cells of each preset of a study under `HEADINGS`."""
    rows = []
    for name in names:
        preset, group = presets[name], leading(found, name)
        rows.append(
            [
                name,
                str(preset.model.num_residual_units),
                str(preset.model.depth),
                f"{preset.schedule.lr_decay:g}",
                percent(preset.reference.test_top1),
                "-" if group is None else percent(group.mean) + _of_seeds(group),
                "-" if group is None else epochs(group.row),
                "-" if group is None else group.row["data"]["title"],
            ]
        )
    return rows


def _of_seeds(group: Group) -> str:
    return "" if group.spread is None else f" +/- {group.spread:.2f} ({len(group.members)} seeds)"


def depth_chart(presets: dict[str, Preset], found: Sequence[Group]) -> str:
    """Returns test accuracy over depth, reported (dashed) and measured, as SVG."""
    depths = {name: presets[name].model.depth for name in DEPTH}
    return line_chart("test top-1 % over depth", _pair(depths, presets, found, 0), "layers", x_ticks=depths.values())


def lr_decay_chart(presets: dict[str, Preset], found: Sequence[Group]) -> str:
    """Returns test accuracy over lr_decay at two depths, reported (dashed) and measured, as SVG."""
    series, ticks = [], set()
    for colour, names in enumerate(LR_DECAY):
        decays = {name: presets[name].schedule.lr_decay for name in names}
        ticks |= set(decays.values())
        series += _pair(decays, presets, found, colour)
    return line_chart("test top-1 % over lr_decay", series, "lr_decay", x_ticks=sorted(ticks))


def _pair(places: dict[str, float], presets: dict[str, Preset], found: Sequence[Group], colour: int) -> list[Series]:
    """Returns what the author reports and what was measured, as two lines over the same places."""
    depth = presets[next(iter(places))].model.depth if len({presets[name].model.depth for name in places}) == 1 else ""
    of = f"ResNet-{depth}, " if depth else ""
    reported = [(place, presets[name].reference.test_top1) for name, place in places.items()]
    measured = {place: leading(found, name) for name, place in places.items()}
    known = {place: group for place, group in measured.items() if group is not None}
    return [
        Series(
            f"{of}reported", [point for point in reported if point[1] is not None], colour, dashed=True, marked=True
        ),
        Series(
            f"{of}measured",
            [(place, group.mean) for place, group in known.items()],
            colour,
            marked=True,
            joined=not differing(places, found),
            bars=[(place, *group.interval) for place, group in known.items()],
        ),
    ]


def caution(names: Sequence[str], found: Sequence[Group]) -> str:
    """Returns a sentence on what keeps the measured points of a study from being one curve; "" where nothing does."""
    if all(leading(found, name) is None for name in names):
        return "Nothing is measured yet."
    words = differing(names, found)
    return f"The measured points differ in {' and '.join(words)}, and are not joined to a curve." if words else ""


def differing(names: Iterable[str], found: Sequence[Group]) -> list[str]:
    """Returns in what else than the study's subject the measurements of some presets differ."""
    known = [group.row for name in names if (group := leading(found, name)) is not None]
    told = {"epochs": {row["epochs"] for row in known}, "images": {row["data"]["fingerprint"] for row in known}}
    return [word for word, values in told.items() if len(values) > 1]

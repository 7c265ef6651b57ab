"""Line charts as SVG text: no script, no outside font or style; they fit any width."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 380, 250
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 30, 36
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56606b")  # apart for colour-blind eyes too
MOST_POINTS = 400


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        name: shown where the pointer rests on it.
        points: (x, y), x rising.
        colour: place in `COLOURS`.
        dashed: as opposed to solid.
        marked: with a dot at each point.
        joined: by a line from point to point.
        bars: (x, low, high), drawn as an upright line each.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: int = 0
    dashed: bool = False
    marked: bool = False
    joined: bool = True
    bars: Sequence[tuple[float, float, float]] = ()


def line_chart(
    title: str,
    series: Sequence[Series],
    x_label: str,
    *,
    logarithmic: bool = False,
    x_ticks: Sequence[float] | None = None,
) -> str:
    """Returns a chart as an <svg> element; "" where there is nothing to draw.

    Args:
        logarithmic: the y axis; all values are above 0.
        x_ticks: where to put the labels of the x axis; default: at round numbers.
    """
    series = [one for one in series if one.points]
    if not series:
        return ""
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points] + [y for one in series for bar in one.bars for y in bar[1:]]
    x_axis = Axis.over(xs, LEFT, WIDTH - RIGHT, ticks=x_ticks)
    y_axis = Axis.over(ys, HEIGHT - BOTTOM, TOP, logarithmic=logarithmic)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)}">',
        f'<text class="title" x="8" y="16">{html.escape(title)}</text>',
        *_grid(x_axis, y_axis),
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{html.escape(x_label)}</text>',
        *(_line(one, x_axis, y_axis) for one in series),
        "</svg>",
    ]
    return "".join(parts)


@dataclass(frozen=True)
class Axis:
    """From values to places on the paper, linear or logarithmic.

    Attributes:
        low, high: the values at the ends.
        start, end: the places of the ends, in units of the drawing.
        ticks: the values that are labelled.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, *, logarithmic=False, ticks=None) -> "Axis":
        """Returns an axis that holds all the values, with room at its ends."""
        low, high = min(values), max(values)
        if logarithmic:
            least = math.floor(math.log10(low) + 1e-9)
            most = max(math.ceil(math.log10(high) - 1e-9), least + 1)
            decades = tuple(10.0**exponent for exponent in range(least, most + 1))
            return cls(decades[0], decades[-1], start, end, decades, True)
        if ticks is not None:
            room = 0.08 * (high - low or 1)
            return cls(low - room, high + room, start, end, tuple(ticks))
        if low == high:
            low, high = (0.0, 2 * low) if low > 0 else (low - 0.5, low + 0.5)
        marks = round_ticks(low, high)
        return cls(min(low, marks[0]), max(high, marks[-1]), start, end, marks)

    def place(self, value: float) -> float:
        """Returns where a value lies, in units of the drawing."""
        if self.logarithmic:
            share = (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def round_ticks(low: float, high: float, most: int = 6) -> tuple[float, ...]:
    """Returns at most `most` round numbers, evenly apart, from at or below `low` to `high` at least or nearly."""
    rough = (high - low) / (most - 1)
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10, 20) if unit * factor >= rough * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    return tuple(number * step for number in range(first, math.floor(high / step + 1e-9) + 1))


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns at most `MOST_POINTS` of the points, evenly chosen, the first and the last among them."""
    if len(points) <= MOST_POINTS:
        return list(points)
    return [points[round(i * (len(points) - 1) / (MOST_POINTS - 1))] for i in range(MOST_POINTS)]


def _grid(x_axis: Axis, y_axis: Axis) -> list[str]:
    parts = []
    for tick in y_axis.ticks:
        y = y_axis.place(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{tick:.6g}</text>')
    for tick in x_axis.ticks:
        x = x_axis.place(tick)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM + 4}"/>')
        parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{tick:.6g}</text>')
    return parts


def _line(one: Series, x_axis: Axis, y_axis: Axis) -> str:
    places = [(x_axis.place(x), y_axis.place(y)) for x, y in thinned(one.points)]
    colour = COLOURS[one.colour % len(COLOURS)]
    dash = ' stroke-dasharray="5 3"' if one.dashed else ""
    name = f"<title>{html.escape(one.name)}</title>"
    path = " ".join(f"{x},{y}" for x, y in places) if one.joined else ""
    parts = [f'<g stroke="{colour}" fill="none"{dash}>{name}<polyline points="{path}"/>']
    for x, low, high in one.bars:
        at = x_axis.place(x)
        parts.append(f'<line x1="{at}" x2="{at}" y1="{y_axis.place(low)}" y2="{y_axis.place(high)}"/>')
    parts.append("</g>")
    if one.marked or len(places) == 1:
        inside = "#fff" if one.dashed else colour
        for (x, y), (_, value) in zip(places, thinned(one.points), strict=True):
            told = f"<title>{html.escape(one.name)}: {value:.6g}</title>"
            parts.append(f'<circle cx="{x}" cy="{y}" r="3.5" stroke="{colour}" fill="{inside}">{told}</circle>')
    return "".join(parts)

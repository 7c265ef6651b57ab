"""Charts: round ticks, and values where they belong on the paper."""

import xml.etree.ElementTree as ElementTree

import pytest

from resnet_tf.report.charts import BOTTOM, HEIGHT, MOST_POINTS, TOP, Axis, Series, line_chart, round_ticks, thinned


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 100, (0, 20, 40, 60, 80, 100)),
        (1, 100, (0, 20, 40, 60, 80, 100)),
        (84.9, 92.6, (84, 86, 88, 90, 92)),
        (0, 1, (0, 0.2, 0.4, 0.6, 0.8, 1)),
        (0.031, 0.034, (0.031, 0.032, 0.033, 0.034)),
    ],
)
def test_ticks_are_round(low, high, ticks):
    assert round_ticks(low, high) == pytest.approx(ticks)


def test_linear_and_logarithmic_places():
    linear = Axis.over([0, 100], 10, 110)
    assert [linear.place(value) for value in (0, 25, 100)] == [10, 35, 110]
    decades = Axis.over([0.001, 0.1], 200, 0, logarithmic=True)
    assert decades.ticks == pytest.approx((0.001, 0.01, 0.1))
    assert [decades.place(value) for value in (0.001, 0.01, 0.1)] == [200, 100, 0]


def test_a_constant_lies_in_the_middle():
    axis = Axis.over([0.1, 0.1], HEIGHT - BOTTOM, TOP)
    assert axis.place(0.1) == pytest.approx((HEIGHT - BOTTOM + TOP) / 2)


def test_chart_is_well_formed_and_draws_each_series():
    series = [Series("a < b & c", [(1, 2.0), (2, 1.0)]), Series("d", [(1, 1.5)], 1), Series("empty", [])]
    root = ElementTree.fromstring(line_chart("loss", series, "epoch"))
    lines = [line.get("points").split() for line in root.iter("polyline")]
    assert [len(points) for points in lines] == [2, 1]
    (x1, y1), (x2, y2) = (map(float, point.split(",")) for point in lines[0])
    assert x1 < x2
    assert y1 < y2  # 2.0 stands above 1.0, and SVG counts downwards
    assert next(root.iter("title")).text == "a < b & c"
    assert len(list(root.iter("circle"))) == 1  # a single point would be no line


def test_nothing_to_draw_is_no_chart():
    assert line_chart("loss", [Series("empty", [])], "epoch") == ""


def test_long_logs_are_thinned_and_keep_their_ends():
    points = [(x, float(x)) for x in range(5000)]
    few = thinned(points)
    assert len(few) == MOST_POINTS
    assert (few[0], few[-1]) == (points[0], points[-1])
    assert thinned(points[:7]) == points[:7]

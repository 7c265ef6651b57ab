"""The plots of a run's log show its values."""

import numpy as np
import pytest

from resnet_tf import plots
from resnet_tf.runs.curves import PANELS, curves, draw

ROWS = [
    {"epoch": 1, "loss": 2.0, "top1": 20.0, "validation_loss": 1.5, "validation_top1": 30.0, "learning_rate": 0.1},
    {"epoch": 2, "loss": 1.0, "top1": 60.0, "validation_loss": 1.2, "validation_top1": 50.0, "learning_rate": 1e-6},
]


def test_each_plot_shows_training_and_validation_over_epochs():
    loss, top1, rate = curves("4/a", ROWS).axes
    for axes, values in ((loss, [[2.0, 1.0], [1.5, 1.2]]), (top1, [[20.0, 60.0], [30.0, 50.0]]), (rate, [[0.1, 1e-6]])):
        assert [list(line.get_ydata()) for line in axes.lines] == values
        assert all(list(line.get_xdata()) == [1, 2] for line in axes.lines)


def test_a_last_tiny_learning_rate_does_not_flatten_the_rest():
    rate = curves("4/a", ROWS).axes[2]
    low, high = rate.get_ylim()
    assert rate.get_yscale() == "log"
    assert high / low < 1e5


@pytest.mark.parametrize("title", PANELS)
def test_what_no_run_logged_is_not_drawn(title):
    axes = plots.figure(4, 3).subplots()
    assert not draw(axes, title, [[], [{"epoch": 1}]])


def test_a_run_of_one_epoch_and_one_without_validation_have_a_figure():
    without = [{key: value for key, value in row.items() if "validation" not in key} for row in ROWS]
    for rows in (ROWS[:1], without, []):
        content = np.frombuffer(plots.encode(curves("4/a", rows), "png"), np.uint8)
        assert bytes(content[:4]) == b"\x89PNG"

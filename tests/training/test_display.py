"""The time left, by a clock that the test moves."""

import itertools
from types import SimpleNamespace

import pytest
from messages import listen

from resnet_tf.training import display as display_module

PLAN = SimpleNamespace(
    first_epoch=0, steps_per_epoch=5, total_steps=20, preset=SimpleNamespace(train=SimpleNamespace(batch_size=8))
)
ROW = {"epoch": 1, "loss": 1.0, "top1": 50.0, "learning_rate": 0.1, "timing": {"images_per_second": 4.0}}


def test_the_time_left_counts_steps_and_the_pauses_between_epochs(monkeypatch):
    """Four epochs of five steps of 2 s each, the very first of which takes 9 s; validation and saving take 3 s."""
    now, said = [0.0], listen()
    monkeypatch.setattr(display_module.time, "monotonic", lambda: now[0])
    display = display_module.ProgressDisplay(20, 4, 0)
    display.start_phase(PLAN)
    for epoch in range(4):
        display.start_epoch(epoch)
        for step in range(5):
            now[0] += 9.0 if (epoch, step) == (0, 0) else 2.0
            display.show_step(1.0, 50.0)
        now[0] += 3.0
        display.show_row(ROW)
    left = [line.rpartition("images/s")[2].strip() for line in said]
    assert left == ["0:39 left", "0:26 left", "0:13 left", ""]


@pytest.mark.parametrize(("steps", "seconds", "expected"), [(300, 2.0, "9:56"), (2000, 2.0, "67 min")])
def test_minutes_and_seconds_below_an_hour(monkeypatch, steps, seconds, expected):
    display = display_module.ProgressDisplay(steps, 1, 0)
    display.start_phase(PLAN)
    said, now = listen(), itertools.count(0, seconds)
    monkeypatch.setattr(display_module.time, "monotonic", lambda: next(now))
    display.start_epoch(0)
    display.show_step(1.0, 50.0)
    display.show_step(1.0, 50.0)
    display.last_end = None  # no validation
    display.show_row(ROW)
    assert f"{expected} left" in said[-1]

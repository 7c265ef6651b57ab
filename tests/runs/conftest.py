"""Runs made by hand: a clock that sets their names, and finished ones."""

import time
from pathlib import Path

import pytest
from plain import MINE

from resnet_tf.presets import schema
from resnet_tf.runs import pretrained
from resnet_tf.runs.run import create_run

PRESET = schema.from_dict(MINE)


@pytest.fixture
def clock(monkeypatch):
    """Sets the time that new runs are given: seconds after 2026-01-01 12:00."""

    def set_to(seconds: int):
        moment = time.strptime(f"2026-01-01 12:{seconds // 60:02}:{seconds % 60:02}", "%Y-%m-%d %H:%M:%S")
        monkeypatch.setattr(time, "gmtime", lambda: moment)

    set_to(0)
    return set_to


@pytest.fixture
def none_published(tmp_path, monkeypatch) -> Path:
    """An empty folder in the place of the published weights."""
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "pretrained")
    return tmp_path / "pretrained"


@pytest.fixture
def finished(tmp_path, clock, none_published):
    """Makes a finished run, a second newer each time; there is no pretrained one."""
    seconds = iter(range(100))

    def make(validation=None, preset=PRESET, changed=None, **about):
        clock(next(seconds))
        run = create_run(preset, 0, tmp_path / "runs", changed=changed or {})
        last = {} if validation is None else {"last": {"validation_top1": validation}}
        run.update(status="finished", steps_planned=10, step=10, **last, **about)
        return run

    return make

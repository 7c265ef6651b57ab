"""An unbroken run, which others must equal, and ways to stop or break a training at a step."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from resnet_tf.presets.preset_files import load_preset
from resnet_tf.training import checkpoint, session
from resnet_tf.training.loop import Phase
from resnet_tf.training.train import train as train_preset


@pytest.fixture(scope="session")
def tiny_preset(tiny_preset) -> dict:
    """One stage of one unit: what takes time here is TensorFlow's tracing."""
    return {**tiny_preset, "model": {"num_residual_units": 1, "filters": [4]}}


@pytest.fixture(scope="session")
def trained(image_tree, tiny_preset, tmp_path_factory):
    """An unbroken run of three epochs of ten steps."""
    runs = tmp_path_factory.mktemp("unbroken")
    return train_preset(load_preset(tiny_preset), str(image_tree), runs, seed=7)


@pytest.fixture(autouse=True)
def short_end(monkeypatch):
    """Leaves out two things that every training does at its end, a third of the time of so short a one.

    `trained` does both; test_recalibration.py is about one of them.
    """
    monkeypatch.setattr(session, "recalibrate_if_lagging", lambda run, plan, row: None)
    monkeypatch.setattr(session, "curves", lambda name, rows: None)
    monkeypatch.setattr(session, "plots", SimpleNamespace(encode=lambda figure, kind: b""))


class Acts:
    """What to do at the end of some steps; given to `train` as `on_step`."""

    def __init__(self):
        self.acts: dict[int, Callable[[Phase], None]] = {}

    def __call__(self, phase: Phase) -> None:
        self.acts.get(phase.progress.step, lambda phase: None)(phase)


@pytest.fixture
def on_step() -> Acts:
    return Acts()


@pytest.fixture
def at_step(on_step):
    """Calls something with the training's phase when it has done a step, before that step is checked or saved."""

    def arrange(step: int, act: Callable[[Phase], None]) -> None:
        on_step.acts[step] = act

    return arrange


@pytest.fixture
def train(image_tree, tiny_preset, tmp_path, on_step):
    """Trains the tiny preset with changes, in a folder of this test's own."""

    def start(resume=False, seed=7, **changes):
        preset = load_preset(tiny_preset, **changes)
        return train_preset(preset, str(image_tree), tmp_path, seed=seed, resume=resume, on_step=on_step)

    return start


def without_timing(run) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "timing"} for row in run.rows]


@pytest.fixture
def assert_same_run():
    def check(run, other) -> None:
        ours, theirs = (checkpoint.load(each.state) for each in (run, other))
        assert ours.arrays.keys() == theirs.arrays.keys()
        for name in ours.arrays:
            np.testing.assert_array_equal(ours.arrays[name], theirs.arrays[name], err_msg=name)
        assert without_timing(run) == without_timing(other)
        assert run.best.read_bytes() == other.best.read_bytes()
        assert run.last.read_bytes() == other.last.read_bytes()

    return check

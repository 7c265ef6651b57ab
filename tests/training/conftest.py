"""An unbroken run, which others must equal, and ways to stop or break a training at a step."""

from collections.abc import Callable

import numpy as np
import pytest

from resnet_tf.preset_files import load_preset
from resnet_tf.training import keep, loop, state


def quiet(line: str) -> None:
    """Takes what a training says and drops it."""


@pytest.fixture(scope="session")
def tiny_preset(tiny_preset) -> dict:
    """One stage of one unit: what takes time here is TensorFlow's tracing."""
    return {**tiny_preset, "model": {"num_residual_units": 1, "filters": [4]}}


@pytest.fixture(scope="session", autouse=True)
def no_pictures():
    """Leaves out TensorBoard's picture of a batch, which takes a quarter of so short a training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "first_images", lambda plan: np.zeros((4, 8, 8, 3)))
        yield


@pytest.fixture(scope="session")
def trained(image_tree, tiny_preset, tmp_path_factory):
    """An unbroken run of three epochs of ten steps."""
    runs = tmp_path_factory.mktemp("unbroken")
    return loop.train(load_preset(tiny_preset), str(image_tree), runs, seed=7, say=quiet)


@pytest.fixture
def at_step(monkeypatch):
    """Calls something with the training's `KeepRun` when it has done a step, before that step is looked at."""

    def arrange(step: int, act: Callable[[keep.KeepRun], None]) -> None:
        original = keep.KeepRun.on_train_batch_end

        def on_train_batch_end(self, batch, logs=None):
            if self.progress.step + 1 == step:
                act(self)
            original(self, batch, logs)

        monkeypatch.setattr(keep.KeepRun, "on_train_batch_end", on_train_batch_end)

    return arrange


def without_timing(run) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "timing"} for row in run.rows]


@pytest.fixture
def assert_same_run():
    def check(run, other) -> None:
        ours, theirs = (state.load(each.state, quiet) for each in (run, other))
        assert ours.arrays.keys() == theirs.arrays.keys()
        for name in ours.arrays:
            np.testing.assert_array_equal(ours.arrays[name], theirs.arrays[name], err_msg=name)
        assert without_timing(run) == without_timing(other)
        assert run.best.read_bytes() == other.best.read_bytes()
        assert run.last.read_bytes() == other.last.read_bytes()

    return check

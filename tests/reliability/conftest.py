"""One unbroken training, which all that are killed, stopped or damaged must equal."""

import os
import sys
import time
from pathlib import Path

import pytest

if sys.platform != "linux":
    collect_ignore_glob = ["test_*.py"]  # they count what a process does through Linux's /proc

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def data(image_tree, cache):
    """The folder of images, and what all processes here need to import `trials`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
        yield image_tree


@pytest.fixture(scope="session")
def finished_runs(data, tmp_path_factory):
    """The folder of an unbroken run, the seconds it took and the moments at which it could have been cut off."""
    import trials

    runs = tmp_path_factory.mktemp("unbroken")
    trial = trials.Trial(data, runs)
    began = time.monotonic()
    assert trial.end() == 0, trial.output
    return runs, time.monotonic() - began, trial.moments


@pytest.fixture(scope="session")
def unbroken(finished_runs):
    """What an unbroken run leaves, the seconds it took and its moments."""
    import trials

    runs, seconds, moments = finished_runs
    return trials.outcome(runs), seconds, moments

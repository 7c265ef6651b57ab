"""The tests of optimizers, averages and the network's keys that know no backend, under JAX."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = (
    "tests/optim/test_groups_and_muon.py",
    "tests/models/test_network_keys.py",
    "tests/models/test_stochastic_depth.py",
    "tests/training/test_averaging.py",
    "tests/training/test_recipe_pieces.py",
    "tests/training/test_step.py",
)


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_it_passes_under_jax(file):
    pytest.importorskip("jax")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "KERAS_BACKEND": "jax"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:]

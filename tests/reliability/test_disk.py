"""A disk that is full, read-only or forbidden ends a training in one line, and costs nothing that was saved."""

import errno
import itertools
import os
import re
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from trials import Fail, Trial, finish, outcome

from resnet_tf.runs.choose import all_runs
from resnet_tf.training import checkpoint

DISK = (errno.ENOSPC, errno.EROFS, errno.EACCES)
SHORT = {"phases": [], "train": {"epochs": 1}}


def failed(data: Path, runs: Path, act, preset: dict) -> None:
    """Trains on a disk that fails, which must end in one line and leave every saved state whole."""
    trial = Trial(data, runs, act=act, preset=preset)
    code = trial.end()
    assert code in (0, 2), trial.output
    assert "Traceback" not in trial.output
    if code == 2:
        line = trial.output.splitlines()[-1]
        assert os.strerror(act.number) in line
        assert str(runs) in line
    for run in all_runs(runs):
        checkpoint.load(run.state)


@pytest.mark.slow
def test_disk_trouble_at_every_write_of_a_training(data, tmp_path):
    """Each write fails for one of the three reasons in turn: a state is saved after every step, so each meets all."""
    whole = Trial(data, tmp_path / "whole", preset=SHORT)
    assert whole.end() == 0, whole.output
    expected, moments = outcome(tmp_path / "whole"), whole.moments

    def check(trial: tuple[int, int]) -> None:
        moment, number = trial
        runs = tmp_path / str(moment)
        failed(data, runs, Fail(number, moment, lasting=True), SHORT)
        finish(data, runs, SHORT)
        assert outcome(runs) == expected, (moment, moments[moment], os.strerror(number))
        shutil.rmtree(runs)

    writes = [moment for moment, name in enumerate(moments) if name in ("open", "write", "fsync", "mkdir", "rename")]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(check, zip(writes, itertools.cycle(DISK), strict=False)))
    print(f"a failing disk at each of {len(writes)} writes: one line, state intact, resumed to the same bits")


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of its own with room for 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting needs root")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.slow
def test_a_disk_that_is_really_full(data, unbroken, small_disk, tmp_path):
    runs, lines = small_disk / "runs", []
    for room in (4, 20, 28, 36, 44, 60, 80):  # kB left on the disk
        runs.mkdir()
        free = shutil.disk_usage(small_disk).free
        (small_disk / "filler").write_bytes(bytes(free - room * 1024))
        trial = Trial(data, runs, log=tmp_path)
        assert trial.end() == 2, trial.output
        assert "Traceback" not in trial.output
        lines.append(trial.output.splitlines()[-1])
        assert re.search(r"No space left on device \([\d.]+ MB needed, [\d.]+ MB free\)", lines[-1]), lines[-1]
        (small_disk / "filler").unlink()
        assert finish(data, runs), "there was no room to finish"
        assert outcome(runs) == unbroken[0]
        shutil.rmtree(runs)
    print("\n".join(["a full disk:", *lines]))


@pytest.mark.slow
def test_a_disk_that_becomes_read_only_in_the_middle(data, unbroken, small_disk, tmp_path):
    runs = small_disk / "runs"
    trial = Trial(data, runs, log=tmp_path)
    while not list(runs.glob("tiny/*/state/0*")):
        time.sleep(0.001)
    # A file that is open for writing, as TensorBoard's is, forbids remounting; a bind mount on top does not mind.
    subprocess.run(["mount", "--bind", runs, runs], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", runs], check=True)
    code = trial.end()
    subprocess.run(["umount", runs], check=True)
    assert "Traceback" not in trial.output
    assert code in (0, 2)
    finish(data, runs)
    assert outcome(runs) == unbroken[0]
    print(f"read-only in the middle: exit code {code}: {trial.output.splitlines()[-1]}")

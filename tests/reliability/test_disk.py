"""A disk that is full, read-only or forbidden ends a training in one line, and costs nothing that was saved."""

import errno
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from trials import Fail, Trial, finish, outcome

from resnet_tf import run_folder
from resnet_tf.training import state

DISK = (errno.ENOSPC, errno.EROFS, errno.EACCES)
SHORT = {"phases": [], "train": {"epochs": 1}}


def failed(data: Path, runs: Path, act, preset: dict) -> None:
    """Trains on a disk that fails, which must end in one line and leave every saved state whole."""
    trial = Trial(data, runs, act=act, preset=preset)
    code = trial.end()
    assert code in (0, 2), trial.said
    assert "Traceback" not in trial.said
    if code == 2:
        line = trial.said.splitlines()[-1]
        assert os.strerror(act.number) in line
        assert str(runs) in line
    for run in run_folder.every(runs):
        state.load(run.state, pytest.fail)


@pytest.mark.slow
@pytest.mark.parametrize("number", DISK)
def test_disk_trouble_at_every_write_of_a_training(data, tmp_path, number):
    whole = Trial(data, tmp_path / "whole", preset=SHORT)
    assert whole.end() == 0, whole.said
    expected, moments = outcome(tmp_path / "whole"), whole.moments

    def check(moment: int) -> None:
        runs = tmp_path / str(moment)
        failed(data, runs, Fail(number, moment, lasting=True), SHORT)
        finish(data, runs, SHORT)
        assert outcome(runs) == expected, (moment, moments[moment])
        shutil.rmtree(runs)

    writes = [moment for moment, name in enumerate(moments) if name in ("open", "write", "fsync", "mkdir", "rename")]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(check, writes))
    print(f"{os.strerror(number)} at each of {len(writes)} writes: one line, state intact, resumed to the same bits")


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of its own with room for 200 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting needs root")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.slow
def test_a_disk_that_is_really_full_or_read_only(data, unbroken, small_disk):
    filler = small_disk / "filler"
    for kilobytes in (0, 60, 100, 120, 130, 140, 150, 160):
        runs = small_disk / "runs"
        filler.write_bytes(bytes(kilobytes * 1000))
        trial = Trial(data, runs, resume=runs.exists() and bool(run_folder.every(runs)))
        code = trial.end()
        said = trial.said
        filler.unlink()
        assert "Traceback" not in said
        assert code in (0, 2), said
        if code == 2:
            assert re.search(r"No space left on device \([\d.]+ MB needed, [\d.]+ MB free\)", said), said
        for run in run_folder.every(runs):
            state.load(run.state, pytest.fail)
        if code == 0:
            assert outcome(runs) == unbroken[0]
            shutil.rmtree(runs)
    trial = Trial(data, small_disk / "runs")
    trial.process.join(1.5)
    subprocess.run(["mount", "-o", "remount,ro,force", small_disk], check=False)
    code = trial.end()
    print(f"read-only in the middle: exit code {code}: {trial.said.splitlines()[-1]}", file=sys.stderr)
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)

"""A training that is killed or stopped, at any moment and any number of times, ends in the bits of an unbroken one."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from trials import STEPS, Send, SendAtStep, Trial, finish, is_finished, outcome

from resnet_tf.runs.choose import all_runs


def long(name: str, count: int):
    """Returns the count of a long form, which the environment variable RESNET_<NAME> changes."""
    return pytest.param(int(os.environ.get(f"RESNET_{name}", count)), marks=pytest.mark.slow)


def broken_and_finished(data: Path, runs: Path, number: int, times: int, timed: bool, unbroken, rng) -> list[int]:
    """Trains with `times` signals, at random moments or (`timed`) times, then to the end; returns the exit codes."""
    expected, seconds, moments = unbroken
    codes = []
    for attempt in range(times):
        resume = bool(all_runs(runs))
        if timed and attempt % 2:
            codes.append(Trial(data, runs, resume).signal_after(rng.uniform(0, seconds), number))
        else:
            moment = int(rng.integers(0, len(moments) // 2))
            codes.append(Trial(data, runs, resume, Send(number, moment)).end())
        if is_finished(runs):
            break
    finish(data, runs)
    assert outcome(runs) == expected, runs
    return codes


@pytest.mark.parametrize("count", [6, long("KILLS", 200)])
def test_killed_at_random(data, unbroken, tmp_path, count):
    """RESNET_KILLS=N sets the count of the long form (pytest -m slow tests/reliability)."""
    print(break_until(data, tmp_path, signal.SIGKILL, count, unbroken, {-signal.SIGKILL}))


@pytest.mark.parametrize("count", [long("STOPS", 100)])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_at_random(data, unbroken, tmp_path, number, code, count):
    """RESNET_STOPS=N sets the counts of the long forms."""
    # Before the training listens, TERM kills as it does any process.
    print(break_until(data, tmp_path, number, count, unbroken, {code, -number}))


def break_until(data, folder, number, count, unbroken, codes) -> str:
    """Breaks trainings, two at a time, up to five times each, until `count` signals have hit; returns the figures."""
    began, hit, trainings = time.monotonic(), 0, 0
    with ThreadPoolExecutor(2) as pool:
        while hit < count:
            jobs = []
            for _ in range(2):
                trainings += 1
                runs, rng = folder / f"{number}-{trainings}", np.random.default_rng([count, trainings])
                times = min(5, -(-(count - hit) // 2))
                arguments = (data, runs, number, times, count > 10, unbroken, rng)  # the short form: moments alone
                jobs.append(pool.submit(broken_and_finished, *arguments))
            for job in jobs:
                ended = job.result()
                assert set(ended) <= {0, *codes}, ended
                hit += sum(code in codes for code in ended)
    seconds = time.monotonic() - began
    return f"{hit} {signal.Signals(number).name}s in {trainings} trainings: all bit-equal ({seconds:.0f} s)"


@pytest.mark.slow
def test_stopped_at_every_step(data, unbroken, tmp_path):
    def check(step: int) -> None:
        runs = tmp_path / str(step)
        assert Trial(data, runs, act=SendAtStep(signal.SIGINT, step)).end() == 130
        finish(data, runs)
        assert outcome(runs) == unbroken[0], step

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(check, range(1, STEPS)))
    print(f"{STEPS - 1} break points of a run of 4 epochs in 2 phases: all bit-equal")

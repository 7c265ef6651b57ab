"""Files of a run damaged behind its back: the state before is used and named, and the run ends in the same bits."""

import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from trials import SendAtStep, Trial, finish, outcome

from resnet_tf.runs.choose import all_runs
from resnet_tf.training import checkpoint

FILES = ("arrays.npz", "best.npz", "state.json")


def damage(path: Path, kind: str) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    match kind:
        case "a bit flipped":
            content[middle] ^= 1
        case "cut in half":
            del content[middle:]
        case "emptied":
            content.clear()
        case "a block zeroed":
            content[middle : middle + 64] = bytes(64)
        case "noise":
            content[:] = np.random.default_rng(0).bytes(len(content))
        case "removed":
            path.unlink()
            return
    path.write_bytes(content)


DAMAGE = ("a bit flipped", "cut in half", "emptied", "a block zeroed", "noise", "removed")


@pytest.fixture(scope="module")
def stopped(data, tmp_path_factory):
    """The folder of a run stopped in its second phase."""
    runs = tmp_path_factory.mktemp("stopped")
    assert Trial(data, runs, act=SendAtStep(signal.SIGINT, 26)).end() == 130
    return runs


def go_on_from_damaged(data: Path, stopped: Path, runs: Path, file: str, kind: str, expected: dict) -> None:
    shutil.copytree(stopped, runs)
    (run,) = all_runs(runs)
    newest, before = checkpoint.saved_states(run.state)
    damage(newest / file, kind)
    trial = finish(data, runs)
    assert f"damaged checkpoint ignored: {newest} (" in trial.output
    assert f"resuming {run.name} after step {checkpoint.step_of(before)}" in trial.output
    assert outcome(runs) == expected, (file, kind)


@pytest.mark.slow
def test_six_kinds_of_damage_to_each_file(data, stopped, unbroken, tmp_path):
    def check(case: tuple[str, str]) -> None:
        go_on_from_damaged(data, stopped, tmp_path / "-".join(case), *case, unbroken[0])

    cases = [(file, kind) for file in FILES for kind in DAMAGE]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(check, cases))
    print(f"{len(DAMAGE)} kinds of damage to each of {len(FILES)} files: the state before used, all bit-equal")


@pytest.mark.slow
def test_two_damaged_states_are_listed_and_left_alone(data, stopped, tmp_path):
    runs = Path(shutil.copytree(stopped, tmp_path / "runs"))
    (run,) = all_runs(runs)
    states = checkpoint.saved_states(run.state)
    for saved in states:
        damage(saved / "arrays.npz", "cut in half")
    trial = Trial(data, runs, resume=True)
    assert trial.end() == 2
    line = trial.output.splitlines()[-1]
    assert "No checkpoint is whole" in line
    assert all(f"{saved} (arrays.npz does not match its checksum)" in line for saved in states)
    assert sorted(os.listdir(run.state)) == sorted(saved.name for saved in states)

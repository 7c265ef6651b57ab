"""Sweeps: every combination once, finished trials left alone, killed ones gone on with, on a Ray of two workers."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sweep as sweep_door
from resnet_tf import cli, files, ledger, run_folder, sweeping
from resnet_tf.errors import Stopped, UserError
from resnet_tf.sweeping import Outcome, Sweep, Trial

ROOT = Path(sweep_door.__file__).parent


def test_trials_are_every_combination():
    found = sweeping.trials(["3", "4"], [0, 1], ["train.epochs=2"], ["optimizer.learning_rate=[0.1, 0.05]"])
    assert [str(trial) for trial in found] == [
        f"{name} seed {seed} train.epochs=2 optimizer.learning_rate={rate}"
        for name in ("3", "4")
        for rate in ("0.1", "0.05")
        for seed in (0, 1)
    ]
    recipe = found[2].recipe
    assert (recipe.name, recipe.train.epochs, recipe.optimizer.learning_rate) == ("3", 2, 0.05)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((["3"], [0], [], ["train.epochs"]), "--vary takes key=[value, value]. Received: 'train.epochs'."),
        ((["3"], [0], [], ["train.epochs=3"]), "--vary takes key=[value, value]"),
        ((["3"], [0], [], ["train.epochs=[]"]), "--vary takes key=[value, value]"),
        ((["3"], [0], ["train.epoch=3"], []), "Did you mean 'epochs'?"),
        ((["nonesuch"], [0], [], []), "nonesuch"),
        ((["3", "3"], [0], [], []), "trials must differ. Received: 2 of which 1 are different recipes."),
    ],
)
def test_what_cannot_be_swept_is_told_before_anything_starts(arguments, told):
    with pytest.raises(UserError) as caught:
        sweeping.trials(*arguments)
    assert told in str(caught.value)


@pytest.fixture
def tiny(tiny_preset, tmp_path):
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(tiny_preset))
    return str(path)


def test_a_trial_is_carried_out_once_and_gone_on_with_where_it_stopped(tiny, image_tree, tmp_path, monkeypatch):
    trial, runs = Trial(tiny, 3, ("train.epochs=2",)), str(tmp_path / "runs")
    assert sweeping.run_of(trial, runs) is None

    def stop(line):
        if line.startswith("epoch 1/2"):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped):
        sweeping.carry_out(trial, runs, str(image_tree), say=stop)
    stopped = sweeping.run_of(trial, runs)
    assert stopped.about["status"] == "stopped"
    assert not sweeping.is_scored(stopped, runs)
    finished = sweeping.carry_out(trial, runs, str(image_tree), say=str)
    assert finished == stopped
    assert sweeping.is_scored(finished, runs)
    assert finished.about["changed"] == {"train.epochs": [2, 3]}
    sweeping.carry_out(trial, runs, str(image_tree), say=str)
    assert [run.name for run in run_folder.every(runs)] == [finished.name]
    for log in (ledger.TRAINED, ledger.EVALUATED):
        assert len(files.read_rows(Path(runs) / log)[0]) == 1
    assert sweeping.run_of(Trial(tiny, 4, ("train.epochs=2",)), runs) is None  # another seed
    assert sweeping.run_of(Trial(tiny, 3), runs) is None  # another recipe
    (row,) = files.read_rows(Path(runs) / ledger.EVALUATED)[0]
    told = sweeping.report(Sweep([Outcome(trial, "finished"), Outcome(Trial(tiny, 5), "failed", 2, "no room")], runs))
    assert told.splitlines()[:2] == [
        f"{tiny} train.epochs=2: test top-1 {row['top1']:.2f} %, seed 3; best {row['top1']:.2f} % in {finished.name}",
        f"{tiny} seed 5: failed after 2 starts: no room",
    ]


def test_mistakes_at_the_door_are_told_in_one_line(capsys):
    for arguments, told in {
        (): "choose what to train with --presets",
        ("--presets", "3", "--workers", "0"): "must be at least 1",
        ("--presets", "33"): "33",
    }.items():
        assert cli.run_door(sweep_door.main, list(arguments)) == 2
        line = capsys.readouterr().err
        assert told in line
        assert line.count("\n") == 1


def process_that_has_open(path: Path) -> int:
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if link.readlink() == path:
                return int(link.parts[2])
    raise AssertionError(f"nobody has {path} open")


@pytest.mark.slow
def test_a_sweep_with_a_killed_trial_and_a_killed_driver_gives_every_row_once(tiny, image_tree, tmp_path):
    """Six trials on two workers: one training is killed, then the driver; started again, all six end, each once."""
    pytest.importorskip("ray")
    runs = tmp_path / "runs"
    command = [sys.executable, "sweep.py", "--presets", tiny, "--seeds", "0", "1", "2", "--workers", "2"]
    command += ["--vary", "optimizer.learning_rate=[0.05, 0.1]", "--set", "train.epochs=40"]
    command += ["--data", str(image_tree), "--runs", str(runs)]

    def under_way() -> list:
        """Runs with an epoch done that are not over."""
        return [run for run in run_folder.every(runs) if run.about["status"] == "running" and run.rows]

    def wait_for(condition, seconds: float = 240) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.2)

    with subprocess.Popen(command, cwd=ROOT) as driver:
        wait_for(under_way)
        victim = under_way()[0]
        os.kill(process_that_has_open(victim.lock), signal.SIGKILL)
        wait_for(lambda: any(row for row in files.read_rows(runs / ledger.EVALUATED)[0]))
        driver.kill()
    assert len(files.read_rows(runs / ledger.EVALUATED)[0]) < 6
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "+/-" in done.stdout
    for log in (ledger.TRAINED, ledger.EVALUATED):
        rows, torn = files.read_rows(runs / log)
        found = sorted((row["seed"], row["changed"].get("optimizer.learning_rate", [None])[0]) for row in rows)
        assert torn == 0
        assert len(set(found)) == len(found) == 6
    assert len(run_folder.every(runs)) == 6
    assert {run.about["status"] for run in run_folder.every(runs)} == {"finished"}

"""The folder of a run: its name, recipe and facts, and what is said of one that is not finished or damaged."""

import errno
import json
import os
import shlex
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from assertions import user_error
from plain import MINE

from resnet_tf import files
from resnet_tf.presets import schema
from resnet_tf.runs.choose import all_runs, find_run
from resnet_tf.runs.run import Run, create_run

PRESET = schema.from_dict({**MINE, "results": [{"test_top1": 80.0}]})


def test_a_run_is_called_the_same_by_whatever_way_it_is_reached(tmp_path, monkeypatch):
    name = create_run(PRESET, 0, tmp_path).name
    (tmp_path / "mine" / "beside").mkdir()
    monkeypatch.chdir(tmp_path / "mine" / "beside")
    assert find_run(f"../{name.removeprefix('mine/')}", "runs").name == name


def test_a_suggested_command_names_the_folder_of_runs_unless_it_is_the_default_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    usual, elsewhere = create_run(PRESET, 0, "runs"), create_run(PRESET, 0, "my runs")
    assert usual.as_argument == usual.name
    assert Run(tmp_path / usual.folder).as_argument == usual.name
    name, option, runs = shlex.split(elsewhere.as_argument)
    assert option == "--runs"
    monkeypatch.chdir("/")  # the suggestion holds wherever it is followed
    assert find_run(name, runs).folder == tmp_path / elsewhere.folder


def test_a_suggested_command_is_read_by_a_shell_as_it_is_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = create_run(schema.from_dict({**MINE, "name": "my cats (v2)"}), 0, "runs", data_option="/my photos")
    assert shlex.split(run.as_argument) == [run.name, "--data", "/my photos"]
    run.update(pretrained=True)
    assert shlex.split(run.as_argument) == [run.name]
    monkeypatch.setattr(Run, "about", {})  # directly below the root, where tests do not write
    assert shlex.split(Run(Path("/model")).as_argument) == ["/model", "--runs", "/"]


def test_a_run_holds_its_recipe_and_its_facts(tmp_path, clock):
    run = create_run(PRESET, 3, tmp_path, class_names=["a", "b"])
    assert run.name == "mine/20260101T120000Z-s3"
    assert run.folder == tmp_path / "mine" / "20260101T120000Z-s3"
    assert run.preset.hash == PRESET.hash
    assert run.preset.results == ()  # results belong to the preset's file
    assert run.about == {"seed": 3, "status": "running", "started": "2026-01-01T12:00:00Z", "class_names": ["a", "b"]}
    run.update(status="finished", step=5)
    assert run.about["status"] == "finished"
    assert run.about["seed"] == 3
    assert run.rows == []
    files.append_row(run.log, {"epoch": 1})
    assert run.rows == [{"epoch": 1}]
    assert run.last.parent.is_dir()


def test_a_file_is_read_once_and_again_where_another_has_replaced_it(tmp_path, clock):
    run = create_run(PRESET, 0, tmp_path)
    assert run.about is run.about
    assert run.preset is run.preset
    Run(run.folder).update(status="stopped")  # as another process would
    assert run.about["status"] == "stopped"
    Run(run.folder).write_preset(schema.from_dict({**MINE, "train": {"epochs": 7}}))
    assert run.preset.train.epochs == 7


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path, clock):
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: create_run(PRESET, 0, tmp_path), range(24)))
    assert len({run.folder for run in runs}) == 24
    assert len(all_runs(tmp_path)) == 24


def test_folder_that_cannot_be_made(tmp_path, clock):
    (tmp_path / "file").write_text("")
    error = user_error(create_run, PRESET, 0, tmp_path / "file")
    assert error.code == "folder-not-writable"
    assert "Not a directory" in str(error)


@pytest.mark.parametrize(
    ("status", "saved"), [("stopped", [14]), ("running", [7, 14]), ("running", []), ("diverged", [])]
)
def test_an_unfinished_run_says_so_where_its_weights_are_wanted(tmp_path, clock, status, saved):
    run = create_run(PRESET, 0, tmp_path)
    run.update(status=status, steps_planned=30)
    for step in saved:
        (run.state / f"{step:09d}-0").mkdir(parents=True)
    line = str(user_error(run.weights, "last"))
    assert f"{status}, saved up to step {max(saved, default=0)} of 30" in line
    assert (f"python train.py --resume {run.as_argument}" in line) == (status != "diverged")
    assert "--weights best" not in line
    run.best.write_bytes(b"")
    assert "--weights best" in str(user_error(run.weights, "last"))
    assert run.weights("best") == run.best
    run.last.write_bytes(b"")  # of its shorter self, where a finished run is being made longer
    assert user_error(run.weights, "last").code == "run-unfinished"
    run.update(status="finished")
    assert run.weights("last") == run.last
    run.best.unlink()
    assert user_error(run.weights, "best").code == "no-best-weights"


def test_what_two_processes_write_at_once_is_kept(tmp_path, clock):
    run = create_run(PRESET, 0, tmp_path)
    with ThreadPoolExecutor(8) as pool:  # a lock keeps threads apart as it does processes
        list(pool.map(lambda number: Run(run.folder).update(**{f"key {number}": number}), range(40)))
    assert {f"key {number}" for number in range(40)} <= set(run.about)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"null"])
def test_damaged_file_of_a_run_is_named(tmp_path, clock, content):
    run = create_run(PRESET, 0, tmp_path)
    for name, read in (("run.json", lambda: run.about), ("preset.json", lambda: run.preset)):
        (run.folder / name).write_bytes(content)
        error = user_error(read)
        assert error.code == "run-unreadable"
        assert str(run.folder / name) in str(error)


def test_preset_file_is_known_as_long_as_it_is_there(tmp_path, clock):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(MINE))
    run = create_run(PRESET, 0, tmp_path / "runs", preset_file=str(path))
    assert run.preset_file == path
    path.unlink()
    assert run.preset_file is None
    assert create_run(PRESET, 1, tmp_path / "runs", preset_file=None).preset_file is None


def test_a_calibration_holds_for_the_weights_and_the_view_that_it_was_measured_with(tmp_path):
    run = create_run(PRESET, 0, tmp_path)
    stored = {"temperature": 0.5, "trained": 10}
    run.update(step=10, calibration={"mirror-last": stored})
    assert run.calibration("last", "mirror") == stored
    assert run.calibration("best", "mirror") is None
    assert run.calibration("last", "1-crop") is None
    assert run.calibration("last-recalibrated", "mirror") is None
    run.update(step=20)  # trained on since
    assert run.calibration("last", "mirror") is None
    training = create_run(PRESET, 1, tmp_path)  # it has not ended yet
    training.update(calibration={"mirror-last": {"temperature": 0.5, "trained": None}})
    assert training.calibration("last", "mirror") is None


def test_a_folder_becomes_a_run_when_its_initial_weights_are_there(tmp_path, monkeypatch):
    def fails(path, content, real=files.write_atomically):
        if path.name == "initial.npz":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, content)

    assert create_run(PRESET, 0, tmp_path, initial=b"weights").initial.read_bytes() == b"weights"
    monkeypatch.setattr(files, "write_atomically", fails)
    assert user_error(create_run, PRESET, 1, tmp_path, initial=b"weights").code == "folder-not-writable"
    assert len(all_runs(tmp_path)) == 1

"""Pretrained runs: copied among the user's on first use, whole, once, and never taken for a training of the user's."""

import errno
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import pytest
from assertions import user_error

from resnet_tf.presets import preset_files
from resnet_tf.runs import pretrained
from resnet_tf.runs.choose import all_runs, choose_run, find_run, own_runs
from resnet_tf.sweeping.trials import Trial, run_of


@pytest.fixture
def published():
    return all_runs(pretrained.FOLDER)[0]


def contents(run) -> dict[str, bytes]:
    return {str(path.relative_to(run.folder)): path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}


def test_by_name_path_preset_or_as_the_default_the_same_copy_is_used(published, tmp_path):
    for preset, name in ((None, None), ("quick-long", None), (None, published.name), (None, str(published.folder))):
        run = choose_run(preset, name, tmp_path, "predict")
        assert run.folder == tmp_path / published.name
        assert run.published.top1 == 90.59
    assert contents(run) == contents(published)
    assert os.listdir(tmp_path / "quick-long") == [run.folder.name]  # no temporary folder is left
    run.update(note="mine")
    assert find_run(published.name, tmp_path).about["note"] == "mine"  # a copy is not made twice


def test_many_processes_at_once_make_one_whole_copy(published, tmp_path):
    with ProcessPoolExecutor(8) as pool:
        runs = list(pool.map(find_run, [published.name] * 16, [tmp_path] * 16))
    assert {run.folder for run in runs} == {tmp_path / published.name}
    assert contents(runs[0]) == contents(published)
    assert len(list((tmp_path / "quick-long").iterdir())) == 1


def test_a_copy_that_was_killed_is_no_run_and_hinders_no_later_one(published, tmp_path, monkeypatch):
    def kill(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *arguments, **keywords: None)  # nor was there time to clean up
        patch.setattr(pretrained.Path, "rename", kill)
        with pytest.raises(KeyboardInterrupt):
            find_run(published.name, tmp_path)
    assert list(tmp_path.rglob("run.json"))
    assert all_runs(tmp_path) == []
    assert contents(find_run(published.name, tmp_path)) == contents(published)


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path, monkeypatch):
    def read_only(*arguments, **keywords):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(pretrained.tempfile, "mkdtemp", read_only)
    error = user_error(choose_run, None, None, tmp_path, "predict")
    assert error.code == "folder-not-writable"
    assert "Read-only file system" in str(error)


def test_it_is_no_training_of_the_users(published, tmp_path):
    run = find_run(published.name, tmp_path)
    assert all_runs(tmp_path) == [run]
    assert own_runs(tmp_path) == []
    trial = replace(Trial.of(preset_files.find("quick-long"), run.about["seed"]), recipe=run.preset)
    assert run_of(trial, tmp_path, run.about["data"]["fingerprint"]) is None


def test_published_runs_are_small():
    assert sum(path.stat().st_size for path in pretrained.FOLDER.rglob("*") if path.is_file()) < 8e6

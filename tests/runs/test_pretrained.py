"""Pretrained runs: read where they are; copied whole and once to be written into; never taken for the user's."""

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import pytest
from assertions import user_error

from resnet_tf import files
from resnet_tf.presets import preset_files
from resnet_tf.runs import pretrained
from resnet_tf.runs.choose import all_runs, choose_run, find_run, own_runs
from resnet_tf.runs.pretrained import writable
from resnet_tf.sweeping.trials import Trial, run_of


def contents(run) -> dict[str, bytes]:
    return {str(path.relative_to(run.folder)): path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}


def test_by_name_path_preset_or_as_the_default_the_same_run_is_read_and_nothing_is_written(published, tmp_path):
    for preset, name in ((None, None), ("quick-long", None), (None, published.name), (None, str(published.folder))):
        run = choose_run(preset, name, tmp_path, "predict")
        assert run.folder == published.folder
    assert not list(tmp_path.iterdir())


def test_what_writes_into_it_gets_one_copy(published, tmp_path):
    run = writable(published, tmp_path)
    assert run.folder == tmp_path / published.name
    assert contents(run) == contents(published)
    assert writable(run, tmp_path) is run
    assert os.listdir(tmp_path / "quick-long") == [run.folder.name]  # no temporary folder is left
    run.update(note="mine")
    assert writable(published, tmp_path).about["note"] == "mine"  # a copy is not made twice
    assert find_run(published.name, tmp_path) == run


def test_figures_that_0_3_0_left_among_the_runs_move_into_the_copy(published, tmp_path):
    for folder in ("figures", "export"):
        (tmp_path / published.name / folder).mkdir(parents=True)
        (tmp_path / published.name / folder / "mine").write_text(folder)
    run = writable(published, tmp_path)
    assert (run.figures / "mine").read_text() == "figures"
    assert contents(run).items() >= contents(published).items()


def test_many_processes_at_once_make_one_whole_copy(published, tmp_path):
    with ProcessPoolExecutor(8) as pool:
        runs = list(pool.map(writable, [published] * 16, [tmp_path] * 16))
    assert {run.folder for run in runs} == {tmp_path / published.name}
    assert contents(runs[0]) == contents(published)
    assert len(list((tmp_path / "quick-long").iterdir())) == 1


def test_a_copy_that_was_killed_is_no_run_and_hinders_no_later_one(published, tmp_path, monkeypatch):
    for count in range(len(contents(published))):
        runs, write, written = tmp_path / str(count), files.write_atomically, []

        def kill(place, content, count=count, write=write, written=written):
            if len(written) == count:
                raise KeyboardInterrupt
            written.append(place)
            write(place, content)

        with monkeypatch.context() as patch:
            patch.setattr(files, "write_atomically", kill)
            with pytest.raises(KeyboardInterrupt):
                writable(published, runs)
        assert all_runs(runs) == []
        assert contents(writable(published, runs)) == contents(published)


def test_a_folder_that_cannot_be_written_is_one_error(published, tmp_path):
    (tmp_path / "file").touch()
    error = user_error(writable, published, tmp_path / "file")
    assert error.code == "folder-not-writable"
    assert "Not a directory" in str(error)


def test_it_is_no_training_of_the_users(published, tmp_path):
    run = writable(published, tmp_path)
    assert all_runs(tmp_path) == [run]
    assert own_runs(tmp_path) == []
    trial = replace(Trial.of(preset_files.find("quick-long"), run.about["seed"]), recipe=run.preset)
    assert run_of(trial, tmp_path, run.about["data"]["fingerprint"]) is None


def test_published_runs_are_small():
    assert sum(path.stat().st_size for path in pretrained.FOLDER.rglob("*") if path.is_file()) < 12e6

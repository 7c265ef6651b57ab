"""Weights that come with the project: put there by one command, found where there are no runs, scored again by eval."""

import json
import shutil

import pytest

import eval as eval_command
import predict as predict_command
import train as train_command
from resnet_tf import files
from resnet_tf.cli import command
from resnet_tf.errors import UserError
from resnet_tf.runs import ledger, run_folder
from tools import publish


@pytest.fixture(scope="module")
def runs(image_tree, tiny_preset, tmp_path_factory):
    """Runs in which one is trained and scored."""
    folder = tmp_path_factory.mktemp("shipping")
    preset = folder / "tiny.json"
    preset.write_text(json.dumps({**tiny_preset, "train": {"batch_size": 20, "epochs": 1}}))
    common = ["--preset", str(preset), "--data", str(image_tree), "--runs", str(folder / "runs")]
    assert command.run_command(train_command.main, common) == 0
    assert command.run_command(eval_command.main, common) == 0
    return folder / "runs"


@pytest.fixture
def shipped(runs, tmp_path, monkeypatch):
    """The run, shipped into a folder of this test's own."""
    monkeypatch.setattr(run_folder, "SHIPPED", tmp_path / "weights")
    (run,) = run_folder.every(runs)
    return run_folder.Run(publish.ship(run, runs, run_folder.SHIPPED))


def test_it_holds_arrays_and_plain_words_alone(shipped, runs, image_tree):
    files = sorted(str(path.relative_to(shipped.folder)) for path in shipped.folder.rglob("*") if path.is_file())
    assert files == ["preset.json", "result.json", "run.json", "weights/last.npz"]
    (run,) = run_folder.every(runs)
    assert shipped.last.read_bytes() == run.last.read_bytes()
    for path in shipped.folder.glob("*.json"):
        for place in (runs.parent, image_tree):  # no path of this machine
            assert str(place) not in path.read_text()


def test_predicting_takes_it_where_there_is_no_run(shipped, image_tree, tmp_path, capsys):
    photo = next((image_tree / "test" / "dog").iterdir())
    assert command.run_command(predict_command.main, [str(photo), "--runs", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert shipped.name in printed
    assert "its weights come with the project" in printed


def test_scoring_reproduces_its_figure_and_leaves_it_alone(shipped, image_tree, tmp_path, capsys):
    before = {path: path.read_bytes() for path in shipped.folder.rglob("*") if path.is_file()}
    arguments = ["--run", shipped.name, "--data", str(image_tree), "--runs", str(tmp_path / "runs"), "--figures"]
    (tmp_path / "runs").mkdir()
    assert command.run_command(eval_command.main, arguments) == 0
    printed = capsys.readouterr().out
    assert f"shipped with {shipped.shipped['top1']:.2f} %: reproduced exactly" in printed
    assert {path: path.read_bytes() for path in shipped.folder.rglob("*") if path.is_file()} == before
    assert len((tmp_path / "runs" / "eval_overall.jsonl").read_text().splitlines()) == 1
    assert len(list((tmp_path / "runs" / shipped.name / "figures").iterdir())) == 3

    row = {**shipped.shipped, "correct": shipped.shipped["correct"] + 1}
    (shipped.folder / "result.json").write_text(json.dumps(row))
    assert command.run_command(eval_command.main, arguments) == 0
    assert "NOT reproduced" in capsys.readouterr().out
    assert command.run_command(eval_command.main, [*arguments, "--view", "mirror"]) == 0
    assert "measured otherwise (view 1-crop): not compared" in capsys.readouterr().out

    # The view of its figure is the default, whatever the recipe says.
    (shipped.folder / "result.json").write_text(json.dumps({**row, "view": "mirror"}))
    assert command.run_command(eval_command.main, arguments) == 0
    assert "not compared" not in capsys.readouterr().out


def test_other_images_than_those_of_its_figure_are_named(shipped, image_tree, tmp_path, capsys):
    row = shipped.shipped
    row["data"]["fingerprint"] = "0" * 64
    (shipped.folder / "result.json").write_text(json.dumps(row))
    (tmp_path / "runs").mkdir()
    arguments = ["--run", shipped.name, "--data", str(image_tree), "--runs", str(tmp_path / "runs")]
    assert command.run_command(eval_command.main, arguments) == 0
    assert f"measured otherwise (images {row['data']['title']}, not these): not compared" in capsys.readouterr().out


def test_a_run_that_was_not_scored_is_not_shipped(runs, tmp_path):
    (run,) = run_folder.every(runs)
    with pytest.raises(UserError, match=rf"eval\.py --run {run.name} --weights last"):
        publish.ship(run, tmp_path, tmp_path / "weights")


def test_a_run_whose_statistics_were_mended_is_shipped_with_the_figure_of_its_weights(runs, tmp_path):
    (run,) = run_folder.every(runs)
    shutil.copytree(run.folder, tmp_path / "runs" / run.name)
    mended = run_folder.Run(tmp_path / "runs" / run.name)
    mended.update(recalibrated=True)
    (row,) = files.read_rows(runs / ledger.EVALUATED)[0]
    ledger.append(tmp_path / "runs", ledger.EVALUATED, row)  # of before it was resumed
    with pytest.raises(UserError, match="is shipped with its test result"):
        publish.ship(mended, tmp_path / "runs", tmp_path / "weights")
    ledger.append(tmp_path / "runs", ledger.EVALUATED, {**row, "weights": "last-recalibrated"})
    shipped = run_folder.Run(publish.ship(mended, tmp_path / "runs", tmp_path / "weights"))
    assert shipped.shipped["weights"] == shipped.scored_as("last") == "last-recalibrated"


def test_a_shipped_run_is_neither_trained_on_nor_shipped_again(shipped, runs, image_tree, tmp_path, capsys):
    before = {path: path.read_bytes() for path in shipped.folder.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match="which is shipped already"):
        publish.ship(shipped, runs, run_folder.SHIPPED)  # would delete what it is to copy
    for name in (shipped.name, str(shipped.folder)):
        arguments = ["--preset", str(runs.parent / "tiny.json"), "--data", str(image_tree), "--resume", name]
        arguments += ["--runs", str(tmp_path / "runs"), "--set", "train.epochs=2"]
        assert command.run_command(train_command.main, arguments) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert {path: path.read_bytes() for path in shipped.folder.rglob("*") if path.is_file()} == before


def test_what_comes_with_the_project_is_small():
    sizes = [path.stat().st_size for path in run_folder.SHIPPED.rglob("*") if path.is_file()]
    assert sum(sizes) < 8e6

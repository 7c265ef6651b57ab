"""Published weights: put there by one command, used where there are no runs, scored again by eval.py."""

import errno
import json
import shutil

import pytest
from assertions import user_error

from resnet_tf import files
from resnet_tf.cli import command
from resnet_tf.cli import eval as eval_command
from resnet_tf.cli import predict as predict_command
from resnet_tf.cli import train as train_command
from resnet_tf.runs import ledger, pretrained
from resnet_tf.runs.choose import all_runs
from resnet_tf.runs.run import Run
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
def published(runs, tmp_path, monkeypatch):
    """The run, published in a folder of this test's own."""
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "pretrained")
    (run,) = all_runs(runs)
    return Run(publish.publish(run, runs))


@pytest.fixture
def evaluate(published, image_tree, tmp_path, capsys):
    """Returns a function that runs eval.py on the published run and returns what it prints."""
    (tmp_path / "runs").mkdir()
    arguments = ["--run", published.name, "--data", str(image_tree), "--runs", str(tmp_path / "runs")]

    def run_eval(*more) -> str:
        assert command.run_command(eval_command.main, [*arguments, *more]) == 0
        return capsys.readouterr().out

    return run_eval


def contents(folder) -> dict:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_holds_the_recipe_the_weights_and_facts_without_paths(published, runs, image_tree):
    assert sorted(map(str, contents(published.folder))) == [
        "preset.json",
        "result.json",
        "run.json",
        "weights/last.npz",
    ]
    (run,) = all_runs(runs)
    assert published.last.read_bytes() == run.last.read_bytes()
    assert published.pretrained
    for path in published.folder.glob("*.json"):
        for place in (runs.parent, image_tree):  # no path of this machine
            assert str(place) not in path.read_text()


def test_a_failure_on_the_way_leaves_what_was_published_before(published, runs, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = contents(pretrained.FOLDER)
    monkeypatch.setattr(files, "write_atomically", full)
    with pytest.raises(OSError, match="No space"):
        publish.publish(all_runs(runs)[0], runs)
    assert contents(pretrained.FOLDER) == before


def test_predict_uses_it_where_there_is_no_run(published, image_tree, tmp_path, capsys):
    photo = next((image_tree / "test" / "dog").iterdir())
    assert command.run_command(predict_command.main, [str(photo), "--runs", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert published.name in printed
    assert "pretrained" in printed


def test_eval_reproduces_its_figure_in_a_copy_and_leaves_the_published_run_alone(published, evaluate, tmp_path):
    before = contents(published.folder)
    assert f"published with {published.published.top1:.2f} %: reproduced exactly" in evaluate("--figures")
    assert contents(published.folder) == before
    copy = Run(tmp_path / "runs" / published.name)
    assert len(ledger.evaluations(tmp_path / "runs")) == 1
    assert len(list(copy.figures.iterdir())) == 3
    assert len(list(copy.predictions.iterdir())) == 1


def test_eval_says_when_its_figure_is_not_reproduced_or_measured_otherwise(published, evaluate, tmp_path):
    evaluate()
    place = tmp_path / "runs" / published.name / "result.json"
    row = json.loads(place.read_text())
    place.write_text(json.dumps({**row, "correct": row["correct"] + 1}))
    assert "NOT reproduced" in evaluate()
    assert "measured otherwise (view 1-crop): not compared" in evaluate("--view", "mirror")
    # The view of its figure is the default, whatever the recipe says.
    place.write_text(json.dumps({**row, "view": "mirror"}))
    assert "not compared" not in evaluate()
    place.write_text(json.dumps({**row, "data": {**row["data"], "fingerprint": "0" * 64}}))
    assert f"measured otherwise (images {row['data']['title']}, not these): not compared" in evaluate()


def test_a_run_that_was_not_scored_is_not_published(runs, tmp_path):
    (run,) = all_runs(runs)
    error = user_error(publish.publish, run, tmp_path)
    assert error.code == "run-not-scored"
    assert f"eval.py --run {run.as_argument} --weights last" in str(error)


def test_a_run_is_published_with_the_figure_of_its_length_and_its_presets_size(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "pretrained")
    (scored,) = ledger.evaluations(runs)
    shutil.copytree(runs, tmp_path / "runs")
    for values in ({"frame": "resize(40)", "resolution": 40}, {"steps_planned": 1}, {"same_data_as_training": False}):
        ledger.append(tmp_path / "runs", ledger.EVALUATED, {**scored.to_row(), "top1": 99.0, **values})
    folder = publish.publish(all_runs(tmp_path / "runs")[0], tmp_path / "runs")
    assert json.loads((folder / "result.json").read_text())["top1"] == scored.top1


def test_a_recalibrated_run_is_published_with_the_figure_of_its_weights(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "pretrained")
    (run,) = all_runs(runs)
    shutil.copytree(run.folder, tmp_path / "runs" / run.name)
    recalibrated = Run(tmp_path / "runs" / run.name)
    recalibrated.update(recalibrated=True)
    (row,) = files.read_rows(runs / ledger.EVALUATED)[0]
    ledger.append(tmp_path / "runs", ledger.EVALUATED, row)  # of before it was resumed
    assert user_error(publish.publish, recalibrated, tmp_path / "runs").code == "run-not-scored"
    ledger.append(tmp_path / "runs", ledger.EVALUATED, {**row, "weights": "last-recalibrated"})
    published = Run(publish.publish(recalibrated, tmp_path / "runs"))
    assert published.published.weights == published.scored_as("last") == "last-recalibrated"


def test_a_pretrained_run_is_neither_resumed_nor_published_again(published, runs, image_tree, tmp_path, capsys):
    before = contents(published.folder)
    # Publishing it again would delete what it is to copy.
    assert user_error(publish.publish, published, runs).code == "run-pretrained"
    (tmp_path / "runs").mkdir()
    for name in (published.name, str(published.folder)):
        arguments = ["--preset", str(runs.parent / "tiny.json"), "--data", str(image_tree), "--resume", name]
        arguments += ["--runs", str(tmp_path / "runs"), "--set", "train.epochs=2"]
        assert command.run_command(train_command.main, arguments) == 2
        assert "pretrained" in capsys.readouterr().err
    assert contents(published.folder) == before

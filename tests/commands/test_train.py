"""train.py as a user meets it: every mistake in one clear line."""

import json
import pickle
import re
import shlex
import shutil

from PIL import Image
from running import mistake, run_command

from resnet_tf.cli import eval as eval_command
from resnet_tf.cli import train as train_command
from resnet_tf.runs.choose import all_runs


def test_dry_run_prints_the_plan_and_writes_nothing(image_tree, tiny_preset, tmp_path, capsys):
    """Of two phases, the second with XLA, against which a warning advises."""
    figure, preset = tmp_path / "rate.png", tmp_path / "two.json"
    preset.write_text(json.dumps({**tiny_preset, "phases": [{}, {"train": {"epochs": 1, "jit_compile": True}}]}))
    arguments = ("--preset", preset, "--data", image_tree, "--runs", tmp_path / "runs", "--dry-run")
    run_command(train_command, *arguments, "--figure", figure, code=0)
    printed = capsys.readouterr().out
    assert "30 of batch 20 (3 epochs of 10)" in printed
    assert "10 of batch 20 (1 epochs of 10)" in printed
    assert "x0.8 an epoch" in printed
    assert printed.count("images/s") == 2
    (warning,) = [line for line in printed.splitlines() if "warning" in line]
    assert "train.jit_compile=false" in warning
    (other,) = [line for line in printed.splitlines() if line.startswith("bfloat16")]
    ratio = float(re.search(r"([\d.]+) times as fast", other)[1])
    assert ("--set train.precision=mixed_bfloat16" in other) == (ratio >= 1.05)
    assert Image.open(figure).format == "PNG"
    assert not (tmp_path / "runs").exists()


def test_a_summary_draws_the_network(home, tmp_path, capsys):
    arguments = ("--preset", home / "tiny.json", "--summary", "--figure")
    run_command(train_command, *arguments, tmp_path / "network.png", code=0)
    assert Image.open(tmp_path / "network.png").format == "PNG"
    assert "stage 2" in capsys.readouterr().out
    assert "'network.jpg'" in mistake(capsys, train_command, *arguments, "network.jpg")


def test_a_preset_may_be_a_pickle_of_plain_values(image_tree, tiny_preset, tmp_path, capsys):
    path = tmp_path / "mine.pickle"
    path.write_bytes(pickle.dumps({**tiny_preset, "name": "mine", "train": {"batch_size": 20, "epochs": 1}}))
    places = ("--data", image_tree, "--runs", tmp_path / "runs")
    run_command(train_command, "--preset", path, *places, code=0)
    hint = shlex.split(capsys.readouterr().out.splitlines()[-1].partition("eval.py ")[2])
    assert hint[:2] == ["--run", all_runs(tmp_path / "runs")[0].name]  # what was trained, not the preset's best
    run_command(eval_command, *hint, code=0)
    assert "results" not in pickle.loads(path.read_bytes())  # on a folder copy of CIFAR-10 it is a trial
    run_command(eval_command, "--preset", path, *places, "--record", code=0)
    assert len(pickle.loads(path.read_bytes())["results"]) == 1


def test_mistakes_in_training(home, image_tree, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny = home / "tiny.json"
    assert "'resnt20'" in mistake(capsys, train_command, "--preset", "resnt20")
    assert "'demo'" in mistake(capsys, train_command, "--preset", "demmo")
    line = mistake(capsys, train_command, "--preset", tiny, "--set", "train.epoch=2")
    assert "'epoch'" in line
    assert "'epochs'" in line
    line = mistake(capsys, train_command, "--preset", tiny, "--set", "train.epochs=two")
    assert "whole number" in line
    assert "'two'" in line
    assert "key=value" in mistake(capsys, train_command, "--preset", tiny, "--set", "epochs")
    line = mistake(capsys, train_command, "--preset", tiny, "--data", tmp_path / "nothing")
    assert "nothing' does not exist" in line
    assert "--presets" in mistake(capsys, train_command, "--presets", "4")
    assert "--preset" in mistake(capsys, train_command)

    assert "no-such-run" in mistake(capsys, train_command, "--preset", tiny, "--dry-run", "--init", "no-such-run")
    for ignored in (("--preset", "4"), ("--set", "train.epochs=2"), ("--init", "4"), ("--seed", 0), ("--summary",)):
        assert ignored[0] in mistake(capsys, train_command, "--list", *ignored)
    assert "--data" in mistake(capsys, train_command, "--preset", tiny, "--summary", "--data", image_tree)
    assert "--seed" in mistake(capsys, train_command, "--preset", tiny, "--check", "--seed", 3)
    assert "--distribute" in mistake(capsys, train_command, "--preset", tiny, "--dry-run", "--distribute")
    assert "--dry-run" in mistake(capsys, train_command, "--preset", tiny, "--figure", "rate.png")
    assert "'rate.jpg'" in mistake(capsys, train_command, "--preset", tiny, "--dry-run", "--figure", "rate.jpg")
    places = ("--preset", tiny, "--data", image_tree, "--runs")
    assert "seed must be 0 to" in mistake(capsys, train_command, *places, tmp_path / "new", "--seed", 2**40)
    # What cannot be carried out is refused before there is a run.
    line = mistake(capsys, train_command, *places, tmp_path / "new", "--set", "model.parameter_limit=10")
    assert "model.parameter_limit is 10" in line
    arguments = ("--set", "data.validation_size=0", "--set", "evaluation.weights=best")
    assert "there is no validation" in mistake(capsys, train_command, *places, tmp_path / "new", *arguments)
    assert not (tmp_path / "new").exists()
    assert str(home / "runs") in mistake(capsys, train_command, *places, home / "runs", "--resume", "")
    run = all_runs(home / "runs")[0].name
    line = mistake(capsys, train_command, *places, home / "runs", "--resume", run, "--seed", 9)
    assert "the seed it began with. Received: seed 9" in line

    broken = tmp_path / "broken.json"
    broken.write_text('{"model": ')
    assert "broken.json" in mistake(capsys, train_command, "--preset", broken)
    assert "--resume" in mistake(
        capsys, train_command, "--preset", tiny, "--data", image_tree, "--runs", tmp_path, "--resume"
    )


def test_a_run_goes_on_by_its_name_alone(home, image_tree, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(home / "runs", "runs")
    run = all_runs("runs")[0]
    data = ("--data", image_tree)
    # Nothing looks at what is about to be trained on: it would look at the preset.
    for look in ("--dry-run", "--check", "--summary"):
        assert look in mistake(capsys, train_command, "--preset", home / "tiny.json", "--resume", run.name, look)
    assert "--resume RUN" in mistake(capsys, train_command, "--resume")
    line = mistake(capsys, train_command, "--resume", run.name, "--set", "train.batch_size=10", *data)
    assert "train.batch_size: 20 -> 10" in line
    assert "which is finished" in mistake(capsys, train_command, "--resume", run.name, *data)
    assert "began with, tiny. Received: 3" in mistake(
        capsys, train_command, "--preset", "3", "--resume", run.name, *data
    )
    run_command(train_command, "--resume", run.name, "--set", "train.epochs=4", *data, code=0)
    printed = capsys.readouterr().out
    assert "train.epochs: 3 -> 4" in printed
    suggested = shlex.split(printed.partition("next: python eval.py ")[2])
    run_command(eval_command, *suggested, code=0)
    assert (run.about["step"], run.about["changed"]) == (40, {"train.epochs": [4, 3]})


def test_a_class_missing_from_a_folder_is_named(home, image_tree, tmp_path, capsys):
    for split in ("train", "test"):
        for folder in (image_tree / split).iterdir():
            if (split, folder.name) != ("train", "ship"):
                (tmp_path / split / folder.name).mkdir(parents=True)
                (tmp_path / split / folder.name / "0.png").symlink_to(next(folder.iterdir()))
    assert "ship" in mistake(capsys, train_command, "--preset", home / "tiny.json", "--data", tmp_path)

"""Every code block of docs/keras.md runs, in order, in a folder with a few photos; each training for one epoch."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import finetuning
from resnet_tf.cli import eval as eval_command
from resnet_tf.cli import train as train_command
from resnet_tf.datasets import shapes10

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / "docs" / "keras.md").read_text(), re.DOTALL | re.MULTILINE)
COMMANDS = {"train.py": train_command.main, "eval.py": eval_command.main}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder: three classes of six photos, under photos/."""
    images, labels, *_ = shapes10.draw(0, 200, 10)
    for label, name in enumerate(("circle", "square", "star")):
        place = tmp_path / "photos" / name
        place.mkdir(parents=True)
        for number, image in enumerate(images[labels == label][:6]):
            Image.fromarray(image).resize((48, 40)).save(place / f"{number}.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_code_block_runs(folder):
    assert {language for language, _ in BLOCKS} == {"python", "json", "bash"}
    names = {}
    for language, block in BLOCKS:
        if language == "python":
            exec(compile(re.sub(r"epochs=\d+", "epochs=1", block), "docs/keras.md", "exec"), names)
        elif language == "json":
            (folder / "tune.json").write_text(block)
            assert json.loads(block)["data"]["dataset"] == "folder"
        for line in block.splitlines() if language == "bash" else ():
            _, program, *words = shlex.split(line)
            if program == "train.py":
                words += ["--set", "train.epochs=1"]
            if program != "-m":  # the measurement: the test below
                assert not COMMANDS[program](words)
    assert len(names["images"]) == 18
    assert names["probabilities"].shape == (18, 10)
    assert (folder / "runs" / "eval_overall.jsonl").is_file()


@pytest.mark.slow
def test_the_measurement_runs(folder, monkeypatch, capsys):
    (line,) = [block for language, block in BLOCKS if language == "bash" and "-m benchmarks" in block]
    assert shlex.split(line)[:3] == ["python", "-m", "benchmarks.finetuning"]
    monkeypatch.setattr(sys, "argv", [*shlex.split(line)[2:], "--splits", "1"])
    monkeypatch.setitem(finetuning.RECIPE["train"], "epochs", 1)
    finetuning.main()
    assert len(capsys.readouterr().out.splitlines()) == 6

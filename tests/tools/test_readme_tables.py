"""The README says what the project does."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from ledger_rows import grouped, row

from resnet_tf.presets import preset_files
from tools import readme_tables

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text().replace("\\\n", "")  # a command on several lines is one

BFLOAT16 = "mixed_bfloat16"


@pytest.mark.parametrize(
    "page", ["README.md", "docs/presets.md", "docs/results.md", "docs/speed.md", "benchmarks/NOTES.md"]
)
def test_every_table_is_the_one_that_the_measurements_give(page):
    git = subprocess.run(["git", "status", "--porcelain", "presets"], cwd=ROOT, capture_output=True, text=True)
    if git.stdout:
        pytest.skip("the presets hold results of one's own")
    text = (ROOT / page).read_text()
    assert readme_tables.fill(text) == text


def test_seeds_are_one_line_of_mean_and_deviation_and_each_precision_has_its_own():
    bfloat16 = {"precision": BFLOAT16}
    rows = [row("3", 0, 9050, **bfloat16), row("3", 1, 9070, **bfloat16), row("3", 0, 9110, training_seconds=7200.0)]
    table = readme_tables.result_table(
        ("test top-1", "seeds", "95 % interval", "difference", "verdict", "training"),
        grouped(*rows, preset=preset_files.load_preset("3")),
    )
    assert table.splitlines()[2:] == [
        "| 90.60 % +/- 0.14 | 0, 1 | - | +5.50 | above (view, epoch and images assumed) | 1 h 30 min |",
        "| 91.10 % | 0 | 90.53 to 91.64 | +6.00 | above (view, epoch and images assumed) | 2 h 0 min |",
    ]


def test_only_what_may_be_compared_stands_beside_the_papers_errors():
    name = "resnet20-cifar10-paper"
    whole = {"steps": 64000, "trained": 64000, "steps_planned": 64000, "epochs": 182.3}
    short = row(name, 0, 7000, changed={"train.steps": [3200, 64000]}, **{**whole, "epochs": 9.1})
    recalibrated = row(name, 0, 9210, **{**whole, "weights": "last-recalibrated"})
    both = [
        row(name, 0, correct, precision=precision, **whole) for correct, precision in ((9190, BFLOAT16), (9140, None))
    ]
    for rows, cells in (
        ([short], "- | - | - | -"),
        ([recalibrated], "- | - | - | -"),
        (both, "8.60 % | 0 | 8.07 to 9.17 | float32"),
    ):
        line = readme_tables.paper_line(
            preset_files.load_preset(name), grouped(*rows, preset=preset_files.load_preset(name))
        )
        assert line == ["ResNet-20", "269,722", "8.75 %", *cells.split(" | ")]


def test_it_has_two_set_up_commands_and_ci_runs_the_second():
    commands = [line for line in TEXT.splitlines() if "pip install -r requirements" in line and "venv" in line]
    assert len(commands) == 2
    assert "train.py --preset demo" in commands[0]
    assert commands[1].endswith("pip install -r requirements-tests.txt && python -m pytest -n 2")
    # On lines of their own there: bash -e passes over a failure before &&.
    assert "pip install -r requirements-tests.txt\npython -m pytest -n 2\n" in (ROOT / ".ci" / "run").read_text()


def test_its_own_preset_is_one():
    example = json.loads(re.search(r"```json\n(.*?)```", TEXT, re.DOTALL)[1])
    assert preset_files.load_preset({**example, "name": "mine"}).data.dataset == "folder"


def test_the_files_it_names_exist():
    for name in re.findall(r"`((?:resnet_tf|docs|examples|presets)/[\w/.]*)`", TEXT):
        assert (ROOT / name).exists(), name

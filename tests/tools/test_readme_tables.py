"""The README says what the project does."""

import json
import re
from pathlib import Path

from resnet_tf.presets import preset_files
from tools import readme_tables

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text().replace("\\\n", "")  # a command on several lines is one
PRESETS_PAGE = (ROOT / "docs" / "presets.md").read_text()


def between(name: str, text: str = TEXT) -> list[str]:
    return re.search(rf"<!-- {name} -->\n(.*?)<!-- end -->", text, re.DOTALL)[1].splitlines()


def test_the_preset_table_is_the_one_the_files_give():
    assert between("presets", PRESETS_PAGE) == readme_tables.tables()["presets"].splitlines()


def test_every_figure_in_the_results_table_was_recorded():
    recorded = readme_tables.tables()["results"].splitlines()
    assert [line for line in between("results") if line not in recorded] == []


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

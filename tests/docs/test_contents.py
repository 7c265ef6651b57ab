"""What README and docs say about the code is so: figures, rooms, keys, names."""

import json
import re
from pathlib import Path

from test_architecture import FLOORS

from resnet_tf.presets import schema
from resnet_tf.presets.augmentation_steps import AUGMENTATIONS
from resnet_tf.presets.schedule import SCHEDULES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCS = {path.name: path.read_text() for path in (ROOT / "docs").glob("*.md")}


def test_the_readme_stays_short():
    without_tables = re.sub(r"^\|.*$", "", README, flags=re.MULTILINE)
    assert 900 <= len(without_tables.split()) <= 1100


def test_the_readmes_figure_of_the_demo_was_recorded():
    recorded = [result["test_top1"] for result in json.loads((ROOT / "presets" / "demo.json").read_text())["results"]]
    assert float(re.search(r"recorded run reached ([\d.]+) %", README)[1]) in recorded


def test_no_result_on_a_copy_of_a_data_set_is_listed():
    for text in (README, *DOCS.values()):
        assert not [line for line in text.splitlines() if line.startswith("|") and "not the official bytes" in line]


def test_the_rooms_are_those_of_the_architecture_test_from_the_bottom_up():
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", DOCS["architecture.md"], re.MULTILINE)
    floors = [set() for _ in FLOORS]
    for floor, rooms in rows:
        floors[int(floor) - 1] |= set(re.findall(r"`(\w+)`", rooms))
    assert floors == FLOORS


def test_what_architecture_says_a_file_defines_is_defined_there():
    named = re.findall(r"`([\w.]+)`(?: and `([\w.]+)`)?\s+in\s+`(resnet_tf/[\w/]+\.py)`", DOCS["architecture.md"])
    assert len(named) > 5
    for *names, path in named:
        for name in filter(None, names):
            last = re.escape(name.rpartition(".")[2])
            assert re.search(rf"^\s*(def|class) {last}\b|^{last}\b.* = ", (ROOT / path).read_text(), re.MULTILINE), name


def test_the_page_of_presets_has_every_key_schedule_and_augmentation():
    wanted = {key.rpartition(".")[2] for key in schema.recipe_keys()} | set(SCHEDULES) | set(AUGMENTATIONS)
    assert wanted - set(re.findall(r"`(\w+)`", DOCS["presets.md"])) == set()

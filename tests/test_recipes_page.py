"""docs/recipes.md states what every preset does and whether its source says so: it must agree with the presets."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from resnet_tf.models.cost import network_size
from resnet_tf.presets import preset_files, schema

TEXT = (Path(__file__).parent.parent / "docs" / "recipes.md").read_text()
OURS = {"demo", "quick-long"}
VERDICTS = re.compile(r"as the source|left open: our choice|differs because .+")


def tables() -> dict[tuple[str, ...], list[list[str]]]:
    """Returns the rows of each section's table, by the presets that its heading names."""
    found = {}
    for section in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        lines = [line for line in body.splitlines() if line.startswith("| ")][2:]
        # A bar within a cell is escaped.
        found[tuple(re.findall(r"`([^`]+)`", heading))] = [
            [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines
        ]
    return found


TABLES = tables()
ROWS = [(names, row) for names, rows in TABLES.items() for row in rows]


def claims(names, row) -> list[tuple[str, str, object]]:
    """Returns the statements of a row about presets: (preset, key, value)."""
    found = []
    for code in re.findall(r"`([^`]+)`", row[2]):
        chosen, key, text = re.fullmatch(r"(?:([\w., -]+): )?([\w.]+)=(.*)", code).groups()
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        found += [(name, key, value) for name in (re.split(", *", chosen) if chosen else names)]
    return found


def values_of(preset: schema.Preset, key: str) -> list:
    """Returns the value of a key in each phase that the key concerns."""
    phases = preset.in_phases
    if key.startswith("phases."):
        _, number, key = key.split(".", 2)
        phases = [phases[int(number) - 1]]
    if key in ("parameters", "multiply_adds"):
        return [getattr(network_size(phase.model, phase.data.image_size, phase.classes), key) for phase in phases]
    found = []
    for values in map(schema.to_dict, phases):
        for part in key.split("."):
            values = values[part]
        found.append(values)
    return found


def test_every_preset_is_in_one_table():
    named = [name for names in TABLES for name in names]
    assert sorted(named) == sorted(preset_files.names())
    assert all(bool(rows) == (not set(names) & OURS) for names, rows in TABLES.items())


@pytest.mark.parametrize(("names", "row"), ROWS, ids=[f"{names[0]}-{row[0]}" for names, row in ROWS])
def test_every_row_agrees_with_the_presets(names, row):
    setting, source, ours, verdict = row
    assert setting
    assert source
    assert ours
    assert VERDICTS.fullmatch(verdict)
    if verdict == "left open: our choice":
        assert source.startswith(("-", '"', "there is one", "optionally", "first log: -"))
    for name, key, value in claims(names, row):
        assert name in names
        found = values_of(preset_files.load_preset(name), key)
        assert found == [value] * len(found), (name, key)


@pytest.mark.parametrize("name", [name for names in TABLES for name in names if name not in OURS])
def test_every_value_that_is_not_a_default_is_in_the_table(name):
    ((names, rows),) = [(names, rows) for names, rows in TABLES.items() if name in names]
    stated = {key for row in rows for preset, key, _ in claims(names, row) if preset == name}
    for number, phase in enumerate(preset_files.load_preset(name).in_phases, start=1):
        chosen = [f"{section}.name" for section in schema.NAMED_SECTIONS]
        for section in schema.RECIPE:
            spec = getattr(phase, section)
            for item in dataclasses.fields(spec):
                if getattr(spec, item.name) != item.default:
                    chosen.append(f"{section}.{item.name}")
        for key in chosen:
            keys = [item.removeprefix(f"phases.{number}.") for item in stated]
            assert any(item == key or item.startswith(f"{key}.") for item in keys), (name, number, key)

"""Presets on disk: their names, broken files, pickles of plain values, results from many writers."""

import json
import os
import pickle
import random
import subprocess
import sys
import threading

import pytest
from plain import MINE
from told import told

from resnet_tf import files
from resnet_tf.presets import storage

VALUES = {**MINE, "results": []}


# --- names


def test_names_are_in_the_order_people_count(tmp_path):
    for name in ("10.json", "9.json", "demo.json", "a.pickle", ".#4.json", "._9.json", "notes.txt", "².json"):
        (tmp_path / name).touch()
    assert storage.names(tmp_path) == ["9", "10", "a", "demo", "²"]


# --- finding


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("resnt20", "unknown preset 'resnt20'. Did you mean 'resnet20-cifar10-paper'? See them all"),
        ("resnet32-cifar10", "Did you mean 'resnet32-cifar10-paper'?"),
        ("zzz", "unknown preset 'zzz'. Known: 4, resnet20-cifar10-paper, resnet32-cifar10-paper. See them all"),
        ("", "unknown preset ''."),
        ("a" * 5000, "unknown preset 'aaaa"),
        ("nul\0", "unknown preset 'nul\\x00'."),
        ("absent.json", "a preset file must exist. Received: 'absent.json', which is no file."),
        ("../4", "a preset file must exist. Received: '../4', which is no file."),
        ("x/" + "a" * 5000, "a preset file must exist."),
    ],
)
def test_unknown_preset_is_answered_with_the_nearest(tmp_path, name, ending):
    for known in ("4", "resnet20-cifar10-paper", "resnet32-cifar10-paper"):
        (tmp_path / f"{known}.json").touch()
    assert ending in told(storage.find, name, tmp_path)


def test_preset_by_path_takes_its_name_from_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    without_name = {key: value for key, value in VALUES.items() if key != "name"}
    (tmp_path / "my own.json").write_text(json.dumps(without_name))
    for place in ("my own.json", "./my own.json", tmp_path / "my own.json", storage.Path("my own.json")):
        assert storage.load_preset(place).name == "my own"
    assert storage.load_preset(VALUES) == storage.load_preset(storage.load_preset(VALUES))


def test_a_dict_from_python_holds_only_plain_values():
    for value in ({1, 2}, b"bytes", {"a": object()}):
        assert "a preset holds only dict, list, str and numbers" in told(
            storage.load_preset, {**VALUES, "notes": value}
        )


# --- JSON files


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value"),
        (b"\x80\x04binary\x00\xff", "can't decode"),
        ('{"name": "é"}'.encode("latin-1"), "can't decode"),
        (b"[1, 2]", "one table of keys. Received"),
        (b"null", "one table of keys"),
        (b'"4"', "one table of keys"),
        (b"4", "one table of keys"),
        (b"{", "Expecting property name"),
        (b'{"a": 1,}', "must be JSON"),
        (b'{"train": {"epochs": 1, "epochs": 2}}', "the key 'epochs' comes twice"),
        (b"[" * 100_000, "recursion"),
        (b'{"results": [' + b'{"a":' * 100 + b"1" + b"}" * 100 + b"]}", "levels"),
        (b'{"title": "\\ud800"}', "surrogates"),
        (b'{"a": ' + b"9" * 5000 + b"}", "must be JSON"),
        (b" " * (storage.MOST_BYTES + 1), "has at most 4,000,000 bytes"),
    ],
)
def test_broken_json_is_refused_in_one_line(tmp_path, content, reason):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    line = told(storage.load_preset, path)
    assert reason in line
    assert str(path) in line


def test_unreadable_places_are_refused_in_one_line(tmp_path):
    (tmp_path / "folder.json").mkdir()
    assert "Is a directory" in told(storage.load_preset, tmp_path / "folder.json")
    assert "No such file" in told(storage.load_preset, tmp_path / "absent.json")
    (tmp_path / "preset.yaml").write_text("name: x")
    assert "must end in .json, .pickle, .pkl" in told(storage.load_preset, str(tmp_path / "preset.yaml"))


def test_json_of_other_editors_is_read(tmp_path):
    for number, encoding in enumerate(("utf-8", "utf-8-sig", "utf-16")):
        path = tmp_path / f"{number}.json"
        path.write_bytes(json.dumps({**VALUES, "title": "größer"}, ensure_ascii=False).encode(encoding))
        assert storage.load_preset(path).title == "größer"


# --- pickles


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_of_plain_values_is_read(tmp_path, protocol):
    values = {**VALUES, "notes": ["ä", "b" * 300], "results": [{"test_top1": 85.5, "epochs": 2**40, "ok": True}]}
    path = tmp_path / "mine.pickle"
    path.write_bytes(pickle.dumps(values, protocol))
    assert storage.load_preset(path) == storage.load_preset(values)


# --- results


def result(run: str, **values) -> dict:
    return {"run": run, "view": "1-crop", "weights": "last", "resolution": 32, "test_top1": 80.0, **values}


@pytest.fixture
def preset_file(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(storage.format_json({**VALUES, "notes": ["größer"]}))
    return path


def test_result_is_added_and_nothing_else_changes(preset_file):
    """Not a byte: order, spaces, `5e-4` and line ends are the user's."""
    before = preset_file.read_bytes().replace(b"0.1,", b"5e-2 ,").replace(b"\n", b"\r\n").rstrip()
    preset_file.write_bytes(before)
    assert b"5e-2 ,\x20" in before
    assert storage.record_result(preset_file, result("mine/1")) is None
    assert storage.record_result(preset_file, result("mine/2")) is None
    rows = b",\r\n".join(b"    " + json.dumps(result(run)).encode() for run in ("mine/1", "mine/2"))
    assert preset_file.read_bytes() == before.replace(b"[]", b"[\r\n" + rows + b"\r\n  ]")
    assert storage.load_preset(preset_file).results == (result("mine/1"), result("mine/2"))


def test_a_link_to_a_preset_stays_one(preset_file, tmp_path):
    (tmp_path / "link").mkdir()
    link = tmp_path / "link" / "mine.json"
    link.symlink_to(preset_file)
    storage.record_result(link, result("mine/1"))
    assert link.is_symlink()
    assert len(json.loads(preset_file.read_bytes())["results"]) == 1


def test_a_link_and_its_preset_are_written_one_at_a_time(preset_file, tmp_path):
    (tmp_path / "link").mkdir()
    link = tmp_path / "link" / "mine.json"
    link.symlink_to(preset_file)
    writer = threading.Thread(target=storage.record_result, args=(link, result("mine/1")))
    with files.locked(preset_file.parent):
        writer.start()
        writer.join(0.3)
        assert writer.is_alive()  # waits for whoever writes the file itself
    writer.join()
    assert len(json.loads(preset_file.read_bytes())["results"]) == 1


MEASURED = {"seed": 0, "steps": 10, "trained": 10, "steps_planned": 10, "same_data_as_training": True}
MEASURED |= {"preset_hash": storage.load_preset(VALUES).hash, "data": {"title": "folder", "fingerprint": "f"}}


def test_what_is_measured_already_is_not_added(preset_file):
    first = result("mine/1", **MEASURED, date="2026-01-01", test_loss=0.5)
    again = result("mine/2", **MEASURED, date="2026-02-02", test_loss=0.500001)
    storage.record_result(preset_file, first)
    before = preset_file.read_bytes()
    assert storage.record_result(preset_file, again) == first
    assert preset_file.read_bytes() == before
    assert storage.record_result(preset_file, again, again=True) is None
    assert json.loads(preset_file.read_bytes())["results"] == [again]


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"preset_hash": "0" * 12},
        {"trained": 5},
        {"view": "mirror"},
        {"weights": "last-recalibrated"},
        {"resolution": 64},
        {"same_data_as_training": False},
        {"data": {"title": "folder", "fingerprint": "g"}},
    ],
)
def test_another_recipe_seed_length_data_or_protocol_is_another_measurement(preset_file, other):
    storage.record_result(preset_file, result("mine/1", **MEASURED))
    assert storage.record_result(preset_file, result("mine/2", **{**MEASURED, **other})) is None
    assert len(json.loads(preset_file.read_bytes())["results"]) == 2


def test_rows_without_a_hash_are_of_the_presets_recipe_unless_they_say_otherwise(preset_file):
    plain = {key: value for key, value in MEASURED.items() if key not in ("preset_hash", "trained")}
    recipe = MEASURED["preset_hash"]
    assert storage.same_measurement(result("old", **plain, changed={}), result("new", **MEASURED), recipe)
    changed = {"train.epochs": [1, 100]}
    assert not storage.same_measurement(result("old", **plain, changed=changed), result("new", **MEASURED), recipe)
    assert not storage.same_measurement(result("old", **plain), result("new", **MEASURED), "another")


def test_a_longer_training_of_the_same_run_takes_the_row_of_the_shorter(preset_file):
    storage.record_result(preset_file, result("mine/1", **MEASURED))
    longer = result("mine/1", **{**MEASURED, "trained": 20, "steps_planned": 20, "preset_hash": "0" * 12})
    assert storage.record_result(preset_file, longer) is None
    assert json.loads(preset_file.read_bytes())["results"] == [longer]


def test_result_of_the_same_run_replaces_the_one_before(preset_file):
    for run, values in (
        ("mine/1", {}),
        ("mine/2", {}),
        ("mine/1", {"weights": "best"}),
        ("mine/1", {"view": "10-crop"}),
        ("mine/1", {"resolution": 64}),
        ("mine/1", {"test_top1": 81.0}),
    ):
        storage.record_result(preset_file, result(run, **values))
    rows = json.loads(preset_file.read_text())["results"]
    assert len(rows) == 5
    assert rows[-1] == result("mine/1", test_top1=81.0)
    assert [row["run"] for row in rows].count("mine/2") == 1


def test_results_go_into_a_pickle_too(tmp_path):
    path = tmp_path / "mine.pkl"
    path.write_bytes(pickle.dumps(VALUES))
    storage.record_result(path, result("mine/1"))
    assert pickle.loads(path.read_bytes()) == {**VALUES, "results": [result("mine/1")]}


def test_results_of_many_processes_all_get_in(preset_file, tmp_path):
    code = """
import os, sys
from pathlib import Path
from resnet_tf.presets import storage
for writer in range(8):
    if os.fork() == 0:
        for i in range(5):
            storage.record_result(Path(sys.argv[1]), {"run": f"{writer}-{i}", "test_top1": 1.0})
        os._exit(0)
assert [os.wait()[1] for _ in range(8)] == [0] * 8
"""
    subprocess.run([sys.executable, "-c", code, str(preset_file)], check=True)
    rows = json.loads(preset_file.read_text())["results"]
    assert sorted(row["run"] for row in rows) == sorted(f"{writer}-{i}" for writer in range(8) for i in range(5))
    assert os.listdir(tmp_path) == ["mine.json"]


def test_result_that_cannot_be_written_is_told_in_one_line(preset_file, monkeypatch):
    def fail(*_):
        raise OSError(30, "Read-only file system")

    before = preset_file.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_atomically", fail)
        line = told(storage.record_result, preset_file, result("mine/1"))
    assert "can be written" in line
    assert "Read-only file system" in line
    assert preset_file.read_text() == before


def test_no_result_goes_into_a_file_that_is_no_preset(preset_file):
    preset_file.write_text('{"name": "mine", "results": {"run": 1}}')
    assert "preset mine needs the key 'model'" in told(storage.record_result, preset_file, result("mine/1"))
    assert preset_file.read_text() == '{"name": "mine", "results": {"run": 1}}'


# --- layout


def test_layout_of_json_is_a_line_a_key():
    values = {"name": "x", "train": {"epochs": 2}, "notes": ["a" * 120, "b"], "empty": {}}
    assert storage.format_json(values) == (
        '{\n  "name": "x",\n  "train": {"epochs": 2},\n  "notes": [\n    "' + "a" * 120 + '",\n    "b"\n  ],\n'
        '  "empty": {}\n}\n'
    )


def test_layout_loses_nothing():
    draw = random.Random(1)

    def value(levels: int):
        kind, size = draw.randrange(9 if levels else 5), draw.randint(0, 5)
        if kind > 6:
            return [value(levels - 1) for _ in range(size)]
        if kind > 4:
            return {f"k{i}é": value(levels - 1) for i in range(size)}
        text = "".join(draw.choices('aé"\\\n\u2028😀{[,', k=draw.randint(0, 60)))
        return [None, True, draw.randint(-9, 10**20), draw.uniform(-1, 1) * 10 ** draw.randint(-9, 9), text][kind]

    for _ in range(200):
        values = {f"key {i}": value(4) for i in range(4)}
        assert json.loads(storage.format_json(values)) == values

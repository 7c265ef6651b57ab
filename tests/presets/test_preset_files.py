"""Preset files: their names, broken files, pickles of plain values, results from many writers."""

import json
import os
import pickle
import random
import subprocess
import sys
import threading

import pytest
from assertions import user_error
from plain import MINE

from resnet_tf import files
from resnet_tf.presets import preset_files

VALUES = {**MINE, "results": []}


# --- names


def test_names_are_in_the_order_people_count(tmp_path):
    for name in ("10.json", "9.json", "demo.json", "a.pickle", ".#4.json", "._9.json", "notes.txt", "².json"):
        (tmp_path / name).touch()
    assert preset_files.names(tmp_path) == ["9", "10", "a", "demo", "²"]


# --- finding


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("resnt20", "Did you mean 'resnet20-cifar10-paper'?"),
        ("resnet32-cifar10", "Did you mean 'resnet32-cifar10-paper'?"),
        ("zzz", "Known: 4, resnet20-cifar10-paper, resnet32-cifar10-paper."),
        ("", "''"),
        ("a" * 5000, "'aaaa"),
        ("nul\0", "'nul\\x00'"),
        ("absent.json", "'absent.json'"),
        ("../4", "'../4'"),
        ("x/" + "a" * 5000, "'x/aaaa"),
    ],
)
def test_an_unknown_preset_is_answered_with_the_nearest(tmp_path, name, named):
    for known in ("4", "resnet20-cifar10-paper", "resnet32-cifar10-paper"):
        (tmp_path / f"{known}.json").touch()
    error = user_error(preset_files.find, name, tmp_path)
    assert error.code == "preset-not-found"
    assert named in str(error)


def test_preset_by_path_takes_its_name_from_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    without_name = {key: value for key, value in VALUES.items() if key != "name"}
    (tmp_path / "my own.json").write_text(json.dumps(without_name))
    for place in ("my own.json", "./my own.json", tmp_path / "my own.json", preset_files.Path("my own.json")):
        assert preset_files.load_preset(place).name == "my own"
    assert preset_files.load_preset(VALUES) == preset_files.load_preset(preset_files.load_preset(VALUES))


def test_a_dict_from_python_holds_only_plain_values():
    for value in ({1, 2}, b"bytes", {"a": object()}):
        assert user_error(preset_files.load_preset, {**VALUES, "notes": value}).code == "preset-not-plain"


# --- JSON files


@pytest.mark.parametrize(
    ("content", "code", "reason"),
    [
        (b"", "preset-broken", "Expecting value"),
        (b"\x80\x04binary\x00\xff", "preset-broken", "can't decode"),
        ('{"name": "é"}'.encode("latin-1"), "preset-broken", "can't decode"),
        (b"[1, 2]", "preset-wrong-type", "one table of keys. Received"),
        (b"null", "preset-wrong-type", "one table of keys"),
        (b'"4"', "preset-wrong-type", "one table of keys"),
        (b"4", "preset-wrong-type", "one table of keys"),
        (b"{", "preset-broken", "Expecting property name"),
        (b'{"a": 1,}', "preset-broken", "must be JSON"),
        (b'{"train": {"epochs": 1, "epochs": 2}}', "preset-broken", "the key 'epochs' comes twice"),
        (b"[" * 100_000, "preset-broken", "recursion"),
        (b'{"results": [' + b'{"a":' * 100 + b"1" + b"}" * 100 + b"]}", "preset-broken", "levels"),
        (b'{"title": "\\ud800"}', "preset-broken", "surrogates"),
        (b'{"a": ' + b"9" * 5000 + b"}", "preset-broken", "must be JSON"),
        (b" " * (preset_files.MAX_BYTES + 1), "preset-too-large", "has at most 4,000,000 bytes"),
    ],
)
def test_broken_json_is_refused(tmp_path, content, code, reason):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    error = user_error(preset_files.load_preset, path)
    assert error.code == code
    assert reason in str(error)
    assert str(path) in str(error)


def test_unreadable_files_are_refused(tmp_path):
    (tmp_path / "folder.json").mkdir()
    for name in ("folder.json", "absent.json"):
        assert user_error(preset_files.load_preset, tmp_path / name).code == "preset-unreadable"
    (tmp_path / "preset.yaml").write_text("name: x")
    assert user_error(preset_files.load_preset, str(tmp_path / "preset.yaml")).code == "preset-wrong-suffix"


def test_json_of_other_editors_is_read(tmp_path):
    for number, encoding in enumerate(("utf-8", "utf-8-sig", "utf-16")):
        path = tmp_path / f"{number}.json"
        path.write_bytes(json.dumps({**VALUES, "title": "größer"}, ensure_ascii=False).encode(encoding))
        assert preset_files.load_preset(path).title == "größer"


# --- pickles


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_of_plain_values_is_read(tmp_path, protocol):
    values = {**VALUES, "notes": ["ä", "b" * 300], "results": [{"test_top1": 85.5, "epochs": 2**40, "ok": True}]}
    path = tmp_path / "mine.pickle"
    path.write_bytes(pickle.dumps(values, protocol))
    assert preset_files.load_preset(path) == preset_files.load_preset(values)


# --- results


def result(run: str, **values) -> dict:
    return {"run": run, "view": "1-crop", "weights": "last", "resolution": 32, "test_top1": 80.0, **values}


@pytest.fixture
def preset_file(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(preset_files.format_json({**VALUES, "notes": ["größer"]}))
    return path


def test_result_is_added_and_nothing_else_changes(preset_file):
    """Not a byte: order, spaces, `5e-4` and line ends are the user's."""
    before = preset_file.read_bytes().replace(b"0.1,", b"5e-2 ,").replace(b"\n", b"\r\n").rstrip()
    preset_file.write_bytes(before)
    assert b"5e-2 ,\x20" in before
    assert preset_files.record_result(preset_file, result("mine/1")) is None
    assert preset_files.record_result(preset_file, result("mine/2")) is None
    rows = b",\r\n".join(b"    " + json.dumps(result(run)).encode() for run in ("mine/1", "mine/2"))
    assert preset_file.read_bytes() == before.replace(b"[]", b"[\r\n" + rows + b"\r\n  ]")
    assert preset_files.load_preset(preset_file).results == (result("mine/1"), result("mine/2"))


def test_a_link_to_a_preset_stays_one(preset_file, tmp_path):
    (tmp_path / "link").mkdir()
    link = tmp_path / "link" / "mine.json"
    link.symlink_to(preset_file)
    preset_files.record_result(link, result("mine/1"))
    assert link.is_symlink()
    assert len(json.loads(preset_file.read_bytes())["results"]) == 1


def test_a_link_and_its_preset_are_written_one_at_a_time(preset_file, tmp_path):
    (tmp_path / "link").mkdir()
    link = tmp_path / "link" / "mine.json"
    link.symlink_to(preset_file)
    writer = threading.Thread(target=preset_files.record_result, args=(link, result("mine/1")))
    with files.locked(preset_file.parent):
        writer.start()
        writer.join(0.3)
        assert writer.is_alive()  # waits for whoever writes the file itself
    writer.join()
    assert len(json.loads(preset_file.read_bytes())["results"]) == 1


MEASURED = {"seed": 0, "steps": 10, "trained": 10, "steps_planned": 10, "same_data_as_training": True}
MEASURED |= {"preset_hash": preset_files.load_preset(VALUES).hash, "data": {"title": "folder", "fingerprint": "f"}}


def test_what_is_measured_already_is_not_added(preset_file):
    first = result("mine/1", **MEASURED, date="2026-01-01", test_loss=0.5)
    again = result("mine/2", **MEASURED, date="2026-02-02", test_loss=0.500001)
    preset_files.record_result(preset_file, first)
    before = preset_file.read_bytes()
    assert preset_files.record_result(preset_file, again) == first
    assert preset_file.read_bytes() == before
    assert preset_files.record_result(preset_file, again, again=True) is None
    assert json.loads(preset_file.read_bytes())["results"] == [again]


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"init": "4/20260101T000000Z-s0"},
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
    preset_files.record_result(preset_file, result("mine/1", **MEASURED))
    assert preset_files.record_result(preset_file, result("mine/2", **{**MEASURED, **other})) is None
    assert len(json.loads(preset_file.read_bytes())["results"]) == 2


def test_rows_without_a_hash_are_of_the_presets_recipe_unless_they_say_otherwise(preset_file):
    plain = {key: value for key, value in MEASURED.items() if key not in ("preset_hash", "trained")}
    recipe = MEASURED["preset_hash"]
    assert preset_files.same_measurement(result("old", **plain, changed={}), result("new", **MEASURED), recipe)
    changed = {"train.epochs": [1, 100]}
    assert not preset_files.same_measurement(result("old", **plain, changed=changed), result("new", **MEASURED), recipe)
    assert not preset_files.same_measurement(result("old", **plain), result("new", **MEASURED), "another")


def test_a_longer_training_of_the_same_run_leaves_the_row_of_the_shorter(preset_file):
    preset_files.record_result(preset_file, result("mine/1", **MEASURED))
    longer = result("mine/1", **{**MEASURED, "trained": 20, "steps_planned": 20, "preset_hash": "0" * 12})
    for row in (longer, {**longer, "test_top1": 81.0}):
        assert preset_files.record_result(preset_file, row, again=True) is None
        assert json.loads(preset_file.read_bytes())["results"] == [result("mine/1", **MEASURED), row]


def test_result_of_the_same_run_replaces_the_one_before(preset_file):
    for run, values in (
        ("mine/1", {}),
        ("mine/2", {}),
        ("mine/1", {"weights": "best"}),
        ("mine/1", {"view": "10-crop"}),
        ("mine/1", {"resolution": 64}),
        ("mine/1", {"test_top1": 81.0}),
    ):
        preset_files.record_result(preset_file, result(run, **values))
    rows = json.loads(preset_file.read_text())["results"]
    assert len(rows) == 5
    assert rows[-1] == result("mine/1", test_top1=81.0)
    assert [row["run"] for row in rows].count("mine/2") == 1


def test_results_go_into_a_pickle_too(tmp_path):
    path = tmp_path / "mine.pkl"
    path.write_bytes(pickle.dumps(VALUES))
    preset_files.record_result(path, result("mine/1"))
    assert pickle.loads(path.read_bytes()) == {**VALUES, "results": [result("mine/1")]}


def test_results_of_many_processes_all_get_in(preset_file, tmp_path):
    code = """
import os, sys
from pathlib import Path
from resnet_tf.presets import preset_files
for writer in range(8):
    if os.fork() == 0:
        for i in range(5):
            preset_files.record_result(Path(sys.argv[1]), {"run": f"{writer}-{i}", "test_top1": 1.0})
        os._exit(0)
assert [os.wait()[1] for _ in range(8)] == [0] * 8
"""
    subprocess.run([sys.executable, "-c", code, str(preset_file)], check=True)
    rows = json.loads(preset_file.read_text())["results"]
    assert sorted(row["run"] for row in rows) == sorted(f"{writer}-{i}" for writer in range(8) for i in range(5))
    assert os.listdir(tmp_path) == ["mine.json"]


def test_a_result_that_cannot_be_written_is_refused(preset_file, monkeypatch):
    def fail(*_):
        raise OSError(30, "Read-only file system")

    before = preset_file.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_atomically", fail)
        error = user_error(preset_files.record_result, preset_file, result("mine/1"))
    assert "Read-only file system" in str(error)
    assert preset_file.read_text() == before


def test_no_result_goes_into_a_file_that_is_no_preset(preset_file):
    preset_file.write_text('{"name": "mine", "results": {"run": 1}}')
    assert user_error(preset_files.record_result, preset_file, result("mine/1")).code == "preset-missing-key"
    assert preset_file.read_text() == '{"name": "mine", "results": {"run": 1}}'


# --- layout


def test_layout_of_json_is_a_line_a_key():
    values = {"name": "x", "train": {"epochs": 2}, "notes": ["a" * 120, "b"], "empty": {}}
    assert preset_files.format_json(values) == (
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
        assert json.loads(preset_files.format_json(values)) == values

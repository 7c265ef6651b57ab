"""Presets on disk: their names, overrides, broken files, pickles of plain values, results from many writers."""

import copy
import json
import os
import pickle
import random
import subprocess
import sys

import pytest

from resnet_tf import files, preset_files, presets
from resnet_tf.errors import UserError

VALUES = {
    "name": "mine",
    "model": {"num_residual_units": 3},
    "data": {},
    "train": {"epochs": 100},
    "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.8},
    "schedule": {"name": "exponential", "lr_decay": 0.96},
    "results": [],
}


def told(call, *arguments, **keywords) -> str:
    """Returns the one line that a mistake is told in."""
    with pytest.raises(UserError) as caught:
        call(*arguments, **keywords)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 1000
    return line


# --- names


def test_names_are_in_the_order_people_count(tmp_path):
    for name in ("10.json", "9.json", "demo.json", "a.pickle", ".#4.json", "._9.json", "notes.txt", "².json"):
        (tmp_path / name).touch()
    assert preset_files.names(tmp_path) == ["9", "10", "a", "demo", "²"]


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
    assert ending in told(preset_files.find, name, tmp_path)


def test_preset_by_path_takes_its_name_from_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    without_name = {key: value for key, value in VALUES.items() if key != "name"}
    (tmp_path / "my own.json").write_text(json.dumps(without_name))
    for place in ("my own.json", "./my own.json", tmp_path / "my own.json", preset_files.Path("my own.json")):
        assert preset_files.load_preset(place).name == "my own"
    assert preset_files.load_preset(VALUES) == preset_files.load_preset(preset_files.load_preset(VALUES))


# --- overrides


def applied(*settings: str, **sections) -> presets.Preset:
    preset = presets.from_dict({**copy.deepcopy(VALUES), **sections})
    return preset_files.apply_settings(preset, list(settings))


def test_settings_change_what_they_name_and_nothing_else():
    before, after = applied(), applied("optimizer.learning_rate=0.5", "data.augment=flip_horizontal")
    assert presets.changes(after, before) == {
        "data.augment": ["flip_horizontal", ""],
        "optimizer.learning_rate": [0.5, 0.1],
    }
    assert applied() == before


def test_a_variant_knows_what_it_is_one_of(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(VALUES))
    written = preset_files.load_preset(path)
    assert written.changed == {}
    ours, theirs = 2, written.train.epochs
    variants = [
        preset_files.load_preset(path, train={"epochs": 9, "batch_size": 64}, name="mine"),
        preset_files.load_preset(VALUES, train={"epochs": 9, "batch_size": 64}),
        preset_files.apply_settings(written, ["train.epochs=9", "train.batch_size=64"]),
    ]
    for variant in variants:
        assert variant.changed == {"train.epochs": [9, theirs], "train.batch_size": [64, 128]}
        again = preset_files.load_preset(variant, train={"epochs": ours, "batch_size": 128})
        assert again.changed == {"train.epochs": [ours, theirs]}  # of what stands in the file, not of the variant
        assert presets.from_dict(presets.to_dict(variant)) == variant
    with pytest.raises(UserError, match="unknown key in preset mine: 'written'"):
        presets.from_dict({**VALUES, "name": "mine", "written": None})


@pytest.mark.parametrize(
    ("setting", "deaf", "own"),
    [
        ("train.epochs=2", "1 and phase 2", "phases.1.train.epochs, phases.2.train.epochs"),
        ("train.steps=2", "1 and phase 2", "phases.1.train.steps, phases.2.train.steps"),
        ("optimizer.learning_rate=0.3", "2", "phases.2.optimizer.learning_rate"),
        ('optimizer={"learning_rate": 0.3}', "2", "phases.2.optimizer.learning_rate"),
    ],
)
def test_a_setting_that_a_phase_would_not_follow_is_refused(setting, deaf, own):
    phases = [{"train": {"epochs": 3}}, {"train": {"epochs": 4}, "optimizer": {"learning_rate": 0.01}}]
    line = told(applied, setting, phases=phases)
    key = own.rpartition("phases.")[2].partition(".")[2]
    assert line.startswith(f"a change must reach every phase. Received: {key}, which phase {deaf} of preset")
    assert line.endswith(f"Set {own}.")


def test_settings_reach_every_phase():
    phases = [{"train": {"epochs": 3}}, {"train": {"epochs": 4}}]
    found = applied("train.batch_size=8", "phases.1.train.epochs=7", "phases.2.train.epochs=9", phases=phases)
    assert [(phase.train.batch_size, phase.train.epochs) for phase in found.in_phases] == [(8, 7), (8, 9)]
    found = applied("train.steps=5", "phases.1.train.steps=5", "phases.2.train.steps=5", phases=phases)
    assert [phase.train.steps for phase in found.in_phases] == [5, 5]


@pytest.mark.parametrize(
    ("settings", "key", "value"),
    [
        (["train.epochs=2"], "train.epochs", 2),
        (["train.steps=64000"], "train.steps", 64000),
        (["train.steps=64000"], "train.epochs", None),
        (["train.steps=5", "train.epochs=7"], "train.steps", None),
        (["train.epochs=2", "train.epochs=3"], "train.epochs", 3),
        (["optimizer.learning_rate=1"], "optimizer.learning_rate", 1.0),
        (["optimizer.nesterov=true"], "optimizer.nesterov", True),
        (["data.augment="], "data.augment", ""),
        (["data.augment=pad_crop(4) | flip_horizontal"], "data.augment", "pad_crop(4) | flip_horizontal"),
        (['data.augment="flip_horizontal"'], "data.augment", "flip_horizontal"),
        (["model.stage_sizes=[2, 3, 4]"], "model.stage_sizes", [2, 3, 4]),
        (["model.stage_sizes=[2, 3, 4]"], "model.num_residual_units", None),
        (["model.activation=leaky_relu", "model.negative_slope=0.1"], "model.negative_slope", 0.1),
        (["loss.label_smoothing=0.1"], "loss.label_smoothing", 0.1),
        (["schedule.name=constant"], "schedule.name", "constant"),
        (["optimizer.name=adam", "optimizer.learning_rate=0.001"], "optimizer.name", "adam"),
        (['train={"epochs": 2}'], "train.batch_size", 128),
        (
            ['schedule={"name": "multi_step", "boundaries_steps": [320, 480]}', "schedule.boundaries_epochs=[80]"],
            "schedule.boundaries_steps",
            None,
        ),
        ([" train.epochs =2"], "train.epochs", 2),
        (["train.state_minutes=1"], "train.state_minutes", 1.0),
    ],
)
def test_settings_take_their_type_and_their_place(settings, key, value):
    section, inner = key.split(".")
    found = presets.to_dict(applied(*settings))[section][inner]
    assert (found, type(found)) == (value, type(value))


def test_another_name_replaces_the_section():
    changed = applied('optimizer={"name": "adam", "learning_rate": 0.001}')
    assert changed.optimizer.beta_1 == 0.9
    assert not hasattr(changed.optimizer, "momentum")
    same = applied('optimizer={"name": "sgd", "learning_rate": 0.2}')
    assert (same.optimizer.learning_rate, same.optimizer.momentum) == (0.2, 0.8)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.epoch=2", "unknown key in 'train' of preset mine: 'epoch'. Did you mean 'epochs'?"),
        ("trian.epochs=2", "unknown key for --set: 'trian.epochs'. Did you mean 'train.epochs'?"),
        ("epochs=2", "unknown key for --set: 'epochs'. Did you mean 'train.epochs'?"),
        ("state_minutes=2", "Did you mean 'train.state_minutes'?"),
        ("results=[]", "unknown key for --set: 'results'."),
        ("train.epochs", "--set takes key=value, such as train.epochs=2. Received: 'train.epochs'."),
        ("=2", "--set takes key=value"),
        ("train.=2", "unknown key in 'train' of preset mine: ''."),
        ("train.epochs=two", "'epochs' in 'train' of preset mine must be a whole number. Received: 'two'."),
        ("train.epochs=2.5", "must be a whole number. Received: 2.5."),
        ("train.epochs=NaN", "must be a whole number. Received: nan."),
        ("optimizer.learning_rate=1e999", "must be a finite number. Received: inf."),
        ("train.epochs=" + "[" * 100_000, "must be a whole number. Received: '[[[["),
        ("train=3", "'train' of preset mine must be a table of keys and values. Received: 3."),
        ("optimizer.name=adam", "'optimizer' of preset mine (adam) needs the key 'learning_rate'."),
        ('train={"epochs": 2, "steps": 3}', "'train' of preset mine: give one of 'epochs' and 'steps'."),
    ],
)
def test_settings_that_fit_nowhere_are_refused(setting, message):
    assert message in told(applied, setting)


def test_settings_of_a_phase():
    phases = [{"train": {"epochs": 5}}, {"schedule": {"name": "constant"}}]
    changed = applied("phases.1.train.steps=9", "phases.2.data.augment=", "train.batch_size=64", phases=phases)
    assert changed.phases == (
        {"train": {"steps": 9}},
        {"schedule": {"name": "constant"}, "data": {"augment": ""}},
    )
    assert [phase.train.batch_size for phase in changed.in_phases] == [64, 64]
    for setting in ("phases.3.train.steps=9", "phases.0.train.steps=9", "phases.x.train.steps=9", "phases.1.train=9"):
        assert "phases.N.section.key=value, N from 1 to 2" in told(applied, setting, phases=phases)
    assert "this preset has one" in told(applied, "phases.1.train.steps=9")
    assert "unknown key in phase 1 of preset mine: 'trian'" in told(applied, "phases.1.trian.steps=9", phases=phases)


def test_overrides_from_python():
    preset = preset_files.load_preset(VALUES, train={"steps": 10}, schedule={"name": "constant"}, title="t")
    assert (preset.train.steps, preset.train.epochs, preset.title) == (10, None, "t")
    assert "unknown key in preset mine: 'trian'" in told(preset_files.load_preset, VALUES, trian={})
    for value in ({1, 2}, b"bytes", {"a": object()}):
        assert "a preset holds only dict, list, str and numbers" in told(
            preset_files.load_preset, {**VALUES, "notes": value}
        )
    assert VALUES["train"] == {"epochs": 100}


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
        (b" " * (preset_files.MOST_BYTES + 1), "has at most 4,000,000 bytes"),
    ],
)
def test_broken_json_is_refused_in_one_line(tmp_path, content, reason):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    line = told(preset_files.load_preset, path)
    assert reason in line
    assert str(path) in line


def test_unreadable_places_are_refused_in_one_line(tmp_path):
    (tmp_path / "folder.json").mkdir()
    assert "Is a directory" in told(preset_files.load_preset, tmp_path / "folder.json")
    assert "No such file" in told(preset_files.load_preset, tmp_path / "absent.json")
    (tmp_path / "preset.yaml").write_text("name: x")
    assert "must end in .json, .pickle, .pkl" in told(preset_files.load_preset, str(tmp_path / "preset.yaml"))


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
    before = preset_file.read_text()
    preset_files.record_result(preset_file, result("mine/1"))
    after = preset_file.read_text()
    assert json.loads(after)["results"] == [result("mine/1")]
    assert after.startswith(before[: before.index('"results"')])
    assert preset_files.load_preset(preset_file).results == (result("mine/1"),)


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
from resnet_tf import preset_files
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


def test_result_that_cannot_be_written_is_told_in_one_line(preset_file, monkeypatch):
    def fail(*_):
        raise OSError(30, "Read-only file system")

    before = preset_file.read_text()
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_atomically", fail)
        line = told(preset_files.record_result, preset_file, result("mine/1"))
    assert "can be written" in line
    assert "Read-only file system" in line
    assert preset_file.read_text() == before


def test_no_result_goes_into_a_file_that_is_no_preset(preset_file):
    preset_file.write_text('{"name": "mine", "results": {"run": 1}}')
    assert "preset mine needs the key 'model'" in told(preset_files.record_result, preset_file, result("mine/1"))
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

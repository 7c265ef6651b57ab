"""Changed presets: settings of the command line, keywords of Python, and changes that contradict each other."""

import copy
import json

import pytest
from assertions import user_error
from plain import MINE

from resnet_tf.presets import overrides, preset_files, schema
from resnet_tf.presets.schedule import Constant


def applied(*settings: str, **sections) -> schema.Preset:
    preset = schema.from_dict({**copy.deepcopy(MINE), **sections})
    return overrides.apply_settings(preset, list(settings))


def test_settings_change_what_they_name_and_nothing_else():
    before, after = applied(), applied("optimizer.learning_rate=0.5", "data.augment=flip_horizontal")
    assert schema.changes(after, before) == {
        "data.augment": ["flip_horizontal", ""],
        "optimizer.learning_rate": [0.5, 0.1],
    }
    assert applied() == before


def test_a_preset_may_be_called_as_a_number():
    for setting, name in (("train.init=4", "4"), ('train.init="4"', "4"), ("train.init=quick", "quick")):
        assert applied(setting).train.init == name
    assert applied("train.init=null").train.init is None


def test_a_changed_preset_remembers_its_original(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(MINE))
    original = preset_files.load_preset(path)
    assert original.changed == {}
    ours, theirs = 2, original.train.epochs
    changed_presets = [
        preset_files.load_preset(path, train={"epochs": 9, "batch_size": 64}, name="mine"),
        preset_files.load_preset(MINE, train={"epochs": 9, "batch_size": 64}),
        overrides.apply_settings(original, ["train.epochs=9", "train.batch_size=64"]),
    ]
    for changed in changed_presets:
        assert changed.changed == {"train.epochs": [9, theirs], "train.batch_size": [64, 128]}
        again = preset_files.load_preset(changed, train={"epochs": ours, "batch_size": 128})
        assert again.changed == {"train.epochs": [ours, theirs]}  # compared with the file, not with the changed preset
        assert schema.from_dict(schema.to_dict(changed)) == changed
    error = user_error(schema.from_dict, {**MINE, "name": "mine", "original": None})
    assert error.code == "preset-unknown-key"


@pytest.mark.parametrize(
    ("setting", "phases_to_set"),
    [
        ("train.epochs=2", "phases.1.train.epochs, phases.2.train.epochs"),
        ("train.steps=2", "phases.1.train.steps, phases.2.train.steps"),
        ("optimizer.learning_rate=0.3", "phases.2.optimizer.learning_rate"),
        ('optimizer={"learning_rate": 0.3}', "phases.2.optimizer.learning_rate"),
    ],
)
def test_a_setting_without_effect_in_a_phase_is_refused(setting, phases_to_set):
    phases = [{"train": {"epochs": 3}}, {"train": {"epochs": 4}, "optimizer": {"learning_rate": 0.01}}]
    error = user_error(applied, setting, phases=phases)
    assert error.code == "set-misses-phase"
    assert str(error).endswith(f"Set {phases_to_set}.")


def test_a_setting_reaches_a_phase_that_was_given_its_own():
    phases = [
        {"train": {"epochs": 3}},
        {"train": {"epochs": 4}, "optimizer": {"learning_rate": 0.01}, "schedule": {"warmup_fraction": 0.0}},
    ]
    one_cycle = {"name": "one_cycle"}
    rates = ("optimizer.learning_rate=0.3", "phases.2.optimizer.learning_rate=0.2")
    for settings in (rates, rates[::-1], ("optimizer.name=adam", *rates)):
        found = applied(*settings, phases=phases, schedule=one_cycle)
        assert [phase.optimizer.learning_rate for phase in found.in_phases] == [0.3, 0.2]
    # Another schedule takes the place of the phase's, whose keys it does not have.
    found = applied("schedule.name=constant", "phases.2.schedule.name=constant", phases=phases, schedule=one_cycle)
    assert [type(phase.schedule) for phase in found.in_phases] == [Constant, Constant]


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
        (["train.epochs=null", "train.steps=5"], "train.steps", 5),
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
            ['schedule={"name": "multi_step", "boundaries_epochs": [80], "boundaries_steps": null}'],
            "schedule.boundaries_steps",
            None,
        ),
        ([" train.epochs =2"], "train.epochs", 2),
        (["train.state_minutes=1"], "train.state_minutes", 1.0),
    ],
)
def test_settings_take_their_type_and_their_place(settings, key, value):
    section, inner = key.split(".")
    found = schema.to_dict(applied(*settings))[section][inner]
    assert (found, type(found)) == (value, type(value))


def test_another_name_replaces_the_section():
    changed = applied('optimizer={"name": "adam", "learning_rate": 0.001}')
    assert changed.optimizer.beta_1 == 0.9
    assert not hasattr(changed.optimizer, "momentum")
    same = applied('optimizer={"name": "sgd", "learning_rate": 0.2}')
    assert (same.optimizer.learning_rate, same.optimizer.momentum) == (0.2, 0.8)


@pytest.mark.parametrize(
    ("settings", "section", "expected"),
    [
        (
            ["optimizer.weight_decay=0.25", "optimizer.name=adam", "optimizer.learning_rate=0.001"],
            "optimizer",
            {"name": "adam", "weight_decay": 0.25, "learning_rate": 0.001},
        ),
        (
            ["optimizer.weight_decay=0.25", 'optimizer={"name": "adam", "learning_rate": 0.001}'],
            "optimizer",
            {"name": "adam", "weight_decay": 0.25, "learning_rate": 0.001},
        ),
        (['schedule.warmup={"steps": 40}', "schedule.name=constant"], "schedule", {"warmup": {"steps": 40}}),
        (['schedule.warmup={"steps": 40}', "schedule.warmup_until=null"], "schedule", {"warmup": {"steps": 40}}),
        (["train.steps=30", "train.epochs=null"], "train", {"steps": 30, "epochs": None}),
    ],
)
def test_settings_hold_in_whatever_order_they_are_given(settings, section, expected):
    for order in (settings, settings[::-1]):
        found = schema.to_dict(applied(*order))[section]
        for key, value in expected.items():
            assert found[key] == value or (key == "warmup" and value.items() <= found[key].items()), (order, found)


def test_the_name_that_a_phase_has_already_replaces_nothing():
    phases = [{"optimizer": {"learning_rate": 0.025}}, {}]
    changed = applied("phases.1.optimizer.name=sgd", "phases.2.optimizer.name=sgd", phases=phases)
    assert [phase.optimizer.learning_rate for phase in changed.in_phases] == [0.025, MINE["optimizer"]["learning_rate"]]
    assert {phase.optimizer.momentum for phase in changed.in_phases} == {applied().optimizer.momentum}


@pytest.mark.parametrize(
    ("setting", "code", "named"),
    [
        ("train.epoch=2", "preset-unknown-key", "epochs"),
        ("trian.epochs=2", "preset-unknown-key", "train.epochs"),
        ("epochs=2", "preset-unknown-key", "train.epochs"),
        ("state_minutes=2", "preset-unknown-key", "train.state_minutes"),
        ("results=[]", "preset-unknown-key", "results"),
        ("train.epochs", "set-wrong-form", "'train.epochs'"),
        ("=2", "set-wrong-form", "--set takes key=value"),
        ("train.=2", "preset-unknown-key", "train"),
        ("train.epochs=two", "preset-wrong-type", "epochs"),
        ("train.epochs=2.5", "preset-wrong-type", "2.5"),
        ("train.epochs=NaN", "preset-wrong-type", "nan"),
        ("optimizer.learning_rate=1e999", "preset-wrong-value", "inf"),
        ("train.epochs=" + "[" * 100_000, "preset-wrong-type", "'[[[["),
        ("train=3", "preset-wrong-type", "train"),
        ("optimizer.name=adam", "preset-missing-key", "optimizer"),
    ],
)
def test_a_wrong_setting_is_refused(setting, code, named):
    error = user_error(applied, setting)
    assert error.code == code
    assert named in str(error)


@pytest.mark.parametrize(
    ("settings", "both"),
    [
        (["train.steps=30", "train.epochs=1"], "train.steps and train.epochs"),
        (["train.epochs=1", "data.augment=", "train.steps=30"], "train.epochs and train.steps"),
        (['train={"epochs": 2, "steps": 3}'], "train.epochs and train.steps"),
        (["train.epochs=2", "train.epochs=3"], "train.epochs twice"),
        (['train={"batch_size": 2}', "train.batch_size=3"], "train.batch_size twice"),
        (["model.num_residual_units=1", "model.stage_sizes=[1, 2, 3]"], "num_residual_units and model.stage_sizes"),
        (["phases.1.train.epochs=2", "phases.1.train.steps=3"], "phases.1.train.epochs and phases.1.train.steps"),
        (
            ['schedule={"name": "multi_step", "boundaries_steps": [320, 480]}', "schedule.boundaries_epochs=[80]"],
            "schedule.boundaries_steps and schedule.boundaries_epochs",
        ),
    ],
)
def test_settings_that_exclude_each_other_are_refused(settings, both):
    error = user_error(applied, *settings, phases=[{}])
    assert error.code == "set-conflict"
    assert both in str(error)


def test_keywords_that_exclude_each_other_are_refused():
    error = user_error(preset_files.load_preset, MINE, train={"steps": 30, "epochs": 1})
    assert error.code == "set-conflict"
    # One after another they do not contradict each other: the later one counts.
    again = preset_files.load_preset(preset_files.load_preset(MINE, train={"steps": 30}), train={"epochs": 1})
    assert (again.train.epochs, again.train.steps) == (1, None)


def test_overrides_are_remembered_and_apply_to_another_preset():
    settings = ["train.epochs=100", "phases.2.optimizer.learning_rate=0.01"]
    changed = applied(*settings, phases=[{}, {}])
    assert changed.overrides == (("train.epochs", 100), ("phases.2.optimizer.learning_rate", 0.01))
    other = applied("train.steps=7", "train.batch_size=8", phases=[{}, {"data": {"augment": "flip_horizontal"}}])
    found = overrides.apply(other, changed.overrides)
    assert (found.train.epochs, found.train.batch_size) == (100, 8)
    assert found.phases[1] == {"data": {"augment": "flip_horizontal"}, "optimizer": {"learning_rate": 0.01}}
    filters = [4, 8, 16]
    overridden = preset_files.load_preset(MINE, model={"filters": filters}, title="t")
    filters.append(32)  # the preset has a copy
    assert overridden.overrides == (("model", {"filters": [4, 8, 16]}), ("title", "t"))


def test_settings_of_a_phase():
    phases = [{"train": {"epochs": 5}}, {"schedule": {"name": "constant"}}]
    changed = applied("phases.1.train.steps=9", "phases.2.data.augment=", "train.batch_size=64", phases=phases)
    assert changed.phases == ({"train": {"steps": 9}}, {"schedule": {"name": "constant"}, "data": {"augment": ""}})
    assert [phase.train.batch_size for phase in changed.in_phases] == [64, 64]
    for setting in ("phases.3.train.steps=9", "phases.0.train.steps=9", "phases.x.train.steps=9", "phases.1.train=9"):
        assert "N from 1 to 2" in str(user_error(applied, setting, phases=phases))
    assert user_error(applied, "phases.1.train.steps=9").code == "set-wrong-form"
    assert user_error(applied, "phases.1.trian.steps=9", phases=phases).code == "preset-unknown-key"


def test_overrides_from_python():
    preset = preset_files.load_preset(MINE, train={"steps": 10}, schedule={"name": "constant"}, title="t")
    assert (preset.train.steps, preset.train.epochs, preset.title) == (10, None, "t")
    assert user_error(preset_files.load_preset, MINE, trian={}).code == "preset-unknown-key"
    assert MINE["train"] == {"epochs": 100}

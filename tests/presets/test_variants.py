"""Variants of a preset: settings from the command line, overrides from Python, and phases that must follow them."""

import copy
import json

import pytest
from plain import MINE
from told import told

from resnet_tf.errors import UserError
from resnet_tf.presets import schema, storage, variants


def applied(*settings: str, **sections) -> schema.Preset:
    preset = schema.from_dict({**copy.deepcopy(MINE), **sections})
    return variants.apply_settings(preset, list(settings))


def test_settings_change_what_they_name_and_nothing_else():
    before, after = applied(), applied("optimizer.learning_rate=0.5", "data.augment=flip_horizontal")
    assert schema.changes(after, before) == {
        "data.augment": ["flip_horizontal", ""],
        "optimizer.learning_rate": [0.5, 0.1],
    }
    assert applied() == before


def test_a_variant_knows_what_it_is_one_of(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(MINE))
    written = storage.load_preset(path)
    assert written.changed == {}
    ours, theirs = 2, written.train.epochs
    found = [
        storage.load_preset(path, train={"epochs": 9, "batch_size": 64}, name="mine"),
        storage.load_preset(MINE, train={"epochs": 9, "batch_size": 64}),
        variants.apply_settings(written, ["train.epochs=9", "train.batch_size=64"]),
    ]
    for variant in found:
        assert variant.changed == {"train.epochs": [9, theirs], "train.batch_size": [64, 128]}
        again = storage.load_preset(variant, train={"epochs": ours, "batch_size": 128})
        assert again.changed == {"train.epochs": [ours, theirs]}  # of what stands in the file, not of the variant
        assert schema.from_dict(schema.to_dict(variant)) == variant
    with pytest.raises(UserError, match="unknown key in preset mine: 'written'"):
        schema.from_dict({**MINE, "name": "mine", "written": None})


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
    ],
)
def test_settings_that_fit_nowhere_are_refused(setting, message):
    assert message in told(applied, setting)


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
def test_of_two_settings_none_wins_in_silence(settings, both):
    assert both in told(applied, *settings, phases=[{}])


def test_nor_of_two_overrides_from_python():
    line = told(storage.load_preset, MINE, train={"steps": 30, "epochs": 1})
    assert "train.steps and train.epochs" in line
    # One after another is no slip: the later is meant.
    again = storage.load_preset(storage.load_preset(MINE, train={"steps": 30}), train={"epochs": 1})
    assert (again.train.epochs, again.train.steps) == (1, None)


def test_a_variant_remembers_its_overrides_and_they_fit_another_preset():
    settings = ["train.epochs=100", "phases.2.optimizer.learning_rate=0.01"]
    variant = applied(*settings, phases=[{}, {}])
    assert variant.overrides == (("train.epochs", 100), ("phases.2.optimizer.learning_rate", 0.01))
    other = applied("train.steps=7", "train.batch_size=8", phases=[{}, {"data": {"augment": "flip_horizontal"}}])
    found = variants.apply(other, variant.overrides)
    assert (found.train.epochs, found.train.batch_size) == (100, 8)
    assert found.phases[1] == {"data": {"augment": "flip_horizontal"}, "optimizer": {"learning_rate": 0.01}}
    filters = [4, 8, 16]
    overridden = storage.load_preset(MINE, model={"filters": filters}, title="t")
    filters.append(32)  # of no concern to what was built of it
    assert overridden.overrides == (("model", {"filters": [4, 8, 16]}), ("title", "t"))


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
    preset = storage.load_preset(MINE, train={"steps": 10}, schedule={"name": "constant"}, title="t")
    assert (preset.train.steps, preset.train.epochs, preset.title) == (10, None, "t")
    assert "unknown key in preset mine: 'trian'" in told(storage.load_preset, MINE, trian={})
    assert MINE["train"] == {"epochs": 100}

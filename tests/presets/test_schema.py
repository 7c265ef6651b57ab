"""Presets as values: the papers' depths, the rules of each key, phases, the hash, and how two presets differ."""

import copy
import dataclasses

import pytest
from assertions import user_error

from resnet_tf.presets import schema
from resnet_tf.presets.changes import is_length
from resnet_tf.presets.schema import LATER

VALUES = {
    "name": "x",
    "model": {"num_residual_units": 3},
    "data": {"augment": "pad_crop(4) | flip_horizontal"},
    "train": {"epochs": 100},
    "optimizer": {"name": "sgd", "learning_rate": 0.1},
    "schedule": {"name": "exponential", "lr_decay": 0.96},
}


def changed(**sections) -> dict:
    """Returns the plain values with some sections' keys changed, or a section replaced by what is no table."""
    values = copy.deepcopy(VALUES)
    for section, value in sections.items():
        values[section] = {**values.get(section, {}), **value} if isinstance(value, dict) else value
    return values


def built(**sections) -> schema.Preset:
    return schema.from_dict(changed(**sections))


# He et al. 2015: section 4.2 (CIFAR, 6n+2), table 1 (ImageNet); He et al. 2016, section 3 (bottlenecks, 9n+2).
@pytest.mark.parametrize(
    ("model", "depth"),
    [
        ({"num_residual_units": 3}, 20),
        ({"num_residual_units": 5}, 32),
        ({"num_residual_units": 7}, 44),
        ({"num_residual_units": 9}, 56),
        ({"num_residual_units": 18}, 110),
        ({"num_residual_units": 200}, 1202),
        ({"num_residual_units": 18, "unit": "bottleneck"}, 164),
        ({"num_residual_units": 111, "unit": "bottleneck"}, 1001),
        ({"stage_sizes": [2, 2, 2, 2], "filters": [64, 128, 256, 512]}, 18),
        ({"stage_sizes": [3, 4, 6, 3], "filters": [64, 128, 256, 512]}, 34),
        ({"stage_sizes": [3, 4, 6, 3], "filters": [64, 128, 256, 512], "unit": "bottleneck"}, 50),
        ({"stage_sizes": [3, 8, 36, 3], "filters": [64, 128, 256, 512], "unit": "bottleneck"}, 152),
    ],
)
def test_depth_is_the_papers(model, depth):
    values = changed()
    values["model"] = model
    assert schema.from_dict(values).model.depth == depth


def test_units_of_each_stage():
    assert built().model.units_per_stage == (3, 3, 3)
    sizes = built(model={"num_residual_units": None, "stage_sizes": [1, 2, 3]}).model
    assert sizes.units_per_stage == (1, 2, 3)
    assert (sizes.stem_width, sizes.unit_expansion) == (16, 1)
    wide = built(model={"stem_filters": 8, "unit": "bottleneck", "expansion": 2}).model
    assert (wide.stem_width, wide.unit_expansion) == (8, 2)


REFUSED = [
    ({"model": {"num_residual_units": None}}, "preset-wrong-value", "model"),
    ({"model": {"stage_sizes": [3, 3, 3]}}, "preset-wrong-value", "model"),
    ({"model": {"num_residual_units": None, "stage_sizes": []}}, "preset-wrong-value", "stage_sizes"),
    ({"model": {"num_residual_units": None, "stage_sizes": [3, 3]}}, "preset-wrong-value", "stage_sizes"),
    ({"model": {"filters": []}}, "preset-wrong-value", "filters"),
    ({"model": {"num_residual_units": 0}}, "preset-wrong-value", "num_residual_units"),
    ({"model": {"filters": [16, 0, 64]}}, "preset-wrong-value", "filters"),
    ({"model": {"parameter_limit": 0}}, "preset-wrong-value", "parameter_limit"),
    ({"model": {"filters": [64, 32, 16]}}, "preset-wrong-value", "filters"),
    ({"model": {"stem_filters": 32}}, "preset-wrong-value", "an identity-pad shortcut cannot narrow."),
    (
        {"model": {"stem": "whitened-2x2", "filters": [24, 32, 64], "stem_filters": 24}},
        "preset-wrong-value",
        "stem_filters",
    ),
    ({"model": {"groups": 2}}, "preset-wrong-value", "groups"),
    ({"model": {"unit": "bottleneck", "groups": 0}}, "preset-wrong-value", "groups"),
    ({"model": {"unit": "bottleneck", "width_per_group": 3}}, "preset-wrong-value", "width_per_group"),
    ({"model": {"norm_momentum": 1}}, "preset-wrong-value", "norm_momentum"),
    ({"model": {"norm_epsilon": 0}}, "preset-wrong-value", "norm_epsilon"),
    ({"train": {"repeats": 0}}, "preset-wrong-value", "train"),
    ({"model": {"shortcut": "B"}}, "preset-wrong-value", "shortcut"),
    ({"model": {"activation": "leaky_relu"}}, "preset-wrong-value", "negative_slope"),
    ({"model": {"negative_slope": 0.1}}, "preset-wrong-value", "negative_slope"),
    ({"model": {"negative_slope": -0.1}}, "preset-wrong-value", "negative_slope"),
    ({"model": {"activation": "leaky_relu", "negative_slope": 1.5}}, "preset-wrong-value", "negative_slope"),
    ({"model": {"num_units": 3}}, "preset-unknown-key", "model"),
    ({"model": None}, "preset-missing-key", "model"),
    ({"model": 3}, "preset-wrong-type", "model"),
    ({"data": {"dataset": "cifar"}}, "preset-wrong-value", "cifar10"),
    ({"data": {"validation_size": -1}}, "preset-wrong-value", "validation_size"),
    ({"data": {"image_size": 7}}, "preset-wrong-value", "image_size"),
    ({"data": {"augment": "pad_crop(4) | flip"}}, "augment-unknown-step", "flip_horizontal"),
    ({"data": {"normalize": "per-channel"}}, "preset-wrong-value", "per_channel"),
    ({"train": {"steps": 5}}, "preset-wrong-value", "train"),
    ({"train": {"epochs": None}}, "preset-wrong-value", "train"),
    ({"train": {"batch_size": 0}}, "preset-wrong-value", "train"),
    ({"train": {"state_minutes": 0}}, "preset-wrong-value", "state_minutes"),
    ({"optimizer": {"name": "sdg"}}, "preset-wrong-value", "sgd"),
    ({"optimizer": {"momentun": 0.9}}, "preset-unknown-key", "mom"),
    ({"optimizer": {"learning_rate": "0.1"}}, "preset-wrong-type", "learning_rate"),
    ({"schedule": "constant"}, "preset-wrong-type", "schedule"),
    ({"schedule": {"name": "multistep"}}, "preset-wrong-value", "multi_step"),
    ({"evaluation": {"weights": "first"}}, "preset-wrong-value", "weights"),
    ({"reference": {"test_top1": "86 %"}}, "preset-wrong-type", "test_top1"),
    ({"notes": "text"}, "preset-wrong-type", "notes"),
    ({"results": [3]}, "preset-wrong-type", "results"),
    ({"title": 3}, "preset-wrong-type", "title"),
    ({"optimiser": {}}, "preset-unknown-key", "optimizer"),
]


@pytest.mark.parametrize(("sections", "code", "named"), REFUSED)
def test_a_broken_rule_is_refused(sections, code, named):
    error = user_error(built, **sections)
    assert error.code == code
    assert named in str(error)


@pytest.mark.parametrize("name", ["4", "resnet20-cifar10-paper", "my preset (2)", "été_1.0", "a" * 100])
def test_names_that_a_folder_can_have(name):
    assert schema.from_dict({**VALUES, "name": name}).name == name


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "../up", "a/b", "/etc", "a\\b", ".hidden", "-x", "a\nb", "a\x1b[2J", "*", "a" * 101, 4]
)
def test_names_that_would_leave_the_runs_folder_are_refused(name):
    assert user_error(schema.from_dict, {**VALUES, "name": name}).code == "preset-wrong-name"


def test_what_is_not_a_table_is_refused():
    for values in (None, [], "4", 4):
        assert user_error(schema.from_dict, values).code == "preset-wrong-type"


@pytest.mark.parametrize(
    ("dataset", "classes"),
    [("shapes10", 10), ("cifar10", 10), ("cifar100", 100), ("stl10", 10), ("imagenet", 1000), ("folder", None)],
)
def test_classes_of_each_data_set(dataset, classes):
    assert built(data={"dataset": dataset}).classes == classes


def test_total_steps():
    assert built().train.total_steps(352) == 35200
    assert built(train={"epochs": None, "steps": 64000}).train.total_steps(352) == 64000


def test_hash_changes_with_every_key_of_the_recipe():
    preset = built()
    hashes = {preset.hash}
    keys = 0
    for section in schema.RECIPE:
        for key in dataclasses.fields(getattr(preset, section)):
            if key.name == "state_minutes":
                continue
            other = copy.copy(getattr(preset, section))
            object.__setattr__(other, key.name, f"another {key.name}")
            hashes.add(dataclasses.replace(preset, **{section: other}).hash)
            keys += 1
    assert keys > 30
    assert len(hashes) == 1 + keys


def test_hash_changes_with_the_kind_of_optimizer_and_schedule_and_with_phases():
    hashes = {built().hash}
    hashes.add(schema.from_dict({**VALUES, "schedule": {"name": "constant"}}).hash)
    hashes.add(schema.from_dict({**VALUES, "optimizer": {"name": "adam", "learning_rate": 0.1}}).hash)
    hashes.add(schema.from_dict({**VALUES, "phases": [{"train": {"epochs": 3}}]}).hash)
    assert len(hashes) == 4


def test_keys_added_later_do_not_change_the_hash_of_a_recipe_without_them():
    """The preset.json of an older run lacks these keys and must still be the same recipe."""
    assert built().hash == "f75aef22de53"  # by version 0.2.1
    later = {section: {key: getattr(getattr(built(), section), key) for key in keys} for section, keys in LATER.items()}
    assert sum(map(len, later.values())) == 20
    assert built(**later).hash == built().hash
    assert schema.changes(built(**later), built()) == {}
    assert schema.changes(built(train={"repeats": 20}), built()) == {"train.repeats": [20, 1]}


def test_hash_ignores_what_changes_no_number():
    expected = built().hash
    described = {
        "name": "y",
        "title": "another",
        "notes": ["a"],
        "results": [{"test_top1": 90.0}],
        "reference": {"test_top1": 91.25},
    }
    assert schema.from_dict({**VALUES, **described}).hash == expected
    assert built(train={"state_minutes": 1}).hash == expected
    phases = [{}, {"train": {"epochs": 5}}, {"optimizer": {"learning_rate": 0.01}}]
    saved = [{"train": {"state_minutes": 1}}, {"train": {"epochs": 5, "state_minutes": 1}}, phases[2]]
    plain, often = (schema.from_dict({**VALUES, "phases": each}) for each in (phases, saved))
    assert plain.hash == often.hash
    assert schema.changes(plain, often) == {}
    assert built(model={"filters": [16, 32, 64]}, loss={"label_smoothing": 0}).hash == expected  # defaults written out
    assert len(expected) == 12
    assert int(expected, 16) >= 0


def test_changes_name_key_and_both_values():
    ours = schema.from_dict({**changed(train={"epochs": 3}), "schedule": {"name": "constant"}})
    assert schema.changes(ours, built()) == {
        "train.epochs": [3, 100],
        "schedule.name": ["constant", "exponential"],
        "schedule.lr_decay": [None, 0.96],
    }
    assert schema.changes(ours, ours) == {}


def test_plain_values_make_the_same_preset():
    preset = schema.from_dict({**VALUES, "notes": ["a"], "results": [{"test_top1": 1.5, "data": {"title": "t"}}]})
    assert schema.from_dict(schema.to_dict(preset)) == preset


PHASES = [
    {"train": {"epochs": 5}, "data": {"image_size": 16}},
    {"train": {"steps": 70}, "schedule": {"name": "multi_step", "boundaries_steps": [50]}},
]


def test_each_phase_is_the_recipe_with_its_changes():
    preset = schema.from_dict({**VALUES, "phases": PHASES})
    first, second = preset.in_phases
    assert schema.changes(first, built()) == {"data.image_size": [16, 32], "train.epochs": [5, 100]}
    assert (second.train.steps, second.train.epochs, second.data.image_size) == (70, None, 32)
    assert second.schedule.boundaries_steps == (50,)
    assert built().in_phases == (built(),)


def test_changes_of_phases_are_named_key_by_key_where_there_are_as_many():
    ours = schema.from_dict({**VALUES, "phases": PHASES})
    others = [{"train": {"epochs": 9}, "data": {"image_size": 16, "augment": ""}}, {"optimizer": {"ema": None}}]
    theirs = schema.from_dict({**VALUES, "phases": others})
    assert schema.changes(ours, theirs) == {
        "phases.1.train.epochs": [5, 9],
        "phases.1.data.augment": [None, ""],
        "phases.2.train.steps": [70, None],
        "phases.2.schedule.name": ["multi_step", None],
        "phases.2.schedule.boundaries_steps": [[50], None],
        "phases.2.optimizer.ema": [None, None],
    }
    assert schema.changes(ours, ours) == {}
    assert schema.changes(ours, built()) == {"phases": [PHASES, []]}


@pytest.mark.parametrize(
    ("key", "length"),
    [
        ("train.epochs", True),
        ("train.steps", True),
        ("phases.2.train.epochs", True),
        ("phases", False),
        ("train.batch_size", False),
        ("phases.1.train.repeats", False),
    ],
)
def test_which_changes_make_a_recipe_longer_and_no_other(key, length):
    assert is_length(key) is length


@pytest.mark.parametrize(
    ("phases", "code", "named"),
    [
        ([{"trian": {}}], "preset-unknown-key", "train"),
        ([{"model": {"num_residual_units": 5}}], "preset-unknown-key", "model"),
        ([{}, {"train": 3}], "preset-wrong-type", "train"),
        ([{"train": {"epoch": 3}}], "preset-unknown-key", "epochs"),
        (
            [{}, {"data": {"dataset": "cifar100"}}],
            "preset-phases-differ",
            "all phases of preset x must have the same data.dataset",
        ),
        (
            [{}, {"data": {"validation_size": 0}}],
            "preset-phases-differ",
            "all phases of preset x must have the same data.dataset",
        ),
        ([{}, {"data": {"normalize": "imagenet"}}], "preset-phases-differ", "data.normalize"),
        ("phases", "preset-wrong-type", "phases"),
        ([3], "preset-wrong-type", "phases"),
    ],
)
def test_wrong_phases_are_refused(phases, code, named):
    error = user_error(schema.from_dict, {**VALUES, "phases": phases})
    assert error.code == code
    assert named in str(error)


def test_a_mean_image_fits_one_size_only():
    values = changed(data={"normalize": "per_pixel"})
    assert len(schema.from_dict({**values, "phases": [{}, {}]}).in_phases) == 2
    error = user_error(schema.from_dict, {**values, "phases": [{}, {"data": {"image_size": 16}}]})
    assert error.code == "preset-phases-differ"
    assert "per_pixel" in str(error)

"""What a preset may say: the papers' depths, the rules, the documented words, the hash."""

import copy
import dataclasses

import pytest

from resnet_tf.errors import UserError
from resnet_tf.presets import schema
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
    ({"model": {"num_residual_units": None}}, "'model' of preset x: give one of 'num_residual_units' and"),
    ({"model": {"stage_sizes": [3, 3, 3]}}, "'model' of preset x: give one of 'num_residual_units' and"),
    ({"model": {"num_residual_units": None, "stage_sizes": []}}, "'stage_sizes' and 'filters' must be equally long"),
    ({"model": {"num_residual_units": None, "stage_sizes": [3, 3]}}, "'stage_sizes' and 'filters' must be equally"),
    ({"model": {"filters": []}}, "'filters' must be equally long"),
    ({"model": {"num_residual_units": 0}}, "'num_residual_units' must be at least 1. Received: 0."),
    ({"model": {"filters": [16, 0, 64]}}, "'filters' must be at least 1. Received: (16, 0, 64)."),
    ({"model": {"parameter_limit": 0}}, "'parameter_limit' must be at least 1. Received: 0."),
    ({"model": {"filters": [64, 32, 16]}}, "an identity-pad shortcut cannot narrow. Received: 'filters' [64, 32, 16]."),
    ({"model": {"stem_filters": 32}}, "an identity-pad shortcut cannot narrow."),
    (
        {"model": {"stem": "whitened-2x2", "filters": [24, 32, 64], "stem_filters": 24}},
        "'stem_filters' is not for a whitened stem. Received: 24.",
    ),
    ({"model": {"groups": 2}}, "'groups' and 'width_per_group' are for the unit bottleneck. Received: 2 and 64"),
    ({"model": {"unit": "bottleneck", "groups": 0}}, "'groups' must be at least 1. Received: 0."),
    ({"model": {"unit": "bottleneck", "width_per_group": 3}}, "'width_per_group' must leave each group a channel."),
    ({"model": {"norm_momentum": 1}}, "'norm_momentum' must lie in 0 to below 1. Received: 1.0."),
    ({"model": {"norm_epsilon": 0}}, "'norm_epsilon' must be above 0. Received: 0.0."),
    ({"train": {"repeats": 0}}, "'train' of preset x: 'repeats' must be above 0. Received: 0."),
    ({"model": {"shortcut": "B"}}, "unknown value for 'shortcut' in 'model' of preset x: 'B'."),
    ({"model": {"activation": "leaky_relu"}}, "'negative_slope' must be in (0, 1] for leaky_relu and 0 for relu."),
    ({"model": {"negative_slope": 0.1}}, "'negative_slope' must be in (0, 1] for leaky_relu and 0 for relu."),
    ({"model": {"negative_slope": -0.1}}, "'negative_slope' must be in (0, 1] for leaky_relu and 0 for relu."),
    (
        {"model": {"activation": "leaky_relu", "negative_slope": 1.5}},
        "'negative_slope' must be in (0, 1] for leaky_relu",
    ),
    ({"model": {"num_units": 3}}, "unknown key in 'model' of preset x: 'num_units'. Did you mean"),
    ({"model": None}, "preset x needs the key 'model'."),
    ({"model": 3}, "'model' of preset x must be a table of keys and values. Received: 3."),
    ({"data": {"dataset": "cifar"}}, "'data' of preset x: unknown dataset 'cifar'. Did you mean 'cifar10'?"),
    ({"data": {"validation_size": -1}}, "'validation_size' must be at least 0. Received: -1."),
    ({"data": {"image_size": 7}}, "'image_size' must be at least 8 pixels. Received: 7."),
    ({"data": {"augment": "pad_crop(4) | flip"}}, "unknown step in augment: 'flip'. Did you mean 'flip_horizontal'?"),
    ({"data": {"normalize": "per-channel"}}, "'per-channel'. Did you mean 'per_channel'?"),
    ({"train": {"steps": 5}}, "'train' of preset x: give one of 'epochs' and 'steps'."),
    ({"train": {"epochs": None}}, "'train' of preset x: give one of 'epochs' and 'steps'."),
    ({"train": {"batch_size": 0}}, "'train' of preset x: 'batch_size' must be above 0. Received: 0."),
    ({"train": {"state_minutes": 0}}, "'state_minutes' must be above 0. Received: 0.0."),
    ({"optimizer": {"name": "sdg"}}, "unknown name in 'optimizer' of preset x: 'sdg'. Did you mean 'sgd'?"),
    ({"optimizer": {"momentun": 0.9}}, "unknown key in 'optimizer' of preset x (sgd): 'momentun'. Did you mean 'mom"),
    ({"optimizer": {"learning_rate": "0.1"}}, "'learning_rate' in 'optimizer' of preset x (sgd) must be a number."),
    ({"schedule": "constant"}, "'schedule' of preset x must be a table with a 'name', one of: constant, exponential"),
    ({"schedule": {"name": "multistep"}}, "Did you mean 'multi_step'?"),
    ({"evaluation": {"weights": "first"}}, "unknown value for 'weights' in 'evaluation' of preset x: 'first'."),
    ({"reference": {"test_top1": "86 %"}}, "'test_top1' in 'reference' of preset x must be a number."),
    ({"notes": "text"}, "'notes' of preset x must be a list. Received: 'text'."),
    ({"results": [3]}, "item 0 of 'results' of preset x must be a table. Received: 3."),
    ({"title": 3}, "'title' of preset x must be a text. Received: 3."),
    ({"optimiser": {}}, "unknown key in preset x: 'optimiser'. Did you mean 'optimizer'?"),
]


@pytest.mark.parametrize(("sections", "message"), REFUSED)
def test_broken_rules_are_told_in_one_line(sections, message):
    with pytest.raises(UserError) as caught:
        built(**sections)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["4", "resnet20-cifar10-paper", "my preset (2)", "été_1.0", "a" * 100])
def test_names_that_a_folder_can_bear(name):
    assert schema.from_dict({**VALUES, "name": name}).name == name


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "../up", "a/b", "/etc", "a\\b", ".hidden", "-x", "a\nb", "a\x1b[2J", "*", "a" * 101, 4]
)
def test_names_that_would_leave_the_runs_folder_are_refused(name):
    with pytest.raises(UserError, match="a preset's name"):
        schema.from_dict({**VALUES, "name": name})


def test_what_is_no_table_is_refused():
    for values in (None, [], "4", 4):
        with pytest.raises(UserError, match="a preset must be a table of keys and values"):
            schema.from_dict(values)


# The words of the documentation: a preset written by its reader must load.
VOCABULARY = {
    "model": "num_residual_units stage_sizes filters unit stem shortcut activation initializer parameter_limit",
    "data": "dataset validation_size augment normalize image_size",
    "train": "batch_size epochs steps",
    "optimizer": "name learning_rate momentum nesterov weight_decay",
    "schedule": "name lr_decay warmup",
    "loss": "label_smoothing",
    "evaluation": "weights",
}


def test_documented_keys_are_there():
    recipe = schema.recipe(built())
    for section, words in VOCABULARY.items():
        assert set(words.split()) <= set(recipe[section])


def test_documented_values_are_taken():
    for unit in ("basic", "bottleneck"):
        assert built(model={"unit": unit}).model.unit == unit
    for shortcut in ("identity-pad", "projection"):
        assert built(model={"shortcut": shortcut}).model.shortcut == shortcut
    steps = {"name": "multi_step", "boundaries_steps": [32000, 48000]}
    values = {**changed(), "schedule": steps}
    assert schema.from_dict(values).schedule.boundaries_steps == (32000, 48000)


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


def test_keys_that_came_later_leave_the_hash_of_a_recipe_that_does_without_them():
    """A run that began before there were such keys, whose preset.json lacks them, is the same recipe to the last."""
    assert built().hash == "f75aef22de53"  # by version 0.2.1
    later = {section: {key: getattr(getattr(built(), section), key) for key in keys} for section, keys in LATER.items()}
    assert sum(map(len, later.values())) == 5
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
    assert schema.changes(preset, built()) == {"phases": [PHASES, []]}


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ([{"trian": {}}], "unknown key in phase 1 of preset x: 'trian'. Did you mean 'train'?"),
        ([{"model": {"num_residual_units": 5}}], "unknown key in phase 1 of preset x: 'model'."),
        ([{}, {"train": 3}], "'train' in phase 2 of preset x must be a table. Received: 3."),
        ([{"train": {"epoch": 3}}], "'epoch'. Did you mean 'epochs'?"),
        ([{}, {"data": {"dataset": "cifar100"}}], "all phases of preset x must have the same data.dataset"),
        ([{}, {"data": {"validation_size": 0}}], "all phases of preset x must have the same data.dataset"),
        ("phases", "'phases' of preset x must be a list. Received: 'phases'."),
        ([3], "item 0 of 'phases' of preset x must be a table. Received: 3."),
    ],
)
def test_phases_that_cannot_be_are_refused(phases, message):
    with pytest.raises(UserError) as caught:
        schema.from_dict({**VALUES, "phases": phases})
    assert message in str(caught.value)


def test_a_mean_image_fits_one_size_only():
    values = changed(data={"normalize": "per_pixel"})
    assert len(schema.from_dict({**values, "phases": [{}, {}]}).in_phases) == 2
    with pytest.raises(UserError, match="must not be per_pixel, as its phases differ in size"):
        schema.from_dict({**values, "phases": [{}, {"data": {"image_size": 16}}]})

"""The list of presets that `train.py --list` prints."""

from dataclasses import replace

import pytest

from resnet_tf import listing
from resnet_tf.models.cost import network_size
from resnet_tf.presets import preset_files, schema

NAMES = preset_files.names()


def load(name):
    return preset_files.load_preset(name)


def test_list_shows_every_preset(capsys):
    listing.print_presets()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == NAMES
    for line, name in zip(lines[1:], NAMES, strict=True):
        preset = load(name)
        assert f"{network_size(preset.model, preset.data.image_size, preset.classes).parameters:,}" in line


@pytest.mark.parametrize("room", [80, 100, 120, 160])
def test_list_stays_within_the_terminal_and_keeps_names_whole(room):
    rows = [listing.preset_line(load(name)) for name in NAMES]
    lines = listing.preset_table(rows, room).splitlines()
    assert max(map(len, lines)) <= room
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == ["preset", *NAMES]


def test_list_says_how_figures_differ():
    assert listing.reference(load("resnet32-cifar10-paper")) == "92.49 %"
    assert listing.reference(load("imagenet-resnet34-exp3")) == "75.11 % 10-crop"
    assert listing.reference(load("stl10")) == "84.00 % validation"
    assert listing.reference(load("5")) == "-"
    assert listing.length(load("stl10")) == "300 + 140 epochs of 20 copies at 70, 120 px"
    mixed = schema.from_dict(
        {**schema.to_dict(load("3")), "phases": [{"train": {"epochs": 6}}, {"train": {"steps": 2000}}]}
    )
    assert listing.length(mixed) == "6 epochs + 2k steps"
    rates = "0.1 then 0.001 then 0.0001, constant; 40 + 40 + 40 epochs"
    assert listing.preset_line(load("imagenet-resnet34-exp0-2"))[5] == rates


def test_the_best_result_is_by_the_presets_own_protocol_where_there_is_one():
    preset = load("quick")  # "mirror-shift", last weights
    own = {"view": preset.evaluation.view, "weights": preset.evaluation.weights, "epochs": 11}
    other = {"test_top1": 95.0, "view": "1-crop", "weights": "best", "epochs": 3, "data": {"title": "cifar10"}}
    results = [other, {"test_top1": 87.0, **own}, {"test_top1": 88.0, **own, "data": {"title": "cifar10 (a copy)"}}]
    assert listing.recorded(replace(preset, results=results)) == "88.00 % (11 epochs, a copy)"
    assert listing.recorded(replace(preset, results=[other])) == "95.00 % (3 epochs, 1-crop, best weights)"
    larger = {"test_top1": 99.0, **own, "resolution": 48, "frame": "resize(48)", "data": {"title": "cifar10"}}
    assert listing.recorded(replace(preset, results=[*results, larger])) == "88.00 % (11 epochs, a copy)"
    alone = listing.recorded(replace(preset, results=[larger]))
    assert alone == "99.00 % (11 epochs, mirror-shift, last weights, 48 px)"
    assert listing.recorded(replace(preset, results=[{"test_top1": None}])) == "-"


def test_several_seeds_are_listed_by_their_mean_and_not_by_the_best_of_them():
    row = {"view": "1-crop", "weights": "last", "epochs": 100, "precision": "float32", "data": {"title": "cifar10"}}
    seeds = [{**row, "seed": seed, "test_top1": top1} for seed, top1 in enumerate((90.0, 91.0, 90.2))]
    again = {**seeds[2], "test_top1": 90.8}  # of the same seed, later
    alone = {**row, "seed": 0, "test_top1": 92.0, "precision": "mixed_bfloat16"}
    assert (
        listing.recorded(replace(load("3"), results=[*seeds, again, alone])) == "90.60 % (mean of 3 seeds, 100 epochs)"
    )
    higher = listing.recorded(replace(load("3"), results=[alone]))
    assert higher == "92.00 % (100 epochs, in bfloat16)"
    assert listing.recorded(replace(load("3"), results=[seeds[0], alone])) == "90.00 % (100 epochs)"  # float32


def test_a_result_of_a_changed_recipe_comes_after_its_own_and_says_so():
    own = {"view": "1-crop", "weights": "last", "epochs": 100, "test_top1": 85.0, "data": {"title": "cifar10"}}
    other = {**own, "test_top1": 95.0, "changed": {"model.filters": [[64], [16]]}}
    assert listing.recorded(replace(load("3"), results=[own, other])) == "85.00 % (100 epochs)"
    assert listing.recorded(replace(load("3"), results=[other])) == "95.00 % (100 epochs, 1 changed setting)"


def test_a_result_of_before_the_preset_was_edited_is_of_an_earlier_recipe():
    trained = next(preset for preset in map(load, NAMES) if preset.results and not preset.results[0]["changed"])
    assert "earlier" not in listing.recorded(trained)
    edited = replace(trained, optimizer=replace(trained.optimizer, learning_rate=0.5))
    assert "an earlier recipe" in listing.recorded(edited)


def test_best_weights_of_several_seeds_share_a_row_though_their_epochs_differ():
    mine = replace(load("3"), evaluation=replace(load("3").evaluation, weights="best"))
    row = {"view": "1-crop", "weights": "best", "steps_planned": 100, "trained": 100, "data": {"title": "cifar10"}}
    found = zip((90.0, 91.0, 90.2), (97, 99, 90), strict=True)
    seeds = [{**row, "seed": seed, "test_top1": top1, "epochs": epochs} for seed, (top1, epochs) in enumerate(found)]
    assert listing.recorded(replace(mine, results=seeds)) == "90.40 % (mean of 3 seeds, best epochs)"
    assert listing.recorded(replace(mine, results=[{**seeds[0], "trained": 50}, seeds[1]])) == "91.00 % (99 epochs)"

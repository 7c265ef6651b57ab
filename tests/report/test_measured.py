"""What is measured: the ledger's rows and the presets' results, grouped by what differs in the seed alone."""

import csv
import io
import json
import statistics
from dataclasses import replace

import pytest
from ledger_rows import COPY, ROWS, grouped, row

from resnet_tf.presets import schema
from resnet_tf.report import measured, tables
from resnet_tf.runs import ledger
from resnet_tf.runs.records import EvaluationRecord
from resnet_tf.runs.run import create_run


def test_seeds_are_grouped(found):
    (group,) = [group for group in measured.groups(found) if len(group.members) > 1]
    top1 = [one["top1"] for one in ROWS[:3]]
    assert group.seeds == [0, 1, 2]
    assert group.mean == pytest.approx(statistics.mean(top1))
    assert group.spread == pytest.approx(statistics.stdev(top1))
    assert tables.seed_cells(group)[2:5] == ["88.63 %", "+/- 3.15", "85.00 to 90.62"]
    assert dict(zip(tables.SEEDS, tables.seed_cells(group), strict=True))["protocol"] == "test, 1-crop, last weights"


def test_best_weights_of_several_seeds_are_one_group():
    best = {"weights": "best", "protocol": "1-crop, best validation epoch"}
    rows = [row(seed=seed, steps=351 * epoch, epochs=epoch, **best) for seed, epoch in ((0, 97), (1, 99), (2, 90))]
    (group,) = grouped(*rows)
    assert group.seeds == [0, 1, 2]


def test_the_best_weights_of_a_stopped_run_are_no_seed_of_whole_trainings():
    rows = row(weights="best"), row(seed=1, weights="best", trained=3510)
    assert [group.seeds for group in grouped(*rows)] == [[0], [1]]


def test_an_edited_preset_of_ones_own_is_another_recipe():
    rows = [row("mine", seed=seed, preset_hash=recipe) for seed, recipe in ((0, "a"), (1, "a"), (2, "b"))]
    assert [group.seeds for group in grouped(*rows)] == [[0, 1], [2]]


def test_a_longer_training_of_a_run_leaves_the_result_of_the_shorter(runs, shipped):
    grown = {"steps_planned": 42120, "trained": 42120, "epochs": 120, "changed": {"train.epochs": [120, 100]}}
    ledger.append(runs, ledger.EVALUATED, row(seed=0, date="2026-02-01T00:00:00Z", **grown))
    found = measured.gather(runs, shipped)
    lengths = [(one.record.epochs, one.comparable) for one in found if one.record.run == row(seed=0)["run"]]
    assert lengths == [(100, True), (120, False)]


def test_the_reference_stands_beside_seeds_only_where_each_may_be_compared(shipped):
    for changed, shown in (({}, "85.10 %"), ({"train.epochs": [3, 100]}, "-")):
        (group,) = grouped(row(seed=0, changed=changed), row(seed=1, changed=changed), preset=shipped["3"])
        assert dict(zip(tables.SEEDS, tables.seed_cells(group), strict=True))["reference"] == shown


def test_trainings_from_other_weights_are_no_seeds_of_each_other():
    rows = [row(seed=0), row(seed=1, init="quick/a"), row(seed=2, init="quick/b"), row(seed=3, init="quick/b")]
    _, *others = found = grouped(*rows)
    assert [group.seeds for group in found] == [[0], [1], [2, 3]]
    assert [tables.trained(group.record).rpartition(" ")[2] for group in others] == ["quick/a", "quick/b"]
    one = EvaluationRecord.from_row(row(init="quick/a", changed={"train.init": ["quick", None]}))
    assert tables.trained(one) == tables.trained(others[0].record)


def test_of_two_backends_or_of_images_trained_on_before_there_are_two_groups():
    rows = [row(seed=0), row(seed=1, backend="tensorflow"), row(seed=2, backend="jax")]
    assert [group.seeds for group in grouped(*rows)] == [[0, 1], [2]]
    seen = {"init": "4/a", "split": "validation"}
    rows = [row(seed=0, **seen), row(seed=1, **seen, validation_seen=4500)]
    clean, known = grouped(*rows)
    assert (clean.seeds, known.seeds) == ([0], [1])
    assert "4,500 of the 10,000 images" in tables.trained(known.record)


def test_trainings_in_bfloat16_are_no_seeds_of_those_in_float32():
    """Rows of early versions, all of float32, do not say it."""
    rows = [
        row(seed=0),
        *(row(seed=seed, precision="mixed_bfloat16") for seed in (1, 2)),
        row(seed=3, precision="float32"),
    ]
    assert [group.seeds for group in grouped(*rows)] == [[0, 3], [1, 2]]


def test_of_an_evaluation_made_twice_the_later_counts(runs, shipped):
    ledger.append(runs, ledger.EVALUATED, row(seed=0, correct=9100, date="2026-02-01T00:00:00Z"))
    found = measured.gather(runs, shipped)
    assert len(found) == len(ROWS)
    assert [one.record.top1 for one in found if (one.record.preset, one.record.seed) == ("3", 0)] == [91.0]


def test_rows_of_another_form_are_left_out(runs, shipped):
    ledger.append(runs, ledger.EVALUATED, {"run": "3/old", "top1": 12.0})
    shipped["3"] = replace(shipped["3"], results=({"test_top1": 90.0},))
    assert len(measured.gather(runs, shipped)) == len(ROWS)


def test_a_run_of_another_version_does_not_end_the_report(runs, shipped):
    (runs / "mine" / "20200101T000000Z-s0").mkdir(parents=True)
    (runs / "mine" / "20200101T000000Z-s0" / "run.json").write_text('{"seed": 0}')
    (runs / "mine" / "20200101T000000Z-s0" / "preset.json").write_text('{"model": {"no such key": 1}}')
    ledger.append(runs, ledger.EVALUATED, row("mine", run="mine/20200101T000000Z-s0"))
    found = measured.gather(runs, shipped)
    assert [one.preset for one in found if one.record.preset == "mine"] == [None]


def test_a_recipe_of_ones_own_that_bears_a_presets_name_is_not_put_beside_its_reference(runs, shipped):
    mine = schema.from_dict({**schema.to_dict(shipped["4"]), "model": {"num_residual_units": 1}})
    run = create_run(mine, 8, runs)
    ledger.append(runs, ledger.EVALUATED, row("4", correct=9500, run=run.name, seed=8))
    found = measured.gather(runs, shipped)
    (one,) = [one for one in found if one.record.run == run.name]
    assert one.comparison.outcome == "not comparable"
    assert one.comparison.reasons == ("model.num_residual_units: 1, the preset's is 9",)
    assert measured.leading(measured.groups(found), "4").mean == 80.0  # the preset's own, though it is lower


def test_a_run_that_has_grown_does_not_lend_its_recipe_to_what_was_measured_before(runs, shipped):
    short = schema.from_dict({**schema.to_dict(shipped["3"]), "train": {"epochs": 10}})
    run = create_run(shipped["3"], 8, runs)  # it was as short first
    changed = {"train.epochs": [10, 100]}
    before = row("3", 8, 8520, run=run.name, preset_hash=short.hash, changed=changed, steps=3510, steps_planned=3510)
    ledger.append(runs, ledger.EVALUATED, before)
    (one,) = [one for one in measured.gather(runs, shipped) if one.record.run == run.name]
    assert one.record.changed == changed
    assert one.comparison.outcome == "not comparable"


def test_of_a_seed_the_latest_result_counts_wherever_it_stands():
    rows = [row(correct=9190, run="3/mine", date="2027-01-01T00:00:00Z"), row(correct=9000, run="3/published")]
    for order in (rows, rows[::-1]):
        (group,) = grouped(*order)
        assert group.mean == 91.9


def test_a_recorded_result_stands_like_the_row_it_came_from(tmp_path, shipped):
    one = row(validation_top1=90.0, correct=8580, preset="1", preset_hash=shipped["1"].hash)
    result = EvaluationRecord.from_row(one).to_result()
    carried = schema.from_dict({**schema.to_dict(shipped["1"]), "results": [result]})
    (alone,) = measured.gather(tmp_path, {"1": carried})
    assert (alone.run, alone.own) == (None, False)
    logged = measured.Measured(EvaluationRecord.from_row(one), shipped["1"], None)
    assert tables.result_cells(alone) == tables.result_cells(logged)
    ledger.append(tmp_path, ledger.EVALUATED, one)
    (both,) = measured.gather(tmp_path, {"1": carried})  # the same measurement is not told twice
    assert both.own


def test_a_result_of_before_the_presets_file_was_edited_is_of_another_recipe(tmp_path, shipped):
    """Its precision and view, which it says itself, are not what was edited."""
    same = replace(shipped["1"], train=replace(shipped["1"].train, precision="mixed_bfloat16"))
    rows = [
        row("1", seed=0, preset_hash=same.hash, precision="mixed_bfloat16", view="mirror"),
        row("1", seed=1, preset_hash="0" * 12),
    ]
    for one in rows:
        ledger.append(tmp_path, ledger.EVALUATED, one)
    found = measured.gather(tmp_path, shipped)
    assert [list(one.record.changed) for one in found] == [[], ["recipe"]]
    assert found[1].comparison.outcome == "not comparable"


def test_seeds_trained_on_other_images_are_a_group_of_their_own():
    rows = row(seed=0), row(seed=1), row(seed=0, same_data_as_training=False, date="2027-01-01T00:00:00Z")
    assert [group.seeds for group in grouped(*rows)] == [[0, 1], [0]]


@pytest.mark.parametrize(
    "otherwise",
    [{"view": "mirror"}, {"weights": "best"}, {"init": "quick/a"}, {"same_data_as_training": False}],
    ids=lambda values: next(iter(values)),
)
def test_a_result_measured_otherwise_does_not_speak_for_a_preset(otherwise, shipped):
    rows = row(correct=9000), row(seed=1, correct=9900, epochs=101, **otherwise)
    assert measured.leading(grouped(*rows, preset=shipped["3"]), "3").mean == 90.0
    assert measured.leading(grouped(rows[1], preset=shipped["3"]), "3") is None


def test_the_longest_training_speaks_for_a_preset(found):
    three_epochs = row("1", correct=9900, epochs=3, changed={"train.epochs": [3, 100]})
    short = measured.Measured(EvaluationRecord.from_row(three_epochs), None, None)
    groups = measured.groups([*found, short])
    assert measured.leading(groups, "1").record.top1 == 85.8
    assert measured.leading(groups, "demo") is None
    at_another_size = row("1", correct=9900, resolution=48, frame="resize(48)")
    assert measured.leading(grouped(at_another_size), "1") is None


def test_a_preset_made_longer_still_speaks_for_itself_and_another_recipe_does_not():
    longer = {"phases.1.train.epochs": [9, 6], "phases.2.train.steps": [40, 30]}
    other = {**longer, "phases.2.optimizer.learning_rate": [0.1, 0.2]}
    rows = [row(epochs=10), row(epochs=14, seed=1, changed=longer), row(epochs=20, seed=2, changed=other)]
    assert measured.leading(grouped(*rows), "3").seeds == [1]


def test_longer_trainings_on_a_copy_do_not_speak_where_there_are_some_on_official_images(shipped):
    copy = {"name": "cifar10", "title": COPY, "fingerprint": "c" * 64, "official": False}
    on_a_copy = row(seed=1, correct=5500, epochs=101, data=copy)
    assert measured.leading(grouped(row(), on_a_copy, preset=shipped["3"]), "3").seeds == [0]
    assert measured.leading(grouped(on_a_copy, preset=shipped["3"]), "3").seeds == [1]


@pytest.mark.parametrize("setting", [{"weights": "best"}, {"view": "mirror"}], ids=lambda values: next(iter(values)))
def test_a_run_that_was_to_be_scored_otherwise_is_of_the_presets_recipe(tmp_path, shipped, setting):
    """eval.py scores it by the preset's view and weights nevertheless."""
    preset = shipped["3"]
    trained = replace(preset, evaluation=replace(preset.evaluation, **setting))
    assert trained.hash != preset.hash
    ledger.append(tmp_path, ledger.EVALUATED, row(preset_hash=trained.hash))
    (one,) = measured.gather(tmp_path, shipped)
    assert not one.record.changed


def test_csv_is_the_ledger(found):
    read = list(csv.DictReader(io.StringIO(tables.as_csv(found))))
    assert len(read) == len(ROWS)
    for cells, one in zip(read, found, strict=True):
        assert float(cells["top1"]) == one.record.top1
        assert [float(cells["top1_low"]), float(cells["top1_high"])] == one.record.top1_interval
        assert json.loads(cells["changed"]) == one.record.changed
        assert cells["run"] == one.record.run
        assert (cells["official"] == "1") == one.record.data["official"]
        assert (cells["precision"], cells["same_data_as_training"], cells["frame"]) == ("float32", "1", "")


def test_markdown_has_a_line_for_each_result_and_as_many_cells(found):
    text = tables.markdown(found, measured.groups(found))
    results, seeds = text.strip().split("\n\n")
    assert len(results.splitlines()) == 2 + len(ROWS)
    assert len(seeds.splitlines()) == 2 + 1
    assert {line.replace("\\|", "").count("|") for line in results.splitlines()} == {len(tables.RESULTS) + 1}
    assert "pad_crop(4) \\| flip_horizontal" in results

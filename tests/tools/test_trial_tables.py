"""Trials are collected from the overall log, and each table shows what it says it shows."""

import pytest
from ledger_rows import grouped, row

from resnet_tf.runs.records import EvaluationRecord
from tools import collect_trials, trial_tables

OURS = "pad_crop(2, padding_mode='reflect') | flip_horizontal"


def trial(**values) -> EvaluationRecord:
    return EvaluationRecord.from_row(row("quick", **{"split": "validation", "epochs": 3.0, **values}))


def test_a_trial_keeps_its_figures_and_loses_all_paths(tmp_path):
    data = {"name": "cifar10", "title": "cifar10", "fingerprint": "f" * 64, "official": True, "source": "/somewhere"}
    path = tmp_path / "trials.json"
    path.write_text(collect_trials.to_json([trial(data=data, correct=9000)]))
    (read,) = collect_trials.read(path)
    assert (read.top1, read.epochs, read.split) == (90.0, 3.0, "validation")
    assert "/somewhere" not in path.read_text()


def test_of_a_measurement_made_twice_the_later_is_kept():
    first, second = trial(correct=9000), trial(correct=9100, date="2026-01-02T00:00:00Z")
    assert [record.top1 for record in collect_trials.collected([second], [first])] == [91.0]


def test_only_shipped_presets_on_official_images_are_collected():
    copy = {"name": "cifar10", "title": "a copy", "fingerprint": "c" * 64, "official": False}
    own = EvaluationRecord.from_row(row("a preset of one's own"))
    assert collect_trials.collected([], [trial(data=copy), own, trial(seed=1)]) == [trial(seed=1)]


def test_a_trial_stands_beside_the_unchanged_recipe_of_its_length():
    held_out = {"data.validation_size": [5000, 0], "train.epochs": [3, 10]}
    changed = {**held_out, "model.activation": ["relu", "gelu"]}
    lines = trial_tables.quick_lines(
        [
            trial(correct=8900, changed=changed),
            trial(correct=9000, changed=held_out),
            trial(correct=8000, changed=changed, epochs=2.0),
            trial(correct=9400, split="test", changed=changed),
            trial(correct=8800, changed=held_out | {"data.augment": [OURS, f"{OURS} | flip_vertical"]}),
        ]
    )
    assert [(line[0], line[2], line[-2], line[-1]) for line in lines] == [
        ("nothing", "3", "90.00 %", "-"),
        ("model.activation gelu -> relu", "3", "89.00 %", "-1.00"),
        (f"data.augment {OURS} | flip_vertical -> {OURS}", "3", "88.00 %", "-2.00"),
        ("model.activation gelu -> relu", "2", "80.00 %", "-"),
    ]


def test_a_trial_is_measured_from_the_plain_one_of_its_seed():
    changed = {"model.activation": ["relu", "gelu"]}
    plain = [trial(correct=9000), trial(correct=8800, seed=1)]
    lines = trial_tables.quick_lines([*plain, trial(correct=8900, changed=changed), trial(seed=2, changed=changed)])
    assert sorted(line[-1] for line in lines if line[0] != "nothing") == ["-", "-1.00"]


def test_precisions_are_compared_seed_by_seed():
    """The differences are 0.10, -0.20 and 0.40: mean 0.1, deviation 0.3, and t(0.975; 2) = 4.3027."""
    rows = [row("3", seed=seed, correct=9000, precision="float32") for seed in range(3)]
    rows += [row("3", seed=s, correct=c, precision="mixed_bfloat16") for s, c in ((0, 9010), (1, 8980), (2, 9040))]
    rows.append(row("4", correct=9000, precision="float32"))
    ((recipe, seeds, exact, short, difference, _),) = trial_tables.precision_lines(grouped(*rows))
    assert (recipe, seeds, exact, short) == ("3, 100 epochs", "0, 1, 2", "90.00 % +/- 0.00", "90.10 % +/- 0.30")
    mean, low, high = map(float, difference.replace("(", " ").replace(")", " ").replace("to", " ").split())
    assert mean == pytest.approx(0.1)
    assert (low, high) == pytest.approx((0.1 - 4.3027 * 0.3 / 3**0.5, 0.1 + 4.3027 * 0.3 / 3**0.5), abs=0.006)


def test_precisions_of_different_backends_are_no_pair():
    exact = row(correct=9000, precision="float32")
    short = row(correct=9011, precision="mixed_bfloat16", backend="jax")
    assert trial_tables.precision_lines(grouped(exact, short)) == []
    of_jax = row(correct=9001, precision="float32", backend="jax")
    ((_, _, on_jax, _, difference, _),) = trial_tables.precision_lines(grouped(exact, short, of_jax))
    assert (on_jax, difference) == ("90.01 %", "+0.10")


def test_one_pair_has_a_difference_without_an_interval():
    rows = [row(correct=9000, precision="float32"), row(correct=9011, precision="mixed_bfloat16")]
    assert trial_tables.precision_lines(grouped(*rows))[0][4] == "+0.11"


def test_a_network_is_scored_at_each_resolution_after_both_phases():
    def scored(resolution: int, correct: int, steps: int, **values) -> EvaluationRecord:
        at = {"resolution": resolution, "correct": correct, "steps": steps, "steps_planned": 150}
        return EvaluationRecord.from_row(row("stl10", **at, **values))

    trials = [scored(96, 6500, 100), scored(96, 6400, 150), scored(70, 6000, 100), scored(70, 5500, 150)]
    # One without its counterpart, one of another split, and one of another seed.
    trials += [scored(120, 6800, 150), scored(70, 1000, 150, split="validation"), scored(70, 2000, 150, seed=1)]
    lines = trial_tables.resolution_lines(trials, "stl10")
    assert [[line[0], line[1], line[2], line[4], line[6]] for line in lines] == [
        ["70 px", "0", "60.00 %", "55.00 %", "-5.00"],
        ["96 px", "0", "65.00 %", "64.00 %", "-1.00"],
    ]
    assert lines[0][3] == "59.04 to 60.96"  # Wilson's interval of 6,000 of 10,000


def test_the_file_of_trials_holds_official_images_alone():
    assert all(record.data["official"] for record in collect_trials.read())

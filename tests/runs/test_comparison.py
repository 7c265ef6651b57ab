"""Comparing a result with its reference: within the interval or not, and every reason not to compare."""

import copy
from dataclasses import replace

import pytest

from resnet_tf.presets import schema
from resnet_tf.runs import comparison
from resnet_tf.runs.records import EvaluationRecord
from resnet_tf.runs.significance import wilson_interval

PRESET = {
    "name": "4",
    "model": {"num_residual_units": 9},
    "data": {},
    "train": {"epochs": 100},
    "optimizer": {"name": "sgd", "learning_rate": 0.1},
    "schedule": {"name": "exponential", "lr_decay": 0.96},
    "reference": {"test_top1": 86.59, "protocol": "1-crop, last epoch", "source": "the author's report"},
}
RESULT = EvaluationRecord(
    date="2026-01-01T00:00:00Z",
    run="4/20260101T000000Z-s0",
    preset="4",
    seed=0,
    split="test",
    view="1-crop",
    weights="last",
    resolution=32,
    data={"name": "cifar10", "title": "cifar10", "fingerprint": "f" * 64, "official": True},
    same_data_as_training=True,
    changed={},
    epochs=100,
    steps=35100,
    steps_planned=35100,
    count=10_000,
    top1=86.4,
    top1_interval=[85.71, 87.06],
)
COPY = "cifar10 (folder copy, not the official bytes)"


def preset(**reference):
    values = copy.deepcopy(PRESET)
    values["reference"].update(reference)
    return schema.from_dict(values)


def result(top1=86.4, count=10_000, **values):
    low, high = wilson_interval(round(top1 * count / 100), count)
    return replace(RESULT, top1=top1, top1_interval=[round(low, 2), round(high, 2)], **values)


@pytest.mark.parametrize(
    ("top1", "ending"),
    [
        (86.4, "difference -0.19; within the 95 % interval"),
        (86.59, "difference +0.00; within the 95 % interval"),
        (88.0, "difference +1.41; above it beyond the 95 % interval"),
        (85.0, "difference -1.59; below it beyond the 95 % interval"),
    ],
)
def test_same_data_and_protocol_are_compared(top1, ending):
    assert comparison.verdict(preset(), result(top1)) == f"reference 86.59 (the author's report), {ending}"


def test_what_a_comparison_assumes_about_its_reference_is_said():
    assuming = preset(assumed="view and epoch")
    line = comparison.verdict(assuming, result(88.0))
    assert line.startswith("reference 86.59 (the author's report; view and epoch assumed), difference +1.41")
    assert comparison.compare(assuming, result(88.0)).summary == "above (view and epoch assumed)"
    forbidden = comparison.compare(assuming, result(88.0, split="validation"))
    assert forbidden.summary == "not comparable: split: validation, the reference's is test"
    assert comparison.compare(preset(), result(88.0)).summary == "above"


def test_few_images_leave_the_same_gap_within_noise():
    assert comparison.verdict(preset(), result(85.0, count=200)).endswith("within the 95 % interval")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"data": {"title": COPY, "official": False}}, f"data: {COPY}"),
        ({"same_data_as_training": False}, "data: not those that the run was trained on"),
        ({"split": "validation"}, "split: validation, the reference's is test"),
        ({"changed": {"train.epochs": [3, 100]}}, "train.epochs: 3, the preset's is 100"),
        ({"changed": {"schedule.lr_decay": [None, 0.96]}}, "schedule.lr_decay: None, the preset's is 0.96"),
        ({"steps": 17550}, "training: 17,550 of 35,100 steps"),
        ({"weights": "best"}, "protocol: 1-crop, best validation epoch, the reference's is 1-crop, last epoch"),
        (
            {"resolution": 48, "frame": "resize(48)"},
            "protocol: 1-crop, last epoch, 48 px, the reference's is 1-crop, last epoch",
        ),
    ],
)
def test_each_difference_alone_forbids_the_comparison(values, reason):
    differing = result(**values)
    assert comparison.obstacles(preset(), differing) == [reason]
    line = comparison.verdict(preset(), differing)
    assert line == f"reference 86.59 (the author's report); not comparable: {reason}"
    assert comparison.compare(preset(), differing).difference is None


def test_the_best_weights_are_of_a_whole_training_though_they_were_saved_before_its_end():
    best = "1-crop, best validation epoch"
    row = result(weights="best", steps=34_000, trained=35_100)
    assert comparison.obstacles(preset(protocol=best), row) == []
    assert comparison.obstacles(preset(protocol=best), replace(row, trained=34_500)) == [
        "training: 34,500 of 35,100 steps"
    ]


def test_all_differences_are_named_in_one_line():
    differing = result(data={"title": COPY, "official": False}, changed={"train.epochs": [3, 100]}, steps=500)
    line = comparison.verdict(preset(), differing)
    assert line.endswith(
        f"not comparable: data: {COPY}; train.epochs: 3, the preset's is 100; training: 500 of 35,100 steps"
    )


def test_reference_without_a_protocol_or_source():
    line = comparison.verdict(preset(protocol="", source=""), result(view="10-crop"))
    assert line == "reference 86.59, difference -0.19; within the 95 % interval"
    larger = result(resolution=48, frame="resize(48)")
    assert comparison.obstacles(preset(protocol="", source=""), larger) == [
        "resolution: 48 px by resize(48), not as the preset says"
    ]
    assert comparison.trial_reasons(larger) == comparison.obstacles(preset(protocol="", source=""), larger)
    assert comparison.trial_reasons(result(view="10-crop")) == []


def test_no_reference():
    assert comparison.verdict(preset(test_top1=None), result()) == "no reference to compare with"
    line = comparison.verdict(preset(test_top1=None, note="never published"), result())
    assert line == "no reference to compare with (never published)"

"""What a person reads of an evaluation."""

from dataclasses import replace

import pytest

from resnet_tf.evaluation.show import show
from resnet_tf.runs.comparison import wilson_interval
from resnet_tf.runs.records import Evaluation
from resnet_tf.scoring.diagnosis import FEW_IMAGES

RESULT = Evaluation(
    date="2026-01-01T00:00:00Z",
    run="mine/20260101T000000Z-s0",
    preset="mine",
    seed=0,
    steps_planned=10,
    changed={},
    steps=10,
    epochs=1,
    split="test",
    view="1-crop",
    resolution=32,
    weights="last",
    data={"title": "folder"},
    same_data_as_training=True,
    count=FEW_IMAGES,
    top1=50.0,
    top1_interval=list(wilson_interval(FEW_IMAGES // 2, FEW_IMAGES)),
    top5=100.0,
    loss=0.5,
    per_class_top1={"cat": 50.0, "dog": None},
    verdict="no reference to compare with",
    diagnosis={"calibration_error": 0.1, "temperature": None, "calibration_error_at_temperature": None},
)


@pytest.mark.parametrize(("count", "diagnosed", "notes"), [(FEW_IMAGES, 1, 0), (38, 1, 1), (38, 0, 0)])
def test_a_calibration_on_few_images_has_a_note(capsys, count, diagnosed, notes):
    show(replace(RESULT, count=count, diagnosis=RESULT.diagnosis if diagnosed else None))
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("note:") and f" {count} " in line for line in lines) == notes
    assert not [line for line in lines if "temperature" in line]

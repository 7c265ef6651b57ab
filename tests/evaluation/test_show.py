"""What a person reads of an evaluation."""

from dataclasses import replace

import pytest
from plain import EVALUATION

from resnet_tf.evaluation.show import show
from resnet_tf.scoring.diagnosis import FEW_IMAGES

RESULT = replace(
    EVALUATION,
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

"""A sound preset and ways to change it, for the tests of the recipe check."""

import copy

from resnet_tf.lint import check
from resnet_tf.presets import schema

SOUND = {
    "name": "sound",
    "model": {"num_residual_units": 3},
    "data": {"augment": "pad_crop(4) | flip_horizontal"},
    "train": {"batch_size": 128, "epochs": 100},
    "optimizer": {"name": "sgd", "learning_rate": 0.1, "weight_decay": 1e-4},
    "schedule": {"name": "constant"},
}
PLATEAU = {"name": "plateau", "patience": 5, "threshold": 0.02}
STEPS = {"name": "multi_step", "boundaries_steps": [32000, 48000]}
ADAM = {"name": "adam", "learning_rate": 0.001}
FOLDER = {"dataset": "folder", "validation_size": 10}
FRAMED = {"data": {**FOLDER, "augment": "random_crop(32)"}, "evaluation": {"frame": "center_crop(32)"}}


def preset(**sections):
    values = copy.deepcopy(SOUND)
    for section, changes in sections.items():
        values[section] = schema.merge(values[section], changes) if section in values else changes
    return schema.from_dict(values)


def broken_rules(**sections) -> list[str]:
    return [finding.rule for finding in check.check(preset(**sections))]

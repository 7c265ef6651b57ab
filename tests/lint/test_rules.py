"""Every rule of the recipe check fires on a preset made to break it; the shipped presets break some on purpose."""

import re

import pytest
from recipes import ADAM, FOLDER, PLATEAU, STEPS, broken_rules, preset

from resnet_tf.lint import check
from resnet_tf.presets import preset_files

# Each rule: what breaks it, and the least change that does not.
CASES = {
    "plateau-cannot-fire": [
        ({"schedule": {**PLATEAU, "patience": 98}}, {"schedule": {**PLATEAU, "patience": 97}}),
        ({"schedule": {**PLATEAU, "minimum": 0.1}}, {"schedule": {**PLATEAU, "minimum": 0.01}}),
        (
            {"schedule": {**PLATEAU, "metric": "training_loss", "every_steps": 351, "patience": 98}},
            {"schedule": {**PLATEAU, "metric": "training_loss", "every_steps": 351, "patience": 97}},
        ),
    ],
    "plateau-in-noise": [
        ({"schedule": {**PLATEAU, "threshold": 1e-4}}, {"schedule": PLATEAU}),
        ({"schedule": {**PLATEAU, "threshold": 0.014}}, {"schedule": {**PLATEAU, "threshold": 0.0142}}),  # 5000**-0.5
        (
            {"schedule": {**PLATEAU, "metric": "training_loss", "every_steps": 1}},
            {"schedule": {**PLATEAU, "metric": "training_loss", "every_steps": 100}},
        ),
        (  # 45000**-0.5 is 0.0047, and an epoch of four times as many images is half as uncertain
            {"schedule": {**PLATEAU, "metric": "training_loss", "threshold": 0.003}},
            {"schedule": {**PLATEAU, "metric": "training_loss", "threshold": 0.003}, "train": {"repeats": 4}},
        ),
        (
            {"schedule": {**PLATEAU, "metric": "validation_top1", "threshold": 0.5, "threshold_mode": "absolute"}},
            {"schedule": {**PLATEAU, "metric": "validation_top1", "threshold": 1, "threshold_mode": "absolute"}},
        ),
    ],
    "milestones-past-end": [
        ({"schedule": STEPS}, {"schedule": STEPS, "train": {"steps": 64000}}),  # 100 epochs of 351 steps
        (
            {"schedule": STEPS, "train": {"epochs": 160, "batch_size": 256}},
            {"schedule": STEPS, "train": {"epochs": 160}},
        ),
        (
            {"schedule": {"name": "multi_step", "boundaries_epochs": [50, 100]}},
            {"schedule": {"name": "multi_step", "boundaries_epochs": [50, 99]}},
        ),
    ],
    "schedule-cut-short": [
        (
            {"schedule": {"name": "cosine_restarts", "period_epochs": 30}},
            {"schedule": {"name": "cosine_restarts", "period_epochs": 50}},
        )
    ],
    "warmup-never-ends": [
        ({"schedule": {"name": "constant", "warmup": {"steps": 35100}}}, {"schedule": {"warmup": {"steps": 35099}}}),
        (
            {"schedule": {"warmup_until": {"learning_rate": 0.01, "training_error_below": 0.05}}},
            {"schedule": {"warmup_until": {"learning_rate": 0.01, "training_error_below": 0.8}}},
        ),
        (
            {"schedule": {"warmup_until": {"learning_rate": 0.01, "training_error_below": 0.8, "every_steps": 40000}}},
            {"schedule": {"warmup_until": {"learning_rate": 0.01, "training_error_below": 0.8, "every_steps": 400}}},
        ),
    ],
    "two-controllers": [
        ({"schedule": {"name": "one_cycle", "warmup": {"steps": 100}}}, {"schedule": {"name": "one_cycle"}}),
        (
            {"schedule": {**PLATEAU, "warmup_until": {"learning_rate": 0.01, "training_error_below": 0.8}}},
            {"schedule": {**PLATEAU, "warmup": {"steps": 100}}},
        ),
        (
            {"schedule": {"name": "multi_step", "boundaries_epochs": [2], "warmup": {"steps": 703}}},
            {"schedule": {"name": "multi_step", "boundaries_epochs": [2], "warmup": {"steps": 702}}},
        ),
    ],
    "adam-rate": [({"optimizer": {**ADAM, "learning_rate": 0.1}}, {"optimizer": ADAM})],
    "decay-form": [
        (
            {"optimizer": {**ADAM, "weight_decay": 1e-4}},
            {"optimizer": {**ADAM, "weight_decay": 1e-4, "decay": "decoupled"}},
        ),
        ({"optimizer": {"decay": "decoupled"}}, {"optimizer": {"decay": "decoupled", "weight_decay": 0}}),
        ({"optimizer": {"decay": "decoupled"}}, {"optimizer": {"decay": "decoupled", "momentum": 0}}),
        (
            {"optimizer": {"decay": "decoupled"}},
            {"optimizer": {"name": "muon", "learning_rate": 0.02, "weight_decay": 0.1, "decay": "decoupled"}},
        ),
    ],
    "foreign-normalisation": [({"data": {"normalize": "imagenet"}}, {"data": {"normalize": "per_pixel"}})],
    "jittered-resized-crop": [
        (
            {"data": {"augment": "shorter_side(36, 48) | random_resized_crop(32)"}},
            {"data": {"augment": "shorter_side(36, 48) | random_crop(32)"}},
        )
    ],
    "no-augmentation": [
        ({"data": {"augment": " "}}, {"data": {"augment": "flip_horizontal"}}),
        ({"data": {"augment": "resize(40) | center_crop(32)"}}, {"data": {"augment": "resize(40) | random_crop(32)"}}),
        ({"data": {"augment": ""}}, {"data": {"augment": ""}, "train": {"mixup": 0.2}}),
        ({"data": {"augment": ""}}, {"data": {"augment": ""}, "train": {"cutmix": 1.0}}),
    ],
    "imagenet-stem": [
        ({"model": {"stem": "7x7-pool"}}, {"model": {"stem": "4x4-valid-pool"}}),
        (
            {"model": {"stem": "7x7-pool"}, "data": {"image_size": 63, "augment": "random_resized_crop(63)"}},
            {"model": {"stem": "7x7-pool"}, "data": {"image_size": 64, "augment": "random_resized_crop(64)"}},
        ),
    ],
    # The paper's ResNet-20, table 6: 0.27M.
    "parameter-limit": [({"model": {"parameter_limit": 260_000}}, {"model": {"parameter_limit": 280_000}})],
    "nothing-to-select-by": [
        (
            {"evaluation": {"weights": "best"}, "data": {"validation_size": 0}},
            {"evaluation": {"weights": "last"}, "data": {"validation_size": 0}},
        ),
        (
            {"schedule": PLATEAU, "data": {"validation_size": 0}},
            {"schedule": {**PLATEAU, "metric": "training_loss"}, "data": {"validation_size": 0}},
        ),
    ],
    "images-of-one-size": [
        ({"data": {"image_size": 24}}, {"data": {"image_size": 24, "augment": "random_crop(24)"}}),
        (
            {"data": {"augment": "random_resized_crop(32, width=60)"}},
            {"data": {"augment": "random_resized_crop(32, width=60) | random_crop(32)"}},
        ),
        (
            {"data": FOLDER, "evaluation": {"frame": "center_crop(32)"}},
            {"data": {**FOLDER, "augment": "random_crop(32)"}, "evaluation": {"frame": "center_crop(32)"}},
        ),
        (
            {"data": {**FOLDER, "augment": "random_crop(32)"}, "evaluation": {"frame": "resize(32)"}},
            {"data": {**FOLDER, "augment": "random_crop(32)"}, "evaluation": {"frame": "resize(32) | center_crop(32)"}},
        ),
        ({"evaluation": {"frame": "center_crop(64)"}}, {"evaluation": {"frame": "resize(64) | center_crop(64)"}}),
    ],
    "mean-image-of-one-size": [
        (
            {"data": {"normalize": "per_pixel", "image_size": 24, "augment": "random_crop(24)"}},
            {"data": {"image_size": 24, "augment": "random_crop(24)"}},
        ),
        (
            {"data": {"normalize": "per_pixel"}, "evaluation": {"frame": "resize(40)"}},
            {"data": {"normalize": "per_pixel"}, "evaluation": {"frame": "resize(32)"}},
        ),
        (
            {
                "data": {**FOLDER, "normalize": "per_pixel", "augment": "random_crop(32)"},
                "evaluation": {"frame": "center_crop(40)"},
            },
            {
                "data": {**FOLDER, "normalize": "per_pixel", "augment": "random_crop(32)"},
                "evaluation": {"frame": "center_crop(32)"},
            },
        ),
    ],
    "batch-too-large": [({"train": {"batch_size": 45_001}}, {"train": {"batch_size": 45_000}})],
    "too-many-steps": [({"train": {"steps": 100_000_001}}, {"train": {"steps": 100_000_000}})],
    "no-effect": [
        (
            {"train": {"epochs": 3}, "optimizer": {"lookahead": {}}},
            {"train": {"epochs": 4}, "optimizer": {"lookahead": {}}},
        ),
        (
            {"optimizer": {"stem_bias": {"momentum": 0.5}}},
            {
                "optimizer": {"stem_bias": {"momentum": 0.5}},
                "model": {"stem": "whitened-2x2", "stem_bias": True, "shortcut": "projection"},
            },
        ),
    ],
}
IMPOSSIBLE = {"parameter-limit", "nothing-to-select-by", "batch-too-large", "images-of-one-size"}
IMPOSSIBLE |= {"mean-image-of-one-size", "too-many-steps"}  # these end a training before it begins
BREAKS = [(rule, *pair) for rule, pairs in CASES.items() for pair in pairs]


@pytest.mark.parametrize("schedule", [{"name": "cosine_restarts", "period_epochs": 2}, {"name": "one_cycle"}])
def test_more_validation_images_than_there_are_leave_no_step(schedule):
    (finding,) = check.check(preset(data={"validation_size": 60_000}, schedule=schedule))
    assert finding.rule == "batch-too-large"
    assert "leaves of 50000" in finding.reason
    assert finding.remedy == "Hold fewer images out, such as --set data.validation_size=10000."


def test_a_slip_of_the_keyboard_does_not_fill_the_memory():
    """A learning rate for each step would: 800 GB."""
    for schedule in ({"name": "one_cycle"}, {"name": "cosine_restarts", "period_epochs": 2}):
        assert "too-many-steps" in broken_rules(train={"steps": 100_000_000_000}, schedule=schedule)


def test_every_rule_has_its_breaking_preset_and_its_case():
    assert set(CASES) == set(check.RULES)
    assert all(rule.case for rule in check.RULES.values())


def test_a_sound_preset_has_no_findings():
    assert broken_rules() == []


@pytest.mark.parametrize(("rule", "breaking", "sound"), BREAKS)
def test_rule_fires_alone_and_only_beyond_its_line(rule, breaking, sound):
    (finding,) = check.check(preset(**breaking))
    assert (finding.rule, finding.severity == "error") == (rule, rule in IMPOSSIBLE)
    assert broken_rules(**sound) == []
    # What cannot be carried out is not to be silenced.
    assert bool(check.check(preset(**breaking, silence=[rule]))) == check.RULES[rule].impossible


# What the shipped presets break. In these it is their authors' own mistake, which must be reported.
MISTAKES = {
    "imagenet-resnet34-exp0": {"plateau-in-noise"},
    "imagenet-resnet34-exp2": {"jittered-resized-crop"},
    "resnet32-cifar10-adam-dead-end": {"adam-rate"},
    **{
        f"resnet32-cifar10-plateau-{form}": {"plateau-in-noise", "no-augmentation"} for form in ("200", "1000", "short")
    },
}
# Here it is the form that the source gives, or a default that the field uses: reported, or silenced in the preset.
KEPT = {
    "resnet32-cifar10-adam": {"decay-form"},
    "stl10": {"decay-form"},
    "stl10-label-smoothing": {"decay-form"},
    "resnet34-cifar10": {"imagenet-stem"},
    "resnet34-cifar100": {"imagenet-stem"},
}


@pytest.mark.parametrize("name", preset_files.names())
def test_shipped_presets_break_no_rule_but_on_purpose(name):
    shipped = preset_files.load_preset(name)
    found = {finding.rule for finding in check.check(shipped)}
    if name in MISTAKES:
        assert found == MISTAKES[name]
        assert shipped.silence == ()
    else:
        assert found <= KEPT.get(name, set())
        assert set(shipped.silence) <= KEPT.get(name, set())


def test_a_case_names_only_presets_that_there_are():
    """And no case says of a small threshold that a larger one would have been better there than it was."""
    named = re.findall(
        r"(?:resnet\d+|imagenet-resnet\d+|stl10)-[\w-]+", " ".join(rule.case for rule in check.RULES.values())
    )
    assert len(named) >= 6
    assert set(named) <= set(preset_files.names())
    assert "74.2" not in check.RULES["plateau-in-noise"].case

"""The recipe check: every rule fires on a preset made to break it; the shipped presets break some on purpose."""

import copy
import re

import numpy as np
import pytest

import train as train_command
from resnet_tf.cli import command
from resnet_tf.datasets import sources
from resnet_tf.errors import UserError
from resnet_tf.lint import check, rules
from resnet_tf.presets import schema, storage
from resnet_tf.presets.schedule import Plateau

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
    ],
    "foreign-normalisation": [({"data": {"normalize": "imagenet"}}, {"data": {"normalize": "per_pixel"}})],
    "jittered-resized-crop": [
        (
            {"data": {"augment": "shorter_side(36, 48) | random_resized_crop(32)"}},
            {"data": {"augment": "shorter_side(36, 48) | random_crop(32)"}},
        )
    ],
    "no-augmentation": [({"data": {"augment": " "}}, {"data": {"augment": "flip_horizontal"}})],
    "imagenet-stem": [
        ({"model": {"stem": "7x7-pool"}}, {"model": {"stem": "4x4-valid-pool"}}),
        (
            {"model": {"stem": "7x7-pool"}, "data": {"image_size": 63, "augment": "resize(63)"}},
            {"model": {"stem": "7x7-pool"}, "data": {"image_size": 64, "augment": "resize(64)"}},
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
    "batch-too-large": [({"train": {"batch_size": 45_001}}, {"train": {"batch_size": 45_000}})],
}
BREAKS = [(rule, *pair) for rule, pairs in CASES.items() for pair in pairs]


@pytest.mark.parametrize("schedule", [{"name": "cosine_restarts", "period_epochs": 2}, {"name": "one_cycle"}])
def test_more_validation_images_than_there_are_leave_no_step(schedule):
    assert broken_rules(data={"validation_size": 60_000}, schedule=schedule) == ["batch-too-large"]


def test_every_rule_has_its_breaking_preset_and_its_case():
    assert set(CASES) == set(check.RULES)
    assert all(rule.case for rule in check.RULES.values())


def test_a_sound_preset_is_passed():
    assert broken_rules() == []


@pytest.mark.parametrize(("rule", "breaking", "sound"), BREAKS)
def test_rule_fires_alone_and_only_beyond_its_line(rule, breaking, sound):
    assert broken_rules(**breaking) == [rule]
    assert broken_rules(**sound) == []
    # What cannot be carried out is not to be silenced.
    assert bool(check.check(preset(**breaking, silence=[rule]))) == check.RULES[rule].impossible


@pytest.mark.parametrize(("rule", "breaking", "sound"), BREAKS)
def test_what_cannot_be_carried_out_is_an_error(rule, breaking, sound):
    (finding,) = check.check(preset(**breaking))
    impossible = {"parameter-limit", "nothing-to-select-by", "images-of-one-size", "batch-too-large"}
    assert (finding.severity == "error") == (rule in impossible)
    assert finding.reason.endswith(".")
    assert finding.remedy.endswith((".", '"'))
    assert str(finding).count("\n") == 0


# What the shipped presets break. In these it is their authors' own mistake, which must be said.
MISTAKES = {
    "imagenet-resnet34-exp0": {"plateau-in-noise"},
    "imagenet-resnet34-exp2": {"jittered-resized-crop"},
    "resnet32-cifar10-adam-dead-end": {"adam-rate"},
    **{
        f"resnet32-cifar10-plateau-{form}": {"plateau-in-noise", "no-augmentation"} for form in ("200", "1000", "short")
    },
}
# Here it is the form that the source gives, or a default that the field uses: said, or silenced in the preset.
KEPT = {
    "resnet32-cifar10-adam": {"decay-form"},
    "stl10": {"decay-form"},
    "stl10-label-smoothing": {"decay-form"},
    "resnet34-cifar10": {"imagenet-stem"},
    "resnet34-cifar100": {"imagenet-stem"},
}


@pytest.mark.parametrize("name", storage.names())
def test_shipped_presets_break_no_rule_but_on_purpose(name):
    shipped = storage.load_preset(name)
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
    assert set(named) <= set(storage.names())
    assert "74.2" not in check.RULES["plateau-in-noise"].case


def test_silence_is_no_part_of_the_recipe_and_names_known_rules():
    quiet = preset(silence=["adam-rate"])
    assert quiet.hash == preset().hash
    assert schema.from_dict(schema.to_dict(quiet)).silence == ("adam-rate",)
    with pytest.raises(UserError, match="'adam-rate'"):
        check.check(preset(silence=["adam-rates"]))


def test_each_phase_is_checked():
    two = preset(phases=[{}, {"data": {"augment": ""}}])
    (finding,) = check.check(two)
    assert finding.rule == "no-augmentation"
    assert finding.reason.startswith("phase 2: ")


def test_a_folder_of_unknown_size_breaks_no_rule_that_needs_the_number_of_images():
    changes = {**FRAMED, "schedule": STEPS}
    assert broken_rules(**changes) == []
    assert [finding.rule for finding in check.check(preset(**changes), images=1280)] == ["milestones-past-end"]


@pytest.fixture
def folder(tmp_path):
    """Returns what draws a user's folder of two classes with so many photos of varying sizes in each split's folder."""
    from PIL import Image

    def draw(**splits):
        for number, (split, count) in enumerate(splits.items()):
            for label in range(2):
                (tmp_path / split / "ab"[label]).mkdir(parents=True)
                for i in range(count // 2):
                    image = Image.new("RGB", (40 + i, 40 + number), (9 * i, 90 * number, 200 * label))
                    image.save(tmp_path / split / "ab"[label] / f"{i}.png")
        return str(tmp_path)

    return draw


def test_the_images_given_are_part_of_the_check(folder, monkeypatch, capsys):
    data = folder(train=40, test=4)
    assert check.print_check(preset(**FRAMED)) == 0  # nobody knows how many there are
    small = preset(**FRAMED, train={"batch_size": 16})
    assert check.print_check(small, data=data) == 0
    capsys.readouterr()
    assert check.print_check(preset(**FRAMED, train={"batch_size": 32}), data=data) == 2
    assert "data.validation_size=10" in capsys.readouterr().out.partition("\n")[0]
    # The variable may mean another data set: only images that are asked for are read.
    monkeypatch.setenv("RESNET_DATA", data + "/cifar-10-python.tar.gz")
    assert check.print_check(small) == 0


def test_an_own_validation_folder_is_something_to_select_by(folder):
    best = {**FRAMED, "evaluation": {**FRAMED["evaluation"], "weights": "best"}, "train": {"batch_size": 16}}
    best["data"] = {**best["data"], "validation_size": 0}
    assert broken_rules(**best) == ["nothing-to-select-by"]
    assert check.print_check(preset(**best), data=folder(train=40, validation=6, test=4)) == 0


def test_only_images_that_are_cut_off_can_be_given_back(folder):
    dataset = sources.load("folder", folder(train=40, validation=12, test=4))
    (finding,) = check.check_on(preset(**FRAMED, train={"batch_size": 64}), dataset)
    assert finding.rule == "batch-too-large"
    assert "validation_size" not in finding.remedy


def test_the_noise_of_an_own_validation_folder_is_that_of_its_images(folder):
    dataset = sources.load("folder", folder(train=40, validation=12, test=4))
    (finding,) = check.check_on(preset(**FRAMED, train={"batch_size": 16}, schedule=PLATEAU), dataset)
    assert "a mean over 12 images" in finding.reason


def history(values) -> list[dict]:
    return [{"epoch": epoch, "validation_loss": float(value)} for epoch, value in enumerate(values, start=1)]


def test_replay_falls_when_torchs_plateau_does():
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(0)
    values = np.maximum(0.5, 2 - 0.1 * np.arange(60)) * generator.normal(1, 0.01, 60)
    for patience, threshold in ((3, 0.01), (5, 1e-4), (0, 0.0)):
        weight = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([weight], lr=0.1)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=patience, threshold=threshold)
        fell, rate = [], 0.1
        for epoch, value in enumerate(values, start=1):
            scheduler.step(value)
            if optimizer.param_groups[0]["lr"] < rate:
                fell, rate = [*fell, epoch], optimizer.param_groups[0]["lr"]
        assert fell
        assert check.replay(Plateau(patience=patience, threshold=threshold), 0.1, history(values)) == fell


def test_first_possible_fall_is_torchs():
    """The bound of plateau-cannot-fire: a metric that never improves, at the least run that the rule lets pass."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=97)
    epochs = 0
    while optimizer.param_groups[0]["lr"] == 0.1:
        scheduler.step(1.0)
        epochs += 1
    assert epochs == 99  # of 100 epochs: patience 97 passes, as it may fall before the last; 98 does not


def test_replay_is_said():
    plateau = preset(schedule={**PLATEAU, "patience": 1})
    falling, stalled = history(np.linspace(2, 1, 10)), history(np.ones(6))
    assert check.describe_replay(plateau, falling, "a/b").endswith("10 epochs: the rate would never have fallen")
    assert check.describe_replay(plateau, stalled, "a/b").endswith("would have fallen after epochs 3, 5")
    assert check.describe_replay(plateau, [{"epoch": 1}], "a/b").endswith("its log has no validation_loss")
    assert "waits for no metric" in check.describe_replay(preset(), stalled, "a/b")


def test_noise_is_measured_where_there_is_a_history():
    generator = np.random.default_rng(1)
    slope = np.linspace(1.2, 0.8, 4000)
    assert rules.measured_noise(slope + generator.normal(0, 0.05, 4000)) == pytest.approx(0.05, rel=0.05)
    spiked = slope + generator.normal(0, 0.05, 4000) + 5 * (np.arange(4000) == 3000)
    assert rules.measured_noise(spiked) == pytest.approx(0.05, rel=0.05)
    assert rules.measured_noise(slope) == pytest.approx(0, abs=1e-9)

    plateau = preset(schedule=PLATEAU)  # threshold 0.02, above the noise that is estimated
    for noise, expected in ((0.05, ["plateau-in-noise"]), (0.005, [])):
        rows = history(1 + generator.normal(0, noise, 200))
        assert [finding.rule for finding in check.check(plateau, history=rows)] == expected


def test_command_prints_and_exits(tmp_path, capsys):
    def run(*arguments) -> tuple[int, str]:
        code = command.run_command(train_command.main, [*arguments, "--runs", str(tmp_path)])
        return code, capsys.readouterr().out

    code, printed = run("--preset", "imagenet-resnet34-exp0", "--check")
    assert code == 0
    assert printed.startswith("warning (plateau-in-noise): validation_loss is uncertain by about 0.01 of its value")
    assert printed.splitlines()[-1] == f"preset imagenet-resnet34-exp0: 1 warning by {len(check.RULES)} rules"
    code, printed = run("--preset", "4", "--set", "model.parameter_limit=1000", "--check")
    assert code == 2
    assert "853,018 parameters" in printed
    assert run("--preset", "4", "--check", "4/nothing")[0] == 2

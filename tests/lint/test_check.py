"""The recipe check on phases, on given images and on an earlier run's log, and its command."""

import numpy as np
import pytest
from assertions import user_error
from recipes import FRAMED, PLATEAU, STEPS, broken_rules, preset

from resnet_tf.cli import command
from resnet_tf.cli import train as train_command
from resnet_tf.datasets import sources
from resnet_tf.lint import check
from resnet_tf.lint.rules import measured_noise
from resnet_tf.optim.metric_rules import PlateauRule
from resnet_tf.presets import schema
from resnet_tf.presets.schedule import Plateau


def test_silence_is_no_part_of_the_recipe_and_names_known_rules():
    quiet = preset(silence=["adam-rate"])
    assert quiet.hash == preset().hash
    assert schema.from_dict(schema.to_dict(quiet)).silence == ("adam-rate",)
    error = user_error(check.check, preset(silence=["adam-rates"]))
    assert error.code == "rule-unknown"
    assert "'adam-rate'" in str(error)


def test_each_phase_is_checked():
    two = preset(phases=[{}, {"data": {"augment": ""}}])
    (finding,) = check.check(two)
    assert finding.rule == "no-augmentation"
    assert finding.reason.startswith("phase 2: ")


def test_a_folder_of_unknown_size_breaks_no_rule_that_needs_the_number_of_images():
    changes = {**FRAMED, "schedule": STEPS}
    assert broken_rules(**changes) == []
    assert [finding.rule for finding in check.check(preset(**changes), images=1290)] == ["milestones-past-end"]


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
    assert broken_rules(**best) == []  # the folder may have one
    assert check.print_check(preset(**best), data=folder(train=40, test=4)) == 2
    assert check.print_check(preset(**best), data=folder(validation=6)) == 0


def test_the_images_that_a_remedy_holds_out_can_be_spared():
    best = preset(data={"dataset": "stl10", "image_size": 96, "validation_size": 0}, evaluation={"weights": "best"})
    (advice,) = (found.remedy for found in check.check(best) if found.rule == "nothing-to-select-by")
    assert "data.validation_size=1000" in advice  # of 5,000


def test_more_held_out_images_than_a_folder_has_are_counted_as_they_are(folder):
    dataset = sources.load("folder", folder(train=48, test=4))
    own = {**FRAMED, "data": {**FRAMED["data"], "validation_size": 5000}}
    (finding,) = check.check_on(preset(**own, train={"batch_size": 16}), dataset)
    assert (finding.rule, "leaves of 48" in finding.reason) == ("batch-too-large", True)
    assert finding.remedy.endswith("data.validation_size=9.")  # a fifth of them


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


@pytest.mark.parametrize(
    ("steps", "every", "patience"),
    [(1000, 300, 1), (1000, 300, 2), (900, 300, 1), (901, 300, 1), (1000, 1, 997), (1000, 1, 998)],
)
def test_a_plateau_is_too_patient_where_its_rule_has_lowered_no_step(steps, every, patience):
    """By a metric that never improves; a learning rate that falls after the last step is of no use."""
    schedule = {**PLATEAU, "metric": "training_loss", "every_steps": every, "patience": patience}
    checked = preset(schedule=schedule, train={"epochs": None, "steps": steps})
    rule = PlateauRule(checked.schedule, checked.optimizer.learning_rate)
    lowered = any(rule.add(1.0) for _ in range(steps - 1))
    assert ("plateau-cannot-fire" in {finding.rule for finding in check.check(checked)}) == (not lowered)


def test_replay_is_described_in_a_line():
    plateau = preset(schedule={**PLATEAU, "patience": 1})
    falling, stalled = history(np.linspace(2, 1, 10)), history(np.ones(6))
    assert check.describe_replay(plateau, falling, "a/b").endswith("the learning rate would never have fallen")
    assert check.describe_replay(plateau, stalled, "a/b").endswith("would have fallen after epochs 3, 5")
    assert check.describe_replay(plateau, [{"epoch": 1}], "a/b").endswith("its log has no validation_loss")
    assert "waits for no metric" in check.describe_replay(preset(), stalled, "a/b")
    phases = preset(schedule={**PLATEAU, "patience": 1}, phases=[{}, {"train": {"epochs": 3}}])
    assert "not replayed" in check.describe_replay(phases, stalled, "a/b")


def test_noise_is_measured_where_there_is_a_history():
    generator = np.random.default_rng(1)
    slope = np.linspace(1.2, 0.8, 4000)
    assert measured_noise(slope + generator.normal(0, 0.05, 4000)) == pytest.approx(0.05, rel=0.05)
    spiked = slope + generator.normal(0, 0.05, 4000) + 5 * (np.arange(4000) == 3000)
    assert measured_noise(spiked) == pytest.approx(0.05, rel=0.05)
    assert measured_noise(slope) == pytest.approx(0, abs=1e-9)

    plateau = preset(schedule=PLATEAU)  # threshold 0.02, above the noise that is estimated
    for noise, expected in ((0.05, ["plateau-in-noise"]), (0.005, [])):
        rows = history(1 + generator.normal(0, noise, 200))
        assert [finding.rule for finding in check.check(plateau, history=rows)] == expected
    assert check.check(plateau, history=history(np.zeros(200))) == []


def test_the_command_prints_findings_and_exits(tmp_path, capsys):
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

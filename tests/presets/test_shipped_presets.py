"""Every preset in `presets/`: what its file says, beside outside figures."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

import train as train_command
from benchmarks.contestants import CASES
from resnet_tf.cli import command, listing
from resnet_tf.datasets import tfds
from resnet_tf.datasets.sources import DATASETS
from resnet_tf.errors import UserError
from resnet_tf.models.cost import network_size
from resnet_tf.optim.plateau import watchers_of
from resnet_tf.presets import augmentation, json_text, schema, storage
from resnet_tf.presets.augmentation_steps import RandomCrop, RandomResizedCrop, Resample, ShorterSide
from resnet_tf.presets.optimizer import AdamSpec
from tools.readme_tables import SPEED

NAMES = storage.names()

# Trainable parameters. CIFAR form: He et al. 2015, table 6 (0.27M ... 19.4M), to the last digit as other open
# implementations of option A count them; ImageNet form: torchvision's, with 1,000, 10 and 100 classes.
PARAMETERS = {
    "demo": 75_290,
    # A stem without weights, of 24 channels; 3x3 convolutions: one into each stage, two in it; two numbers a channel of
    # every norm; head 256 x 10 + 10.
    "quick": 9 * (24 * 32 + 32 * 128 + 128 * 256)
    + 9 * 2 * (32 * 32 + 128 * 128 + 256 * 256)
    + 2 * 3 * (32 + 128 + 256)
    + 2570,
    "1": 464_154,
    "2": 464_154,
    "3": 269_722,
    "4": 853_018,
    "5": 853_018,
    "resnet20-cifar10-paper": 269_722,
    "resnet32-cifar10-paper": 464_154,
    **{f"resnet32-cifar10-plateau-{form}": 464_154 for form in ("200", "1000", "short")},
    "resnet32-cifar10-adam-dead-end": 464_154,
    "resnet32-cifar10-adam": 464_154,
    "resnet32-cifar10-adam-no-decay": 464_154,
    "resnet44-cifar10-paper": 658_586,
    "resnet56-cifar10-paper": 853_018,
    "resnet110-cifar10-paper": 1_727_962,
    "resnet1202-cifar10-paper": 19_421_274,
    "resnet34-cifar10": 21_289_802,
    "resnet34-cifar100": 21_335_972,
    "resnet18-small-stem-cifar10": 11_173_962,
    "resnet34-small-stem-cifar10": 21_282_122,
    "stl10": 1_996_986,
    "stl10-label-smoothing": 1_996_986,
    **dict.fromkeys(
        (
            f"imagenet-resnet34-{form}"
            for form in ("paper", "exp0", "exp0-1", "exp0-2", "exp0-3", "exp0-4", "exp1", "exp2", "exp3")
        ),
        21_797_672,
    ),
}

PARAMETERS["quick-long"] = PARAMETERS["quick"]

OURS = ("demo", "quick", "quick-long")  # recipes of no source but this project: they reproduce nothing

# Errors of He et al. 2015, table 6; ImageNet and STL-10: what the authors of the recipes report.
PAPER_ERRORS = {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 110: 6.61, 1202: 7.93}
REPORTED = {
    **{f"resnet{depth}-cifar10-paper": {"test_top1": 100 - error} for depth, error in PAPER_ERRORS.items()},
    **{"1": {"test_top1": 85.92}, "2": {"test_top1": 85.64}, "3": {"test_top1": 85.10}, "4": {"test_top1": 86.59}},
    "stl10": {"validation_top1": 84.0},
    "resnet32-cifar10-plateau-200": {"test_top1": 68.6},
    "resnet32-cifar10-plateau-1000": {"test_top1": 74.22},
    "imagenet-resnet34-paper": {"test_top1": 75.48, "test_top5": 92.54},
    "imagenet-resnet34-exp0-3": {"test_top1": 59.054},
    "imagenet-resnet34-exp0-4": {"test_top1": 73.016},
    "imagenet-resnet34-exp2": {"test_top1": 75.266, "test_top5": 91.678},
    "imagenet-resnet34-exp3": {"test_top1": 75.114, "test_top5": 92.362},
}


# Figures that no finished run of ours is measured as: it must never stand beside them without a word.
OTHER_PROTOCOLS = {
    "stl10": "augmented images, batch norm as in training",
    "resnet32-cifar10-plateau-200": "1-crop, epoch not told",
    "resnet32-cifar10-plateau-1000": "1-crop, epoch 875",
    "imagenet-resnet34-exp0-3": "1-crop, epoch 82",
}
# What version 0.2.1 hashed these recipes to: trainings of weeks, which a new key or a mended note must not orphan.
HASHES = {
    "1": "287f3b40d993",
    "2": "ab184b34419b",
    "3": "7fe4de642415",
    "4": "7eec42fdd07b",
    "5": "dff3a9707ad8",
    "quick-long": "21cbd9b9d866",
    "resnet20-cifar10-paper": "f21a5cd220be",
    "resnet32-cifar10-paper": "57ca3883f63f",
    "resnet44-cifar10-paper": "c55f12cd25b9",
    "resnet56-cifar10-paper": "d374cb88cdcb",
    "resnet110-cifar10-paper": "e85e0e56efe4",
    "resnet1202-cifar10-paper": "3c3cf5e1fff9",
}


@pytest.mark.parametrize("name", HASHES)
def test_recipes_that_were_trained_keep_their_hash(name):
    assert load(name).hash == HASHES[name]


def load(name):
    return storage.load_preset(name)


def phase_rates(name):
    """Returns the table of rates of each phase on the real data set's number of images."""
    rates = []
    for phase in load(name).in_phases:
        images = DATASETS[phase.data.dataset].train_size - phase.data.validation_size
        per_epoch = images * phase.train.repeats // phase.train.batch_size
        steps = phase.train.total_steps(per_epoch)
        rates.append(phase.schedule.rates(phase.optimizer.learning_rate, steps, per_epoch))
    return rates


# --- what the files say


@pytest.mark.parametrize("name", NAMES)
def test_shipped_preset_is_whole(name):
    preset = storage.load_preset(name)
    assert preset.name == name  # its runs are found by the name that people type
    assert schema.from_dict(schema.to_dict(preset)) == preset
    text = (storage.FOLDER / f"{name}.json").read_bytes()
    values = json.loads(text)
    results = values.pop("results")
    # Laid out as runs are, and the results as recording one lays them: it changes no line that is there.
    assert json_text.with_lines(storage.format_json(values).encode(), "results", results) == text


def test_shipped_family_a():
    # recipes: number of residual units, decay of the rate an epoch, the author's test accuracy
    rows = {"1": (5, 1.0, 85.92), "2": (5, 0.96, 85.64), "3": (3, 0.96, 85.10), "4": (9, 0.96, 86.59)}
    for name, (units, decay, top1) in rows.items():
        preset = storage.load_preset(name)
        found = (preset.model.num_residual_units, preset.schedule.lr_decay, preset.reference.test_top1)
        assert found == (units, decay, top1)


def test_every_preset_is_in_these_tables():
    assert set(PARAMETERS) == set(NAMES)
    assert set(REPORTED) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_network_has_the_known_number_of_parameters(name):
    preset = load(name)
    found = network_size(preset.model, preset.data.image_size, preset.classes).parameters
    assert found == PARAMETERS[name]
    assert found <= (preset.model.parameter_limit or math.inf)


def test_multiply_adds_of_resnet34():
    def multiply_adds(name):
        preset = load(name)
        return network_size(preset.model, preset.data.image_size, preset.classes).multiply_adds

    assert multiply_adds("imagenet-resnet34-exp0") == pytest.approx(3.66e9, abs=0.005e9)
    assert multiply_adds("resnet34-cifar10") == pytest.approx(75e6, abs=0.5e6)


@pytest.mark.parametrize("name", NAMES)
def test_reference_is_what_was_reported_and_says_how(name):
    reference = load(name).reference
    figures = {key: getattr(reference, key) for key in ("test_top1", "test_top5", "validation_top1")}
    expected = {**dict.fromkeys(figures), **REPORTED.get(name, {})}
    assert figures == pytest.approx(expected)
    if name not in OURS:
        view = "10-crop" if name.endswith(("exp2", "exp3", "resnet34-paper")) else "1-crop"
        assert reference.protocol == OTHER_PROTOCOLS.get(name, f"{view}, last epoch")
        assert reference.source
        assert reference.note or any(figures.values())  # where there is no figure, it says why


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OURS and not name.isdecimal()])
def test_cost_estimate_is_the_stated_arithmetic(name):
    (line,) = (note for note in load(name).notes if note.startswith("Cost, an estimate"))
    units = {"M": 1e6, "G": 1e9}
    terms = re.findall(r"([\d.]+)([MG]) multiply-adds x ([\d.]+)M images", line)
    total = 0.0
    for phase, (each, unit, images) in zip(load(name).in_phases, terms, strict=True):
        size = network_size(phase.model, phase.data.image_size, phase.classes)
        assert float(each) * units[unit] == pytest.approx(size.multiply_adds, rel=0.005)
        images_per_epoch = (DATASETS[phase.data.dataset].train_size - phase.data.validation_size) * phase.train.repeats
        per_epoch = images_per_epoch // phase.train.batch_size
        trained = phase.train.total_steps(per_epoch) * phase.train.batch_size
        assert float(images) * 1e6 == pytest.approx(trained, rel=0.005)
        total += 3 * size.multiply_adds * trained
    stated = float(re.search(r"= ([\d.e+]+);", line)[1])
    number, unit, rate, case = re.search(
        r"about ([\d.]+) (h|days) on two CPU cores at ([\d.e]+) a second, as .* does \(case (\S+) of", line
    ).groups()
    assert stated == pytest.approx(total, rel=0.01)
    assert float(number) * {"h": 3600, "days": 86400}[unit] == pytest.approx(total / float(rate), rel=0.05)
    network = CASES[case]
    multiply_adds = network_size(network.network, network.image_size, network.classes).multiply_adds
    images_per_second = json.loads(SPEED.read_text())[case]["train"]["ours"]["images_per_second"]
    assert float(rate) == pytest.approx(3 * multiply_adds * images_per_second, rel=0.3)  # as the machine swings


def test_list_shows_every_preset(capsys):
    listing.print_presets()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == NAMES
    for line, name in zip(lines[1:], NAMES, strict=True):
        assert f"{PARAMETERS[name]:,}" in line


@pytest.mark.parametrize("room", [80, 100, 120, 160])
def test_list_stays_within_the_terminal_and_keeps_names_whole(room):
    lines = listing.preset_table([listing.preset_line(load(name)) for name in NAMES], room).splitlines()
    assert max(map(len, lines)) <= room
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == ["preset", *NAMES]


def test_list_says_how_figures_differ():
    assert listing.reference(load("resnet32-cifar10-paper")) == "92.49 %"
    assert listing.reference(load("imagenet-resnet34-exp3")) == "75.11 % 10-crop"
    assert listing.reference(load("stl10")) == "84.00 % validation"
    assert listing.reference(load("5")) == "-"
    assert listing.length(load("stl10")) == "300 + 140 epochs of 20 copies at 70, 120 px"
    assert listing.length(load("quick")) == "6 + 5 epochs at 24, 32 px"
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
    assert listing.best_recorded(replace(preset, results=results)) == "88.00 % (11 epochs, a copy)"
    assert listing.best_recorded(replace(preset, results=[other])) == "95.00 % (3 epochs, 1-crop, best weights)"
    assert listing.best_recorded(replace(preset, results=[{"test_top1": None}])) == "-"


def test_a_result_of_a_changed_recipe_comes_after_its_own_and_says_so():
    own = {"view": "1-crop", "weights": "last", "epochs": 100, "test_top1": 85.0, "data": {"title": "cifar10"}}
    other = {**own, "test_top1": 95.0, "changed": {"model.filters": [[64], [16]]}}
    assert listing.best_recorded(replace(load("3"), results=[own, other])) == "85.00 % (100 epochs)"
    assert listing.best_recorded(replace(load("3"), results=[other])) == "95.00 % (100 epochs, another model.filters)"


# --- schedules, by hand


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name.endswith("cifar10-paper")] + ["resnet34-cifar10", "resnet34-cifar100"]
)
def test_rates_of_the_paper(name):
    (rates,) = phase_rates(name)
    assert len(rates) == 64_000
    assert rates[[0, 31_999, 32_000, 47_999, 48_000, 63_999]] == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize("name", ["resnet110-cifar10-paper", "resnet1202-cifar10-paper"])
def test_warm_up_ends_with_the_training_error_below_80_percent(name):
    preset = load(name)
    (watcher,) = watchers_of(preset.schedule, preset.optimizer.learning_rate)
    for top1, rate in ((15.0, 0.01), (20.0, 0.01), (20.1, 0.1), (10.0, 0.1)):
        for _ in range(100):
            assert 0.1 * watcher.scale == pytest.approx(0.01 if rate == 0.01 or top1 == 20.1 else 0.1)
            watcher.add(top1)
        assert 0.1 * watcher.scale == pytest.approx(rate)


def falls_of(name, losses):
    """Returns the epochs, counted from 1, at whose end a preset's plateau lowers the rate, and the last rate."""
    preset = load(name)
    (watcher,) = watchers_of(preset.schedule, preset.optimizer.learning_rate)
    fell = [epoch for epoch, loss in enumerate(losses, start=1) if watcher.update(loss)]
    return fell, preset.optimizer.learning_rate * watcher.scale


def test_the_first_plateau_log_falls_at_the_authors_epochs():
    """Patience counts epochs. A validation loss that is best at epoch 22, and worse by every epoch after it."""
    losses = [2 - epoch / 22 for epoch in range(1, 23)] + [1 + epoch / 5000 for epoch in range(23, 5001)]
    fell, rate = falls_of("resnet32-cifar10-plateau-200", losses)
    assert fell == [223, 424, 625, 826, 1027, 1228]
    assert rate == pytest.approx(1e-7)
    assert load("resnet32-cifar10-plateau-200").schedule.every_steps is None


def test_the_second_plateau_log_is_still_at_the_first_rate_at_epoch_875():
    assert falls_of("resnet32-cifar10-plateau-1000", [1.0] * 875) == ([], 0.1)
    assert falls_of("resnet32-cifar10-plateau-1000", [1.0] * 1002)[0] == [1002]
    for size, fell in ((2e-5, []), (5e-9, [1002])):  # of the best
        assert falls_of("resnet32-cifar10-plateau-1000", [(1 - size) ** epoch for epoch in range(1002)])[0] == fell


@pytest.mark.parametrize("form", ["200", "1000", "short"])
def test_a_plateau_log_differs_from_the_papers_recipe_in_augmentation_schedule_and_length(form):
    preset = load(f"resnet32-cifar10-plateau-{form}")
    found = set(schema.changes(preset, load("resnet32-cifar10-paper")))
    assert {key for key in found if not key.startswith("schedule.")} == {"data.augment", "train.epochs", "train.steps"}
    assert preset.data.augment == ""
    assert preset.train.epochs == (40 if form == "short" else 5000)


def test_rates_of_adam():
    for name, decay in (("resnet32-cifar10-adam", 1e-4), ("resnet32-cifar10-adam-no-decay", 0.0)):
        assert load(name).optimizer.weight_decay == decay
        assert load(name).optimizer.decay == "coupled"
        (rates,) = phase_rates(name)
        assert rates[[0, 31_999, 32_000, 48_000]] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5])


@pytest.mark.parametrize("name", ["stl10", "stl10-label-smoothing"])
def test_restarts_of_stl10_are_the_sources(name):
    """First period 10 epochs, each twice as long, peaks x0.6; an epoch is 20 x 4,000 images, by 128, then by 64."""
    first, second = phase_rates(name)
    assert (len(first), len(second)) == (300 * 625, 140 * 1250)
    for rates, epoch, peak, restarts in (
        (first, 625, 1e-3, (0, 10, 30, 70, 150)),
        (second, 1250, 5e-4, (0, 10, 30, 70)),
    ):
        starts = [epoch * restart for restart in restarts]
        assert rates[starts] == pytest.approx([peak * 0.6**period for period in range(len(restarts))])
        assert (rates[[start - 1 for start in starts[1:]]] < 1e-4 * peak).all()
        assert rates[-1] < 0.01 * peak
        assert rates[5 * epoch] == pytest.approx(peak / 2)
    for phase in load(name).in_phases:
        optimizer = phase.optimizer
        assert (type(optimizer), optimizer.weight_decay, optimizer.decay) == (AdamSpec, 1e-4, "coupled")


def test_the_cycle_of_quick_goes_on_from_one_phase_to_the_next():
    first, second = phase_rates("quick")
    assert (len(first), len(second)) == (6 * 382, 5 * 382)  # 49,000 images in batches of 128
    assert first[[0, 572, -1]] == pytest.approx([0.008, 0.2, 0.1052])  # the peak after a quarter
    assert second[[0, -1]] == pytest.approx([0.1052, 0.0])
    assert second[955] == pytest.approx(0.0526, rel=0.01)


def test_rates_of_imagenet():
    for name in ("imagenet-resnet34-exp2", "imagenet-resnet34-exp3"):
        (rates,) = phase_rates(name)
        epoch = 4_965  # 1,271,167 images in batches of 256
        assert len(rates) == 120 * epoch
        places = [0, 30 * epoch - 1, 30 * epoch, 60 * epoch, 90 * epoch - 1, 90 * epoch, -1]
        assert rates[places] == pytest.approx([0.1, 0.1, 0.01, 0.001, 0.001, 1e-4, 1e-4])


def test_rates_lowered_by_hand():
    """0.1, 1e-3 from epoch 40; of the second experiment 1e-4 from epoch 80; 120 epochs."""
    for name, expected in (("exp0-1", [0.1, 1e-3, 1e-3]), ("exp0-2", [0.1, 1e-3, 1e-4])):
        rates = np.concatenate(phase_rates(f"imagenet-resnet34-{name}")).reshape(3, 40 * 4_965)
        assert (rates == np.array(expected)[:, None]).all()


def test_adam_at_its_dead_end_differs_in_the_rate_alone():
    found = schema.changes(load("resnet32-cifar10-adam-dead-end"), load("resnet32-cifar10-adam-no-decay"))
    assert found == {"optimizer.learning_rate": [0.1, 0.001]}


def test_imagenet_as_in_the_paper():
    preset = load("imagenet-resnet34-paper")
    chain = [str(step) for step in augmentation.parse(preset.data.augment)]
    assert chain == ["shorter_side(256, 480)", "random_crop(224)", "flip_horizontal", "pca_lighting"]
    assert (preset.data.normalize, preset.model.initializer, preset.evaluation.view) == (
        "per_pixel",
        "he_fan_in",
        "10-crop",
    )
    (rates,) = phase_rates("imagenet-resnet34-paper")
    assert len(rates) == 600_000


def test_slow_progress_lets_experiment_0_go_on_and_lowers_the_rate_of_0_4():
    losses = [2.0 * 0.998**epoch for epoch in range(5)]  # a fifth of a percent better each time
    for name, firing in (("exp0", []), ("exp0-3", [4]), ("exp0-4", [4]), ("exp1", [4])):
        preset = load(f"imagenet-resnet34-{name}")
        (watcher,) = watchers_of(preset.schedule, preset.optimizer.learning_rate)
        assert [epoch for epoch, loss in enumerate(losses) if watcher.update(loss)] == firing
    (watcher,) = watchers_of(load("imagenet-resnet34-exp0").schedule, 0.1)
    assert [epoch for epoch in range(8) if watcher.update(2.0)] == [6]  # patience 5 is exceeded by the sixth


def test_what_tells_the_experiments_apart():
    chains = {
        name: [type(step) for step in augmentation.parse(load(f"imagenet-resnet34-{name}").data.augment)][:-1]
        for name in ("exp0", "exp0-1", "exp0-2", "exp0-3", "exp0-4", "exp1", "exp2", "exp3")
    }
    assert all(chains[name] == [RandomResizedCrop] for name in ("exp0", "exp0-1", "exp0-2", "exp0-4", "exp1"))
    assert schema.changes(load("imagenet-resnet34-exp1"), load("imagenet-resnet34-exp0-4")) == {}
    assert chains["exp0-3"] == [RandomResizedCrop, RandomCrop]
    stretched = augmentation.parse(load("imagenet-resnet34-exp0-3").data.augment)[0]
    assert augmentation.output_shape((stretched,)) == (256, 480)
    found = schema.changes(load("imagenet-resnet34-exp0-3"), load("imagenet-resnet34-exp0-4"))
    assert set(found) == {"data.augment", "model.initializer"}
    assert chains["exp2"] == [ShorterSide, Resample, RandomResizedCrop]  # as torchvision, which resizes twice
    assert chains["exp3"] == [ShorterSide, RandomCrop]
    for phase in load("stl10").in_phases:
        assert str(augmentation.parse(phase.data.augment)[0]) == "rotate(45.0, interpolation='nearest')"
    smoothed, plain = load("stl10-label-smoothing"), load("stl10")
    found = schema.changes(smoothed, plain)
    assert found == {"loss.label_smoothing": [0.1, 0.0], "loss.smoothing_form": ["others", "keras"]}


# --- real data that is missing


@pytest.mark.parametrize("name", [name for name in NAMES if name != "demo"])
def test_an_empty_folder_is_answered_with_what_it_should_hold(name, tmp_path, capsys):
    assert (
        command.run_command(train_command.main, ["--preset", name, "--data", str(tmp_path), "--runs", str(tmp_path)])
        == 2
    )
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert load(name).data.dataset in line
    assert ("train/<wnid>" if "imagenet" in name else "train/<class>/*") in line


@pytest.mark.parametrize("name", ["4", "resnet34-cifar100", "stl10", "imagenet-resnet34-exp3"])
def test_without_data_it_says_in_one_line_what_it_wants(name, tmp_path, capsys, monkeypatch):
    def no_network(official):
        raise UserError("no network")

    monkeypatch.setattr(tfds, "download", no_network)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert command.run_command(train_command.main, ["--preset", name, "--runs", str(tmp_path)]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    dataset = load(name).data.dataset
    assert f"{dataset} was not found" in line
    assert line.strip().endswith(f"set RESNET_DATA to {DATASETS[dataset].wants}.")

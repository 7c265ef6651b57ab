"""Every preset in `presets/`: its file, size, reference and cost against published figures; and without its data."""

import json
import math
import re
from pathlib import Path

import pytest

from benchmarks.contestants import CASES
from resnet_tf.cli import command
from resnet_tf.cli import train as train_command
from resnet_tf.datasets import tfds
from resnet_tf.errors import UserError
from resnet_tf.models.cost import network_size
from resnet_tf.presets import json_text, preset_files, schema
from resnet_tf.presets.catalogue import DATASETS

NAMES = preset_files.names()
NOTES = Path(__file__).parents[2] / "benchmarks" / "NOTES.md"

# Trainable parameters of `quick`. A stem of 24 channels, of which the bias alone is trained; 3x3 convolutions: one into
# each stage, one in it; one number a channel of every norm; head 256 x 10.
QUICK = 24 + 9 * (24 * 64 + 64 * 256 + 256 * 256) + 9 * (64 * 64 + 2 * 256 * 256) + 2 * (64 + 2 * 256) + 2560

# Trainable parameters. CIFAR form: He et al. 2015, table 6 (0.27M ... 19.4M), to the last digit as other open
# implementations of option A count them; ImageNet form: torchvision's, with 1,000, 10 and 100 classes.
PARAMETERS = {
    "demo": 75_290,
    "quick": QUICK,
    "quick-long": QUICK,
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

OURS = ("demo", "quick", "quick-long")  # recipes of this project: they reproduce nothing

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


# Protocols of published figures that differ from the one of a finished run.
OTHER_PROTOCOLS = {
    "stl10": "augmented images, batch norm as in training",
    "resnet32-cifar10-plateau-200": "1-crop, epoch not reported",
    "resnet32-cifar10-plateau-1000": "1-crop, epoch 875",
    "imagenet-resnet34-exp0-3": "1-crop, epoch 82",
}
# The hashes of recipes that were trained for weeks, by version 0.2.1: a new key or a changed note must not change them.
HASHES = {
    "1": "287f3b40d993",
    "2": "ab184b34419b",
    "3": "7fe4de642415",
    "4": "7eec42fdd07b",
    "5": "dff3a9707ad8",
    "quick-long": "06e59010c26a",
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
    return preset_files.load_preset(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_file_is_complete(name):
    preset = load(name)
    assert preset.name == name  # its runs are found by the name that people type
    assert schema.from_dict(schema.to_dict(preset)) == preset
    text = (preset_files.PRESETS_FOLDER / f"{name}.json").read_bytes()
    values = json.loads(text)
    results = values.pop("results")
    # The layout is that of `format_json` and `record_result`, so that a new result changes no other line.
    assert json_text.with_lines(preset_files.format_json(values).encode(), "results", results) == text


# The author's first recipes: number of residual units, factor of the learning rate after an epoch.
@pytest.mark.parametrize(("name", "units", "decay"), [("1", 5, 1.0), ("2", 5, 0.96), ("3", 3, 0.96), ("4", 9, 0.96)])
def test_the_first_recipes_are_the_authors(name, units, decay):
    preset = load(name)
    assert (preset.model.num_residual_units, preset.schedule.lr_decay) == (units, decay)


def test_every_preset_is_in_these_tables():
    assert set(PARAMETERS) == set(NAMES)
    assert set(REPORTED) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_network_has_the_known_number_of_parameters(name):
    preset = load(name)
    found = network_size(preset.model, preset.data.image_size, preset.classes).parameters
    assert found == PARAMETERS[name]
    assert found <= (preset.model.parameter_limit or math.inf)


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
        r"about ([\d.]+) (h|days) on two CPU cores at ([\d.e]+) a second, as .* does \(case (\S+) in", line
    ).groups()
    assert stated == pytest.approx(total, rel=0.01)
    assert float(number) * {"h": 3600, "days": 86400}[unit] == pytest.approx(total / float(rate), rel=0.05)
    network = CASES[case]
    multiply_adds = network_size(network.network, network.image_size, network.classes).multiply_adds
    images_per_second = float(re.search(rf"^\| {case} \| ([\d.]+) \|$", NOTES.read_text(), re.MULTILINE)[1])
    assert float(rate) == pytest.approx(3 * multiply_adds * images_per_second, rel=0.3)  # as the machine swings


@pytest.mark.parametrize("name", ["4", "resnet34-cifar100", "stl10", "imagenet-resnet34-exp3"])
def test_an_empty_folder_is_answered_with_the_files_it_needs(name, tmp_path, capsys):
    assert (
        command.run_command(train_command.main, ["--preset", name, "--data", str(tmp_path), "--runs", str(tmp_path)])
        == 2
    )
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert load(name).data.dataset in line
    assert ("train/<wnid>" if "imagenet" in name else "train/<class>/*") in line


@pytest.mark.parametrize("name", ["4", "resnet34-cifar100", "stl10", "imagenet-resnet34-exp3"])
def test_without_data_the_message_says_what_is_needed(name, tmp_path, capsys, monkeypatch):
    def no_network(dataset):
        raise UserError("no network", "a-code")

    monkeypatch.setattr(tfds, "download", no_network)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert command.run_command(train_command.main, ["--preset", name, "--runs", str(tmp_path)]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    dataset = load(name).data.dataset
    assert f"{dataset} was not found" in line
    assert line.strip().endswith(f"set RESNET_DATA to {DATASETS[dataset].wants}.")

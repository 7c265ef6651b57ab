"""Every preset in `presets/` trains and is scored, on a few generated images of its own input size."""

import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from resnet_tf.presets import overrides, preset_files
from resnet_tf.presets.catalogue import DATASETS
from resnet_tf.runs import comparison

NAMES = preset_files.names()

# Training and test images of each class. For ImageNet, three classes are enough.
WNIDS = ("n01440764", "n01443537", "n01484850")
COUNTS = {"shapes10": (500, 200), "cifar10": (4, 2), "cifar100": (2, 1), "stl10": (4, 1), "imagenet": (4, 1)}
VALIDATION = {"shapes10": 10, "cifar10": 10, "cifar100": 100, "stl10": 10, "imagenet": 3}


@pytest.fixture(scope="session")
def trees(tmp_path_factory):
    """Returns a function from a data set's name to a folder tree of a few images a class, of its own input size."""
    made = {}

    def tree(dataset):
        if dataset == "shapes10":
            return None  # it is drawn by the package, in full
        if dataset not in made:
            made[dataset] = tmp_path_factory.mktemp(dataset)
            draw_tree(made[dataset], dataset)
        return str(made[dataset])

    return tree


def draw_tree(root, dataset):
    """Writes smooth random images: PNG of the data set's size, or for ImageNet JPEG of varying sizes."""
    draws = np.random.default_rng(0)
    side = DATASETS[dataset].image_size
    test = "val" if dataset == "imagenet" else "test"
    for name in DATASETS[dataset].class_names or WNIDS:
        for split, count in zip(("train", test), COUNTS[dataset], strict=True):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                size = (side, side) if side else tuple(draws.integers(200, 400, 2).tolist())
                image = Image.fromarray(draws.integers(0, 256, (6, 6, 3), np.uint8)).resize(size)
                image.save(folder / f"{number}.{'png' if side else 'jpg'}")


def shallow(preset):
    """Returns the setting for a network of one unit a stage."""
    if preset.model.num_residual_units is not None:
        return ["model.num_residual_units=1"]
    return [f"model.stage_sizes={[1] * len(preset.model.filters)}"]


def shortened(name, steps=10, batch_size=4, settings=()):
    """Returns a preset with `steps` steps in each phase."""
    original = preset_files.load_preset(name)
    lengths = [f"phases.{number}.train.steps={steps}" for number in range(1, len(original.phases) + 1)]
    sizes = [f"train.batch_size={batch_size}", f"data.validation_size={VALIDATION[original.data.dataset]}"]
    sizes += [
        f"phases.{number}.train.batch_size={batch_size}"
        for number, phase in enumerate(original.phases, start=1)
        if "batch_size" in phase.get("train", {})
    ]
    return overrides.apply_settings(original, [f"train.steps={steps}", *lengths, *sizes, *settings])


def look(capsys, preset, data):
    """Does a dry run."""
    import keras

    from resnet_tf.training.dry_run import dry_run

    capsys.readouterr()
    dry_run(preset, data)
    assert sum("images/s" in line for line in capsys.readouterr().out.splitlines()) == len(preset.in_phases)
    keras.utils.clear_session()  # it is a process of its own to a user; its graphs are large


def carry_out(preset, data, runs):
    """Does a training and an evaluation on the test split."""
    import keras

    from resnet_tf.evaluation.evaluate import evaluate
    from resnet_tf.training.train import train

    run = train(preset, data, runs)
    assert run.about["status"] == "finished"
    steps = sum(phase.train.steps for phase in preset.in_phases)
    assert run.rows[-1]["step"] == steps
    assert all(math.isfinite(row[key]) for row in run.rows for key in ("loss", "validation_loss"))
    keras.utils.clear_session()
    result = evaluate(run, data=data)
    keras.utils.clear_session()
    images = len(run.about["class_names"]) * COUNTS[preset.data.dataset][1]
    assert (result["count"], result["steps"]) == (images, steps)
    assert result["view"] == preset.evaluation.view
    assert 0 < result["loss"] < math.inf
    return run, result


# One preset of each kind, with one unit a stage; everything else is the recipe's. Name -> image size of the evaluation
# in pixels, top-1 that its source reports in percent.
SHALLOW = {
    "resnet110-cifar10-paper": (32, 93.39),
    "resnet18-small-stem-cifar10": (32, None),
    "stl10": (120, 84.00),
    "imagenet-resnet34-exp0-3": (224, 59.054),
    "imagenet-resnet34-exp3": (224, 75.114),
}

# A quarter of a minute each, for little that no other test protects: exp0-3 has the network and the images of exp3, and
# the small-stem network is made of parts that tests/models compares with torch.
LONG = {"resnet18-small-stem-cifar10", "imagenet-resnet34-exp0-3"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in SHALLOW])
def test_one_of_each_kind_trains_and_is_scored(name, trees, tmp_path):
    preset = preset_files.load_preset(name)
    run, result = carry_out(shortened(name, 3, settings=shallow(preset)), trees(preset.data.dataset), tmp_path)
    resolution, reported = SHALLOW[name]
    assert result["resolution"] == resolution
    assert (f"reference {reported:.2f}" if reported else "no reference") in result["verdict"]
    if name == "stl10":
        assert "split: test, the reference's is validation" in result["verdict"]
        assert "split" not in comparison.verdict(run.preset, replace(result.record, split="validation"))


def first_of_each_network():
    """Returns a preset for every network: a network that several presets share is built in full once."""
    first = {}
    for name in NAMES:
        preset = preset_files.load_preset(name)
        first.setdefault((preset.model, preset.data.image_size, preset.classes), name)
    return list(first.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", first_of_each_network())
def test_each_network_trains_in_full_depth_and_is_scored(name, trees, tmp_path, capsys):
    # Tracing ResNet-1202 takes minutes.
    sizes = (1, 1) if name == "resnet1202-cifar10-paper" else (10, 4)
    preset = shortened(name, *sizes)
    data = trees(preset.data.dataset)
    look(capsys, preset, data)
    carry_out(preset, data, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name not in {*SHALLOW, *first_of_each_network()}])
def test_the_other_presets_train_with_one_unit_a_stage_and_are_scored(name, trees, tmp_path, capsys):
    preset = shortened(name, settings=shallow(preset_files.load_preset(name)))
    data = trees(preset.data.dataset)
    look(capsys, preset, data)
    carry_out(preset, data, tmp_path)

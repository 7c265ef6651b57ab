"""The benchmarks' own machinery: contestants compute the same, and the figures are what they are said to be."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import contestants, scaling, speed
from benchmarks.contestants import Case
from resnet_tf.preset_files import load_preset


def test_ours_and_torch_compute_the_same_training_step():
    pytest.importorskip("torch")
    case = Case("demo", 32, 10, 8)
    ours, torch = contestants.CONTESTANTS["ours"](case), contestants.CONTESTANTS["torch"](case)
    torch.take(ours.weights())
    found, expected = ours.check(), torch.check()
    assert set(found) == set(expected)
    assert len([key for key in found if key.startswith("gradient of ")]) == len(ours.model.trainable_weights)
    for key, value in found.items():
        assert np.linalg.norm(value - expected[key]) < 1e-3 * np.linalg.norm(value), key
    assert ours.train() == pytest.approx(torch.train(), rel=1e-4)
    ours.infer()
    torch.infer()


class Canned:
    """A contestant whose arrays are given."""

    def __init__(self, **arrays):
        self.arrays = arrays

    def do(self, what, path=None):
        if what == "check":
            np.savez(path, **self.arrays)


def test_the_gate_stops_a_contestant_that_computes_something_else():
    logits, gradient = np.arange(1.0, 5.0), np.arange(2.0, 6.0)
    good = {"logits": logits, "gradient of stem/kernel": gradient, "stem_norm/running_variance": logits}
    speed.check({"ours": Canned(**good), "torch": Canned(**good)})
    biased = {**good, "stem_norm/running_variance": 0.9 * logits}
    speed.check({"ours": Canned(**good), "keras": Canned(**biased)})  # known to be so, and said in the README
    for key in good:
        other = {**good, key: 1.1 * good[key]}
        with pytest.raises(SystemExit, match="torch does not compute what we compute"):
            speed.check({"ours": Canned(**good), "torch": Canned(**other)})


def test_a_ratio_is_the_median_of_the_rounds_within_its_interval():
    found = speed.ratio(np.array([1.0, 1.2, 1.1, 5.0, 1.3]))
    assert found["median"] == 1.2
    low, high = found["interval"]
    assert 1.0 <= low < 1.2 < high <= 5.0


def test_all_cases_are_presets_that_torch_can_build():
    for case in contestants.CASES.values():
        images, labels = Case(case.preset, 8, case.classes, 2).data()
        assert images.shape == (2, 8, 8, 3)
        assert labels.max() < case.classes
        assert case.network.stem in ("3x3", "7x7-pool", "4x4-valid-pool")


def test_the_figure_is_a_picture(tmp_path):
    names = {"ours": 1.0, "torch": 1.1, "keras": 2.0}
    row = {name: {"ours_is_faster": {"median": value, "interval": [value, value]}} for name, value in names.items()}
    speed.draw({"resnet20": {"train": row, "infer": row}}, str(tmp_path / "speed.png"))
    assert Image.open(tmp_path / "speed.png").size == (1000, 400)


def test_a_training_on_paper_is_the_arithmetic_written_out():
    """ResNet-34 on ImageNet: 21,797,672 parameters, 36 norms, batch 256, 120 epochs of 1,271,167 images."""
    machine = scaling.Machine(2500, 25, 30e-6, 150, 110e3)
    one, eight = (scaling.cost(load_preset("imagenet-resnet34-exp3"), machine, devices) for devices in (1, 8))
    assert (one.computing, one.gradients, one.norms) == (0.1024, 0, 0)
    assert one.hours == pytest.approx(120 * 4_965 * 256 / 2500 / 3600)  # whole batches of 1,271,167 images
    assert eight.computing == pytest.approx(0.0128)
    assert eight.gradients == pytest.approx(7 / 4 * 4 * 21_797_672 / 25e9)
    assert eight.norms == pytest.approx(2 * 36 * 30e-6)
    assert eight.images_per_second == pytest.approx(256 / (0.0128 + 0.0061033 + 0.00216), rel=1e-4)
    assert eight.cores == pytest.approx(eight.images_per_second / 150)
    assert eight.megabytes_per_second == pytest.approx(eight.images_per_second * 0.11)


def test_the_table_of_docs_scaling_is_what_the_benchmark_prints(capsys):
    scaling.main(["--images-per-second", "2500"])
    assert capsys.readouterr().out in (Path(__file__).parents[1] / "docs" / "scaling.md").read_text()

"""The benchmarks' own machinery: contestants compute the same, and the figures are what they are said to be."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plain import MINE

from benchmarks import contestants, scaling, speed
from benchmarks.contestants import Case
from resnet_tf.presets.preset_files import load_preset


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
    torch.take(ours.weights())
    np.testing.assert_allclose(torch.infer(), ours.infer(), atol=1e-4 * np.abs(torch.infer()).max())


LEAKY = MINE | {
    "model": {
        "num_residual_units": 1,
        "filters": [8, 12],
        "unit": "bottleneck",
        "shortcut": "projection",
        "activation": "leaky_relu",
        "negative_slope": 0.5,
    }
}


@pytest.mark.parametrize("preset", ["demo", LEAKY], ids=["demo", "leaky"])
def test_three_steps_as_a_graph_are_those_of_torch(preset):
    """What TensorFlow makes of a step when it sees all of it: losses, weights and running statistics."""
    pytest.importorskip("torch")
    case = Case(preset, 16, 10, 8)
    ours, torch = contestants.CONTESTANTS["ours"](case), contestants.CONTESTANTS["torch"](case)
    torch.take(ours.weights())
    for _ in range(3):
        assert ours.train() == pytest.approx(torch.train(), rel=1e-4)
    expected = torch.weights()
    for name, array in ours.weights().items():
        np.testing.assert_allclose(array, expected[name], atol=1e-4 * np.abs(array).max(), err_msg=name)


class Canned:
    """A contestant whose arrays are given."""

    def __init__(self, **arrays):
        self.arrays = arrays

    def do(self, command, path, what=None):
        if command == "check":
            np.savez(path, **self.arrays)


def test_the_gate_stops_a_contestant_that_computes_something_else(tmp_path):
    def check(**others):
        contestants = {name: Canned(**arrays) for name, arrays in {"ours": good, **others}.items()}
        speed.check(contestants, "training", tmp_path / "weights.npz")

    logits, gradient = np.arange(1.0, 5.0), np.arange(2.0, 6.0)
    good = {"logits": logits, "gradient of stem/kernel": gradient, "stem_norm/running_variance": logits}
    check(torch=good)
    check(keras={**good, "stem_norm/running_variance": 0.9 * logits})  # known to be so, and said in the README
    for key in good:
        with pytest.raises(SystemExit, match="torch does not compute what we compute"):
            check(torch={**good, key: 1.1 * good[key]})


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
    speed.draw({"resnet20": dict.fromkeys(speed.WORK, row), "resnet56": {"train": row}}, str(tmp_path / "speed.png"))
    assert Image.open(tmp_path / "speed.png").size == (1400, 400)


def test_turns_are_compared_round_by_round():
    """Steps of 2 ms against 5 ms, while the machine takes once, twice and four times as long."""

    class Timed:
        def __init__(self, milliseconds, faults):
            self.milliseconds, self.faults, self.turns = milliseconds, faults, 0

        def do(self, what, times):
            self.turns += 1
            slowness = {4: 1, 5: 2, 6: 4}.get(self.turns, 1)  # the first three are to get ready
            seconds = times * self.milliseconds * slowness / 1000
            return {"seconds": seconds, "cpu_seconds": 2 * seconds, "page_faults": times * self.faults}

    found = speed.take_turns({"ours": Timed(2, 0), "torch": Timed(5, 300)}, "infer", batch=10, rounds=3, seconds=0.1)
    assert [each["step_seconds"] for each in found.values()] == [0.004, 0.01]
    assert [each["images_per_second"] for each in found.values()] == [2500, 1000]
    assert [each["cpu_seconds_per_1000_images"] for each in found.values()] == [0.8, 2]
    assert [each["page_faults_per_step"] for each in found.values()] == [0, 300]
    assert found["torch"]["ours_is_faster"] == {"median": 2.5, "interval": [2.5, 2.5]}


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

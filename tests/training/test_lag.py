"""Running statistics that lag behind the weights are warned of at a training's end; overfitting is not taken for it."""

import shutil

import numpy as np
import pytest

from resnet_tf.data import sources
from resnet_tf.evaluation.evaluate import evaluate
from resnet_tf.models.from_preset import load_network
from resnet_tf.preset_files import load_preset
from resnet_tf.run_folder import Run
from resnet_tf.training import lag, loop
from resnet_tf.training.plan import make_plans


@pytest.fixture
def lagging(trained, image_tree, tmp_path):
    """A run whose running variances are a hundredth of what they should be, and the plan of its training."""
    shutil.copytree(trained.folder, tmp_path / "tiny" / "lagging")
    run = Run(tmp_path / "tiny" / "lagging")
    with np.load(run.last) as stored:
        arrays = {name: stored[name] / 100 if name.endswith("running_variance") else stored[name] for name in stored}
    np.savez(run.last, **arrays)
    dataset = sources.load("cifar10", str(image_tree), say=str)
    return run, make_plans(run.preset, dataset, run.about["seed"])[-1]


def test_lag_is_told_with_both_losses_and_overfitting_is_not_lag(lagging, image_tree):
    run, plan = lagging
    scored = {
        again: evaluate(run, "validation", str(image_tree), recalibrate=again, say=str) for again in (False, True)
    }
    found, again = scored[False]["loss"], scored[True]["loss"]
    assert again < 0.9 * found
    said = []
    lag.warn_of_lag(run, plan, {"loss": 0.1, "validation_loss": found}, said.append)
    (line,) = said
    assert f"{found:.3f}, and {again:.3f} with statistics measured again" in line
    assert f"eval.py --run {run.name} --recalibrate" in line
    said.clear()
    lag.warn_of_lag(run, plan, {"loss": 0.1, "validation_loss": max(1.05 * again, 2.31)}, said.append)
    assert said == []


@pytest.mark.parametrize(
    "row",
    [
        {"loss": 0.1},  # no image is held out
        {"loss": 0.1, "validation_loss": 2.2},  # better than ln(10), guessing
        {"loss": 2.4, "validation_loss": 9.0},  # nothing is learned yet
    ],
)
def test_an_ordinary_end_costs_no_look(lagging, row, monkeypatch):
    monkeypatch.setattr(lag, "load_network", lambda *arguments: pytest.fail("looked"))
    lag.warn_of_lag(*lagging, row, pytest.fail)


def test_a_training_looks_when_its_last_weights_are_saved(image_tree, tiny_preset, tmp_path, monkeypatch):
    seen = []

    def look(run, plan, row, say):
        load_network(plan.preset, plan.dataset.classes, run.last)
        seen.append(row)

    monkeypatch.setattr(loop, "warn_of_lag", look)
    run = loop.train(load_preset(tiny_preset, train={"epochs": 1}), str(image_tree), tmp_path, say=str)
    assert seen == [run.rows[-1]]

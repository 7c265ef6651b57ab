"""Running statistics that lag behind the weights are replaced at a training's end; overfitting is not taken for it."""

import shutil

import numpy as np
import pytest
from messages import listen

from resnet_tf.datasets import sources
from resnet_tf.evaluation.evaluate import evaluate, record
from resnet_tf.presets.preset_files import load_preset
from resnet_tf.runs.run_folder import Run
from resnet_tf.sweeping import trials
from resnet_tf.training import recalibration, session
from resnet_tf.training.plan import make_plans
from resnet_tf.training.train import train

BAD = {"loss": 0.1, "validation_loss": 9.0}


@pytest.fixture
def lagging(trained, image_tree, tmp_path):
    """A run whose running variances are a hundredth of what they should be, and the plan of its training."""
    shutil.copytree(trained.folder, tmp_path / "tiny" / "lagging")
    run = Run(tmp_path / "tiny" / "lagging")
    with np.load(run.last) as stored:
        arrays = {name: stored[name] / 100 if name.endswith("running_variance") else stored[name] for name in stored}
    np.savez(run.last, **arrays)
    dataset = sources.load("cifar10", str(image_tree))
    return run, make_plans(run.preset, dataset, run.about["seed"])[-1]


def test_lag_is_mended_and_said(lagging, image_tree):
    run, plan = lagging
    scored = {again: evaluate(run, "validation", str(image_tree), recalibrate=again) for again in (False, True)}
    found, again = scored[False]["loss"], scored[True]["loss"]
    assert again < 0.9 * found
    said = listen()
    top1 = recalibration.mend_lag(run, plan, {"loss": 0.1, "validation_loss": found})
    (line,) = said
    assert f"{found:.3f}" in line
    assert f"{again:.3f}" in line
    mended = evaluate(run, "validation", str(image_tree))
    assert mended["loss"] == pytest.approx(again, rel=1e-3)
    assert mended["validation_top1"] == pytest.approx(mended["top1"]) == pytest.approx(top1)
    assert mended["epochs"] == scored[False]["epochs"]
    assert mended["protocol"] == "1-crop, last epoch, batch norm recalibrated"
    assert scored[False]["protocol"] == "1-crop, last epoch"


def test_overfitting_is_not_taken_for_lag(lagging, image_tree):
    run, plan = lagging
    before = run.last.read_bytes()
    again = evaluate(run, "validation", str(image_tree), recalibrate=True)["loss"]
    row = {"loss": 0.1, "validation_loss": max(1.05 * again, 2.31)}
    assert recalibration.mend_lag(run, plan, row) is None
    assert run.last.read_bytes() == before


@pytest.mark.parametrize(
    "row",
    [
        {"loss": 0.1},  # no image is held out
        {"loss": 0.1, "validation_loss": 2.2},  # better than ln(10), guessing
        {"loss": 2.4, "validation_loss": 9.0},  # nothing is learned yet
    ],
)
def test_an_ordinary_end_costs_no_look(lagging, row, monkeypatch):
    monkeypatch.setattr(recalibration, "recalibrate", lambda *arguments: pytest.fail("looked"))
    assert recalibration.mend_lag(*lagging, row) is None


def test_a_training_that_ends_so_is_mended_and_grows_as_if_it_had_not_been(
    image_tree, tiny_preset, tmp_path, monkeypatch, trained, assert_same_run
):
    with monkeypatch.context() as patch:
        patch.setattr(session, "mend_lag", lambda run, plan, row: recalibration.mend_lag(run, plan, row | BAD))
        short = load_preset(tiny_preset, train={"epochs": 2})
        run = train(short, str(image_tree), tmp_path, seed=7)
    assert run.about["recalibrated"] is True
    scored = evaluate(run, data=str(image_tree))
    assert run.about["recalibrated_top1"] == scored["validation_top1"]  # the figure that goes with the weights
    record(run, scored, tmp_path)
    assert trials.test_row(run, tmp_path)["weights"] == "last-recalibrated"  # or a sweep would score it for ever
    longer = load_preset(tiny_preset, train={"epochs": 3})
    run = train(longer, str(image_tree), tmp_path, resume=run.name)
    assert (run.about["recalibrated"], run.about["recalibrated_top1"]) == (False, None)
    assert_same_run(trained, run)

"""Running statistics that lag behind the weights are replaced at a training's end; overfitting is not taken for it."""

import shutil

import numpy as np
import pytest
from assertions import user_error
from messages import listen

from resnet_tf.datasets import sources
from resnet_tf.evaluation.evaluate import evaluate, store
from resnet_tf.presets.preset_files import load_preset
from resnet_tf.runs.run import Run
from resnet_tf.sweeping import trials
from resnet_tf.training import recalibration, session
from resnet_tf.training.plan import make_plans
from resnet_tf.training.train import train

BAD = {"loss": 0.1, "validation_loss": 9.0}


@pytest.fixture
def short_end():
    """Leaves nothing out."""


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


def test_lagging_statistics_are_replaced_and_logged(lagging, image_tree):
    run, plan = lagging
    scored = {again: evaluate(run, "validation", str(image_tree), recalibrate=again) for again in (False, True)}
    found, again = scored[False]["loss"], scored[True]["loss"]
    assert again < 0.9 * found
    assert scored[True]["validation_top1"] is None  # the log's is of the statistics as they were
    logged = listen()
    top1 = recalibration.recalibrate_if_lagging(run, plan, {"loss": 0.1, "validation_loss": found})
    (line,) = logged
    assert f"{found:.3f}" in line
    assert f"{again:.3f}" in line
    recalibrated = evaluate(run, "validation", str(image_tree))
    assert recalibrated["loss"] == pytest.approx(again, rel=1e-3)
    assert recalibrated["validation_top1"] == pytest.approx(recalibrated["top1"]) == pytest.approx(top1)
    assert recalibrated["epochs"] == scored[False]["epochs"]
    assert recalibrated["protocol"] == "1-crop, last epoch, batch norm recalibrated"
    assert scored[False]["protocol"] == "1-crop, last epoch"


def test_statistics_are_measured_on_the_images_of_the_training_alone(lagging, image_tree, tmp_path):
    run, _ = lagging
    other = tmp_path / "other"
    shutil.copytree(image_tree, other)
    first, second, *_ = sorted((other / "train").rglob("*.png"))
    shutil.copy(first, second)
    error = user_error(evaluate, run, "test", str(other), recalibrate=True)
    assert error.code == "data-other-images"


def test_overfitting_is_not_taken_for_lag(lagging, image_tree):
    run, plan = lagging
    before = run.last.read_bytes()
    again = evaluate(run, "validation", str(image_tree), recalibrate=True)["loss"]
    row = {"loss": 0.1, "validation_loss": max(1.05 * again, 2.31)}
    assert recalibration.recalibrate_if_lagging(run, plan, row) is None
    assert run.last.read_bytes() == before


@pytest.mark.parametrize(
    "row",
    [
        {"loss": 0.1},  # no image is held out
        {"loss": 0.1, "validation_loss": 2.2},  # better than ln(10), guessing
        {"loss": 2.4, "validation_loss": 9.0},  # nothing is learned yet
    ],
)
def test_an_ordinary_end_costs_nothing(lagging, row, monkeypatch):
    monkeypatch.setattr(recalibration, "recalibrate", lambda *arguments: pytest.fail("looked"))
    assert recalibration.recalibrate_if_lagging(*lagging, row) is None


def test_a_training_that_ends_with_lagging_statistics_is_recalibrated_and_grows_as_if_it_were_not(
    image_tree, tiny_preset, tmp_path, monkeypatch, trained, assert_same_run
):
    with monkeypatch.context() as patch:
        recalibrate = session.recalibrate_if_lagging
        patch.setattr(session, "recalibrate_if_lagging", lambda run, plan, row: recalibrate(run, plan, row | BAD))
        short = load_preset(tiny_preset, train={"epochs": 2})
        run = train(short, str(image_tree), tmp_path, seed=7)
    assert run.about["recalibrated"] is True
    scored = evaluate(run, data=str(image_tree))
    assert run.about["recalibrated_top1"] == scored["validation_top1"]  # the figure that goes with the weights
    store(run, scored, tmp_path)
    assert trials.latest_test_result(run, tmp_path).weights == "last-recalibrated"  # or a sweep would score it for ever
    longer = load_preset(tiny_preset, train={"epochs": 3})
    run = train(longer, str(image_tree), tmp_path, resume=run.name)
    assert (run.about["recalibrated"], run.about["recalibrated_top1"]) == (False, None)
    assert_same_run(trained, run)

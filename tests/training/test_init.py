"""A training that starts from another run's weights: which are taken, exact resume, and what its result says."""

import hashlib
import json
import os
import shutil
import signal

import numpy as np
import pytest
from assertions import user_error
from messages import listen

import resnet_tf
from resnet_tf import files
from resnet_tf.datasets import sources
from resnet_tf.errors import Stopped
from resnet_tf.presets.preset_files import load_preset
from resnet_tf.runs import comparison
from resnet_tf.runs.choose import all_runs
from resnet_tf.training.plan import make_plans
from resnet_tf.training.train import train as train_preset

FOLDER = {
    "dataset": "folder",
    "validation_size": 0,
    "augment": "random_resized_crop(32, area=(0.5, 1))",
}


@pytest.fixture
def fine_tune(trained, image_tree, tiny_preset, tmp_path, on_step):
    """Trains the tiny preset, two epochs from the weights of `trained`, or with other changes."""

    def start(images=image_tree, runs=tmp_path, resume=False, seed=7, **changes):
        train = {"epochs": 2, "init": str(trained.folder)}
        preset = load_preset(tiny_preset, **{"train": train, **changes})
        return train_preset(preset, str(images), runs, seed=seed, resume=resume, on_step=on_step)

    return start


@pytest.fixture
def before(at_step):
    """The network's variables that a first step of no size leaves alone: all but the running statistics."""
    found = {}
    at_step(1, lambda phase: found.update({each.path: np.array(each) for each in phase.step.network.variables}))
    return found


NO_SIZE = {"optimizer": {"learning_rate": 1e-30, "weight_decay": 0.0}}


def assert_taken(before: dict, run, head: bool) -> None:
    arrays = files.unpack_arrays(run.last.read_bytes())
    assert "normalization/mean" in arrays
    for name, array in arrays.items():
        if "running_" in name or name == "__about__":
            continue
        same = before[name].shape == array.shape and np.array_equal(before[name], array)
        assert same == (head or not name.startswith("head/")), name


def test_of_the_same_classes_all_weights_are_taken(fine_tune, trained, before):
    logged = listen()
    run = fine_tune(train={"epochs": 1, "init": str(trained.folder)}, **NO_SIZE)
    assert_taken(before, trained, head=True)
    init = run.about["init"]
    assert (init["run"], init["weights"], init["head"], init["arrays"]) == (trained.name, "last", True, len(before))
    assert init["sha256"] == hashlib.sha256(trained.last.read_bytes()).hexdigest()
    assert any(trained.name in line and f"{len(before)} arrays" in line for line in logged)


def test_of_other_classes_the_head_is_fresh(fine_tune, trained, image_tree, tmp_path, before):
    """Three of the ten classes, in a folder of one's own; the mean stays that of the other run's images."""
    for split in ("train", "test"):
        for name in ("cat", "dog", "ship"):
            shutil.copytree(image_tree / split / name, tmp_path / "mine" / split / name)
    evaluation = {"frame": "resize(32) | center_crop(32)"}
    train = {"epochs": 1, "init": str(trained.folder)}
    run = fine_tune(tmp_path / "mine", data=FOLDER, train=train, evaluation=evaluation, **NO_SIZE)
    assert_taken(before, trained, head=False)
    assert before["head/kernel"].shape == (4, 3)
    assert (run.about["init"]["head"], run.about["init"]["arrays"]) == (False, len(before) - 2)


# Before the first checkpoint would be due, and after it.
@pytest.mark.parametrize("step", [pytest.param(4, marks=pytest.mark.slow), 14])
def test_stopped_and_resumed_it_is_the_unbroken_run(step, fine_tune, at_step, tmp_path, assert_same_run):
    whole = fine_tune(runs=tmp_path / "whole")
    at_step(step, lambda phase: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Stopped):
        fine_tune()
    assert_same_run(whole, fine_tune(resume=True))


def test_killed_before_any_state_it_starts_again_from_its_own_copy(
    fine_tune, at_step, trained, tmp_path, assert_same_run
):
    """The other run may have gone or trained on meanwhile."""
    source = tmp_path / "source" / "tiny" / "first"
    shutil.copytree(trained.folder, source)
    train = {"epochs": 2, "init": str(source)}
    whole = fine_tune(runs=tmp_path / "whole", train=train)

    class Killed(BaseException):
        pass

    def kill(phase):
        raise Killed

    at_step(3, kill)
    with pytest.raises(Killed):
        fine_tune(train=train)
    shutil.rmtree(source)
    at_step(3, lambda phase: None)
    assert_same_run(whole, fine_tune(resume=True, train=train))
    assert user_error(fine_tune, resume=True, train={"epochs": 2, "init": "quick-long"}).code == "run-not-found"


def test_validation_images_that_the_weights_were_trained_on_are_counted(fine_tune, trained, image_tree, tmp_path):
    def images(run):
        """Returns the training and the validation images of a run, each as a set of their bytes."""
        plan = make_plans(run.preset, sources.load("cifar10", str(image_tree)), run.about["seed"])[0]
        return ({image.tobytes() for image in part.split.images} for part in (plan.batches, plan.validation))

    assert fine_tune().about["init"]["validation_seen"] == 0  # the same seed and size hold out the same images
    logged = listen()
    more = fine_tune(
        runs=tmp_path / "more", data={"validation_size": 60}, train={"epochs": 1, "init": str(trained.folder)}
    )
    (first, _), (_, held_out) = images(trained), images(more)
    assert more.about["init"]["validation_seen"] == len(held_out & first) > 0
    assert any(f"trained on {len(held_out & first)} of the validation images" in line for line in logged)
    result = resnet_tf.evaluate(more, "validation", str(image_tree))
    assert result.calibration is None
    assert result["validation_seen"] == len(held_out & first)
    assert "validation_seen" not in resnet_tf.evaluate(more, data=str(image_tree))
    # Those of the first run were held out of it again, and of the run in between only some.
    last = fine_tune(runs=tmp_path / "last", train={"epochs": 1, "init": str(more.folder)})
    assert last.about["init"]["validation_seen"] == 0
    other = fine_tune(seed=8, runs=tmp_path / "other")
    last = fine_tune(runs=tmp_path / "last", train={"epochs": 1, "init": str(other.folder)})
    (between, _), (_, held_out) = images(other), images(last)
    assert last.about["init"]["validation_seen"] == len(held_out & between) > 0


def test_of_another_state_of_the_data_set_nobody_can_tell(fine_tune, image_tree, tmp_path):
    grown = tmp_path / "grown"
    shutil.copytree(image_tree, grown)
    shutil.copy(next((image_tree / "test" / "cat").iterdir()), grown / "train" / "cat" / "more.png")
    run = fine_tune(grown)
    assert (run.about["init"]["validation_seen"], run.about["init"]["another_state"]) == (40, True)


def test_the_folder_of_runs_need_not_exist(fine_tune, tmp_path):
    code = user_error(fine_tune, runs=tmp_path / "new", train={"epochs": 1, "init": "quick-long"}).code
    assert code == "weights-of-another-network"


def test_weights_that_do_not_fit_are_one_line_and_no_run(fine_tune, tmp_path):
    for changes in ({"model": {"filters": [6]}}, {"model": {"filters": [4, 8]}}, {"data": {"normalize": "per_pixel"}}):
        assert user_error(fine_tune, **changes).code == "weights-of-another-network"
    assert user_error(fine_tune, train={"epochs": 1, "init": "quik-long"}).code == "preset-not-found"
    assert user_error(fine_tune, train={"epochs": 1, "init": ""}).code == "preset-not-found"
    assert all_runs(tmp_path) == []


def test_its_result_is_compared_with_no_reference(fine_tune, trained, tiny_preset, image_tree, tmp_path):
    run = fine_tune(reference={"test_top1": 50.0})
    (row,) = files.read_rows(tmp_path / "train_overall.jsonl")[0]
    assert row["init"] == trained.name
    assert row["changed"]["train.init"] == [str(trained.folder), None]
    result = resnet_tf.evaluate(run, data=str(image_tree))
    assert result["init"] == trained.name
    assert result["changed"]["train.init"] == [trained.name, None]  # no path of this machine in a preset's file
    # Where the preset itself starts so, nothing of it has changed, and still it is no training from nothing.
    own = load_preset({**tiny_preset, "train": {"epochs": 1, "init": str(trained.folder)}}, reference={"test_top1": 50})
    result = resnet_tf.evaluate(train_preset(own, str(image_tree), tmp_path / "own"), data=str(image_tree))
    reasons = comparison.obstacles(own, result.record)
    assert any(trained.name in reason for reason in reasons)
    assert not any("train.init" in reason for reason in reasons)
    assert "not comparable" in result["verdict"]


def test_a_network_that_computes_otherwise_than_the_one_it_takes_its_weights_from_is_named(fine_tune):
    """Another activation fits by the shapes of the weights, and is no mistake by itself."""
    same = {"norm_momentum": 0.5, "norm_scale": False, "initializer": "he_fan_out"}  # of the training alone
    logged = listen()
    run = fine_tune(model={"activation": "gelu", "head_bias": True, **same})
    assert run.about["init"]["differs"] == {"model.activation": ["relu", "gelu"]}
    assert any("model.activation (relu there, gelu here)" in line for line in logged)


def test_without_it_a_row_says_nothing_of_it(trained):
    (row,) = files.read_rows(trained.folder.parents[1] / "train_overall.jsonl")[0]
    assert "init" not in row


def test_presets_and_runs_are_taken_by_name(tiny_preset, image_tree, tmp_path):
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps({**tiny_preset, "train": {"batch_size": 20, "epochs": 1}}))
    run = resnet_tf.train(str(path), data=str(image_tree), runs=tmp_path / "runs")
    assert run.preset_file == path
    for name in (path, str(path), run.name, run.folder):
        result = resnet_tf.evaluate(name, data=str(image_tree), runs=tmp_path / "runs")
        assert result["run"] == run.name
    assert user_error(resnet_tf.evaluate, "quik-long").code == "preset-not-found"
    assert user_error(resnet_tf.train, "demmo").code == "preset-not-found"

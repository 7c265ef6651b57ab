"""What may be resumed and as what: the recipe and images it began with, or the same run made longer."""

import json
import os
import signal

import numpy as np
import pytest
from assertions import user_error
from messages import interrupting, listen

from resnet_tf import files
from resnet_tf.datasets import sources
from resnet_tf.errors import Stopped, UserError
from resnet_tf.presets.preset_files import load_preset
from resnet_tf.runs.choose import all_runs
from resnet_tf.runs.run import Run, create_run
from resnet_tf.training import checkpoint, resume
from resnet_tf.training.checkpoint import Progress
from resnet_tf.training.plan import make_plans
from resnet_tf.training.train import train as train_preset


@pytest.fixture
def plan(image_tree, tiny_preset):
    dataset = sources.load("cifar10", str(image_tree))
    return make_plans(load_preset(tiny_preset), dataset, 7)[0]


@pytest.fixture
def stopped(train, at_step, tmp_path):
    """A run stopped after step 14."""
    at_step(14, lambda phase: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Stopped):
        train()
    return all_runs(tmp_path)[0]


def test_an_epoch_of_repeats_is_as_many_steps_longer_and_resumes_exactly(
    train, at_step, image_tree, tiny_preset, tmp_path, assert_same_run
):
    """Two epochs of 30 steps, three passes over 200 images each; the rate falls by the longer epoch."""
    long = {"train": {"epochs": 2, "repeats": 3}}
    runs = tmp_path / "unbroken"
    unbroken = train_preset(load_preset(tiny_preset, **long), str(image_tree), runs, seed=7)
    assert [(row["step"], round(row["learning_rate"], 6)) for row in unbroken.rows] == [(30, 0.05), (60, 0.04)]
    at_step(34, lambda phase: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Stopped):
        train(**long)
    assert_same_run(unbroken, train(resume=True, **long))


def test_a_run_is_named_by_itself_its_name_or_its_folder(stopped, tiny_preset, tmp_path):
    """True stands for the newest unfinished one, and for no other."""
    preset, newer = load_preset(tiny_preset), create_run(stopped.preset, 7, tmp_path)
    assert resume.run_to_resume(preset, tmp_path, True).folder == newer.folder
    for name in (stopped, stopped.name, stopped.folder, str(stopped.folder)):
        assert resume.run_to_resume(preset, tmp_path, name).folder == stopped.folder


def test_a_damaged_log_is_restored_from_the_state(stopped, train, trained, assert_same_run):
    good = stopped.log.read_text()
    stopped.log.write_text(good + '{"epoch": 2, "loss": 99}\n{"epo')
    stopped.best.write_bytes(b"damaged")
    logged = listen()
    assert_same_run(trained, train(resume=True))
    assert f"{stopped.log}: 1 torn row removed" in logged
    assert f"{stopped.log}: 1 row after the checkpoint removed; their steps are done again" in logged


def test_log_and_best_weights_are_restored_to_the_state(stopped):
    row = stopped.rows[0]
    logged = listen()
    for content in ("", '{"epoch": 1}\n', json.dumps(row) + "\n" + json.dumps(row) + "\n"):
        stopped.log.write_text(content)
        resume.restore_files(stopped, Progress(step=14, rows=[row]), b"best")
        assert files.read_rows(stopped.log) == ([row], 0)
        assert stopped.best.read_bytes() == b"best"
    assert ["restored from the checkpoint" in line for line in logged] == [True, True, False]
    resume.restore_files(stopped, Progress(), None)
    assert stopped.rows == []
    assert not stopped.best.exists()


def test_a_pretrained_run_cannot_be_resumed(published, tmp_path):
    assert user_error(resume.run_to_resume, published.preset, tmp_path, published.name).code == "run-pretrained"


def test_another_recipe_other_images_or_another_network_do_not_resume(stopped, train):
    error = user_error(train, resume=True, optimizer={"learning_rate": 0.01}, schedule={"lr_decay": 0.9})
    assert error.code == "resume-other-recipe"
    assert "optimizer.learning_rate: 0.05 -> 0.01, schedule.lr_decay: 0.8 -> 0.9" in str(error)
    # What is no part of the recipe may change.
    with pytest.raises(Stopped), interrupting("epoch"):
        train(resume=True, title="another title", train={"epochs": 3, "state_minutes": 1})
    stopped.update(data={"title": "other", "fingerprint": "0" * 64})
    assert user_error(train, resume=True).code == "resume-other-images"


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda arrays: arrays.pop("model/head/kernel"), "whose model/head/kernel is missing"),
        (
            lambda arrays: arrays.update({"model/head/bias": np.zeros(9, np.float32)}),
            "whose model/head/bias is another",
        ),
        (lambda arrays: arrays.update({"model/head/bias": np.zeros(10)}), "whose model/head/bias is another"),
    ],
)
def test_a_state_of_another_network_is_not_restored_in_part(change, difference, plan, trained):
    arrays = checkpoint.load(trained.state).arrays
    change(arrays)
    variables = plan.build_step().variables
    before = checkpoint.copy_of(variables)
    error = user_error(checkpoint.restore, variables, arrays)
    assert (error.code, difference in str(error)) == ("state-of-another-network", True)
    for name, variable in variables.items():
        np.testing.assert_array_equal(variable, before[name], err_msg=name)


def test_a_finished_run_grows_into_the_run_it_would_have_been(train, trained, assert_same_run):
    short = train(train={"epochs": 2})
    assert short.about["changed"] == {"train.epochs": [2, 3]}
    assert user_error(train, resume=short.name, train={"epochs": 2}).code == "run-finished"
    logged = listen()
    long = train(resume=short.name, train={"epochs": 3})
    assert f"changed for {short.name}: train.epochs: 2 -> 3" in logged
    assert_same_run(trained, long)
    assert long.folder == short.folder
    assert long.about["grown"] == [{"after_step": 20, "train.epochs": [2, 3]}]
    assert long.preset.train.epochs == 3
    assert (long.about["steps_planned"], long.about["preset_hash"], long.about["changed"]) == (
        30,
        trained.preset.hash,
        {},
    )
    rows = files.read_rows(long.folder.parents[1] / "train_overall.jsonl")[0]
    assert [(row["run"], row["step"]) for row in rows] == [(long.name, 20), (long.name, 30)]


def test_a_plateau_rule_goes_on_where_it_was(train, at_step, tmp_path, assert_same_run, image_tree, tiny_preset):
    """Stopped right after a reduction: what it waits for, and the rate, are part of the checkpoint."""
    plateau = {"name": "plateau", "metric": "validation_loss", "patience": 0, "threshold": 0.99}
    whole = train_preset(load_preset(tiny_preset, schedule=plateau), str(image_tree), tmp_path / "whole", seed=7)
    assert [row["learning_rate"] for row in whole.rows] == pytest.approx([0.05, 0.05, 0.005])
    at_step(21, lambda phase: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Stopped):
        train(schedule=plateau)
    assert_same_run(whole, train(resume=True, schedule=plateau))


@pytest.mark.parametrize("written", [False, True])
def test_a_run_that_was_killed_when_it_began_to_grow_is_unfinished_and_goes_on(
    written, train, trained, monkeypatch, assert_same_run
):
    """Killed before or after the longer recipe was written, which decides what it resumes as."""
    short, write_preset = train(train={"epochs": 2}), Run.write_preset

    def killed(run, preset):
        if written:
            write_preset(run, preset)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "write_preset", killed)
        with pytest.raises(KeyboardInterrupt):
            train(resume=short.name, train={"epochs": 3})
    assert short.about["status"] == "running"
    if not written:
        assert train(resume=short.name, train={"epochs": 2}).about["changed"] == {"train.epochs": [2, 3]}
        assert "grown" not in short.about
    assert_same_run(trained, train(resume=short.name, train={"epochs": 3}))
    assert short.about["changed"] == {}
    assert short.about["grown"] == [{"after_step": 20, "train.epochs": [2, 3]}]


def test_a_growth_that_the_disk_refused_is_entered_by_the_same_run_later(tiny_preset, tmp_path, monkeypatch):
    preset, grown = load_preset(tiny_preset), [{"after_step": 20, "train.epochs": [2, 3]}]
    run = create_run(preset, 7, tmp_path, growing={"recipe": preset.hash, "grown": grown})

    def refuse(run, **values):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Run, "update", refuse)
        with pytest.raises(OSError, match="full"):
            resume._finish_growth(run)
    resume._finish_growth(run)
    assert run.about["grown"] == grown
    assert run.about["growing"] is None


def test_predictions_of_an_earlier_epoch_are_not_those_of_the_run(train, at_step):
    def evaluated(phase) -> None:
        phase.session.run.predictions.mkdir()
        (phase.session.run.predictions / "test-1-crop-best.npz").write_bytes(b"of the first epoch")

    at_step(14, evaluated)
    assert not train().predictions.exists()


def test_a_finished_run_without_its_state_is_not_made_longer(train, image_tree, tiny_preset, tmp_path, assert_same_run):
    kept = train(train={"epochs": 1})
    assert len(checkpoint.saved_states(kept.state)) == 1
    preset = load_preset(tiny_preset, train={"epochs": 1})
    run = train_preset(preset, str(image_tree), tmp_path, seed=7, keep_state=False)
    assert not run.state.exists()
    assert run.last.read_bytes() == kept.last.read_bytes()
    before = run.log.read_text()
    assert user_error(train, resume=run.name, train={"epochs": 2}).code == "run-state-removed"
    assert user_error(train, resume=run.name).code == "run-state-removed"
    assert run.log.read_text() == before


@pytest.fixture
def stop_after_an_epoch(train):
    def start(**changes) -> None:
        with pytest.raises(Stopped), interrupting("epoch"):
            train(**changes)

    return start


def test_a_run_goes_on_with_the_recipe_it_began_with(train, stop_after_an_epoch, tmp_path):
    """Shorter than its preset it began, and so it ends, if nobody says otherwise with `resume`."""
    stop_after_an_epoch(train={"epochs": 2})
    logged = listen()
    run = train(resume=True)
    assert (run.about["step"], run.about["steps_planned"], run.about["status"]) == (20, 20, "finished")
    assert run.about["changed"] == {"train.epochs": [2, 3]}
    assert "grown" not in run.about
    assert not any("changed" in line for line in logged)
    (row,) = files.read_rows(tmp_path / "train_overall.jsonl")[0]
    assert (row["step"], row["changed"]) == (20, {"train.epochs": [2, 3]})


def test_overrides_given_with_resume_apply_even_back_to_the_presets_own_value(
    train, stop_after_an_epoch, trained, assert_same_run
):
    stop_after_an_epoch(train={"epochs": 2})
    logged = listen()
    run = train(resume=True, train={"epochs": 3, "state_minutes": 1})
    assert_same_run(trained, run)
    assert f"changed for {run.name}: train.epochs: 2 -> 3, train.state_minutes: 10.0 -> 1.0" in logged
    assert (run.about["changed"], run.preset.train.state_minutes) == ({}, 1.0)


def test_a_preset_file_that_has_changed_since_is_reported_and_not_used(
    train, stop_after_an_epoch, trained, tiny_preset, image_tree, tmp_path, assert_same_run
):
    stop_after_an_epoch(train={"state_minutes": 1})
    logged, schedule = listen(), {"name": "constant"}
    now = load_preset({**tiny_preset, "train": {"batch_size": 10, "epochs": 2}, "schedule": schedule})
    run = train_preset(now, str(image_tree), tmp_path, resume=True)
    assert_same_run(trained, run)
    (line,) = [line for line in logged if "keeps the recipe it began with" in line]
    assert line.endswith("train.batch_size, train.epochs, schedule.name, schedule.lr_decay")
    assert run.about["changed"] == {}
    # What the run itself had changed is not the preset's doing.
    stop_after_an_epoch(train={"epochs": 2})
    logged.clear()
    changed = load_preset({**tiny_preset, "train": {"batch_size": 20, "epochs": 5}})
    train_preset(changed, str(image_tree), tmp_path, resume=True)
    assert not any("keeps the recipe" in line for line in logged)


def test_a_preset_under_another_name_resumes(train, at_step):
    at_step(4, lambda phase: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Stopped):
        train(name="mine", train={"epochs": 1})
    assert train(resume=True, name="mine").about["status"] == "finished"


def test_a_run_of_another_preset_does_not_resume(stopped, image_tree, tmp_path):
    error = user_error(train_preset, load_preset("3"), str(image_tree), tmp_path, resume=stopped.name)
    assert error.code == "resume-other-preset"


@pytest.fixture
def grown(image_tree, tiny_preset, tmp_path):
    """Returns a function: how a run of `before` grows that goes on as `now` after a step, or the error it gives."""
    dataset = sources.load("cifar10", str(image_tree))

    def ask(before: dict, now: dict, step: int, status: str = "stopped"):
        run = create_run(load_preset(tiny_preset, **before), 0, tmp_path)
        run.update(status=status)
        preset = load_preset(tiny_preset, **now)
        try:
            resume.take_recipe(run, preset, make_plans(preset, dataset, 0), step)
        except UserError as error:
            return f"{error.code}: {error}"
        assert run.preset == preset
        (growth,) = run.about.get("grown", [{"after_step": step}])
        assert growth.pop("after_step") == step
        return growth

    return ask


def test_changes_that_an_older_version_stored_of_all_phases_are_named_by_key(tiny_preset, tmp_path, image_tree):
    """It held {"phases": [here, in the preset's file]} where one key differed."""
    original, begun, longer = (
        load_preset({**tiny_preset, "phases": [{"train": {"epochs": epochs}}, {}]}) for epochs in (1, 2, 4)
    )
    run = create_run(begun, 0, tmp_path, changed={"phases": [list(begun.phases), list(original.phases)]})
    logged = listen()
    assert resume.recipe_of(run, original) == begun
    assert logged == []
    run.update(status="stopped")
    dataset = sources.load("cifar10", str(image_tree))
    resume.take_recipe(run, longer, make_plans(longer, dataset, 0), 14)
    assert run.about["changed"] == {"phases.1.train.epochs": [4, 1]}


ONE_CYCLE = {"name": "one_cycle", "warmup_fraction": 0.2}
EPOCHS = {"epochs": 5}
STEPS = {"steps": 25}


def test_what_may_grow(grown):
    phases = [{}, {"optimizer": {"learning_rate": 0.01}}]
    longer_second = [{}, {"optimizer": {"learning_rate": 0.01}, "train": EPOCHS}]
    longer_first = [{"train": EPOCHS}, {"optimizer": {"learning_rate": 0.01}}]
    assert grown({}, {}, 14) == {}
    assert grown({}, {"train": EPOCHS}, 14) == {"train.epochs": [3, 5]}
    assert grown({}, {"train": {"steps": 50}}, 14) == {"train.epochs": [3, None], "train.steps": [None, 50]}
    assert grown({"schedule": ONE_CYCLE}, {"schedule": ONE_CYCLE, "train": EPOCHS}, 0) == {"train.epochs": [3, 5]}
    two = {"phases": phases}
    assert grown(two, {"phases": longer_second}, 45) == {"phases.2.train.epochs": [3, 5]}
    assert grown(two, {"phases": longer_first}, 14) == {"phases.1.train.epochs": [3, 5]}
    assert grown(two, {"phases": longer_first}, 30) == {"phases.1.train.epochs": [3, 5]}
    for before, now, step, reason in [
        ({}, {"train": {"epochs": 2}}, 14, "it would become shorter"),
        ({"schedule": ONE_CYCLE}, {"schedule": ONE_CYCLE, "train": EPOCHS}, 14, "schedule stretches over the whole"),
        ({"train": STEPS}, {"train": {"steps": 40}}, 25, "its last epoch was a short one"),
        (two, {"phases": longer_first}, 45, "that phase is over"),
        (two, {"phases": [{}]}, 14, "phases: 2 -> 1"),
        (two, {"phases": [{}, {"optimizer": {"learning_rate": 0.02}}]}, 14, "phases.2.optimizer.learning_rate"),
    ]:
        line = grown(before, now, step)
        assert isinstance(line, str), (before, now)
        assert reason in line
    assert grown({}, {}, 30, "finished").startswith("run-finished")
    assert grown({}, {"train": EPOCHS}, 14, "diverged").startswith("run-diverged")

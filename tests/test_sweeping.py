"""Sweeps: every combination once, finished trials skipped, killed ones resumed, with two workers of Ray."""

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from assertions import user_error
from messages import interrupting
from plain import EVALUATION

from resnet_tf import files
from resnet_tf.cli import command
from resnet_tf.cli import sweep as sweep_command
from resnet_tf.errors import Stopped, UserError
from resnet_tf.presets import preset_files
from resnet_tf.runs import ledger
from resnet_tf.runs.choose import all_runs
from resnet_tf.runs.run import create_run
from resnet_tf.sweeping import on_ray, trials
from resnet_tf.sweeping.on_ray import Sweep
from resnet_tf.sweeping.trials import Outcome, Trial
from resnet_tf.training.train import train

ROOT = Path(__file__).parents[1]


def test_trials_are_every_combination():
    combinations = trials.trials(["3", "4"], [0, 1], ["train.epochs=2"], ["optimizer.learning_rate=[0.1, 0.05]"])
    assert [str(trial) for trial in combinations] == [
        f"{name} train.epochs=2 optimizer.learning_rate={rate} seed {seed}"
        for name in ("3", "4")
        for rate in ("0.1", "0.05")
        for seed in (0, 1)
    ]
    recipe = combinations[2].recipe
    assert (recipe.name, recipe.train.epochs, recipe.optimizer.learning_rate) == ("3", 2, 0.05)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((["3"], [0], [], ["train.epochs"]), "vary-wrong-form"),
        ((["3"], [0], [], ["train.epochs=3"]), "vary-wrong-form"),
        ((["3"], [0], [], ["train.epochs=[]"]), "vary-wrong-form"),
        ((["3"], [0], ["train.epoch=3"], []), "preset-unknown-key"),
        ((["nonesuch"], [0], [], []), "preset-not-found"),
        ((["3"], [0], [], ["train.epochs=[2, 2]"]), "trials-repeat"),
        ((["3"], [0, -1], [], []), "seed-out-of-range"),
    ],
)
def test_a_wrong_sweep_is_refused_before_anything_starts(arguments, code):
    assert user_error(trials.trials, *arguments).code == code


def test_presets_of_one_name_would_share_their_runs(tiny_preset, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tiny.json").write_text(json.dumps(tiny_preset))
    paths = [str(tmp_path / folder / "tiny.json") for folder in ("a", "b")]
    assert user_error(trials.trials, paths, [0], [], []).code == "presets-same-name"


@pytest.fixture
def tiny(tiny_preset, tmp_path):
    path = tmp_path / "tiny.json"
    path.write_text(json.dumps(tiny_preset))
    return str(path)


def test_a_trial_is_trained_once_and_resumed_where_it_stopped(tiny, image_tree, tmp_path):
    trial, runs, data = Trial.of(tiny, 3, ("train.epochs=2",)), str(tmp_path / "runs"), str(image_tree)
    images = trials.datasets([trial], data)["cifar10"].fingerprint
    assert trials.run_of(trial, runs, images) is None

    with pytest.raises(Stopped), interrupting("epoch 1/2"):
        trials.run_trial(trial, runs, images, data)
    stopped = trials.run_of(trial, runs, images)
    assert stopped.about["status"] == "stopped"
    assert not trials.is_done(stopped, runs)
    finished = trials.run_trial(trial, runs, images, data)
    assert finished == stopped
    assert trials.is_done(finished, runs)
    assert finished.about["changed"] == {"train.epochs": [2, 3]}
    trials.run_trial(trial, runs, images, data)
    assert [run.name for run in all_runs(runs)] == [finished.name]
    for log in (ledger.TRAINED, ledger.EVALUATED):
        assert len(files.read_rows(Path(runs) / log)[0]) == 1

    assert trials.run_of(Trial.of(tiny, 4, ("train.epochs=2",)), runs, images) is None  # another seed
    assert trials.run_of(Trial.of(tiny, 3), runs, images) is None  # another recipe
    assert trials.run_of(trial, runs, "other images") is None
    (row,) = files.read_rows(Path(runs) / ledger.EVALUATED)[0]
    ledger.append(runs, ledger.EVALUATED, {**row, "view": "mirror", "top1": 99.0})  # another protocol's figure
    outcome = Outcome(trial, images)
    outcome.update(runs)
    assert (outcome.status, outcome.run) == ("finished", finished.name)
    failed = Outcome(Trial.of(tiny, 5), images, "failed", tries=2, error="no room")
    assert trials.report([outcome, failed], runs).splitlines() == [
        f"tiny train.epochs=2: test top-1 {row['top1']:.2f} %, seed 3, cifar10 (folder copy, not the official bytes)",
        "tiny seed 5: failed after 2 starts: no room",
    ]
    assert outcome.cells(runs)[:3] == ["tiny train.epochs=2 seed 3", "finished", "2"]

    # Grown longer, it has not been scored at that length.
    longer = Trial.of(tiny, 3, ("train.epochs=3",))
    train(longer.recipe, data, runs, resume=finished.name)
    assert not finished.predictions.exists()  # its shorter self's, which a paired test would take for its own
    assert trials.run_of(longer, runs, images) == finished
    assert not trials.is_done(finished, runs)
    trials.run_trial(longer, runs, images, data)
    assert trials.is_done(finished, runs)
    assert trials.latest_test_result(finished, runs).steps == 30


def test_a_trial_that_diverged_is_done_and_runs_of_other_versions_are_passed_over(tiny, image_tree, tmp_path):
    trial, runs, data = Trial.of(tiny, 0, ("optimizer.learning_rate=1e30",)), str(tmp_path / "runs"), str(image_tree)
    images = trials.datasets([trial], data)["cifar10"].fingerprint
    with pytest.raises(UserError, match="Training diverged"):
        trials.run_trial(trial, runs, images, data)
    (diverged,) = all_runs(runs)
    recipe = (diverged.folder / "preset.json").read_text()
    for day, about, preset in (
        (1, '{"seed": 0}', '{"model": {"no such key": 1}}'),
        (2, "{}", recipe),
        (3, '{"seed": 0}', recipe),
        (4, '{"seed": 0, "data": null}', recipe),
        (5, json.dumps({"seed": 0, "data": diverged.about["data"]}), recipe),  # and no status
    ):
        other = tmp_path / "runs" / "tiny" / f"2020010{day}T000000Z-s0"
        other.mkdir()
        (other / "run.json").write_text(about)
        (other / "preset.json").write_text(preset)
    outcome = Outcome(trial, images)
    outcome.update(runs)
    assert (outcome.status, outcome.run) == ("diverged", diverged.name)
    again = create_run(diverged.preset, 0, runs, data=diverged.about["data"])
    again.update(status="finished", step=10, steps_planned=10)
    row = replace(EVALUATION, run=again.name, preset="tiny", data=again.about["data"])
    ledger.append(runs, ledger.EVALUATED, row.to_row())
    outcome.update(runs)
    assert (outcome.status, outcome.run) == ("finished", again.name)  # trained again, on another device


def test_mean_and_spread_are_over_the_seeds(tmp_path, monkeypatch):
    top1 = {"3/a": 80.0, "3/b": 82.0, "3/c": 87.0}
    same = {"data": {"title": "cifar10"}, "init": None, "computed_by": "tensorflow", "weights": "last"}
    rows = {name: SimpleNamespace(top1=value, **same) for name, value in top1.items()}
    monkeypatch.setattr(trials, "latest_test_result", lambda run, runs: rows[run.name])
    preset = str(ROOT / "presets" / "3.json")
    outcomes = [Outcome(Trial.of(preset, seed), "", "finished", name) for seed, name in enumerate(top1)]
    assert (
        trials.report(outcomes, tmp_path)
        == "3: test top-1 83.00 +/- 3.61 %, seeds 0, 1, 2, cifar10, from 80.00 to 87.00 %"
    )  # variance 13
    rows["3/c"].init = "quick/a"  # its preset names another network than it did for the first seeds
    means = [line.partition(", seed")[0] for line in trials.report(outcomes, tmp_path).splitlines()]
    assert means == ["3: test top-1 81.00 +/- 1.41 %", "3 from quick/a: test top-1 87.00 %"]


@pytest.mark.parametrize(
    ("differing", "named"),
    [
        ({"backend": "jax"}, ["3 (tensorflow)", "3 (jax)"]),
        ({"weights": "last-recalibrated"}, ["3 (last weights)", "3 (last-recalibrated weights)"]),
        ({"backend": "jax", "weights": "best"}, ["3 (tensorflow, last weights)", "3 (jax, best weights)"]),
    ],
)
def test_no_mean_is_over_several_backends_or_kinds_of_weights(tmp_path, monkeypatch, differing, named):
    ours = replace(EVALUATION, data={"title": "cifar10"}, weights="last", top1=80.0)
    rows = {"3/a": ours, "3/b": replace(ours, top1=90.0, **differing), "4/a": ours}
    monkeypatch.setattr(trials, "latest_test_result", lambda run, runs: rows[run.name])
    outcomes = [
        Outcome(Trial.of(ROOT / "presets" / f"{name[0]}.json", seed), "", "finished", name)
        for seed, name in enumerate(rows)
    ]
    means = [line.partition(" %")[0] for line in trials.report(outcomes, tmp_path).splitlines()]
    assert means == [f"{named[0]}: test top-1 80.00", f"{named[1]}: test top-1 90.00", "4: test top-1 80.00"]


def test_the_table_follows_trials_as_they_begin_and_reads_each_run_once(tiny, tmp_path, monkeypatch):
    outcomes = [Outcome(Trial.of(tiny, seed), "images") for seed in range(3)]
    recipe, about = outcomes[0].trial.recipe, {"data": {"fingerprint": "images"}}
    create_run(recipe, 7, tmp_path, **about)  # from before the sweep
    new_runs, read = trials.NewRuns(tmp_path), []
    load = preset_files.load_preset
    monkeypatch.setattr(preset_files, "load_preset", lambda preset: read.append(preset) or load(preset))
    begun = []
    for seed in (1, 0):
        begun.append(create_run(recipe, seed, tmp_path, **about))
        create_run(recipe, seed, tmp_path, data={"fingerprint": "other images"})
        for _ in range(3):
            new_runs.note(outcomes)
            shown = [outcome.cells(tmp_path) for outcome in outcomes]
    assert [cells[-1] for cells in shown] == [begun[1].name, begun[0].name, ""]
    assert [cells[1] for cells in shown] == ["running", "running", "waiting"]
    assert len(read) == 4


def test_the_check_of_each_recipe_is_printed_once_and_an_error_ends_the_sweep(tiny, image_tree, capsys, monkeypatch):
    followed = []
    monkeypatch.setattr(on_ray, "check_ray", lambda: None)
    monkeypatch.setattr(sweep_command, "follow", lambda sweep, address: followed.append(sweep))

    def rules_named(*arguments) -> list[str]:
        fixed = ["--presets", tiny, "--seeds", "0", "1", "--data", str(image_tree), "--set", "data.augment="]
        code = command.run_command(sweep_command.main, [*fixed, *arguments])
        printed, errors = capsys.readouterr()
        assert (code, errors.count("\n")) == ((1, 0) if followed else (2, 1))  # 1: nothing was trained
        return re.findall(r"(?:warning|error) \(([\w-]+)\)", printed)

    warning, error = "no-augmentation", "batch-too-large"
    assert rules_named("--vary", "train.batch_size=[20, 1000]") == [warning, error, warning]  # of 200 images
    assert not followed
    assert rules_named() == [warning]
    assert len(followed) == 1


def test_a_trial_gets_a_gpu_where_the_cluster_has_one():
    """By default; the resources of machines are those that Ray lists."""
    without, with_one = {"CPU": 8.0, "memory": 1e9}, {"CPU": 4.0, "GPU": 1.0, "accelerator_type:T4": 1.0}
    for machines, gpus in (([without], 0), ([without, with_one], 1), ([with_one | {"GPU": 8.0}], 1)):
        assert on_ray.gpus_of_a_trial(machines) == gpus


@pytest.mark.parametrize(
    ("threads", "gpus", "count"), [(1, 0, 12), (3, 0, 3), (1, 1, 1), (1, 0.5, 2), (1, 0.3, 3), (5, 1, 0), (9, 0, 0)]
)
def test_as_many_trials_run_at_a_time_as_the_machines_hold(threads, gpus, count):
    assert on_ray.trials_at_a_time([{"CPU": 8.0}, {"CPU": 4.0, "GPU": 1.0}], threads, gpus) == count


@pytest.mark.slow
@pytest.mark.parametrize(("there", "asked", "given"), [(0, None, 0), (2, None, 1), (2, 0, 0), (2, 0.5, 0.5)])
def test_ray_counts_the_gpus_that_a_trial_gets(tiny, tmp_path, monkeypatch, there, asked, given):
    ray = pytest.importorskip("ray")
    start = ray.init
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")  # Ray believes it, and num_gpus
    monkeypatch.setattr(ray, "init", lambda *arguments, **options: start(*arguments, num_gpus=there, **options))
    sweep = Sweep([Outcome(Trial.of(tiny, 0), "", "finished")], str(tmp_path), threads=1, gpus=asked)
    try:
        sweep.start()
    finally:
        ray.shutdown()
    assert (sweep.threads, sweep.gpus) == (1, given)


def test_the_error_of_a_failed_task_is_one_line(tiny, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    outcome = Outcome(Trial.of(tiny, 0), "images")
    for error, message in {
        ray.exceptions.RayTaskError("f", "trace", MemoryError()): "MemoryError",
        ray.exceptions.RayTaskError("f", "trace", ValueError("one\ntwo")): "ValueError: two",
        ray.exceptions.WorkerCrashedError(): "The worker died unexpectedly while executing this task.",
    }.items():

        def get(task, error=error):
            raise error

        monkeypatch.setattr(ray, "get", get)
        Sweep([outcome], str(tmp_path))._collect(outcome, task=None)
        assert outcome.status == "failed"
        assert outcome.error.startswith(message)
        assert "\n" not in outcome.error


def test_a_wrong_option_is_one_line_and_exit_code_2(capsys):
    for arguments, named in {
        (): "--presets",
        ("--presets", "3", "--workers", "0"): "--workers",
        ("--presets", "3", "--gpus", "2"): "--gpus",
        ("--presets", "3", "--gpus", "nan"): "--gpus",
        ("--presets", "3", "--threads", "0"): "--threads",
        ("--presets", "3", "--workers", "2", "--address", "auto"): "--workers",
        ("--presets", "3", "stl10", "--data", "."): "--data",
        ("--presets", "33"): "33",
    }.items():
        assert command.run_command(sweep_command.main, list(arguments)) == 2
        line = capsys.readouterr().err
        assert named in line
        assert line.count("\n") == 1


def test_without_ray_no_image_is_read(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(trials, "datasets", lambda *arguments: pytest.fail("images were read"))
    assert user_error(sweep_command.main, ["--presets", "3"]).code == "ray-not-installed"


def process_that_has_open(path: Path) -> int:
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if link.readlink() == path:
                return int(link.parts[2])
    raise AssertionError(f"nobody has {path} open")


@pytest.mark.slow
def test_ctrl_c_lets_every_training_save_its_state(tiny, image_tree, tmp_path):
    pytest.importorskip("ray")
    runs = tmp_path / "runs"
    command = [sys.executable, "sweep.py", "--presets", tiny, "--seeds", "0", "1", "--workers", "2"]
    command += ["--set", "train.epochs=1000", "--data", str(image_tree), "--runs", str(runs)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as driver:
        wait_for(lambda: len([run for run in all_runs(runs) if run.rows]) == 2)
        driver.send_signal(signal.SIGINT)
        printed, _ = driver.communicate(timeout=120)
    assert driver.returncode == 130
    assert printed.count("stopped after 1 start") == 2
    assert [run.about["status"] for run in all_runs(runs)] == ["stopped", "stopped"]


def wait_for(condition, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.slow
def test_a_sweep_with_a_killed_trial_and_a_killed_driver_gives_every_row_once(tmp_path):
    """Six trials of preset 3, cut to two epochs of built-in images, on two workers.

    One training is killed, then the driver; started again, all six end, each once.
    """
    pytest.importorskip("ray")
    runs = tmp_path / "runs"
    command = [sys.executable, "sweep.py", "--presets", "3", "--seeds", "0", "1", "2", "--workers", "2"]
    command += ["--vary", "optimizer.learning_rate=[0.05, 0.1]", "--set", "data.dataset=shapes10"]
    command += ["--set", "data.validation_size=500", "--set", "train.epochs=2", "--runs", str(runs)]

    def under_way() -> list:
        """Runs with an epoch done that are not over."""
        return [run for run in all_runs(runs) if run.about["status"] == "running" and run.rows]

    with subprocess.Popen(command, cwd=ROOT) as driver:
        wait_for(under_way)
        victim = under_way()[0]
        os.kill(process_that_has_open(victim.lock), signal.SIGKILL)
        wait_for(lambda: any(row for row in files.read_rows(runs / ledger.EVALUATED)[0]))
        driver.kill()
    assert len(files.read_rows(runs / ledger.EVALUATED)[0]) < 6
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "+/-" in done.stdout
    for log in (ledger.TRAINED, ledger.EVALUATED):
        rows, torn = files.read_rows(runs / log)
        found = {(row["seed"], row["changed"].get("optimizer.learning_rate", [None])[0]) for row in rows}
        assert torn == 0
        assert len(rows) == len(found) == 6
    assert len(all_runs(runs)) == 6
    assert {run.about["status"] for run in all_runs(runs)} == {"finished"}

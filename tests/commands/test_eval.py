"""eval.py as a user meets it, and the evaluation from Python."""

import errno
import io
import json
import os
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from assertions import user_error
from PIL import Image
from running import mistake, run_command
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

import resnet_tf
from resnet_tf.cli import eval as eval_command
from resnet_tf.cli import predict as predict_command
from resnet_tf.datasets import sources
from resnet_tf.datasets.splits import FileSplit
from resnet_tf.evaluation import evaluate
from resnet_tf.evaluation.show import show
from resnet_tf.models.build import load_network
from resnet_tf.presets.augmentation import parse
from resnet_tf.presets.preset_files import load_preset
from resnet_tf.runs import ledger, pretrained
from resnet_tf.runs.choose import all_runs
from resnet_tf.runs.run import Run
from resnet_tf.training.plan import make_plans


def test_trained_evaluated_and_predicted(home, image_tree, capsys):
    preset, runs = home / "tiny.json", home / "runs"
    before = preset.read_bytes()
    run_command(eval_command, "--preset", preset, "--data", image_tree, "--runs", runs, "--record", code=0)
    printed = capsys.readouterr().out
    assert f"recorded in {preset}" in printed
    assert re.search(r"top-1 +\d+\.\d\d %   \(95 % interval \d+\.\d\d to \d+\.\d\d\)", printed)
    assert "70 images" in printed
    assert "not the official bytes" in printed

    (row,) = (json.loads(line) for line in (runs / "eval_overall.jsonl").open())
    assert row["count"] == 70
    assert row["top1"] == pytest.approx(100 * row["correct"] / 70, abs=1e-4)
    assert np.mean(list(row["per_class_top1"].values())) == pytest.approx(row["top1"], abs=1e-3)  # seven of each class
    (result,) = json.loads(preset.read_text())["results"]
    assert preset.read_bytes().startswith(before.removesuffix(b"}"))
    assert (result["test_top1"], result["epochs"], result["data"]["official"]) == (row["top1"], 3.0, False)
    stored = np.load(all_runs(runs)[0].folder / "predictions" / "test-1-crop-last.npz")
    assert np.sum(stored["labels"] == stored["predicted"]) == row["correct"]
    assert np.bincount(stored["labels"]).tolist() == [7] * 10
    assert np.mean(-np.log(stored["probability"])) == pytest.approx(row["loss"], abs=1e-4)

    validation = ("--split", "validation", "--figures")
    run_command(eval_command, "--preset", preset, "--data", image_tree, "--runs", runs, *validation, code=0)
    assert re.search(r"calibration error \d+\.\d\d %\n", capsys.readouterr().out)  # no temperature of these very images
    figures = sorted(path.name for path in (all_runs(runs)[0].folder / "figures").glob("validation*"))
    assert figures == [f"validation-1-crop-last-{name}.png" for name in ("calibration", "confusion", "mistakes")]
    logged = all_runs(runs)[0].rows[-1]
    row = json.loads((runs / "eval_overall.jsonl").read_text().splitlines()[-1])
    assert row["top1"] == pytest.approx(logged["validation_top1"], abs=1e-4)
    assert row["loss"] == pytest.approx(logged["validation_loss"], abs=1e-5)
    assert row["training_top1"] == result["training_top1"] == pytest.approx(logged["top1"], abs=0.005)
    assert len(json.loads(preset.read_text())["results"]) == 1  # a validation figure is no test result

    run_command(
        eval_command, "--preset", preset, "--data", image_tree, "--runs", runs, "--recalibrate", "--record", code=0
    )
    assert len(re.findall(r"statistics are measured again on \d+ training images", capsys.readouterr().out)) == 1
    again = json.loads((runs / "eval_overall.jsonl").read_text().splitlines()[-1])
    assert again["protocol"] == "1-crop, last epoch, batch norm recalibrated"
    assert again["loss"] != row["loss"]
    assert len(json.loads(preset.read_text())["results"]) == 2


def test_a_run_is_scored_as_the_preset_says_that_it_is_compared_with(home, image_tree):
    run = all_runs(home / "runs")[0]
    named = resnet_tf.load_preset(str(home / "tiny.json"), evaluation={"view": "mirror", "weights": "best"})
    result = resnet_tf.evaluate(run, data=str(image_tree), against=named)
    assert (result["view"], result["weights"], result["changed"]) == ("mirror", "best", {})
    result = resnet_tf.evaluate(run, data=str(image_tree), against=named, view="1-crop", weights="last")
    assert (result["view"], result["weights"]) == ("1-crop", "last")


def test_a_view_of_two_images_scores_their_mean_softmax(home, image_tree):
    run = all_runs(home / "runs")[0]
    result = resnet_tf.evaluate(run, data=str(image_tree), view="mirror")
    files = sorted((image_tree / "test").rglob("*.png"))
    images = np.stack([np.asarray(Image.open(path), np.float32) for path in files])
    labels = [run.about["class_names"].index(path.parent.name) for path in files]
    model, _ = load_network(run.preset, 10, run.last)
    exponentials = [np.exp(model.predict_on_batch(view)) for view in (images, images[:, :, ::-1])]
    mean = np.mean([each / each.sum(axis=1, keepdims=True) for each in exponentials], axis=0)
    assert result["correct"] == (mean.argmax(axis=1) == labels).sum()
    assert result["loss"] == pytest.approx(-np.log(mean[range(len(labels)), labels]).mean(), abs=1e-4)


def test_a_run_in_another_precision_has_its_presets_recipe(home, image_tree, tmp_path):
    run = all_runs(home / "runs")[0]
    shutil.copytree(run.folder, tmp_path / run.name)
    (copied,) = all_runs(tmp_path)
    copied.update(changed={"train.precision": ["mixed_bfloat16", "float32"], "train.epochs": [3, 2]})
    result = resnet_tf.evaluate(copied, data=str(image_tree))
    assert result["changed"] == {"train.epochs": [3, 2]}


def test_a_network_with_a_mean_image_sees_no_other_resolution(home, image_tree, tmp_path):
    run = all_runs(home / "runs")[0]
    shutil.copytree(run.folder, tmp_path / run.name)
    preset = json.loads((run.folder / "preset.json").read_text())
    preset["data"]["normalize"] = "per_pixel"
    (tmp_path / run.name / "preset.json").write_text(json.dumps(preset))
    error = user_error(resnet_tf.evaluate, all_runs(tmp_path)[0], data=str(image_tree), resolution=48)
    assert error.code == "resolution-per-pixel"


def test_images_of_another_resolution_are_those_that_pillow_resizes(home, image_tree, tmp_path, capsys):
    preset, runs, before = home / "tiny.json", home / "runs", (home / "tiny.json").read_bytes()
    places = ("--preset", preset, "--data", image_tree, "--runs", runs)
    run_command(eval_command, *places, "--resolution", 48, "--figures", code=0)
    assert "70 images at 48 px, resize(48)" in capsys.readouterr().out
    row = json.loads((runs / "eval_overall.jsonl").read_text().splitlines()[-1])
    assert (row["resolution"], row["frame"], row["protocol"]) == (48, "resize(48)", "1-crop, last epoch, 48 px")
    assert (home / "tiny.json").read_bytes() == before  # the images are no official ones

    run = all_runs(runs)[0]
    files, images = sorted((image_tree / "test").rglob("*.png")), []
    for path in files:
        images.append(np.asarray(Image.open(path).resize((48, 48), Image.Resampling.BILINEAR), np.float32))
    model, _ = load_network(run.preset, 10, run.last, image_size=48)
    predicted = model.predict_on_batch(np.stack(images)).argmax(axis=1)
    labels = [run.about["class_names"].index(path.parent.name) for path in files]
    assert row["correct"] == np.sum(predicted == labels)
    assert (run.folder / "predictions" / "test-1-crop-last-48px.npz").exists()
    assert (run.folder / "figures" / "test-1-crop-last-48px-confusion.png").exists()

    # The preset's own size, named, is no other.
    run_command(eval_command, *places, "--resolution", 32, code=0)
    same = json.loads((runs / "eval_overall.jsonl").read_text().splitlines()[-1])
    assert (same["resolution"], same["protocol"], "frame" in same) == (32, "1-crop, last epoch", False)
    assert mistake(capsys, eval_command, *places, "--resolution", 4)


def test_a_result_that_cannot_be_kept_is_printed_first(home, image_tree, tmp_path, capsys, monkeypatch):
    shutil.copytree(home / "runs", tmp_path / "runs")
    (tmp_path / "runs" / "eval_overall.jsonl").unlink(missing_ok=True)
    places = ("--preset", home / "tiny.json", "--data", image_tree, "--runs", tmp_path / "runs")

    def read_only(place):
        def opened(path, flags, *more):
            if str(path).startswith(str(place)) and (flags & os.O_CREAT or os.path.isdir(path)):
                raise OSError(errno.EROFS, "Read-only file system", str(path))
            return real(path, flags, *more)

        monkeypatch.setattr(os, "open", opened)

    real = os.open
    for place, arguments, file in (
        (tmp_path / "runs", (), "eval_overall.jsonl"),
        (home, ("--record",), "tiny.json"),
    ):
        before = (home / "tiny.json").read_bytes()
        read_only(place)
        run_command(eval_command, *places, *arguments, code=2)
        captured = capsys.readouterr()
        assert re.search(r"top-1 +\d+\.\d\d %", captured.out)
        assert captured.err.count("\n") == 1
        assert "Read-only file system" in captured.err
        assert str(place / file) in captured.err
        assert (home / "tiny.json").read_bytes() == before
    assert len((tmp_path / "runs" / "eval_overall.jsonl").read_text().splitlines()) == 1  # what could be kept was


def test_a_figure_that_cannot_be_kept_costs_neither_the_row_nor_the_predictions(home, image_tree, tmp_path, capsys):
    shutil.copytree(home / "runs", tmp_path / "runs")
    (run,) = all_runs(tmp_path / "runs")
    for folder in (run.predictions, run.folder / "figures"):
        shutil.rmtree(folder, ignore_errors=True)
    (run.folder / "figures").write_text("in the way")
    log = tmp_path / "runs" / "eval_overall.jsonl"
    rows = len(log.read_text().splitlines()) if log.exists() else 0
    places = ("--preset", home / "tiny.json", "--data", image_tree, "--runs", tmp_path / "runs")
    run_command(eval_command, *places, "--figures", code=2)
    captured = capsys.readouterr()
    assert "figures" in captured.err
    assert re.search(r"top-1 +\d+\.\d\d %", captured.out)
    assert "recorded in" in captured.out
    assert len(log.read_text().splitlines()) == rows + 1
    assert list(run.predictions.glob("*.npz"))


def test_a_class_name_that_no_terminal_can_show_is_printed_readably(home, image_tree, capsys):
    result = resnet_tf.evaluate(all_runs(home / "runs")[0], data=str(image_tree)).record
    show(replace(result, per_class_top1={"caf\udce9": 1.0, "\x1b[31mred": None}))
    printed = capsys.readouterr().out
    assert "caf\\xe9" in printed
    assert "\x1b" not in printed


def test_weights_that_do_not_say_how_long_they_were_trained_are_scored(home, image_tree, tmp_path, capsys):
    shutil.copytree(all_runs(home / "runs")[0].folder, tmp_path / "tiny" / "bare")
    (run,) = all_runs(tmp_path)
    with np.load(run.last) as stored:
        arrays = {name: stored[name] for name in stored.files if name != "__about__"}
    np.savez(run.last, **arrays)
    capsys.readouterr()
    show(resnet_tf.evaluate(run, data=str(image_tree)).record)
    assert capsys.readouterr().out.splitlines()[0] == "tiny/bare, last weights (of unknown length), 1-crop"


def test_a_broken_image_is_named_when_batch_norm_is_recalibrated(home, image_tree, tmp_path, monkeypatch):
    run = all_runs(home / "runs")[0]
    dataset = sources.load("cifar10", str(image_tree))
    path = tmp_path / "broken.png"
    path.write_bytes(b"no picture")
    plan = make_plans(run.preset, dataset, 0)[-1]
    split = FileSplit(np.full(20, str(path), object), np.zeros(20, np.int32))
    broken = replace(plan, batches=replace(plan.batches, split=split, chain=parse("resize(32) | center_crop(32)")))
    monkeypatch.setattr(evaluate, "make_plans", lambda *arguments: [broken])
    assert str(path) in str(user_error(evaluate.evaluate, run, data=str(image_tree), recalibrate=True))


def test_an_unfinished_run_is_named_and_how_to_finish_it(home, image_tree, tmp_path, capsys):
    shutil.copytree(home / "runs", tmp_path / "runs")
    run = all_runs(tmp_path / "runs")[0]
    run.update(status="stopped")
    run.last.unlink()
    photo = next((image_tree / "test" / "cat").iterdir())
    for module, *arguments in ((eval_command, "--data", image_tree), (predict_command, photo)):
        line = mistake(capsys, module, "--run", run.name, "--runs", tmp_path / "runs", *arguments)
        assert f"Run {run.name} has no last weights yet; it is stopped, saved up to step 30 of 30" in line
        run_command(module, "--run", run.name, "--runs", tmp_path / "runs", "--weights", "best", *arguments, code=0)
        capsys.readouterr()


def test_images_held_out_of_another_copy_are_refused(home, image_tree, tmp_path):
    """Another copy is split otherwise, so the network may have been trained on what seems to be held out."""
    copy = shutil.copytree(image_tree, tmp_path / "copy")
    first = next((copy / "train" / "cat").iterdir())
    Image.new("RGB", (32, 32), "red").save(first)
    run = all_runs(home / "runs")[0]
    assert resnet_tf.evaluate(run, data=str(copy))["same_data_as_training"] is False
    assert user_error(resnet_tf.evaluate, run, "validation", data=str(copy)).code == "data-other-images"


def test_classes_splits_and_held_out_images_must_be_those_of_the_run(home, image_tree, tmp_path):
    run = all_runs(home / "runs")[0]
    assert user_error(resnet_tf.evaluate, run, "val", data=str(image_tree)).code == "split-unknown"
    for number, (values, code) in enumerate(
        (({"validation_size": 0}, "no-validation-split"), ({}, "data-other-classes"))
    ):
        copy = Run(shutil.copytree(run.folder, tmp_path / "runs" / "tiny" / str(number)))
        copy.write_preset(load_preset(run.preset, data=values))
        if code == "data-other-classes":
            copy.update(class_names=[*run.about["class_names"][:-1], "lorry"])
        assert user_error(resnet_tf.evaluate, copy, "validation", data=str(image_tree)).code == code


def test_what_can_be_written_is_written_though_run_json_cannot_be(home, image_tree, tmp_path, monkeypatch):
    shutil.copytree(home / "runs", tmp_path / "runs")
    run = all_runs(tmp_path / "runs")[0]
    result = evaluate.evaluate(run, "validation", data=str(image_tree), figures=True)

    def fail(run, *arguments):
        raise PermissionError(errno.EACCES, "Permission denied", "run.json")

    monkeypatch.setattr(Run, "add_calibration", fail)
    shutil.rmtree(run.tensorboard)
    assert user_error(evaluate.store, run, result, tmp_path / "runs").code == "result-not-written"
    assert ledger.evaluations(tmp_path / "runs")[-1].split == "validation"
    assert shown_in_tensorboard(run.tensorboard / "evaluation")


def test_two_calibrations_at_once_both_get_in(home, tmp_path):
    shutil.copytree(home / "runs", tmp_path / "runs")
    run = all_runs(tmp_path / "runs")[0]
    other = Run(run.folder)  # another process, which has read run.json before
    assert run.about == other.about
    run.add_calibration("last", "1-crop", {"temperature": 1.5})
    other.add_calibration("last", "mirror", {"temperature": 2.0})
    assert set(run.about["calibration"]) >= {"1-crop-last", "mirror-last"}


def test_a_training_counted_in_steps_has_a_fraction_of_epochs(image_tree, tiny_preset, tmp_path):
    """18 steps, 10 an epoch; two phases of 4 steps and of one epoch, 5 steps with twice the batch."""
    phases = [{"train": {"steps": 4}}, {"train": {"epochs": 1, "batch_size": 40}}]
    for changes, epochs in (({"train": {"steps": 18}}, 1.8), ({"phases": phases}, 1.4)):
        run = resnet_tf.train(resnet_tf.load_preset(tiny_preset, **changes), str(image_tree), tmp_path)
        assert resnet_tf.evaluate(run, data=str(image_tree))["epochs"] == epochs


def shown_in_tensorboard(folder) -> dict[str, dict[int, object]]:
    """Returns {tag: {step: value}} of the event files in a folder; a picture has no value, but its bytes."""
    events = EventAccumulator(str(folder)).Reload()
    return {
        tag: {event.step: tensor_util.make_ndarray(event.tensor_proto) for event in events.Tensors(tag)}
        for tag in events.Tags()["tensors"]
    }


def test_tensorboard_shows_the_log_as_two_curves_of_each_chart(home):
    run = all_runs(home / "runs")[0]
    train, validation = (shown_in_tensorboard(run.tensorboard / part) for part in ("train", "validation"))
    for name in ("loss", "top1", "learning_rate"):
        assert train[name] == pytest.approx({row["step"]: row[name] for row in run.rows}, rel=1e-6)
    assert {"preset", "network", "augmented batch"} <= set(train)
    for name in ("loss", "top1"):
        assert validation[name] == pytest.approx({row["step"]: row[f"validation_{name}"] for row in run.rows}, rel=1e-6)


def test_what_is_measured_during_a_training_is_in_its_tensorboard(home, image_tree, tmp_path, capsys):
    without = shutil.ignore_patterns("evaluation")  # of other tests
    shutil.copytree(home / "runs", tmp_path / "runs", ignore=without)
    run = all_runs(tmp_path / "runs")[0]
    run.update(status="running", step=None)
    arguments = ("--run", run.name, "--runs", tmp_path / "runs", "--weights", "best", "--data", image_tree)
    run_command(eval_command, *arguments, "--figures", code=0)
    assert "TensorBoard" not in capsys.readouterr().out
    shown = shown_in_tensorboard(run.tensorboard / "evaluation")
    assert sorted(shown) == [f"test 1-crop best {name}" for name in ("calibration", "confusion", "mistakes")]
    for name, steps in shown.items():
        ((_, _, picture),) = steps.values()
        file = "-".join(name.split()) + ".png"
        decoded = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
        np.testing.assert_array_equal(decoded, np.asarray(Image.open(run.figures / file).convert("RGB")))


def test_tensorboard_shows_the_test_figure_of_the_presets_own_protocol_alone(home, image_tree, tmp_path):
    shutil.copytree(home / "runs", tmp_path / "runs")
    run = all_runs(tmp_path / "runs")[0]
    for path in run.tensorboard.glob("*.hparams*"):
        path.unlink()
    scored = ("--run", run.name, "--runs", tmp_path / "runs", "--data", image_tree)
    for options in (("--view", "mirror"), ("--weights", "best"), ("--resolution", "40")):
        run_command(eval_command, *scored, *options, code=0)
    assert not list(run.tensorboard.glob("*.hparams*"))
    run_command(eval_command, *scored, code=0)
    (shown,) = shown_in_tensorboard(run.tensorboard)["test_top1"].values()
    assert shown == pytest.approx(ledger.evaluations(tmp_path / "runs")[-1].top1)


def test_mistakes_in_evaluation(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "pretrained")
    assert "train.py --preset 4" in mistake(capsys, eval_command, "--preset", "4", "--runs", tmp_path)
    assert "none" in mistake(capsys, eval_command, "--preset", "4", "--runs", tmp_path / "none")
    assert "--preset" in mistake(capsys, eval_command)
    assert "4/nothing" in mistake(capsys, eval_command, "--run", "4/nothing", "--runs", tmp_path)

"""The three commands as a user meets them: the whole way once, and every mistake in one clear line."""

import errno
import json
import os
import pickle
import re
import shlex
import shutil
from dataclasses import replace

import numpy as np
import pytest
from messages import listen
from PIL import Image

import eval as eval_command
import predict as predict_command
import train as train_command
from resnet_tf.cli import command
from resnet_tf.errors import UserError
from resnet_tf.presets.augmentation import parse
from resnet_tf.runs import run_folder
from resnet_tf.training.plan import make_plans


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_preset, image_tree):
    """A folder with a preset file and a finished run of it."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "tiny.json").write_text(json.dumps(tiny_preset))
    call(train_command, "--preset", folder / "tiny.json", "--data", image_tree, "--runs", folder / "runs", code=0)
    return folder


def call(module, *arguments, code: int) -> None:
    assert command.run_command(module.main, [str(argument) for argument in arguments]) == code


def mistake(capsys, module, *arguments) -> str:
    """Runs a command that must refuse; returns its one line."""
    call(module, *arguments, code=2)
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith("error: ")
    assert "Traceback" not in captured.err
    return captured.err


def test_trained_evaluated_and_predicted(home, image_tree, capsys):
    preset, runs = home / "tiny.json", home / "runs"
    before = preset.read_bytes()
    call(eval_command, "--preset", preset, "--data", image_tree, "--runs", runs, "--record", code=0)
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
    stored = np.load(run_folder.every(runs)[0].folder / "predictions" / "test-1-crop-last.npz")
    assert np.sum(stored["labels"] == stored["predicted"]) == row["correct"]
    assert np.bincount(stored["labels"]).tolist() == [7] * 10
    assert np.mean(-np.log(stored["probability"])) == pytest.approx(row["loss"], abs=1e-4)

    validation = ("--split", "validation", "--figures")
    call(eval_command, "--preset", preset, "--data", image_tree, "--runs", runs, *validation, code=0)
    assert re.search(r"calibration error \d+\.\d\d %, \d+\.\d\d % at temperature \d", capsys.readouterr().out)
    figures = sorted(path.name for path in (run_folder.every(runs)[0].folder / "figures").iterdir())
    assert figures == [f"validation-1-crop-last-{name}.png" for name in ("calibration", "confusion", "mistakes")]
    logged = run_folder.every(runs)[0].rows[-1]
    row = json.loads((runs / "eval_overall.jsonl").read_text().splitlines()[-1])
    assert row["top1"] == pytest.approx(logged["validation_top1"], abs=1e-4)
    assert row["loss"] == pytest.approx(logged["validation_loss"], abs=1e-5)
    assert len(json.loads(preset.read_text())["results"]) == 1  # a validation figure is no test result

    call(eval_command, "--preset", preset, "--data", image_tree, "--runs", runs, "--recalibrate", "--record", code=0)
    assert len(re.findall(r"statistics are measured again on \d+ training images", capsys.readouterr().out)) == 1
    again = json.loads((runs / "eval_overall.jsonl").read_text().splitlines()[-1])
    assert again["protocol"] == "1-crop, last epoch, batch norm recalibrated"
    assert again["loss"] != row["loss"]
    assert len(json.loads(preset.read_text())["results"]) == 2


def test_a_run_is_scored_as_the_preset_says_beside_which_it_stands(home, image_tree):
    import resnet_tf

    run = run_folder.every(home / "runs")[0]
    named = resnet_tf.load_preset(str(home / "tiny.json"), evaluation={"view": "mirror", "weights": "best"})
    result = resnet_tf.evaluate(run, data=str(image_tree), against=named)
    assert (result["view"], result["weights"], result["changed"]) == ("mirror", "best", {})
    result = resnet_tf.evaluate(run, data=str(image_tree), against=named, view="1-crop", weights="last")
    assert (result["view"], result["weights"]) == ("1-crop", "last")


def test_photos_get_a_row_each_and_a_bad_one_its_reason(home, image_tree, tmp_path, capsys):
    good = sorted((image_tree / "test" / "cat").iterdir())[:2]
    bad = tmp_path / "notes.jpg"
    bad.write_text("not a picture")
    csv, figure = tmp_path / "out.csv", tmp_path / "sheet.png"
    arguments = (good[0], bad, good[1], "--runs", home / "runs", "--json", "--csv", csv, "--figure", figure)
    call(predict_command, *arguments, code=0)
    captured = capsys.readouterr()
    rows = json.loads(captured.out)
    assert [row["file"] for row in rows] == [str(good[0]), str(bad), str(good[1])]
    assert [row["error"] is None for row in rows] == [True, False, True]
    for row in (rows[0], rows[2]):
        probabilities = [entry["probability"] for entry in row["top"]]
        assert probabilities == sorted(probabilities, reverse=True)
        assert len(probabilities) == 3
    assert "tiny/" in captured.err  # says which run it used
    assert len(csv.read_text().splitlines()) == 4
    assert Image.open(figure).format == "PNG"


def test_what_cannot_be_written_costs_neither_the_table_nor_the_other_file(home, image_tree, tmp_path, capsys):
    photo = next((image_tree / "test" / "cat").iterdir())
    (tmp_path / "taken.csv").mkdir()
    places = ("--csv", tmp_path / "taken.csv", "--figure", tmp_path / "sheet.pdf")
    call(predict_command, photo, "--runs", home / "runs", *places, code=2)
    captured = capsys.readouterr()
    assert re.search(r"\d+\.\d%", captured.out)
    assert captured.err.startswith("error: cannot write")
    assert "taken.csv" in captured.err
    assert (tmp_path / "sheet.pdf").read_bytes().startswith(b"%PDF-")


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
        call(eval_command, *places, *arguments, code=2)
        captured = capsys.readouterr()
        assert re.search(r"top-1 +\d+\.\d\d %", captured.out)
        assert captured.err.count("\n") == 1
        assert "Read-only file system" in captured.err
        assert str(place / file) in captured.err
        assert (home / "tiny.json").read_bytes() == before
    assert len((tmp_path / "runs" / "eval_overall.jsonl").read_text().splitlines()) == 1  # what could be kept was


def test_a_figure_that_cannot_be_kept_costs_neither_the_row_nor_the_predictions(home, image_tree, tmp_path, capsys):
    shutil.copytree(home / "runs", tmp_path / "runs")
    (run,) = run_folder.every(tmp_path / "runs")
    for folder in (run.predictions, run.folder / "figures"):
        shutil.rmtree(folder, ignore_errors=True)
    (run.folder / "figures").write_text("in the way")
    log = tmp_path / "runs" / "eval_overall.jsonl"
    rows = len(log.read_text().splitlines()) if log.exists() else 0
    places = ("--preset", home / "tiny.json", "--data", image_tree, "--runs", tmp_path / "runs")
    call(eval_command, *places, "--figures", code=2)
    captured = capsys.readouterr()
    assert "figures" in captured.err
    assert re.search(r"top-1 +\d+\.\d\d %", captured.out)
    assert "recorded in" in captured.out
    assert len(log.read_text().splitlines()) == rows + 1
    assert list(run.predictions.glob("*.npz"))


def test_of_two_classes_both_are_told(home, image_tree, tiny_preset, tmp_path):
    import resnet_tf

    for split in ("train", "test"):
        for name in ("cat", "dog"):
            shutil.copytree(image_tree / split / name, tmp_path / "two" / split / name)
    values = {**tiny_preset, "data": {**tiny_preset["data"], "dataset": "folder"}, "train": {"steps": 1}}
    values["evaluation"] = {"frame": "resize(32) | center_crop(24)"}
    values["train"]["batch_size"] = 4
    values["data"] |= {"augment": "random_crop(24)", "image_size": 24, "validation_size": 0}
    preset = resnet_tf.load_preset(values)
    run = resnet_tf.train(preset, data=str(tmp_path / "two"), runs=tmp_path / "runs")
    photo, said = next((image_tree / "test" / "cat").iterdir()), listen()
    (row,) = resnet_tf.predict([photo], run=run.name, runs=tmp_path / "runs")
    assert run.name in said[0]
    assert {entry["class"] for entry in row["top"]} == {"cat", "dog"}


@pytest.mark.parametrize(
    ("dataset", "frame", "side", "crop"),
    [
        ("cifar10", "", 32, 32),
        ("cifar10", "center_crop(24)", 32, 24),  # what the test sees of an image is what it sees of a photo
        ("cifar10", "resize(40) | center_crop(32)", 40, 32),
        ("stl10", "resize(70)", 70, 70),
        ("folder", "resize(64) | center_crop(56)", 64, 56),
        ("folder", "resize(64) | resample | center_crop(56)", 64, 56),
    ],
)
def test_a_photo_takes_the_size_of_the_images_first(tiny_preset, dataset, frame, side, crop):
    import resnet_tf
    from resnet_tf.pipeline.views import photo_framing

    values = {**tiny_preset, "data": {**tiny_preset["data"], "dataset": dataset}, "evaluation": {"frame": frame}}
    assert photo_framing(resnet_tf.load_preset(values)) == (side, crop)


@pytest.mark.parametrize(
    ("dataset", "frame"),
    [
        ("folder", "center_crop(64)"),  # the evaluation cuts it out of the photo as it is, whatever its size
        ("folder", "center_crop(224) | resize(120)"),
        ("cifar10", "center_crop(24) | resize(32)"),
    ],
)
def test_a_frame_that_photos_cannot_have_is_refused(tiny_preset, dataset, frame):
    import resnet_tf
    from resnet_tf.pipeline.views import photo_framing

    values = {**tiny_preset, "data": {**tiny_preset["data"], "dataset": dataset}, "evaluation": {"frame": frame}}
    with pytest.raises(UserError, match=r"evaluation\.frame") as caught:
        photo_framing(resnet_tf.load_preset(values))
    assert "\n" not in str(caught.value)


def test_a_class_that_no_terminal_can_show_is_scored_and_told(home, image_tree, tmp_path, capsys):
    from resnet_tf.evaluation.show import show

    result = {
        "top1_interval": [0.0, 1.0],
        "epochs": 1,
        "run": "a/b",
        "weights": "last",
        "view": "1-crop",
        "split": "test",
    }
    result |= {"data": {"title": "folder"}, "count": 1, "resolution": 8, "top1": 1.0, "top5": 1.0, "loss": 1.0}
    result |= {"per_class_top1": {"caf\udce9": 1.0, "\x1b[31mred": None}, "same_data_as_training": True, "verdict": ""}
    show(result)
    told = capsys.readouterr().out
    assert "caf\\xe9" in told
    assert "\x1b" not in told


def test_weights_that_do_not_say_how_long_they_were_trained_are_scored(home, image_tree, tmp_path, capsys):
    import resnet_tf
    from resnet_tf.evaluation.show import show

    shutil.copytree(run_folder.every(home / "runs")[0].folder, tmp_path / "tiny" / "bare")
    (run,) = run_folder.every(tmp_path)
    with np.load(run.last) as stored:
        arrays = {name: stored[name] for name in stored.files if name != "__about__"}
    np.savez(run.last, **arrays)
    capsys.readouterr()
    show(resnet_tf.evaluate(run, data=str(image_tree)))
    assert capsys.readouterr().out.splitlines()[0] == "tiny/bare, last weights (of unknown length), 1-crop"


def test_a_broken_image_is_named_when_batch_norm_is_measured_anew(home, image_tree, tmp_path, monkeypatch):
    from resnet_tf.datasets import sources
    from resnet_tf.datasets.splits import FileSplit
    from resnet_tf.evaluation import evaluate

    run = run_folder.every(home / "runs")[0]
    dataset = sources.load("cifar10", str(image_tree))
    path = tmp_path / "broken.png"
    path.write_bytes(b"no picture")
    plan = make_plans(run.preset, dataset, 0)[-1]
    split = FileSplit(np.full(20, str(path), object), np.zeros(20, np.int32))
    broken = replace(plan, batches=replace(plan.batches, split=split, chain=parse("resize(32) | center_crop(32)")))
    monkeypatch.setattr(evaluate, "make_plans", lambda *arguments: [broken])
    with pytest.raises(UserError, match=re.escape(str(path))):
        evaluate.evaluate(run, data=str(image_tree), recalibrate=True)


def test_a_photo_predicts_as_the_same_image_evaluates(home, image_tree):
    """One network, one normalisation: probabilities of a file equal those of the evaluated image."""
    import resnet_tf
    from resnet_tf.datasets import sources
    from resnet_tf.models.build import load_network
    from resnet_tf.pipeline.views import evaluation_batches

    run = run_folder.every(home / "runs")[0]
    files = sorted((image_tree / "test").rglob("*.png"))
    rows = resnet_tf.predict(files, run=run, top=10)
    predicted = {
        np.asarray(Image.open(row["file"])).tobytes(): {entry["class"]: entry["probability"] for entry in row["top"]}
        for row in rows
    }
    dataset = sources.load("cifar10", str(image_tree))
    model, _ = load_network(run.preset, 10, run.last)
    for views, _ in evaluation_batches(run.preset, dataset.test).dataset():
        images = views[:, 0].numpy()
        logits = model.predict_on_batch(images)
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        for image, share in zip(images, shares, strict=True):
            ours = predicted[image.astype(np.uint8).tobytes()]
            np.testing.assert_allclose([ours[name] for name in dataset.class_names], share, atol=1e-5)


def test_dry_run_tells_and_writes_nothing(home, image_tree, tmp_path, capsys):
    figure = tmp_path / "rate.png"
    arguments = ("--preset", home / "tiny.json", "--data", image_tree, "--runs", tmp_path / "runs", "--dry-run")
    call(train_command, *arguments, "--figure", figure, code=0)
    printed = capsys.readouterr().out
    assert "30 of batch 20 (3 epochs of 10)" in printed
    assert "x0.8 an epoch" in printed
    assert "images/s" in printed
    assert "warning" not in printed
    assert Image.open(figure).format == "PNG"
    assert not (tmp_path / "runs").exists()
    call(train_command, *arguments, "--set", "train.jit_compile=true", code=0)
    assert "train.jit_compile=false" in capsys.readouterr().out


def test_a_preset_may_be_a_pickle_of_plain_values(image_tree, tiny_preset, tmp_path, capsys):
    path = tmp_path / "mine.pickle"
    path.write_bytes(pickle.dumps({**tiny_preset, "name": "mine", "train": {"batch_size": 20, "epochs": 1}}))
    places = ("--data", image_tree, "--runs", tmp_path / "runs")
    call(train_command, "--preset", path, *places, code=0)
    hint = shlex.split(capsys.readouterr().out.splitlines()[-1].partition("eval.py ")[2])
    assert hint[:2] == ["--run", run_folder.every(tmp_path / "runs")[0].name]  # what was trained, not the preset's best
    call(eval_command, *hint, code=0)
    assert "results" not in pickle.loads(path.read_bytes())  # on a folder copy of CIFAR-10 it is a trial
    call(eval_command, "--preset", path, *places, "--record", code=0)
    assert len(pickle.loads(path.read_bytes())["results"]) == 1


class Hostile:
    def __reduce__(self):
        return (open, ("hostile-was-here", "w"))


def test_mistakes_in_training(home, image_tree, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny = home / "tiny.json"
    assert "'resnt20'" in mistake(capsys, train_command, "--preset", "resnt20")
    assert "'demo'" in mistake(capsys, train_command, "--preset", "demmo")
    line = mistake(capsys, train_command, "--preset", tiny, "--set", "train.epoch=2")
    assert "'epoch'" in line
    assert "'epochs'" in line
    line = mistake(capsys, train_command, "--preset", tiny, "--set", "train.epochs=two")
    assert "whole number" in line
    assert "'two'" in line
    assert "key=value" in mistake(capsys, train_command, "--preset", tiny, "--set", "epochs")
    line = mistake(capsys, train_command, "--preset", tiny, "--data", tmp_path / "nothing")
    assert "nothing' does not exist" in line
    assert "--presets" in mistake(capsys, train_command, "--presets", "4")
    assert "--preset" in mistake(capsys, train_command)

    assert "--dry-run" in mistake(capsys, train_command, "--preset", tiny, "--figure", "rate.png")
    assert "'rate.jpg'" in mistake(capsys, train_command, "--preset", tiny, "--dry-run", "--figure", "rate.jpg")
    places = ("--preset", tiny, "--data", image_tree, "--runs")
    assert "seed must be 0 to" in mistake(capsys, train_command, *places, tmp_path / "new", "--seed", 2**40)
    # What cannot be carried out is refused before there is a run.
    line = mistake(capsys, train_command, *places, tmp_path / "new", "--set", "model.parameter_limit=10")
    assert "model.parameter_limit is 10" in line
    arguments = ("--set", "data.validation_size=0", "--set", "evaluation.weights=best")
    assert "must be one that can be carried out" in mistake(
        capsys, train_command, *places, tmp_path / "new", *arguments
    )
    assert not (tmp_path / "new").exists()
    assert "a run must exist" in mistake(capsys, train_command, *places, home / "runs", "--resume", "")
    run = run_folder.every(home / "runs")[0].name
    line = mistake(capsys, train_command, *places, home / "runs", "--resume", run, "--seed", 9)
    assert "the seed it began with. Received: seed 9" in line

    broken = tmp_path / "broken.json"
    broken.write_text('{"model": ')
    assert "broken.json" in mistake(capsys, train_command, "--preset", broken)
    hostile = tmp_path / "hostile.pickle"
    hostile.write_bytes(pickle.dumps({"name": Hostile()}))
    assert "hostile.pickle" in mistake(capsys, train_command, "--preset", hostile)
    assert not (tmp_path / "hostile-was-here").exists()
    assert "--resume" in mistake(
        capsys, train_command, "--preset", tiny, "--data", image_tree, "--runs", tmp_path, "--resume"
    )


def test_a_run_goes_on_by_its_name_alone(home, image_tree, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(home / "runs", "runs")
    run = run_folder.every("runs")[0]
    data = ("--data", image_tree)
    # Nothing looks at what is about to be trained on: it would look at the preset.
    for look in ("--dry-run", "--check", "--summary"):
        assert look in mistake(capsys, train_command, "--preset", home / "tiny.json", "--resume", run.name, look)
    assert "--resume RUN" in mistake(capsys, train_command, "--resume")
    line = mistake(capsys, train_command, "--resume", run.name, "--set", "train.batch_size=10", *data)
    assert "train.batch_size: 20 -> 10" in line
    assert "which is finished" in mistake(capsys, train_command, "--resume", run.name, *data)
    assert "began with, tiny. Received: 3" in mistake(
        capsys, train_command, "--preset", "3", "--resume", run.name, *data
    )
    call(train_command, "--resume", run.name, "--set", "train.epochs=4", *data, code=0)
    printed = capsys.readouterr().out
    assert "train.epochs: 3 -> 4" in printed
    assert f"next: python eval.py --run {run.name}" in printed
    assert (run.about["step"], run.about["changed"]) == (40, {"train.epochs": [4, 3]})


def test_an_unfinished_run_is_named_and_how_to_finish_it(home, image_tree, tmp_path, capsys):
    shutil.copytree(home / "runs", tmp_path / "runs")
    run = run_folder.every(tmp_path / "runs")[0]
    run.update(status="stopped")
    run.last.unlink()
    photo = next((image_tree / "test" / "cat").iterdir())
    for module, *arguments in ((eval_command, "--data", image_tree), (predict_command, photo)):
        line = mistake(capsys, module, "--run", run.name, "--runs", tmp_path / "runs", *arguments)
        assert f"{run.name}, stopped, saved up to step 30 of 30: finish it with" in line
        call(module, "--run", run.name, "--runs", tmp_path / "runs", "--weights", "best", *arguments, code=0)
        capsys.readouterr()


def test_a_class_missing_from_a_folder_is_named(home, image_tree, tmp_path, capsys):
    for split in ("train", "test"):
        for folder in (image_tree / split).iterdir():
            if (split, folder.name) != ("train", "ship"):
                (tmp_path / split / folder.name).mkdir(parents=True)
                (tmp_path / split / folder.name / "0.png").symlink_to(next(folder.iterdir()))
    assert "ship" in mistake(capsys, train_command, "--preset", home / "tiny.json", "--data", tmp_path)


def test_mistakes_in_evaluation_and_prediction(home, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_folder, "SHIPPED", tmp_path / "weights")
    text = tmp_path / "photo.jpg"
    text.write_text("I am a text")
    assert "finished run" in mistake(capsys, eval_command, "--preset", "4", "--runs", tmp_path)
    assert "a folder of runs must exist" in mistake(capsys, eval_command, "--preset", "4", "--runs", tmp_path / "none")
    assert "--preset" in mistake(capsys, eval_command)
    assert "must exist" in mistake(capsys, eval_command, "--run", "4/nothing", "--runs", tmp_path)
    assert "at least one photo" in mistake(capsys, predict_command)
    assert "no photo found" in mistake(capsys, predict_command, "nothing-*.jpg", "--runs", home / "runs")
    assert "finished run" in mistake(capsys, predict_command, text, "--runs", tmp_path)
    assert "'sheet.gif'" in mistake(capsys, predict_command, text, "--runs", home / "runs", "--figure", "sheet.gif")
    assert "photo.jpg" in mistake(capsys, predict_command, text, "--runs", home / "runs")
    assert "--top" in mistake(capsys, predict_command, text, "--runs", home / "runs", "--top", "11")

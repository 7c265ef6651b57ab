"""predict.py as a user meets it, and the prediction from Python."""

import csv
import io
import json
import os
import re
import shutil

import keras
import numpy as np
import pytest
from assertions import user_error
from messages import listen
from PIL import Image
from running import mistake, run_command

import resnet_tf
from resnet_tf.cli import predict as predict_command
from resnet_tf.datasets import sources
from resnet_tf.evaluation.evaluate import store
from resnet_tf.models.build import load_network
from resnet_tf.pipeline.framing import evaluation_batches, photo_sizes
from resnet_tf.pipeline.views import views
from resnet_tf.prediction.predict import Predictor, class_activation, class_of_folder
from resnet_tf.presets import schema
from resnet_tf.presets.preset_files import load_preset
from resnet_tf.runs import pretrained
from resnet_tf.runs.choose import all_runs, find_run
from resnet_tf.runs.run import Run
from resnet_tf.scoring.diagnosis import FEW_IMAGES


def test_photos_get_a_row_each_and_a_bad_one_its_reason(home, image_tree, tmp_path, capsys):
    good = sorted((image_tree / "test" / "cat").iterdir())[:2]
    bad = tmp_path / "notes.jpg"
    bad.write_text("not a picture")
    table, figure = tmp_path / "out.csv", tmp_path / "sheet.png"
    arguments = (good[0], bad, good[1], "--runs", home / "runs", "--json", "--csv", table, "--figure", figure)
    run_command(predict_command, *arguments, code=0)
    captured = capsys.readouterr()
    rows = json.loads(captured.out)
    assert [row["file"] for row in rows] == [str(good[0]), str(bad), str(good[1])]
    assert [row["error"] is None for row in rows] == [True, False, True]
    for row in (rows[0], rows[2]):
        probabilities = [entry["probability"] for entry in row["top"]]
        assert probabilities == sorted(probabilities, reverse=True)
        assert len(probabilities) == 3
    assert "tiny/" in captured.err  # says which run it used
    assert len(table.read_text().splitlines()) == 4
    assert Image.open(figure).format == "PNG"


def test_csv_is_printed_alone(home, image_tree, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    photos = sorted((image_tree / "test" / "cat").iterdir())[:2]
    run_command(predict_command, *photos, "--runs", home / "runs", "--csv", "-", code=0)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["file"] for row in rows] == list(map(str, photos))
    run_command(predict_command, *photos, "--runs", home / "runs", "--csv", "-", "--json", code=2)
    assert capsys.readouterr().out == ""
    assert not os.path.exists("-")


def test_what_cannot_be_written_costs_neither_the_table_nor_the_other_file(home, image_tree, tmp_path, capsys):
    photo = next((image_tree / "test" / "cat").iterdir())
    (tmp_path / "taken.csv").mkdir()
    places = ("--csv", tmp_path / "taken.csv", "--figure", tmp_path / "sheet.pdf")
    run_command(predict_command, photo, "--runs", home / "runs", *places, code=2)
    captured = capsys.readouterr()
    assert re.search(r"\d+\.\d%", captured.out)
    assert captured.err.startswith("error: cannot write")
    assert "taken.csv" in captured.err
    assert (tmp_path / "sheet.pdf").read_bytes().startswith(b"%PDF-")


def test_of_two_classes_both_are_given(home, image_tree, tiny_preset, tmp_path):
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
    values = {**tiny_preset, "data": {**tiny_preset["data"], "dataset": dataset}, "evaluation": {"frame": frame}}
    assert photo_sizes(resnet_tf.load_preset(values)) == (side, crop)


@pytest.mark.parametrize(
    ("dataset", "frame"),
    [
        ("folder", "center_crop(64)"),  # the evaluation cuts it out of the photo as it is, whatever its size
        ("folder", "center_crop(224) | resize(120)"),
        ("cifar10", "center_crop(24) | resize(32)"),
    ],
)
def test_a_frame_that_photos_cannot_have_is_refused(tiny_preset, dataset, frame):
    values = {**tiny_preset, "data": {**tiny_preset["data"], "dataset": dataset}, "evaluation": {"frame": frame}}
    assert "evaluation.frame" in str(user_error(photo_sizes, resnet_tf.load_preset(values)))


def test_a_photo_predicts_as_the_same_image_evaluates(home, image_tree):
    """One network, one normalisation: probabilities of a file equal those of the evaluated image."""
    run = all_runs(home / "runs")[0]
    files = sorted((image_tree / "test").rglob("*.png"))
    rows = resnet_tf.predict(files, run=run, top=10)
    predicted = {
        np.asarray(Image.open(row["file"])).tobytes(): {entry["class"]: entry["probability"] for entry in row["top"]}
        for row in rows
    }
    dataset = sources.load("cifar10", str(image_tree))
    model, _ = load_network(run.preset, 10, run.last)
    for shown, _ in evaluation_batches(run.preset, dataset.test).dataset():
        images = shown[:, 0].numpy()
        logits = model.predict_on_batch(images)
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        for image, share in zip(images, shares, strict=True):
            ours = predicted[image.astype(np.uint8).tobytes()]
            np.testing.assert_allclose([ours[name] for name in dataset.class_names], share, atol=1e-5)


def test_folders_called_after_classes_are_scored(home, image_tree, tmp_path, capsys):
    for name in ("cat", "Dog", "holiday"):  # the last is no class
        shutil.copytree(image_tree / "test" / ("dog" if name == "Dog" else "cat"), tmp_path / "photos" / name)
    rows = resnet_tf.predict([tmp_path / "photos"], run=all_runs(home / "runs")[0])
    assert [row["truth"] for row in rows] == ["dog"] * 7 + ["cat"] * 7 + [None] * 7
    right = sum(row["truth"] == row["top"][0]["class"] for row in rows)
    run_command(predict_command, tmp_path / "photos", "--runs", home / "runs", code=0)
    printed = capsys.readouterr().out
    assert f"{right} of 14 right" in printed
    assert f"answered by {all_runs(home / 'runs')[0].name}" in printed


def test_a_score_of_the_photos_that_the_run_was_trained_on_is_doubted(home, image_tree, tmp_path, capsys):
    run = Run(shutil.copytree(all_runs(home / "runs")[0].folder, tmp_path / "runs" / "tiny" / "copy"))
    for folder, doubted in ((image_tree, True), (tmp_path, False)):
        run.update(data_option=str(folder))
        run_command(predict_command, image_tree / "train" / "cat", "--runs", tmp_path / "runs", code=0)
        assert ("of the scored photos" in "".join(capsys.readouterr())) == doubted


@pytest.mark.parametrize(
    ("folder", "truth"),
    [("cat", "cat"), ("CAT", "cat"), ("a", "a"), ("A", "A"), ("horse", None), ("STRASSE", "straße"), ("b", None)],
)
def test_a_folder_is_called_after_a_class(folder, truth):
    assert class_of_folder(folder, ["cat", "A", "a", "straße"]) == truth


def test_validation_images_say_what_is_unsure(home, image_tree, tmp_path, capsys):
    """The probabilities are those of the temperature that eval.py stored; where that is of few images, it is said."""
    folder = tmp_path / "runs" / all_runs(home / "runs")[0].name
    shutil.copytree(all_runs(home / "runs")[0].folder, folder)
    run, photos = find_run(str(folder), tmp_path / "runs"), sorted((image_tree / "test" / "cat").iterdir())
    before = resnet_tf.predict(photos, run=run, top=10)
    result = resnet_tf.evaluate(run, "validation", data=str(image_tree))
    store(run, result, tmp_path / "runs")
    stored = run.calibration("last", "1-crop")
    assert stored["images"] == 40
    after = resnet_tf.predict(photos, run=run, top=10)
    for plain, scaled in zip(before, after, strict=True):
        raw = np.array([guess["probability"] for guess in plain["top"]])
        expected = raw ** (1 / stored["temperature"]) / (raw ** (1 / stored["temperature"])).sum()
        np.testing.assert_allclose([guess["probability"] for guess in scaled["top"]], expected, atol=1e-5)
        assert scaled["unsure"] == (expected[0] < stored["unsure_below"])
    run_command(predict_command, photos[0], "--run", folder, "--runs", tmp_path / "runs", code=0)
    assert "temperature is of 40 validation images" in capsys.readouterr().out
    (key,) = run.about["calibration"]
    run.update(calibration={key: {**run.about["calibration"][key], "images": FEW_IMAGES}})
    assert Predictor(run).caution == ""


@pytest.mark.parametrize(("view", "images"), [("mirror", 2), ("mirror-shift", 6)])
def test_a_photo_is_shown_in_the_views_of_the_evaluation(home, image_tree, view, images):
    run = all_runs(home / "runs")[0]
    predictor = Predictor(run)
    predictor.view = view
    files = sorted((image_tree / "test").rglob("*.png"))[:9]
    rows, found = zip(*predictor.predict(files, 10), strict=True)
    model, _ = load_network(run.preset, 10, run.last)
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    shown = views(pixels, view).numpy().astype(np.float32)
    assert shown.shape[1] == images
    logits = model.predict_on_batch(shown.reshape(-1, 32, 32, 3))
    shares = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).reshape(9, images, 10).mean(axis=1)
    for row, share in zip(rows, shares, strict=True):
        ours = {guess["class"]: guess["probability"] for guess in row["top"]}
        np.testing.assert_allclose([ours[name] for name in run.about["class_names"]], share, atol=1e-5)
    # The map that is shown is of the photo itself, the first view, and of the first class.
    features = keras.Model(model.inputs, model.get_layer("pool").input).predict_on_batch(shown[:, 0])
    kernel = np.asarray(model.get_layer("head").kernel)
    for photo, seen, share in zip(found, features, shares, strict=True):
        np.testing.assert_allclose(photo.activation, class_activation(seen, kernel[:, share.argmax()]), atol=1e-4)


def test_a_preset_scored_by_ten_crops_shows_a_photo_in_one(home, image_tree, tmp_path):
    """Ten crops miss parts of a photo."""
    run = Run(shutil.copytree(all_runs(home / "runs")[0].folder, tmp_path / "runs" / "tiny" / "copy"))
    photo = next((image_tree / "test" / "cat").iterdir())
    (plain,) = resnet_tf.predict(photo, run=run, top=10)
    evaluation = {"view": "10-crop", "frame": "resize(36) | center_crop(32)", "weights": "last"}
    run.write_preset(load_preset({**schema.to_dict(run.preset), "evaluation": evaluation}))
    predictor = Predictor(run, frame="squash")
    assert predictor.view == "1-crop"
    ((row, _),) = predictor.predict([photo], 10)
    assert row["error"] is None
    assert len(row["top"]) == len(plain["top"])


def test_one_name_is_one_photo(home, image_tree, monkeypatch):
    photo = next((image_tree / "test" / "cat").iterdir())
    run = all_runs(home / "runs")[0]
    for name in (str(photo), photo):
        (row,) = resnet_tf.predict(name, run=run)
        assert row["file"] == str(photo)
    assert user_error(resnet_tf.predict, photo, preset="4", run=run).code == "run-of-another-preset"
    assert user_error(resnet_tf.predict, photo, run=run, top=2.5).code == "top-out-of-range"
    assert user_error(resnet_tf.predict, photo, run=run, weights="bset").code == "weights-unknown"
    assert user_error(resnet_tf.from_pretrained, run, weights="bset").code == "weights-unknown"


def test_an_unknown_frame_is_refused(home):
    assert user_error(Predictor, all_runs(home / "runs")[0], frame="stretch").code == "unknown-frame"


def test_mistakes_in_prediction(home, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "pretrained")
    text = tmp_path / "photo.jpg"
    text.write_text("I am a text")
    runs = ("--runs", home / "runs")
    assert "predict.py photo.jpg" in mistake(capsys, predict_command)
    assert "nothing-*.jpg" in mistake(capsys, predict_command, "nothing-*.jpg", *runs)
    assert "train.py --preset demo" in mistake(capsys, predict_command, text, "--runs", tmp_path)
    assert "'sheet.gif'" in mistake(capsys, predict_command, text, *runs, "--figure", "sheet.gif")
    assert "photo.jpg" in mistake(capsys, predict_command, text, *runs)
    assert "--top" in mistake(capsys, predict_command, text, *runs, "--top", "11")

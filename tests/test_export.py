"""Exported networks in their own runtimes, fed by hand, against what predict.py says of the same files."""

import dataclasses
import errno
import json
import os
import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from assertions import user_error
from PIL import Image

import resnet_tf
from resnet_tf import export
from resnet_tf.cli import command
from resnet_tf.cli import export as export_command
from resnet_tf.datasets import shapes10
from resnet_tf.errors import UserError
from resnet_tf.models.build import load_network
from resnet_tf.presets.preset_files import load_preset
from resnet_tf.runs.choose import all_runs
from resnet_tf.runs.run import Run
from resnet_tf.training.train import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_preset, image_tree):
    folder = tmp_path_factory.mktemp("runs")
    train(load_preset(tiny_preset, train={"epochs": 1}), str(image_tree), folder)
    return folder


def run_export(*arguments) -> int:
    return command.run_command(export_command.main, [str(argument) for argument in arguments])


def of_saved_model(path, images):
    import tensorflow as tf

    network = tf.saved_model.load(str(path)).signatures["serving_default"]
    return np.asarray(network(images=tf.constant(images))["probabilities"])


def of_litert(path, images):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(str(path))
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["images"], "outputs": ["probabilities"]}}
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def of_onnx(path, images):
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(str(path)).run(["probabilities"], {"images": images})[0]


@pytest.mark.parametrize("to", ["saved_model", "litert", "onnx"])
def test_exported_network_predicts_as_predict_does(to, runs, image_tree, tmp_path, capsys):
    load, name = {
        "saved_model": (of_saved_model, "last_saved_model"),
        "litert": (of_litert, "last.tflite"),
        "onnx": (of_onnx, "last.onnx"),
    }[to]
    assert run_export("--to", to, "--runs", runs, "--out", tmp_path) == 0  # the images are not there
    assert re.search(r"the same class for \d+ of 300, probabilities to \d\.\de[+-]\d\d", capsys.readouterr().out)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, f"{name}.json"])
    about = json.loads((tmp_path / f"{name}.json").read_text())
    assert about["compared"]["count"] == 300
    assert about["compared"]["largest_difference"] <= 1e-4
    files = sorted((image_tree / "test").rglob("*.png"))[::7]
    images = np.stack([np.asarray(Image.open(path), np.float32) for path in files])
    probabilities = load(tmp_path / name, images)
    for row, share in zip(resnet_tf.predict(files, runs=runs, top=10), probabilities, strict=True):
        expected = {entry["class"]: entry["probability"] for entry in row["top"]}
        np.testing.assert_allclose(share, [expected[label] for label in about["class_names"]], atol=1e-4)


def test_a_saved_model_holds_each_weight_once(runs, tmp_path):
    import tensorflow as tf

    (run,) = all_runs(runs)
    path = export.export(run, "saved_model", tmp_path)
    stored = tf.train.list_variables(str(path / "variables" / "variables"))
    network, _ = load_network(run.preset, 10, run.last)
    values = sum(np.prod(shape, dtype=int) for name, shape in stored if "OBJECT_GRAPH" not in name)
    assert values == network.count_params()


@pytest.fixture(scope="module")
def cropping_runs(tmp_path_factory, tiny_preset, image_tree):
    """A run whose evaluation crops its images."""
    folder = tmp_path_factory.mktemp("cropping")
    cropping = {
        "data": {"dataset": "folder", "augment": "random_resized_crop(24)", "image_size": 24, "validation_size": 40},
        "evaluation": {"frame": "resize(28) | center_crop(24)"},
    }
    train(load_preset({**tiny_preset, **cropping}, train={"epochs": 1}), str(image_tree), folder)
    return folder


@pytest.mark.parametrize("frame", ["squash", "crop"])
def test_a_photo_resized_by_hand_as_the_json_says_is_predicted_as_by_predict(frame, request, tmp_path):
    runs = request.getfixturevalue({"squash": "runs", "crop": "cropping_runs"}[frame])
    (run,) = all_runs(runs)
    path = export.export(run, "saved_model", tmp_path, runs=runs)
    about = json.loads(path.with_name(f"{path.name}.json").read_text())
    photos = about["photos"]
    assert (photos["frame"], photos["filter"]) == (frame, "bilinear")
    drawn = np.concatenate(
        shapes10.draw(3, 0, 6)[2].reshape(2, 3, 32, 32, 3).transpose(0, 2, 1, 3, 4).reshape(2, 32, 96, 3)
    )
    photo = Image.fromarray(drawn)  # 96 x 64
    photo.save(tmp_path / "photo.png")
    side, crop = photos["side"], photos["crop"]
    size = (side, side) if frame == "squash" else (side * 96 // 64, side)
    resized = photo.resize(size, Image.Resampling.BILINEAR)
    left, top = ((length - crop) // 2 for length in size)
    image = np.asarray(resized.crop((left, top, left + crop, top + crop)), np.float32)
    (row,) = resnet_tf.predict([tmp_path / "photo.png"], runs=runs, top=10)
    expected = {entry["class"]: entry["probability"] for entry in row["top"]}
    (probabilities,) = of_saved_model(path, image[None])
    # predict.py resizes and crops at once, which rounds grey levels once.
    np.testing.assert_allclose(probabilities, [expected[name] for name in about["class_names"]], atol=2e-3)


def test_the_json_names_accuracy_and_temperature(runs, tmp_path):
    shutil.copytree(runs, tmp_path / "runs")
    (run,) = all_runs(tmp_path / "runs")
    path = export.export(run, "saved_model", tmp_path / "before", runs=tmp_path / "runs")
    about = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert "calibration" not in about
    assert about["accuracy"] == f"validation {run.rows[-1]['validation_top1']:.2f} %"
    assert about["run"] == run.name
    fitted = {"temperature": 0.7, "unsure_below": 0.6, "trained": run.about["step"]}
    run.update(calibration={f"{run.preset.evaluation.view}-last": fitted})
    path = export.export(run, "saved_model", tmp_path / "after", runs=tmp_path / "runs")
    about = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert about["calibration"]["temperature"] == 0.7
    assert about["calibration"]["view"] == run.preset.evaluation.view


@pytest.mark.parametrize(
    ("view", "fitted", "taken"),
    [("mirror", ("1-crop", "mirror"), "1-crop"), ("mirror", ("mirror",), "mirror"), ("10-crop", ("10-crop",), None)],
)
def test_the_temperature_is_of_a_view_that_a_photo_can_have(runs, tmp_path, view, fitted, taken):
    """The exported network sees one image, so a temperature of one view suits it best; one of ten crops does not."""
    run = Run(shutil.copytree(all_runs(runs)[0].folder, tmp_path / "runs" / "tiny" / "copy"))
    frame = "resize(36) | center_crop(32)"
    run.write_preset(load_preset(run.preset, evaluation={"view": view, "frame": frame}))
    for number, name in enumerate(fitted):
        temperature = {"temperature": 0.5 + number, "unsure_below": 0.6, "trained": run.about["step"]}
        run.add_calibration("last", name, temperature)
    path = export.export(run, "saved_model", tmp_path / "out", runs=tmp_path / "runs")
    about = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert about.get("calibration", {}).get("view") == taken


def test_the_images_compared_are_always_the_same():
    images = export.drawn_images(32)
    np.testing.assert_array_equal(images[: export.SHAPES], shapes10.draw()[2][: export.SHAPES])
    np.testing.assert_array_equal(images, export.drawn_images(32))
    assert export.drawn_images(24).shape == (export.SHAPES + export.NOISE, 24, 24, 3)
    assert 126 < images[export.SHAPES :].mean() < 129


def test_only_a_tie_may_change_the_class():
    def compare(expected, actual):
        images = np.zeros((1, 8, 8, 3), np.uint8)
        return export.compare(lambda _: np.array([expected]), lambda _: np.array([actual]), images)

    agreed = {"count": 1, "same_class": 1, "largest_difference": 0.0}
    assert compare([0.7, 0.3], [0.7, 0.3]) == agreed
    tie = compare([0.50001, 0.49999], [0.49999, 0.50001])
    assert (tie["same_class"], round(tie["largest_difference"], 9)) == (0, 2e-5)
    assert user_error(compare, [0.7, 0.3], [0.6998, 0.3002]).code == "export-differs"
    # A thousand classes, all nearly as probable: far closer than the tolerance, and yet another class.
    nearly = np.full(1000, 1e-3)
    nearly[0] += 1e-5
    assert user_error(compare, nearly, np.roll(nearly, 1)).code == "export-differs"
    assert user_error(compare, [0.7, 0.3], [np.nan, 0.3]).code == "export-differs"


def test_a_network_that_predicts_otherwise_is_not_written(runs, tmp_path, capsys, monkeypatch):
    form = export.FORMATS["saved_model"]

    def shifted(path):
        right = form.load(path)
        return lambda images: np.roll(right(images), 1, axis=1)

    monkeypatch.setitem(export.FORMATS, "saved_model", dataclasses.replace(form, load=shifted))
    (tmp_path / "last_saved_model.json").write_text("before")
    assert run_export("--to", "saved_model", "--runs", runs, "--out", tmp_path) == 2
    assert "another class" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["last_saved_model.json"]
    assert (tmp_path / "last_saved_model.json").read_text() == "before"


def test_a_disk_that_fills_is_one_line_and_leaves_what_was_there(runs, tmp_path, capsys, monkeypatch):
    import tensorflow as tf

    def full(*arguments, **keywords):
        raise tf.errors.ResourceExhaustedError(None, None, "variables.data: No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", full)
    (tmp_path / "last_saved_model.json").write_text("before")
    assert run_export("--to", "saved_model", "--runs", runs, "--out", tmp_path) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "No space left on device" in line
    assert [path.name for path in tmp_path.iterdir()] == ["last_saved_model.json"]


@pytest.mark.parametrize("suffix", ["_saved_model", "_saved_model.json"])
def test_where_the_new_network_cannot_be_put_in_place_the_old_one_stays(runs, tmp_path, monkeypatch, suffix):
    def write(model, path):
        path.mkdir()
        (path / "network").write_text("new")

    def replace(path, target):
        if fails and path.parent.parent == tmp_path and target == tmp_path / f"last{suffix}":
            raise PermissionError(errno.EACCES, "open elsewhere")
        os.replace(path, target)

    def contents() -> dict[str, bytes]:
        return {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    form = dataclasses.replace(export.FORMATS["saved_model"], write=write, load=lambda path: None)
    monkeypatch.setitem(export.FORMATS, "saved_model", form)
    monkeypatch.setattr(export, "compare", lambda *networks: {"count": 1, "same_class": 1, "largest_difference": 0.0})
    monkeypatch.setattr(Path, "replace", replace)
    (tmp_path / "last_saved_model").mkdir()
    (tmp_path / "last_saved_model" / "network").write_text("old")
    (tmp_path / "last_saved_model.json").write_text("of the old")
    before, fails = contents(), True
    with pytest.raises(PermissionError):
        export.export(all_runs(runs)[0], "saved_model", tmp_path)
    assert contents() == before
    fails = False
    export.export(all_runs(runs)[0], "saved_model", tmp_path)
    after = contents()
    assert after.keys() == before.keys()
    assert after["last_saved_model/network"] == b"new"
    assert json.loads(after["last_saved_model.json"])["run"] == all_runs(runs)[0].name


def test_a_folder_that_cannot_be_written_is_an_error_before_any_work(runs, tmp_path, capsys, monkeypatch):
    def read_only(*arguments, **keywords):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(export.tempfile, "mkdtemp", read_only)
    monkeypatch.setattr(export, "load_network", None)
    assert run_export("--to", "saved_model", "--runs", runs, "--out", tmp_path) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert f"{tmp_path}: Read-only file system" in line


def test_mistakes_are_one_line(runs, tmp_path, capsys, monkeypatch):
    form = dataclasses.replace(export.FORMATS["onnx"], needs=("no_such_package",))
    monkeypatch.setitem(export.FORMATS, "onnx", form)
    for arguments, datum in {
        (): "saved_model, litert, onnx",
        ("--to", "onnx"): "pip install -r requirements-export.txt",
        ("--to", "litert", "--preset", "5"): "train.py --preset 5",
    }.items():
        assert run_export(*arguments, "--runs", runs, "--out", tmp_path) == 2
        line = capsys.readouterr().err
        assert datum in line
        assert line.count("\n") == 1
    assert all_runs(runs)  # which is left as it was
    assert not list(tmp_path.iterdir())


def test_a_frame_that_photos_cannot_have_is_refused_before_any_work(runs, tmp_path, monkeypatch):
    def refuse(preset):
        raise UserError("no such photo", "a-code")

    monkeypatch.setattr(export, "photo_sizes", refuse)
    monkeypatch.setattr(export, "load_network", None)  # would fail if it were called
    assert str(user_error(export.export, all_runs(runs)[0], "saved_model", tmp_path)) == "no such photo"


def test_another_backend_is_refused(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert user_error(export.export, all_runs(runs)[0], "saved_model", tmp_path).code == "backend-cannot-export"


def test_the_command_offers_the_formats_that_there_are():
    assert tuple(export.FORMATS) == export_command.FORMATS

"""Exported networks in their own runtimes, fed by hand, against what predict.py says of the same files."""

import dataclasses
import errno
import json
import re

import numpy as np
import pytest
from assertions import user_error
from PIL import Image

import resnet_tf
from resnet_tf import export
from resnet_tf.cli import command
from resnet_tf.cli import export as export_command
from resnet_tf.errors import UserError
from resnet_tf.presets.preset_files import load_preset
from resnet_tf.runs.choose import all_runs
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

    return np.asarray(
        tf.saved_model.load(str(path)).signatures["serving_default"](images=tf.constant(images))["output_0"]
    )


def of_litert(path, images):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(str(path))
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def of_onnx(path, images):
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(str(path)).run(None, {"images": images})[0]


@pytest.mark.parametrize("to", ["saved_model", "litert", "onnx"])
def test_exported_network_predicts_as_predict_does(to, runs, image_tree, tmp_path, capsys):
    load, name = {
        "saved_model": (of_saved_model, "last_saved_model"),
        "litert": (of_litert, "last.tflite"),
        "onnx": (of_onnx, "last.onnx"),
    }[to]
    assert run_export("--to", to, "--data", image_tree, "--runs", runs, "--out", tmp_path) == 0
    assert re.search(r"the same class for 70 images .* probabilities to \d\.\de[+-]\d\d", capsys.readouterr().out)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, f"{name}.json"])
    about = json.loads((tmp_path / f"{name}.json").read_text())
    assert about["checked"]["images"] == 70
    files = sorted((image_tree / "test").rglob("*.png"))[::7]
    images = np.stack([np.asarray(Image.open(path), np.float32) for path in files])
    probabilities = load(tmp_path / name, images)
    for row, share in zip(resnet_tf.predict(files, runs=runs, top=10), probabilities, strict=True):
        expected = {entry["class"]: entry["probability"] for entry in row["top"]}
        np.testing.assert_allclose(share, [expected[label] for label in about["class_names"]], atol=1e-4)


def test_a_network_that_predicts_otherwise_is_not_written(runs, image_tree, tmp_path, capsys, monkeypatch):
    form = export.FORMATS["saved_model"]

    def shifted(path):
        right = form.load(path)
        return lambda images: np.roll(right(images), 1, axis=1)

    monkeypatch.setitem(export.FORMATS, "saved_model", dataclasses.replace(form, load=shifted))
    (tmp_path / "last_saved_model.json").write_text("before")
    assert run_export("--to", "saved_model", "--data", image_tree, "--runs", runs, "--out", tmp_path) == 2
    assert "another class" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["last_saved_model.json"]
    assert (tmp_path / "last_saved_model.json").read_text() == "before"


def test_a_folder_that_cannot_be_written_is_an_error_before_any_work(runs, tmp_path, capsys, monkeypatch):
    def read_only(*arguments, **keywords):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(export.tempfile, "mkdtemp", read_only)
    monkeypatch.setattr(export, "load_network", None)
    assert run_export("--to", "saved_model", "--data", tmp_path / "none", "--runs", runs, "--out", tmp_path) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert f"{tmp_path}: Read-only file system" in line


def test_mistakes_are_one_line(runs, image_tree, tmp_path, capsys, monkeypatch):
    form = dataclasses.replace(export.FORMATS["onnx"], needs=("no_such_package",))
    monkeypatch.setitem(export.FORMATS, "onnx", form)
    for arguments, datum in {
        (): "saved_model, litert, onnx",
        ("--to", "onnx"): "pip install -r requirements-export.txt",
        ("--to", "litert", "--preset", "4"): "train.py --preset 4",
    }.items():
        assert run_export(*arguments, "--data", image_tree, "--runs", runs, "--out", tmp_path) == 2
        line = capsys.readouterr().err
        assert datum in line
        assert line.count("\n") == 1
    assert all_runs(runs)  # which is left as it was
    assert not list(tmp_path.iterdir())


def test_a_frame_that_photos_cannot_have_is_refused_before_any_work(runs, tmp_path, monkeypatch):
    def refuse(preset):
        raise UserError("no such photo")

    monkeypatch.setattr(export, "photo_framing", refuse)
    monkeypatch.setattr(export, "dataset_of", None)  # would fail if it were called
    assert str(user_error(export.export, all_runs(runs)[0], "saved_model", tmp_path)) == "no such photo"


def test_the_command_offers_the_formats_that_there_are():
    assert tuple(export.FORMATS) == export_command.FORMATS

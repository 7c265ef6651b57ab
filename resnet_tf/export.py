"""Exports a run's network as SavedModel, LiteRT or ONNX, with normalisation and softmax inside.

An exported network is run by its own runtime on test images and compared with the Keras network before it is kept.
"""

import importlib.util
import json
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from resnet_tf import files, installation
from resnet_tf.errors import UserError
from resnet_tf.evaluation.evaluate import dataset_of
from resnet_tf.log import logger
from resnet_tf.models.build import load_network
from resnet_tf.pipeline.batches import EvaluationBatches
from resnet_tf.pipeline.views import evaluation_batches, photo_framing
from resnet_tf.runs.run import Run, not_writable

CHECKED = 1000  # images of the test split
TOLERANCE = 1e-4  # of probabilities: another runtime sums in another order

Predict = Callable[[np.ndarray], np.ndarray]  # images [batch, size, size, 3] to probabilities [batch, classes]


def _saved_model(path: Path) -> Predict:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda images: loaded.serve(images).numpy()


def _litert(path: Path) -> Predict:
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(path)).get_signature_runner()
    return lambda images: next(iter(run(images=images).values()))


def _onnx(path: Path) -> Predict:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0]


@dataclass(frozen=True)
class Format:
    """A format that a network is written in.

    Attributes:
        keras_name: what Keras calls it.
        suffix: of the file's name; a SavedModel is a folder.
        load: returns a function that predicts with the format's own runtime.
        needs: packages needed to write or run it, beyond requirements.txt.
    """

    keras_name: str
    suffix: str
    load: Callable[[Path], Predict]
    needs: tuple[str, ...] = ()


FORMATS = {
    "saved_model": Format("tf_saved_model", "", _saved_model),
    "litert": Format("litert", ".tflite", _litert, ("ai_edge_litert",)),
    "onnx": Format("onnx", ".onnx", _onnx, ("tf2onnx", "onnxruntime")),
}


def export(
    run: Run,
    to: str,
    folder: Path,
    weights: str | None = None,
    data: str | None = None,
) -> Path:
    """Writes a run's network for other programs, and a JSON file that says how to use it; returns the network's path.

    The network maps `images`, float32 [batch, size, size, 3] in 0..255, of any batch size, to class probabilities,
    float32 [batch, classes].

    Args:
        to: one of `FORMATS`.
        folder: where it goes; a file of the same name is replaced.
        weights: "last" or "best"; default: as the preset says.
        data: where the images are on which it is checked; default: see `datasets.sources.load`.

    Raises:
        UserError: no such weights or images, a package is missing, photos cannot be cropped as the evaluation crops
            images, or the exported network predicts otherwise.
    """
    target_format = FORMATS[to]
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"export computes with TensorFlow. Received: KERAS_BACKEND={keras.backend.backend()}. Leave it out: "
            "weights are the same for every backend.",
            "backend-cannot-export",
        )
    for package in target_format.needs:
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"--to {to} needs the package {package}. Received: an environment without it. "
                f"Install it with {installation.install('export')}.",
                "package-missing",
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryDirectory(dir=folder).cleanup()  # before any work: it may be read-only
    except OSError as error:
        raise not_writable("an export", folder, error) from error
    preset = run.preset.in_phases[-1]
    photo_framing(preset)  # raises before any work where photos cannot be cropped as the evaluation crops images
    dataset = dataset_of(run, data)
    chosen = np.unique(np.linspace(0, len(dataset.test) - 1, CHECKED).astype(int))
    batches = evaluation_batches(preset, dataset.test.take(chosen), "1-crop")
    which = weights or preset.evaluation.weights
    network, about = load_network(preset, dataset.classes, run.weights(which), batches.size)
    model = keras.Model(network.input, keras.layers.Softmax(name="probabilities")(network.output))
    model(np.zeros((1, batches.size, batches.size, 3), np.float32))  # Keras exports only what was called
    target = folder / f"{which}{target_format.suffix or '_saved_model'}"
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        made = Path(aside) / target.name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # tf2onnx is older than NumPy
            model.export(str(made), format=target_format.keras_name, verbose=False)
        difference = compare(model.predict_on_batch, target_format.load(made), batches)
        logger.info(f"the same class for {len(chosen):,} images of the test split, probabilities to {difference:.1e}")
        usage = _usage(run, batches.size, dataset.classes)
        usage |= {"weights": which, **about, "checked": {"images": len(chosen), "largest_difference": difference}}
        if target.exists():
            target.replace(Path(aside) / "before")
        made.replace(target)
        files.write_atomically(target.with_name(f"{target.name}.json"), json.dumps(usage, indent=2) + "\n")
    return target


def _usage(run: Run, size: int, classes: int) -> dict:
    """Returns all that is needed to use the exported network without this project."""
    side, crop = photo_framing(run.preset.in_phases[-1])
    side = side if crop == size else size
    return {
        "run": run.name,
        "preset": run.preset.name,
        "title": run.preset.title,
        "trained_on": run.about["data"]["title"],
        "images": f"float32 [batch, {size}, {size}, 3], RGB, 0 to 255; the network normalises them itself",
        "photos": f"resize the shorter side to {side} pixels (the longer one rounded down), cut out the middle "
        f"{size} x {size} (where it starts is rounded half to even)",
        "probabilities": f"float32 [batch, {classes}], in the order of class_names",
        "class_names": run.about["class_names"],
    }


def compare(network: Predict, exported: Predict, batches: EvaluationBatches) -> float:
    """Returns the largest difference between two networks' probabilities on the images of a split.

    Raises:
        UserError: they predict different classes for an image, or differ by more than `TOLERANCE`.
    """
    largest, others = 0.0, 0
    for views, _ in batches.dataset():
        images = views[:, 0].numpy()
        expected, actual = network(images), exported(images)
        largest = max(largest, float(np.max(np.abs(expected - actual))))
        others += int(np.sum(np.argmax(expected, -1) != np.argmax(actual, -1)))
    if others or not largest <= TOLERANCE:  # nan is not close either
        raise UserError(
            f"The exported network predicts another class for {others:,} of {len(batches.split):,} images, and "
            f"probabilities that differ by up to {largest:.1e} ({TOLERANCE:g} is allowed). Nothing was written.",
            "export-differs",
        )
    return largest

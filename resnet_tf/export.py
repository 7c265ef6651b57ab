"""A run's network for other programs: SavedModel, LiteRT and ONNX, normalisation and softmax inside.

Each file is run by its own runtime on real images before it takes its place, and compared with the Keras network.
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

from resnet_tf import files
from resnet_tf.errors import UserError
from resnet_tf.evaluation.evaluate import dataset_of
from resnet_tf.log import logger
from resnet_tf.models.build import load_network
from resnet_tf.pipeline.batches import EvaluationBatches
from resnet_tf.pipeline.views import evaluation_batches, photo_framing
from resnet_tf.runs.run_folder import Run

CHECKED = 1000  # images of the test split
CLOSE = 1e-4  # probabilities may differ by so much: another runtime adds up in another order

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
    """A form that a network is written in.

    Attributes:
        keras_name: what Keras calls it.
        suffix: of the file's name; a SavedModel is a folder.
        load: returns what predicts by the form's own runtime.
        needs: packages that writing it or running it takes beyond requirements.txt.
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
    """Writes a run's network for other programs, and a JSON file that tells how to use it; returns the network's path.

    It takes `images`, float32 [batch, size, size, 3] in 0..255, of any batch size, and gives the classes'
    probabilities, float32 [batch, classes].

    Args:
        to: one of `FORMATS`.
        folder: where it goes; what is there under its name is replaced.
        weights: "last" or "best"; default: as the preset says.
        data: where the images are that it is checked on; default: see `datasets.sources.load`.

    Raises:
        UserError: no such weights or images, a package is missing, photos cannot be framed as the evaluation's
            images are, or what was written predicts otherwise.
    """
    form = FORMATS[to]
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"export computes with TensorFlow. Received: KERAS_BACKEND={keras.backend.backend()}. Leave it out: "
            "weights are the same for every backend."
        )
    for package in form.needs:
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"--to {to} needs the package {package}. Received: an environment without it. "
                "Install it with pip install -r requirements-export.txt."
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryDirectory(dir=folder).cleanup()  # before any work: it may be read-only
    except OSError as error:
        raise UserError(f"an export needs a folder it can write to. Received: {folder}: {error.strerror}.") from error
    preset = run.preset.in_phases[-1]
    photo_framing(preset)  # raises before any work where the file beside the network could not say how to frame a photo
    dataset = dataset_of(run, data)
    chosen = np.unique(np.linspace(0, len(dataset.test) - 1, CHECKED).astype(int))
    batches = evaluation_batches(preset, dataset.test.take(chosen), "1-crop")
    which = weights or preset.evaluation.weights
    network, about = load_network(preset, dataset.classes, run.weights(which), batches.size)
    model = keras.Model(network.input, keras.layers.Softmax(name="probabilities")(network.output))
    model(np.zeros((1, batches.size, batches.size, 3), np.float32))  # Keras exports only what was called
    target = folder / f"{which}{form.suffix or '_saved_model'}"
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        made = Path(aside) / target.name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # tf2onnx meets a NumPy newer than itself
            model.export(str(made), format=form.keras_name, verbose=False)
        difference = compare(model.predict_on_batch, form.load(made), batches)
        logger.info(f"the same class for {len(chosen):,} images of the test split, probabilities to {difference:.1e}")
        how = _how_to_use(run, batches.size, dataset.classes)
        how |= {"weights": which, **about, "checked": {"images": len(chosen), "largest_difference": difference}}
        if target.exists():
            target.replace(Path(aside) / "before")
        made.replace(target)
        files.write_atomically(target.with_name(f"{target.name}.json"), json.dumps(how, indent=2) + "\n")
    return target


def _how_to_use(run: Run, size: int, classes: int) -> dict:
    """Returns what someone who has only the file must know."""
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


def compare(expected: Predict, found: Predict, batches: EvaluationBatches) -> float:
    """Returns the largest difference between two networks' probabilities on the images of a split.

    Raises:
        UserError: they name different classes for an image, or differ by more than `CLOSE`.
    """
    largest, others = 0.0, 0
    for views, _ in batches.dataset():
        images = views[:, 0].numpy()
        wanted, got = expected(images), found(images)
        largest = max(largest, float(np.max(np.abs(wanted - got))))
        others += int(np.sum(np.argmax(wanted, -1) != np.argmax(got, -1)))
    if others or not largest <= CLOSE:  # nan is not close either
        raise UserError(
            f"an exported network must predict as the run's does, to {CLOSE:g}. Received: another class for {others:,} "
            f"of {len(batches.split):,} images, probabilities that differ by up to {largest:.1e}. Nothing was written."
        )
    return largest

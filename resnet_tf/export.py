"""Exports a run's network as SavedModel, LiteRT or ONNX, with normalisation and softmax inside.

An exported network is run by its own runtime on drawn images and compared with the Keras network before it is kept.
"""

import contextlib
import importlib.util
import json
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from resnet_tf import files, installation
from resnet_tf.datasets import shapes10
from resnet_tf.errors import UserError
from resnet_tf.format import first_line
from resnet_tf.log import logger
from resnet_tf.models.build import load_network
from resnet_tf.pipeline.framing import default_photo_frame, photo_sizes
from resnet_tf.runs.choose import recorded_accuracy
from resnet_tf.runs.run import RUNS, Run, not_writable

SHAPES, NOISE = 250, 50  # images on which an exported network is compared
COMPARED = f"{SHAPES} images of shapes10, resized to the network's size, and {NOISE} of uniform random pixels"
BATCH = 64
TOLERANCE = 1e-4  # of probabilities: another runtime sums in another order
TIE = 1e-3  # two classes whose probabilities differ by less than this part of the larger may change places

Predict = Callable[[np.ndarray], np.ndarray]  # images [batch, size, size, 3] to probabilities [batch, classes]


def _write_saved_model(model: keras.Model, path: Path) -> None:
    """Writes a SavedModel. `model.export` would store each weight twice: as Keras's variable and as TensorFlow's."""
    import tensorflow as tf

    specification = tf.TensorSpec(model.input_shape, tf.float32, name="images")
    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    module.serve = tf.function(lambda images: model(images, training=False), input_signature=[specification])
    try:
        tf.saved_model.save(module, str(path), signatures=module.serve)
    except tf.errors.OpError as error:  # TensorFlow's errors of a full disk are no OSErrors
        raise UserError(f"The export cannot be written: {first_line(error)}", "folder-not-writable") from error


def _write_by_keras(model: keras.Model, path: Path, form: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # tf2onnx is older than NumPy
        model.export(str(path), format=form, verbose=False)


def _saved_model(path: Path) -> Predict:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda images: loaded.serve(images)["probabilities"].numpy()


def _litert(path: Path) -> Predict:
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(path)).get_signature_runner()
    return lambda images: run(images=images)["probabilities"]


def _onnx(path: Path) -> Predict:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(["probabilities"], {"images": images})[0]


@dataclass(frozen=True)
class Format:
    """A format that a network is written in.

    Attributes:
        suffix: of the file's name; a SavedModel is a folder.
        write: writes a model to a path.
        load: returns a function that predicts with the format's own runtime.
        needs: packages needed to write or run it, beyond requirements.txt.
    """

    suffix: str
    write: Callable[[keras.Model, Path], None]
    load: Callable[[Path], Predict]
    needs: tuple[str, ...] = ()


FORMATS = {
    "saved_model": Format("_saved_model", _write_saved_model, _saved_model),
    "litert": Format(".tflite", partial(_write_by_keras, form="litert"), _litert, ("ai_edge_litert",)),
    "onnx": Format(".onnx", partial(_write_by_keras, form="onnx"), _onnx, ("tf2onnx", "onnxruntime")),
}


def export(run: Run, to: str, folder: Path, weights: str | None = None, runs: str | Path = RUNS) -> Path:
    """Writes a run's network for other programs, and a JSON file that says how to use it; returns the network's path.

    The network maps `images`, float32 [batch, size, size, 3] in 0..255, of any batch size, to `probabilities`, float32
    [batch, classes].

    Args:
        to: one of `FORMATS`.
        folder: where it goes; a file of the same name is replaced.
        weights: "last" or "best"; default: as the preset says.
        runs: the folder of runs, whose ledger knows how accurate the run is.

    Raises:
        UserError: no such weights, a package is missing, photos cannot be cropped as the evaluation crops images, or
            the exported network predicts otherwise.
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
    preset = run.preset.last_phase
    _, size = photo_sizes(preset)  # raises where photos cannot be cropped as the evaluation crops images
    which = weights or preset.evaluation.weights
    network, about = load_network(preset, len(run.about["class_names"]), run.weights(which), image_size=size)
    probabilities = keras.layers.Softmax(dtype="float32", name="probabilities")(network.output)
    model = keras.Model(network.input, {"probabilities": probabilities})
    model(np.zeros((1, size, size, 3), np.float32))  # Keras exports only what was called
    target = folder / f"{which}{target_format.suffix}"
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        made, described = Path(aside) / target.name, Path(aside) / f"{target.name}.json"
        target_format.write(model, made)
        images = drawn_images(size)
        compared = compare(
            lambda batch: model.predict_on_batch(batch)["probabilities"], target_format.load(made), images
        )
        logger.info(
            f"compared on {COMPARED}: the same class for {compared['same_class']} of {compared['count']}, "
            f"probabilities to {compared['largest_difference']:.1e}"
        )
        usage = {**_usage(run, which, runs), "weights": which, **about, "compared": {"images": COMPARED, **compared}}
        files.write_atomically(described, json.dumps(usage, indent=2) + "\n")
        _put_in_place(made, described, folder)
    return target


def _put_in_place(network: Path, description: Path, folder: Path) -> None:
    """Moves a network and its description from a temporary folder into theirs; on an error, all is as it was before.

    What was there goes into the temporary folder. The old description leaves first and the new one comes last, so that
    none ever lies beside another network.
    """
    before = network.with_name("before")
    before.mkdir()
    with contextlib.ExitStack() as undo:
        for old in (folder / description.name, folder / network.name):
            if old.exists():
                old.replace(before / old.name)
                undo.callback((before / old.name).replace, old)
        for new in (network, description):
            new.replace(folder / new.name)
            undo.callback((folder / new.name).replace, new)
        undo.pop_all()
    files.sync_folder(folder)


def _usage(run: Run, which: str, runs: str | Path) -> dict:
    """Returns all that is needed to use the exported network without this project."""
    preset, names = run.preset.last_phase, run.about["class_names"]
    side, size = photo_sizes(preset)
    frame = default_photo_frame(preset)
    resized = {
        "squash": f"resize both sides to {side} pixels",
        "crop": f"resize the shorter side to {side} pixels (the longer one rounded down)",
    }[frame]
    middle = f", cut out the middle {size} x {size} (where it starts is rounded half to even)"
    usage = {
        "run": run.name,
        "preset": run.preset.name,
        "title": run.preset.title,
        "trained_on": run.about["data"]["title"],
        "accuracy": recorded_accuracy(run, runs, which),
        "input": {"name": "images", "shape": [None, size, size, 3], "dtype": "float32", "channels": "RGB"},
        "range": "0 to 255; the network normalises images itself",
        "output": {"name": "probabilities", "shape": [None, len(names)], "dtype": "float32"},
        "photos": {
            "frame": frame,
            "side": side,
            "crop": size,
            "filter": "bilinear",
            "how": f"turn the photo upright, {resized} with a bilinear filter, widened where the photo shrinks "
            f"(antialiased, as Pillow's BILINEAR)" + middle * (frame == "crop" or side != size),
        },
        "class_names": names,
    }
    own = preset.evaluation.view
    for view in dict.fromkeys(("1-crop", "1-crop" if own == "10-crop" else own)):
        if calibration := run.calibration(run.scored_as(which), view):
            usage["calibration"] = {
                "temperature": calibration["temperature"],
                "unsure_below": calibration["unsure_below"],
                "view": view,
                "how": "divide the logarithms of the probabilities by the temperature and take their softmax; fitted "
                "to validation images, each shown in this view",
            }
            break
    return usage


def drawn_images(size: int) -> np.ndarray:
    """Returns the images on which exported networks are compared, always the same: uint8 [n, size, size, 3]."""
    _, _, shapes, _ = shapes10.draw(train_size=0, test_size=SHAPES)
    resized = [np.asarray(Image.fromarray(each).resize((size, size), Image.Resampling.BILINEAR)) for each in shapes]
    # RandomState's stream is frozen, unlike that of NumPy's newer generators.
    noise = np.random.RandomState(0).randint(0, 256, (NOISE, size, size, 3), np.uint8)
    return np.concatenate([np.stack(resized), noise])


def compare(network: Predict, exported: Predict, images: np.ndarray) -> dict:
    """Returns how far two networks agree: "count" of images, "same_class" and "largest_difference" of a probability.

    Raises:
        UserError: a probability differs by more than `TOLERANCE`, or they predict different classes for an image,
            unless the first network itself gives the two classes the same probability, see `TIE`.
    """
    batches = [images[start : start + BATCH].astype(np.float32) for start in range(0, len(images), BATCH)]
    expected, actual = (np.concatenate([predict(batch) for batch in batches]) for predict in (network, exported))
    difference = float(np.max(np.abs(expected - actual)))
    best, answers = expected.max(-1), actual.argmax(-1)
    others = int(np.sum(expected[np.arange(len(images)), answers] < (1 - TIE) * best))
    if others or not difference <= TOLERANCE:  # nan is not close either
        raise UserError(
            f"The exported network predicts another class for {others:,} of {len(images):,} images, and "
            f"probabilities that differ by up to {difference:.1e} ({TOLERANCE:g} is allowed). Nothing was written.",
            "export-differs",
        )
    same = int(np.sum(answers == expected.argmax(-1)))
    return {"count": len(images), "same_class": same, "largest_difference": difference}

"""The classes of the user's own photos, by a trained run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from os import PathLike
from pathlib import Path

import keras
import numpy as np

from resnet_tf.errors import UserError
from resnet_tf.models.build import load_network
from resnet_tf.pipeline.views import photo_framing
from resnet_tf.prediction import photos
from resnet_tf.prediction.photos import Photo
from resnet_tf.runs.choose import choose_run
from resnet_tf.runs.run import RUNS, Run
from resnet_tf.scoring.metrics import log_softmax

BATCH = 32
SECONDS = 4.0  # for one photo


def predict(
    names: Sequence[str | PathLike],
    preset: str | None = None,
    run: str | Run | None = None,
    runs: str | Path = RUNS,
    top: int | None = None,
    weights: str | None = None,
) -> list[dict]:
    """Predicts the classes of photos: files, folders and glob patterns.

    Args:
        names: of files and folders, and glob patterns.
        preset: name or path of the preset whose best finished run predicts; or give `run`.
        top: how many classes each row holds, most probable first; default: 3, or as many as there are.
        weights: "last" or "best"; default: as the preset says.

    Returns:
        One row a photo, in order: `file`, `error` (None or the reason), `width`, `height`, `top`: a list of
        {"class", "probability"}.

    Raises:
        UserError: no such run, no photo found, or `top` out of range.
    """
    if not isinstance(run, Run):
        run = choose_run(preset, run, runs, "predict")
    return [row for row, _ in predict_photos(photos.find([str(name) for name in names]), run, top, weights)]


def predict_photos(
    paths: Sequence[Path],
    run: Run,
    top: int | None = None,
    weights: str | None = None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[tuple[dict, Photo]]:
    """Yields each photo's row beside the photo itself, in order.

    Args:
        advance: called with the photos done and their total after each batch.

    Raises:
        UserError: the run has no such weights, or `top` is out of range.
    """
    preset, classes = run.preset.in_phases[-1], run.about["class_names"]
    top = min(3, len(classes)) if top is None else top
    if not 1 <= top <= len(classes):
        raise UserError(
            f"--top must be 1 to {len(classes)}, the classes of {run.name}. Received: {top}.", "top-out-of-range"
        )
    which = weights or preset.evaluation.weights
    side, crop = photo_framing(preset)
    model, _ = load_network(preset, len(classes), run.weights(which), image_size=crop)
    model = keras.Model(model.inputs, [model.output, model.get_layer("pool").input])
    head = np.asarray(model.get_layer("head").kernel)
    loaded, done = photos.load_all(paths, side, crop, SECONDS), 0
    while batch := list(islice(loaded, BATCH)):
        good = [photo for photo in batch if photo.error is None]
        # Always a full batch: one shape, one compiled function.
        images = np.zeros((BATCH, *model.input_shape[1:]), np.float32)
        for place, photo in enumerate(good):
            images[place] = photo.fitted
        logits, maps = model.predict_on_batch(images)
        outputs = zip(np.exp(log_softmax(logits)), maps, strict=True)
        for photo in batch:
            if photo.error:
                yield _row(photo, None, classes, top), photo
            else:
                probabilities, features = next(outputs)
                activation = class_activation(features, head[:, probabilities.argmax()])
                yield _row(photo, probabilities, classes, top), replace(photo, activation=activation)
        done += len(batch)
        advance(done, len(paths))


def class_activation(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns where in an image the evidence for a class lies: float32 [height, width], 0 to 1 at the strongest place.

    A logit is a weighted sum of features averaged over the image, so that each place contributes its part; evidence
    against the class counts as 0.

    Args:
        features: float [height, width, channels], the input of the global average pooling.
        weights: float [channels], of the head for the class.

    Source: Zhou et al. 2016 (arXiv:1512.04150), section 2.
    """
    evidence = np.maximum(features @ weights, 0.0)
    return (evidence / max(evidence.max(), 1e-12)).astype(np.float32)


def _row(photo: Photo, probabilities: np.ndarray | None, classes: list[str], top: int) -> dict:
    ranked = [] if probabilities is None else np.argsort(-probabilities, kind="stable")[:top]
    return {
        "file": str(photo.path),
        "error": photo.error,
        "width": photo.width,
        "height": photo.height,
        "top": [{"class": classes[index], "probability": float(probabilities[index])} for index in ranked],
    }

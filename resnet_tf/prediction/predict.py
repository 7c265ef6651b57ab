"""The classes of the user's own photos, by a trained run."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from os import PathLike
from pathlib import Path

import keras
import numpy as np

from resnet_tf import installation
from resnet_tf.errors import UserError, unknown
from resnet_tf.format import plural
from resnet_tf.models.build import load_network
from resnet_tf.pipeline.framing import default_photo_frame, photo_sizes
from resnet_tf.pipeline.views import views
from resnet_tf.prediction import photos, sandbox
from resnet_tf.prediction.photos import Photo
from resnet_tf.presets.augmentation import VIEWS
from resnet_tf.runs.choose import choose_run
from resnet_tf.runs.run import RUNS, Run
from resnet_tf.scoring.diagnosis import FEW_IMAGES, UNSURE_MISTAKES, scaled
from resnet_tf.scoring.metrics import mean_over_views

BATCH = 32
SECONDS = 4.0  # of processor time for one photo
UNSURE = 0.5  # a first class less probable than this is marked as a guess, where validation images say nothing better


def predict(
    names: str | PathLike | Sequence[str | PathLike],
    preset: str | None = None,
    run: str | Run | None = None,
    runs: str | Path = RUNS,
    top: int | None = None,
    weights: str | None = None,
    frame: str | None = None,
) -> list[dict]:
    """Predicts the classes of photos: files, folders and glob patterns.

    Args:
        names: of files and folders, and glob patterns; or one of them.
        preset: name or path of the preset whose best finished run predicts; or give `run`.
        run: a run, or its name or folder; a preset named as well must be its own.
        runs: the folder in which runs are looked for.
        top: how many classes each row holds, most probable first; default: 3, or as many as there are.
        weights: "last" or "best"; default: as the preset says.
        frame: how a photo becomes a square, see `Predictor`.

    Returns:
        One row a photo, in order: `file`, `error` (None or the reason), `width`, `height`, `top`: a list of
        {"class", "probability"}, `unsure`: whether the first is a guess, `truth`: the class after which the photo's
        folder is called, or None, and `run`: the name of the run that answered.

    Raises:
        UserError: no such run or frame, no photo found, or `top` out of range.
    """
    if not isinstance(run, Run) or preset is not None:
        run = choose_run(preset, str(run.folder) if isinstance(run, Run) else run, runs, "predict")
    names = [names] if isinstance(names, str | PathLike) else names
    return [row for row, _ in Predictor(run, weights, frame).predict(photos.find([str(name) for name in names]), top)]


class Predictor:
    """A run's network, loaded once, which predicts photos.

    A photo is shown in the views in which the preset's test images are, and their probabilities are averaged; instead
    of ten crops, which miss parts of a photo, one is shown.

    Attributes:
        frame: how a photo becomes a square, one of `sandbox.FRAMES`; default: see `default_photo_frame`.
        unsure_below: a first class that is less probable is called unsure.
        rule: where that limit comes from, in words.
        caution: why the probabilities mean little, in words; "" where nothing is known against them.
    """

    def __init__(self, run: Run, weights: str | None = None, frame: str | None = None):
        """Loads the network.

        Raises:
            UserError: the run has no such weights, or there is no such frame.
        """
        preset = run.preset.last_phase
        if frame is not None and frame not in sandbox.FRAMES:
            raise unknown("frame", frame, sandbox.FRAMES, "unknown-frame")
        self.run, self.classes = run, list(run.about["class_names"])
        self.frame = frame or default_photo_frame(preset)
        which, self.view = weights or preset.evaluation.weights, preset.evaluation.view
        if self.view == "10-crop":
            self.view = "1-crop"
        self._sizes = photo_sizes(preset)
        model, _ = load_network(preset, len(self.classes), run.weights(which), image_size=self._sizes[1])
        self._model = keras.Model(model.inputs, [model.output, model.get_layer("pool").input])
        self._head, self._pooling = np.asarray(model.get_layer("head").kernel), preset.model.head_pooling
        calibration, self.caution = run.calibration(run.scored_as(which), self.view), ""
        if calibration:
            self._temperature, self.unsure_below = calibration["temperature"], calibration["unsure_below"]
            self.rule = (
                f"probability below {self.unsure_below:.0%}; on {calibration['images']:,} validation images "
                f"{UNSURE_MISTAKES:.0%} of the mistakes were below it, and {calibration['right_if_sure']:.0%} of the "
                "answers above it were right"
            )
            if calibration["images"] < FEW_IMAGES:
                self.caution = (
                    f"the temperature is of {plural(calibration['images'], 'validation image')}, so the probabilities "
                    "mean little"
                )
        else:
            self._temperature, self.unsure_below = 1.0, UNSURE
            shown = f" --view {self.view}" * (self.view != preset.evaluation.view)
            shown += f" --weights {which}" * (which != preset.evaluation.weights)
            call = f"{installation.call('eval')} --run {run.as_argument} --split validation{shown}"
            better = f"{call} fits a better limit"
            if "validation_top1" not in (run.about.get("last") or {}):
                better = "the run has no validation images to fit a limit on"
            elif run.validation_seen:
                better = "its initial weights were trained on its validation images, so no limit can be fitted"
            self.rule = f"probability below {UNSURE:.0%}; {better}"

    def compile(self) -> None:
        """Compiles the network for one photo at a time, which the first prediction would do otherwise."""
        self._network(np.zeros((1, *self._model.input_shape[1:]), np.float32))

    def predict(
        self,
        paths: Sequence[Path],
        top: int | None = None,
        advance: Callable[[int, int], None] = lambda done, total: None,
    ) -> Iterator[tuple[dict, Photo]]:
        """Yields each photo's row (see `predict`) beside the photo itself, in order.

        Args:
            advance: called with the photos done and their total after each batch.

        Raises:
            UserError: `top` is out of range.
        """
        top = min(3, len(self.classes)) if top is None else top
        if not (isinstance(top, int) and 1 <= top <= len(self.classes)):
            raise UserError(
                f"--top must be a whole number from 1 to {len(self.classes)}, the classes of {self.run.name}. "
                f"Received: {top}.",
                "top-out-of-range",
            )
        loaded, done = photos.load_all(paths, *self._sizes, self.frame, SECONDS), 0
        size = min(BATCH, len(paths))
        while batch := list(islice(loaded, BATCH)):
            good = [photo for photo in batch if photo.error is None]
            # Always a full batch: one shape, one compiled function.
            images = np.zeros((size, *self._model.input_shape[1:]), np.float32)
            for place, photo in enumerate(good):
                images[place] = photo.fitted
            outputs = zip(*self._network(images), strict=True)
            for photo in batch:
                if photo.error:
                    yield self._row(photo, None, top), photo
                else:
                    probabilities, features = next(outputs)
                    activation = class_activation(features, self._head[:, probabilities.argmax()], self._pooling)
                    yield self._row(photo, probabilities, top), replace(photo, activation=activation)
            done += len(batch)
            advance(done, len(paths))

    def _network(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the probabilities [n, classes] of images [n, size, size, 3] and the features of their first view."""
        shown = views(images, self.view).numpy()
        logits, features = self._model.predict_on_batch(shown.reshape(-1, *images.shape[1:]))
        mean = mean_over_views(logits, VIEWS[self.view])
        return np.exp(scaled(mean, self._temperature)), features[:: VIEWS[self.view]]

    def _row(self, photo: Photo, probabilities: np.ndarray | None, top: int) -> dict:
        ranked = [] if probabilities is None else np.argsort(-probabilities, kind="stable")[:top]
        folder = os.path.basename(os.path.dirname(os.path.abspath(photo.path)))
        return {
            "file": str(photo.path),
            "error": photo.error,
            "width": photo.width,
            "height": photo.height,
            "top": [{"class": self.classes[index], "probability": float(probabilities[index])} for index in ranked],
            "unsure": bool(probabilities is not None and probabilities.max() < self.unsure_below),
            "truth": class_of_folder(folder, self.classes),
            "run": self.run.name,
        }


def class_of_folder(folder: str, classes: Sequence[str]) -> str | None:
    """Returns the class that a folder is called after, or None; case counts where two classes differ in it alone."""
    if folder in classes:
        return folder
    alike = [name for name in classes if name.casefold() == folder.casefold()]
    return alike[0] if len(alike) == 1 else None


def class_activation(features: np.ndarray, weights: np.ndarray, pooling: str = "average") -> np.ndarray:
    """Returns where in an image the evidence for a class lies: float32 [height, width], 0 to 1 at the strongest place.

    A logit is a weighted sum of features pooled over the image. Of an average each place contributes its part; of a
    maximum the places that have it contribute all. Evidence against the class counts as 0.

    Args:
        features: float [height, width, channels], the input of the global pooling.
        weights: float [channels], of the head for the class.
        pooling: "average" or "max".

    Source: Zhou et al. 2016 (arXiv:1512.04150), section 2, for the average.
    """
    if pooling == "max":
        highest = features == features.max(axis=(0, 1))
        features = features * highest / highest.sum(axis=(0, 1))
    evidence = np.maximum(features @ weights, 0.0)
    return (evidence / max(evidence.max(), 1e-12)).astype(np.float32)

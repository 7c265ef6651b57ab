"""Scores a finished run on a split it was not selected on, and says how the figure compares."""

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from resnet_tf import files
from resnet_tf.datasets import sources
from resnet_tf.datasets.splits import Dataset, split_train_validation
from resnet_tf.errors import UserError
from resnet_tf.evaluation.plots import MISTAKES, draw
from resnet_tf.log import logger
from resnet_tf.models.build import load_network
from resnet_tf.pipeline.batches import EvaluationBatches
from resnet_tf.pipeline.views import evaluation_batches
from resnet_tf.presets.schema import Preset
from resnet_tf.runs import ledger, predictions
from resnet_tf.runs.predictions import Predictions, fingerprint_of_order
from resnet_tf.runs.run_folder import Run
from resnet_tf.scoring.metrics import Scores
from resnet_tf.scoring.score import score
from resnet_tf.training.plan import make_plans
from resnet_tf.training.recalibration import recalibration_images, recalibration_steps
from resnet_tf.training.tensorboard import write_hparams, write_pictures


class Result(dict):
    """A result: a row of plain values, and beside it what was predicted image by image.

    Attributes:
        predictions: of every image scored; None for a row made by hand.
        pictures: PNGs of the diagnosis by name, where they were asked for.
    """

    def __init__(self, values: dict, **more):
        super().__init__(values, **more)
        self.predictions: Predictions | None = None
        self.pictures: dict[str, bytes] = {}


def evaluate(
    run: Run,
    split: str = "test",
    data: str | None = None,
    weights: str | None = None,
    view: str | None = None,
    against: Preset | None = None,
    figures: bool = False,
    recalibrate: bool = False,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Result:
    """Scores a run's network and returns the result, a dict of plain values; writes nothing.

    Args:
        run: a finished or stopped run.
        split: "test", or "validation" (the images held out of this run's training).
        data: where the images are; default: see `datasets.sources.load`.
        weights: "last" or "best"; default: as `against` says.
        view: one of `augmentations.VIEWS`; default: as `against` says.
        against: the preset beside whose reference the result stands; default: the run's own.
        recalibrate: measure batch norm's statistics anew on the run's training images, see `models.recalibration`.
        figures: also diagnose: confusion, calibration and the most confident mistakes, in numbers and as pictures.
        advance: called with the images done and their total after every batch.

    Returns:
        Accuracies in percent, `loss` in nats, counts, `top1_interval` (95 %), `per_class_top1` by class name, what was
        measured on and how, the preset's reference and the verdict.

    Raises:
        UserError: no such weights or images.
    """
    preset, about = run.preset.in_phases[-1], run.about  # tested as its last phase says
    usual = (against or run.preset).in_phases[-1].evaluation
    which = weights or usual.weights
    path = run.weights(which)
    dataset = dataset_of(run, data)
    part, chosen = _images(run, dataset, split)
    images = dataset.train.take(chosen) if part == "train" else getattr(dataset, part)
    batches = evaluation_batches(preset, images, view or usual.view)
    training = None
    if recalibrate:
        plan = make_plans(run.preset, dataset, about["seed"])[-1]
        images = recalibration_steps(plan) * plan.preset.train.batch_size
        logger.info(f"batch norm's statistics are measured again on {images:,} training images")
        training = recalibration_images(plan)
    model, loaded = load_network(preset, dataset.classes, path, batches.size, training)
    which += "-recalibrated" if recalibrate or loaded.get("recalibrated") else ""
    began, done = time.monotonic(), 0

    def count(images: int) -> None:
        nonlocal done
        done += images
        advance(done, len(batches.split))

    scores = score(model, batches, dataset.classes, count, keep_all=figures)
    result = {
        **_origin(run, against, loaded),
        "split": split,
        "view": batches.view,
        "resolution": batches.size,
        "weights": which,
        "protocol": ledger.protocol(batches.view, which),
        "data": ledger.describe_data(dataset),
        "same_data_as_training": dataset.fingerprint == about["data"]["fingerprint"],
        **_figures(scores, dataset.class_names),
        "seconds": round(time.monotonic() - began, 2),
        "versions": ledger.versions(keras.backend.backend()),
    }
    found = Result(result, verdict=ledger.verdict(against or run.preset, result))
    found.predictions = Predictions(fingerprint_of_order(dataset, part, chosen), *scores.predictions)
    if figures and math.isfinite(scores.loss):
        _diagnose(found, scores, batches, dataset.class_names)
    elif figures:
        logger.info("no figures: there are images for which the network gives no number")
    return found


def dataset_of(run: Run, data: str | None) -> Dataset:
    """Returns the data set that a run was trained on, from where `data` says.

    Raises:
        UserError: it is not to be found, or has other classes.
    """
    dataset = sources.load(run.preset.data.dataset, data)
    if list(dataset.class_names) != run.about["class_names"]:
        found, wanted = (", ".join(names) for names in (dataset.class_names, run.about["class_names"]))
        raise UserError(f"a run is scored on the classes it was trained on: {wanted}. Received: {found}.")
    return dataset


def _diagnose(found: Result, scores: Scores, batches: EvaluationBatches, class_names: tuple[str, ...]) -> None:
    """Adds figures and pictures of where the network is wrong, and how sure of it, to a result."""
    found["diagnosis"] = scores.diagnosis.figures()
    title = "{run}, {weights} weights, {split} split of {data[title]}, {view}".format_map(found)
    mistaken = _images_at(batches, scores.diagnosis.mistakes(MISTAKES))
    found.pictures = draw(scores.diagnosis, mistaken, class_names, title)


def _origin(run: Run, against: Preset | None, loaded: dict) -> dict:
    """Returns what a result tells of the run behind it; `loaded` is what was saved with its weights."""
    about = run.about
    return {
        "date": ledger.now(),
        "run": run.name,
        "preset": run.preset.name,
        **{key: about[key] for key in ("preset_hash", "seed", "steps_planned", "device")},
        "changed": about["changed"] if against is None else ledger.training_changes(run.preset, against),
        "steps": loaded.get("step"),
        "trained": about.get("step"),
        "epochs": loaded.get("epoch"),
        "validation_top1": loaded.get("validation_top1"),
        "training_seconds": about.get("seconds"),
    }


def _images_at(batches: EvaluationBatches, places: np.ndarray) -> np.ndarray:
    """Returns some images of a split as the network is shown them: uint8 [n, size, size, 3]."""
    some = dataclasses.replace(batches, split=batches.split.take(places), view="1-crop")
    found = [images[:, 0].numpy().astype(np.uint8) for images, _ in some.dataset()]
    return np.concatenate(found) if found else np.zeros((0, batches.size, batches.size, 3), np.uint8)


def _figures(scores: Scores, class_names: tuple[str, ...]) -> dict:
    return {
        "count": scores.count,
        "correct": scores.correct1,
        "top1": round(scores.top1, 4),
        "top1_interval": [round(end, 2) for end in ledger.wilson_interval(scores.correct1, scores.count)],
        "top5": round(scores.top5, 4),
        "loss": round(scores.loss, 6) if math.isfinite(scores.loss) else None,
        "per_class_top1": dict(zip(class_names, scores.per_class_top1, strict=True)),
    }


def record(run: Run, result: Result, runs: str | Path) -> None:
    """Keeps a result: its row in the overall log, its predictions and figures in the run, a test's in its TensorBoard.

    Of a run that comes with the project only the row and the figures are kept.

    Raises:
        UserError: one of these could not be written; the others are.
    """
    which = (result["split"], result["view"], result["weights"])

    def keep_figures() -> None:
        for name, content in result.pictures.items():
            folder = run.extras(runs) / "figures"
            folder.mkdir(parents=True, exist_ok=True)
            files.write_atomically(folder / f"{'-'.join((*which, name))}.png", content)

    def keep_predictions() -> None:
        if run.shipped is None and result.predictions is not None:
            predictions.save(predictions.path_of(run, *which), result.predictions)

    failures = []
    for keep in (lambda: ledger.append(runs, ledger.EVALUATED, result), keep_figures, keep_predictions):
        try:
            keep()
        except OSError as error:
            failures.append(f"{error.filename}: {error.strerror}")
    if run.shipped is None:  # the folder of one that comes with the project is not written to
        write_pictures(run, {" ".join((*which, name)): content for name, content in result.pictures.items()})
    if run.shipped is None and result["split"] == "test":
        measured = {"test_top1": result["top1"], "test_loss": result["loss"]}
        write_hparams(run, {name: value for name, value in measured.items() if value is not None})
    if failures:
        raise UserError(f"a part of the result could not be kept: {'; '.join(failures)}.")


def _images(run: Run, dataset: Dataset, split: str) -> tuple[str, np.ndarray]:
    """Returns which split of the data set the images of `split` lie in, and their places there."""
    if split == "test":
        return "test", np.arange(len(dataset.test))
    if dataset.validation is not None:
        return "validation", np.arange(len(dataset.validation))
    _, held_out = split_train_validation(dataset.train.labels, run.preset.data.validation_size, run.about["seed"])
    if not len(held_out):
        raise UserError("--split validation needs a preset with data.validation_size above 0. Received: 0.")
    return "train", held_out

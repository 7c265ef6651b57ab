"""Scores a run's network on a split that it was not trained on, and compares the result with its preset's reference."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path

import keras
import numpy as np

from resnet_tf import files
from resnet_tf.datasets import sources
from resnet_tf.datasets.splits import ArraySplit, Dataset, FileSplit, split_train_validation
from resnet_tf.errors import UserError, try_each, unknown
from resnet_tf.evaluation.plots import MISTAKES, draw
from resnet_tf.format import iso_time, plural
from resnet_tf.log import logger
from resnet_tf.models.build import load_network
from resnet_tf.pipeline.batches import EvaluationBatches
from resnet_tf.pipeline.framing import evaluation_batches
from resnet_tf.presets import augmentation
from resnet_tf.presets.schema import Preset
from resnet_tf.runs import comparison, ledger, predictions, pretrained
from resnet_tf.runs.choose import named_run
from resnet_tf.runs.predictions import Predictions, fingerprint_of_order
from resnet_tf.runs.records import EvaluationRecord
from resnet_tf.runs.run import RUNS, Run, trained_with
from resnet_tf.runs.significance import wilson_interval
from resnet_tf.scoring.diagnosis import FEW_IMAGES, Diagnosis
from resnet_tf.scoring.metrics import Scores
from resnet_tf.scoring.score import score
from resnet_tf.tensorboard import TensorBoardLog
from resnet_tf.training.plan import make_plans
from resnet_tf.training.recalibration import recalibration_images, recalibration_steps


class Result(dict):
    """A result as plain values, the row of the overall log: `result["top1"]`.

    Attributes:
        record: the same values, typed.
        predictions: of every image scored.
        plots: PNGs of the diagnosis by name, where they were asked for.
        calibration: see `Diagnosis.calibrated`, of the run's own validation images; None of others.
    """

    def __init__(
        self, record: EvaluationRecord, predictions: Predictions, plots: dict[str, bytes], calibration: dict | None
    ):
        super().__init__(record.to_row())
        self.record, self.predictions, self.plots, self.calibration = record, predictions, plots, calibration


def evaluate(
    run: Run | str | PathLike,
    split: str = "test",
    data: str | None = None,
    *,
    weights: str | None = None,
    view: str | None = None,
    resolution: int | None = None,
    against: Preset | None = None,
    figures: bool = False,
    recalibrate: bool = False,
    advance: Callable[[int, int], None] = lambda done, total: None,
    runs: str | Path = RUNS,
) -> Result:
    """Scores a run's network and returns the result, a dict of plain values; writes nothing.

    Args:
        run: a finished or stopped run, or its name or folder; a preset's name or file stands for its best finished run.
        split: "test", or "validation" (the images held out of this run's training).
        data: where the images are; default: see `datasets.sources.load`.
        weights, view: "last" or "best", and one of `augmentation.VIEWS`; default: as `against` says.
        resolution: height and width in pixels that the network is shown, see `augmentation.frame_at`; default: as the
            run's preset says.
        against: the preset with whose reference the result is compared; default: the run's own.
        figures: also diagnose: confusion, calibration and the most confident mistakes, in numbers and as plots.
        recalibrate: measure batch norm's statistics again on the run's training images, see `models.recalibration`.
        advance: called with the images done and their total after every batch.
        runs: the folder in which a named run is looked for.

    Returns:
        The row of the overall log; `runs.records.EvaluationRecord` says what it holds.

    Raises:
        UserError: no such weights or images.
    """
    run = named_run(run, runs, "evaluate")
    preset, about = run.preset.last_phase, run.about
    reference = against or run.preset
    default = reference.last_phase.evaluation
    which = weights or default.weights
    path = run.weights(which)
    dataset = dataset_of(run, data)
    part, chosen, images = _images(run, dataset, split)
    batches, frame = _batches(preset, images, view or default.view, resolution)
    training = _recalibration_images(run, dataset) if recalibrate else None
    model, loaded = load_network(preset, dataset.classes, path, batches.size, training)
    which += "-recalibrated" if recalibrate or loaded.get("recalibrated") else ""
    began = time.monotonic()
    scores = score(model, batches, dataset.classes, advance, keep_all=figures or split == "validation")
    diagnosis = scores.diagnosis if scores.keep_all else None
    diagnose = figures and _can_be_diagnosed(scores)
    # A temperature fitted at one size says nothing of another.
    temperature = _temperature(run, which, batches.view) if diagnose and split == "test" and frame is None else None
    record = EvaluationRecord(
        date=iso_time(),
        **_of_training(run, about, loaded if training is None else {**loaded, "validation_top1": None}, split),
        epochs=_epochs(run, dataset, loaded),
        changed=run.changes(against),
        split=split,
        view=batches.view,
        resolution=batches.size,
        frame=frame,
        weights=which,
        data=ledger.describe_data(dataset),
        same_data_as_training=dataset.fingerprint == about["data"]["fingerprint"],
        **_of_scores(scores, dataset.class_names),
        seconds=round(time.monotonic() - began, 2),
        versions=ledger.versions(keras.backend.backend()),
        diagnosis=diagnosis.figures(temperature) if diagnose else None,
    )
    record = dataclasses.replace(record, verdict=comparison.verdict(reference, record))
    stored = Predictions(fingerprint_of_order(dataset, part, chosen), *scores.predictions, record.updates)
    plots = _plots(record, diagnosis, batches, dataset.class_names) if diagnose else {}
    own = split == "validation" and frame is None and record.same_data_as_training and not run.validation_seen
    return Result(record, stored, plots, diagnosis.calibrated() if own and math.isfinite(scores.loss) else None)


def dataset_of(run: Run, data: str | None) -> Dataset:
    """Returns the data set that a run was trained on, from where `data` says.

    Raises:
        UserError: it is not found, or has other classes.
    """
    dataset = sources.load(run.preset.data.dataset, data)
    if list(dataset.class_names) != run.about["class_names"]:
        names, expected = (", ".join(names) for names in (dataset.class_names, run.about["class_names"]))
        raise UserError(
            f"a run is scored on the classes it was trained on: {expected}. Received: {names}.", "data-other-classes"
        )
    return dataset


def _images(run: Run, dataset: Dataset, split: str) -> tuple[str, np.ndarray, ArraySplit | FileSplit]:
    """Returns the name of the split that stores the images of `split`, their indices in it, and the images."""
    splits = {"test": dataset.test, "validation": dataset.validation}
    if split not in splits:
        raise unknown("split", split, splits, "split-unknown")
    whole = splits[split]
    if whole is not None:
        return split, np.arange(len(whole)), whole
    _check_same_images(run, dataset, "images are held out of")  # another copy splits otherwise
    _, held_out = split_train_validation(dataset.train.labels, run.preset.data.validation_size, run.about["seed"])
    if not len(held_out):
        raise UserError(
            "--split validation needs a preset with data.validation_size above 0. Received: 0.", "no-validation-split"
        )
    if run.validation_seen:
        logger.info(
            f"the run's initial weights were, or may have been, trained on {run.validation_seen:,} of these images"
        )
    return "train", held_out, dataset.train.take(held_out)


def _check_same_images(run: Run, dataset: Dataset, what: str) -> None:
    """Raises UserError where a data set is not the one that a run was trained on, image by image."""
    known = run.about["data"]
    if dataset.fingerprint != known["fingerprint"]:
        raise UserError(
            f"{what} the very images that a run was trained on: {known['title']} ({known['fingerprint'][:12]}). "
            f"Received: {dataset.title} ({dataset.fingerprint[:12]}).",
            "data-other-images",
        )


def _batches(
    preset: Preset, images: ArraySplit | FileSplit, view: str, resolution: int | None
) -> tuple[EvaluationBatches, str | None]:
    """Returns the images as the network is shown them, and the frame that does so where it is not the preset's."""
    batches = evaluation_batches(preset, images, view)
    if resolution in (None, batches.size):
        return batches, None
    if preset.data.normalize == "per_pixel":
        raise UserError(
            f"data.normalize of preset {preset.name} is per_pixel, whose mean image is of {batches.size} x "
            f"{batches.size} pixels, so its network sees no other size. Received: {resolution}.",
            "resolution-per-pixel",
        )
    frame = augmentation.frame_at(preset.evaluation.frame, resolution)
    resized = dataclasses.replace(preset, evaluation=dataclasses.replace(preset.evaluation, frame=frame))
    return evaluation_batches(resized, images, view), frame


def _can_be_diagnosed(scores: Scores) -> bool:
    if math.isfinite(scores.loss):
        return True
    logger.info("no figures: there are images for which the network gives no number")
    return False


def _temperature(run: Run, weights: str, view: str) -> float | None:
    """Returns the temperature that was fitted on the run's validation images; None where none was."""
    calibration = run.calibration(weights, view)
    if calibration is None:
        return None
    if calibration["images"] < FEW_IMAGES:
        logger.info(f"the temperature is of {plural(calibration['images'], 'validation image')}, so it means little")
    return calibration["temperature"]


def _recalibration_images(run: Run, dataset: Dataset) -> Iterator[np.ndarray]:
    """Returns the training images, in batches, on which batch norm's statistics are measured again."""
    _check_same_images(run, dataset, "batch norm's statistics are measured again on")
    plan = make_plans(run.preset, dataset, run.about["seed"])[-1]
    images = recalibration_steps(plan) * plan.preset.train.batch_size
    logger.info(f"batch norm's statistics are measured again on {images:,} training images")
    return recalibration_images(plan)


def _of_training(run: Run, about: dict, loaded: dict, split: str) -> dict:
    """Returns the fields of `EvaluationRecord` that the run decides.

    Args:
        about: what run.json said when the weights were loaded: the run may have gone on meanwhile.
        loaded: what was saved with the weights.
    """
    return {
        "run": run.name,
        "preset": run.preset.name,
        **{key: about[key] for key in ("preset_hash", "seed", "steps_planned")},
        **{key: trained_with(about, key) for key in ("device", "backend")},
        "trained_version": about.get("versions", {}).get("resnet_tf"),
        "init": about.get("init", {}).get("run"),
        "precision": about.get("precision"),  # runs of early versions do not say
        "steps": loaded.get("step"),
        "trained": about.get("step"),
        "training_top1": _training_top1(run, loaded),
        "validation_top1": loaded.get("validation_top1"),
        "validation_seen": (run.validation_seen or None) if split == "validation" else None,
        "training_seconds": about.get("seconds"),
    }


def _training_top1(run: Run, loaded: dict) -> float | None:
    """Returns the training's own top-1 in the epoch that ended with the weights, in percent, as far as the log says."""
    of_weights = (row.get("top1") for row in run.rows if row.get("step") == loaded.get("step"))
    top1 = next(of_weights, None)
    return None if top1 is None else round(top1, 2)


def _epochs(run: Run, dataset: Dataset, loaded: dict) -> float | None:
    """Returns how many epochs weights were trained for, to a tenth where a training is counted in steps."""
    if dataset.fingerprint != run.about["data"]["fingerprint"] or "step" not in loaded:
        return loaded.get("epoch")
    held_out = 0 if dataset.validation is not None else run.preset.data.validation_size
    left, epochs = loaded["step"], 0.0
    for phase in run.preset.in_phases:
        steps_per_epoch = phase.train.steps_per_epoch(len(dataset.train) - held_out)
        steps = min(left, phase.train.total_steps(steps_per_epoch))
        left, epochs = left - steps, epochs + steps / steps_per_epoch
    tenths = round(epochs, 1)
    return int(tenths) if tenths.is_integer() else tenths


def _of_scores(scores: Scores, class_names: tuple[str, ...]) -> dict:
    """Returns the fields of `EvaluationRecord` that the scores decide."""
    return {
        "count": scores.count,
        "correct": scores.correct1,
        "top1": round(scores.top1, 4),
        "top1_interval": [round(end, 2) for end in wilson_interval(scores.correct1, scores.count)],
        "top5": round(scores.top5, 4),
        "loss": round(scores.loss, 6) if math.isfinite(scores.loss) else None,
        "per_class_top1": dict(zip(class_names, scores.per_class_top1, strict=True)),
    }


def _plots(
    record: EvaluationRecord, diagnosis: Diagnosis, batches: EvaluationBatches, class_names: tuple[str, ...]
) -> dict[str, bytes]:
    """Returns plots of where the network is wrong, and how confident of it, as PNGs by name."""
    title = f"{record.run}, {record.split} split of {record.data['title']}, {record.how}"
    places = diagnosis.mistakes(MISTAKES)
    # The images as the network is shown them: uint8 [n, size, size, 3].
    shown = dataclasses.replace(batches, split=batches.split.take(places), view="1-crop")
    images = [image for views, _ in shown.dataset() for image in views[:, 0].numpy().astype(np.uint8)]
    return draw(diagnosis, images, class_names, title, record.diagnosis["temperature"])


def store(run: Run, result: Result, runs: str | Path) -> None:
    """Stores a result: its row in the overall log, predictions and plots in the run, test figures in its TensorBoard.

    Raises:
        UserError: one of these could not be written; the others are.
    """
    run, row = pretrained.writable(run, runs), result.record

    def write_plots() -> None:
        for name, content in result.plots.items():
            run.figures.mkdir(parents=True, exist_ok=True)
            files.write_atomically(run.figures / f"{'-'.join((*row.label, name))}.png", content)

    def write_calibration() -> None:
        if result.calibration is not None:
            run.add_calibration(row.weights, row.view, {**result.calibration, "trained": row.trained})

    def write_board() -> None:
        board = TensorBoardLog(run)
        board.write_plots({" ".join((*row.label, name)): content for name, content in result.plots.items()})
        own = run.preset.last_phase.evaluation  # a figure by another protocol would take the place of this one
        protocol = "test", own.view, run.scored_as(own.weights)
        if row.label == protocol and row.same_data_as_training:
            measured = {"test_top1": row.top1, "test_loss": row.loss}
            board.write_hparams({name: value for name, value in measured.items() if value is not None})

    def write_predictions() -> None:
        predictions.save(predictions.path_of(run, *row.label), result.predictions)

    def write_row() -> None:
        ledger.append(runs, ledger.EVALUATED, result)

    writers = (write_row, write_plots, write_calibration, write_board, write_predictions)
    try_each(functools.partial(_write, writer) for writer in writers)


def _write(writer: Callable[[], None]) -> None:
    try:
        writer()
    except OSError as error:
        message = f"A part of the result could not be written: {error.filename}: {error.strerror}."
        raise UserError(message, "result-not-written") from error

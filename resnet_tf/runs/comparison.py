"""Comparing a result with its preset's reference, and naming what forbids it."""

import contextlib
import itertools
from dataclasses import replace
from typing import NamedTuple

from resnet_tf.errors import UserError
from resnet_tf.presets.augmentation import VIEWS
from resnet_tf.presets.schema import Preset
from resnet_tf.runs.records import EvaluationRecord

OTHER_DATA = "data: not those that the run was trained on"
OTHER_SIZE = "resolution: {result.resolution} px by {result.frame}, not as the preset says"


class Comparison(NamedTuple):
    """A result beside its preset's reference; accuracies in percent.

    Attributes:
        outcome: "no reference", "not comparable", "within interval", "above" or "below".
        reference: None where there is none.
        difference: to the reference; None where there is none, or the comparison is forbidden.
        reasons: all that forbids the comparison.
        assumed: what the comparison assumes about the reference, as its source does not say it; "" for nothing.
    """

    outcome: str
    reference: float | None = None
    difference: float | None = None
    reasons: tuple[str, ...] = ()
    assumed: str = ""

    @property
    def summary(self) -> str:
        """The outcome with what forbids it, or what it assumes: "above (view and epoch assumed)"."""
        if self.reasons:
            return f"{self.outcome}: {'; '.join(self.reasons)}"
        return self.outcome + (f" ({self.assumed} assumed)" if self.assumed else "")


def compare(preset: Preset, result: EvaluationRecord) -> Comparison:
    """Compares a result with its preset's reference."""
    reference, _ = _reference(preset, result.split)
    if reference is None:
        return Comparison("no reference")
    if reasons := obstacles(preset, result):
        return Comparison("not comparable", reference, reasons=tuple(reasons))
    low, high = result.top1_interval
    difference = result.top1 - reference
    outcome = "within interval" if low <= reference <= high else "above" if difference > 0 else "below"
    return Comparison(outcome, reference, difference, assumed=preset.reference.assumed)


def verdict(preset: Preset, result: EvaluationRecord) -> str:
    """Returns in a line how a result compares with its preset's reference, or why it cannot be compared."""
    comparison = compare(preset, result)
    note, source = preset.reference.note, preset.reference.source
    if comparison.reference is None:
        return "no reference to compare with" + (f" ({note})" if note else "")
    about = "; ".join(filter(None, (source, comparison.assumed and f"{comparison.assumed} assumed")))
    known = f"reference {comparison.reference:.2f}" + (f" ({about})" if about else "")
    if comparison.reasons:
        return f"{known}; not comparable: {'; '.join(comparison.reasons)}"
    within = comparison.outcome == "within interval"
    ending = "within the 95 % interval" if within else f"{comparison.outcome} it beyond the 95 % interval"
    return f"{known}, difference {comparison.difference:+.2f}; {ending}"


def obstacles(preset: Preset, result: EvaluationRecord) -> list[str]:
    """Returns all that keeps a result from being compared with its preset's reference; empty where nothing does."""
    reasons = [] if result.data["official"] else [f"data: {result.data['title']}"]
    if not result.same_data_as_training:
        reasons.append(OTHER_DATA)
    _, split = _reference(preset, result.split)
    if result.split != split:
        reasons.append(f"split: {result.split}, the reference's is {split}")
    if result.init and "train.init" not in result.changed:  # in its preset too: a reference is of random weights
        reasons.append(f"initial weights: those of {result.init}, not random ones")
    reasons += _training_differences(result)
    protocol = preset.reference.protocol
    if not protocol and result.frame:
        reasons.append(OTHER_SIZE.format(result=result))
    if protocol and result.protocol != protocol:
        reasons.append(f"protocol: {result.protocol}, the reference's is {protocol}")
    return reasons


def trial_reasons(result: EvaluationRecord) -> list[str]:
    """Returns all that makes a result a trial, which no preset records by itself; empty where the preset was followed.

    A trial has a changed recipe, a training short of its end, test images at another size than the preset's, or images
    other than the official ones, the built-in ones or, for a preset of the data set `folder`, the user's own. Another
    view or other weights than the preset's are named in the row and make no trial.
    """
    data, reasons = result.data, []
    if not data["official"] and data["name"] != "folder":
        reasons.append(f"data: {data['title']}")
    if not result.same_data_as_training:
        reasons.append(OTHER_DATA)
    if result.frame:
        reasons.append(OTHER_SIZE.format(result=result))
    return reasons + _training_differences(result)


def is_of_another_recipe(preset: Preset, result: EvaluationRecord) -> bool:
    """Returns whether a result without changes was trained by another recipe than the preset has now, by its hash.

    This happens when the preset's file is edited after the result was recorded. Precision, view and weights do not
    count: every result says them.
    """
    if result.changed or result.preset_hash in (None, preset.hash):
        return False
    followed = replace(preset, train=replace(preset.train, precision=result.computed_in))
    hashes = set()
    for view, weights in itertools.product(VIEWS, ("last", "best")):
        with contextlib.suppress(UserError):  # some images have no ten crops
            evaluation = replace(preset.evaluation, view=view, weights=weights)
            hashes.add(replace(followed, evaluation=evaluation).hash)
    return result.preset_hash not in hashes


def _training_differences(result: EvaluationRecord) -> list[str]:
    """Returns where a result's training departs from the preset, and how much of it is missing."""
    reasons = [f"{key}: {ours}, the preset's is {theirs}" for key, (ours, theirs) in result.changed.items()]
    # The best weights were saved before the training's end: their step does not say how far it came.
    steps = result.updates
    if steps is None:
        reasons.append("training: of a length that the weights do not say")
    elif steps < result.steps_planned:
        reasons.append(f"training: {steps:,} of {result.steps_planned:,} steps")
    return reasons


def _reference(preset: Preset, split: str) -> tuple[float | None, str]:
    """Returns the reference top-1 and its split: the result's, or the other one where only that has a reference."""
    known = {"test": preset.reference.test_top1, "validation": preset.reference.validation_top1}
    splits = [name for name in (split, *known) if known[name] is not None]
    return (known[splits[0]], splits[0]) if splits else (None, "test")

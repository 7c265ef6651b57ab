"""What came of the runs: rows that say enough about themselves to be compared, and the rules for comparing."""

import math
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from resnet_tf import __version__, files
from resnet_tf.presets import schema
from resnet_tf.presets.schema import Preset

if TYPE_CHECKING:
    from resnet_tf.datasets.splits import Dataset

TRAINED = "train_overall.jsonl"
EVALUATED = "eval_overall.jsonl"
OTHER_DATA = "data: not those that the run was trained on"


def versions(backend: str = "tensorflow") -> dict[str, str]:
    """Returns the versions a result depends on, this project's first.

    Args:
        backend: what Keras computes with; the input is TensorFlow's whatever it is.
    """
    found = {"resnet_tf": __version__, "python": platform.python_version()}
    for package in dict.fromkeys(("keras", "tensorflow", backend, "numpy")):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            # The CPU-only wheel carries its version under another name.
            found[package] = next((d.version for d in metadata.distributions(name=f"{package}-cpu")), "unknown")
    return found


def describe_data(dataset: "Dataset") -> dict:
    """Returns what a row says of the images it was measured on."""
    return {key: getattr(dataset, key) for key in ("name", "title", "fingerprint", "official", "source")}


def now() -> str:
    """Returns the time as text, UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def append(runs: str | Path, name: str, row: dict) -> None:
    """Appends a row to one of the overall logs in the runs folder."""
    Path(runs).mkdir(parents=True, exist_ok=True)
    files.append_row(Path(runs) / name, row)


def wilson_interval(correct: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Returns the 95 % interval, in percent, of `correct` of `count` images, by Wilson's score (1927)."""
    if count == 0:
        return 0.0, 100.0
    share = correct / count
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 100 / (1 + z * z / count)
    return max(0.0, (centre - spread) * scale), min(100.0, (centre + spread) * scale)


def differences(preset: Preset, result: dict) -> list[str]:
    """Names all that keeps a result from being compared with its preset's reference; empty where nothing does."""
    found = []
    if not result["data"]["official"]:
        found.append(f"data: {result['data']['title']}")
    if not result["same_data_as_training"]:
        found.append(OTHER_DATA)
    _, split = _reference(preset, result["split"])
    if result["split"] != split:
        found.append(f"split: {result['split']}, the reference's is {split}")
    found += _departures(result)
    if preset.reference.protocol and result["protocol"] != preset.reference.protocol:
        found.append(f"protocol: {result['protocol']}, the reference's is {preset.reference.protocol}")
    return found


def why_a_trial(result: dict) -> list[str]:
    """Names all that makes a result a trial, which no preset records by itself; empty for the preset carried out.

    That is a changed recipe, a training short of its end, and images other than the published ones, the built-in ones
    or, where the preset is for them, the user's own folder. Another view or other weights than the preset's are named
    in the row and make no trial.
    """
    data, found = result["data"], []
    if not data["official"] and data["name"] != "folder":
        found.append(f"data: {data['title']}")
    if not result["same_data_as_training"]:
        found.append(OTHER_DATA)
    return found + _departures(result)


def _departures(result: dict) -> list[str]:
    """Names where a result's training departs from the preset, and how much of it is missing."""
    found = [
        f"{key}: {ours}, the preset's is {preset_value}" for key, (ours, preset_value) in result["changed"].items()
    ]
    # The best weights were saved before the training's end: their step does not tell how far it came.
    steps = result.get("trained") or result["steps"]
    if steps is None:
        found.append("training: of a length that the weights do not say")
    elif steps < result["steps_planned"]:
        found.append(f"training: {steps:,} of {result['steps_planned']:,} steps")
    return found


def training_changes(ours: Preset, theirs: Preset) -> dict[str, list]:
    """Returns where a training departs from another recipe: {"train.epochs": [ours, theirs]}.

    View and weights are a result's own, not the training's.
    """
    found = schema.changes(ours, theirs)
    return {key: values for key, values in found.items() if key not in ("evaluation.view", "evaluation.weights")}


class Standing(NamedTuple):
    """Where a result stands beside its preset's reference; accuracies in percent.

    Attributes:
        word: "no reference", "not comparable", "within noise", "above" or "below".
        reference, gap: None where there is no reference.
        reasons: all that forbids the comparison.
    """

    word: str
    reference: float | None = None
    gap: float | None = None
    reasons: tuple[str, ...] = ()


def standing(preset: Preset, result: dict) -> Standing:
    """Puts a result beside its preset's reference."""
    reference, _ = _reference(preset, result["split"])
    if reference is None:
        return Standing("no reference")
    low, high = result["top1_interval"]
    gap = result["top1"] - reference
    reasons = tuple(differences(preset, result))
    if reasons:
        word = "not comparable"
    elif low <= reference <= high:
        word = "within noise"
    else:
        word = "above" if gap > 0 else "below"
    return Standing(word, reference, gap, reasons)


def titled(name: str, changed: dict) -> str:
    """Returns how a table names what was trained: the preset, and what was changed of its recipe."""
    return name + (f", with another {', '.join(changed)}" if changed else "")


def verdict(preset: Preset, result: dict) -> str:
    """Says in a line where a result stands beside its preset's reference, or why it cannot be compared."""
    found = standing(preset, result)
    known = preset.reference
    if found.reference is None:
        return "no reference to compare with" + (f" ({known.note})" if known.note else "")
    ending = {
        "not comparable": f"not comparable: {'; '.join(found.reasons)}",
        "within noise": "within the 95 % interval",
    }.get(found.word, f"{found.word} it beyond the 95 % interval")
    source = f" ({known.source})" if known.source else ""
    return f"reference {found.reference:.2f}{source}, gap {found.gap:+.2f}; {ending}"


def protocol(view: str, weights: str) -> str:
    """Returns how a result was measured, in the words of a preset's reference.

    Args:
        view: one of `augmentations.VIEWS`.
        weights: "last" or "best", with "-recalibrated" behind where batch norm's statistics were measured anew.
    """
    which, _, recalibrated = weights.partition("-")
    epoch = "last epoch" if which == "last" else "best validation epoch"
    return f"{view}, {epoch}" + (", batch norm recalibrated" if recalibrated else "")


def _reference(preset: Preset, split: str) -> tuple[float | None, str]:
    """Returns the preset's reference top-1 for a split, or else what it has for the other, and whose it is."""
    figures = {"test": preset.reference.test_top1, "validation": preset.reference.validation_top1}
    known = [name for name in (split, *figures) if figures[name] is not None]
    return (figures[known[0]], known[0]) if known else (None, "test")

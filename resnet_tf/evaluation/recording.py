"""Which results a preset's file records, and in what form."""

import os
from pathlib import Path

from resnet_tf.errors import UserError
from resnet_tf.presets import preset_files
from resnet_tf.runs import ledger
from resnet_tf.runs.run_folder import Run


def check_request(run: Run, split: str, preset_file: Path | None) -> None:
    """Raises UserError where `--record` asks for what no preset file can take, before anything is computed."""
    if split != "test":
        raise UserError(f"--record puts a test result into the preset's file. Received: --split {split}.")
    if preset_file is None:
        raise UserError(
            f"--record needs the preset's file. Received: {run.name}, whose preset has none any more; name one with "
            "--preset."
        )


def record_in_preset(run: Run, result: dict, preset_file: Path | None, always: bool = False) -> str:
    """Puts a test result into the preset's file unless it is a trial or recorded already; returns a line that says so.

    Args:
        result: as `evaluate` returns it.
        preset_file: the file of the preset beside which it stands; None: there is none.
        always: record a trial too, and put the result in the place of one of the same measurement.

    Raises:
        UserError: the file is no preset any more, or cannot be written.
    """
    if result["split"] != "test":
        return "not recorded in a preset: it is no test result"
    if preset_file is None:
        return "not recorded in a preset: the run's has no file any more (--preset names one)"
    name = os.path.relpath(preset_file)
    name = str(preset_file) if name.startswith(os.pardir) else name
    reasons = ledger.why_a_trial(result)
    if run.shipped is not None:
        reasons.insert(0, "the run comes with the project")
    if reasons and not always:
        return f"not recorded in {name}: {'; '.join(reasons)} (--record would)"
    known = preset_files.record_result(preset_file, short_form(result), again=always)
    if known is None:
        return f"recorded in {name}"
    top1 = known.get("test_top1")
    figure = f"{top1:.2f} %" if isinstance(top1, int | float) else "a row"
    # A seed may have begun from other weights in another version: whose figure it is must be seen.
    said = {"of": known.get("date"), "by version": known.get("version")}
    figure += "".join(f" {word} {value}" for word, value in said.items() if value)
    return (
        f"already recorded in {name}: {figure}, with this recipe, seed, images and protocol (--record would replace it)"
    )


def short_form(result: dict) -> dict:
    """Returns what a preset's file keeps of a test result."""
    keys = ("run", "date", "preset_hash", "seed", "epochs", "steps", "trained", "steps_planned", "changed", "view")
    return {
        **{key: result[key] for key in (*keys, "weights", "resolution", "same_data_as_training", "validation_top1")},
        "test_top1": result["top1"],
        "test_top1_interval": result["top1_interval"],
        "test_top5": result["top5"],
        "test_loss": result["loss"],
        "images": result["count"],
        "training_seconds": result["training_seconds"],
        "version": result["versions"]["resnet_tf"],
        "data": {key: result["data"][key] for key in ("title", "fingerprint", "official")},
    }

"""Which results a preset's file records."""

from pathlib import Path

from resnet_tf import installation
from resnet_tf.errors import UserError
from resnet_tf.presets import preset_files
from resnet_tf.runs import comparison
from resnet_tf.runs.records import EvaluationRecord
from resnet_tf.runs.run import Run


def check_request(split: str, preset_file: Path | None) -> None:
    """Raises UserError where `--record` asks for what no preset file can take, before anything is computed."""
    if found := _obstacle(split, preset_file):
        code, reason = found
        raise UserError(f"--record cannot put this result into the preset's file: {reason}.", code)


def _obstacle(split: str, preset_file: Path | None) -> tuple[str, str] | None:
    """Returns the code of what keeps a result out of its preset's file, and the reason; None where nothing does."""
    if split != "test":
        return "record-not-test", f"it is of the {split} split, not of the test split"
    if preset_file is None:
        return "record-without-preset", "the run's preset file does not exist any more; name one with --preset"
    if installation.read_only(preset_file):
        reason = f"{preset_file} belongs to the installed package; name a copy of it with --preset"
        return "record-installed", reason
    return None


def record_in_preset(run: Run, result: EvaluationRecord, preset_file: Path | None, always: bool = False) -> str:
    """Puts a test result into the preset's file unless it is a trial or recorded already; returns a line that says so.

    Args:
        preset_file: the file of the preset that it is compared with; None: there is none.
        always: record a trial too, and replace the result of the same measurement.

    Raises:
        UserError: the file is no preset any more, or cannot be written.
    """
    if found := _obstacle(result.split, preset_file):
        return f"recorded in the runs alone: {found[1]}"
    name = preset_file.relative_to(Path.cwd()) if preset_file.is_relative_to(Path.cwd()) else preset_file
    reasons = ["the run is pretrained"] * run.pretrained + comparison.trial_reasons(result)
    if reasons and not always:
        return f"not recorded in {name}: {'; '.join(reasons)} (--record would)"
    known = preset_files.record_result(preset_file, result.to_result(), again=always)
    if known is None:
        return f"recorded in {name}"
    top1 = known.get("test_top1")
    figure = f"{top1:.2f} %" if isinstance(top1, int | float) else "a row"
    # In another version the same seed may have begun from other weights: date and version say whose figure it is.
    origin = {"of": known.get("date"), "by version": known.get("trained_version") or known.get("version")}
    figure += "".join(f" {word} {value}" for word, value in origin.items() if value)
    return (
        f"already recorded in {name}: {figure}, with this recipe, seed, images and protocol (--record would replace it)"
    )

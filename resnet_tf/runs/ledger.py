"""The two overall logs of a folder of runs, and what their rows say of software and images."""

import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_tf import __version__, files
from resnet_tf.format import plural
from resnet_tf.log import logger
from resnet_tf.runs.records import EvaluationRecord, TrainingRecord

if TYPE_CHECKING:
    from resnet_tf.datasets.splits import Dataset
    from resnet_tf.runs.run import Run

TRAINED = "train_overall.jsonl"
EVALUATED = "eval_overall.jsonl"


def append(runs: str | Path, name: str, row: dict) -> None:
    """Appends a row to one of the overall logs in the runs folder."""
    Path(runs).mkdir(parents=True, exist_ok=True)
    files.append_row(Path(runs) / name, row)


def evaluations(runs: str | Path, log_torn: bool = False) -> list[EvaluationRecord]:
    """Returns the evaluations in the overall log, oldest first, without rows of a form too old to be compared.

    Args:
        log_torn: log how many rows a kill has torn.
    """
    rows = _rows(Path(runs) / EVALUATED, log_torn)
    return [record for row in rows if (record := EvaluationRecord.from_row(row)) is not None]


def evaluations_of(run: "Run", runs: str | Path) -> list[EvaluationRecord]:
    """Returns a run's evaluations, oldest first, of two overall logs: that of `runs` and that beside the run itself."""
    folders = dict.fromkeys(Path(folder).resolve() for folder in (run.folder.parent.parent, runs))
    rows = [row for folder in folders for row in evaluations(folder) if row.run == run.name]
    return sorted(rows, key=lambda row: row.date)


def trainings(runs: str | Path, log_torn: bool = False) -> list[TrainingRecord]:
    """Returns the trainings in the overall log, oldest first; arguments as `evaluations`."""
    rows = _rows(Path(runs) / TRAINED, log_torn)
    return [record for row in rows if (record := TrainingRecord.from_row(row)) is not None]


def _rows(path: Path, log_torn: bool) -> list[dict]:
    rows, torn = files.read_rows(path)
    if torn and log_torn:
        logger.info(f"{path}: {plural(torn, 'torn row')} ignored")
    return rows


def versions(backend: str = "tensorflow") -> dict[str, str]:
    """Returns the versions that a result depends on, this project's first.

    Args:
        backend: what Keras computes with; the input pipeline always runs in TensorFlow.
    """
    known = {"resnet_tf": __version__, "python": platform.python_version()}
    for package in dict.fromkeys(("keras", "tensorflow", backend, "numpy")):
        try:
            known[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            # The CPU-only wheel carries its version under another name.
            known[package] = next((d.version for d in metadata.distributions(name=f"{package}-cpu")), "unknown")
    return known


def describe_data(dataset: "Dataset") -> dict:
    """Returns what a row says of the images it was measured on."""
    return {key: getattr(dataset, key) for key in ("name", "title", "fingerprint", "official", "source")}

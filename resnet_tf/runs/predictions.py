"""A network's predictions for every image of a split, stored so that two runs can be compared image by image.

runs/<preset>/<utc>-s<seed>/predictions/<split>-<view>-<weights>.npz, and -<size>px at another size than the preset's
"""

import hashlib
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnet_tf import files, installation
from resnet_tf.datasets.splits import Dataset, FileSplit
from resnet_tf.errors import UserError
from resnet_tf.runs.run import Run


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of one evaluation, in the order of the split's images.

    Attributes:
        images: SHA-256 in hex over which images these are and in what order; equal where they are the same.
        labels: int32 [n], the true classes.
        predicted: int32 [n], the most probable class; -1 where the network gave no number.
        probability: float32 [n], of the true class.
        updates: how many the run had done when it was scored; None where the file was written before version 0.7.4.
    """

    images: str
    labels: np.ndarray
    predicted: np.ndarray
    probability: np.ndarray
    updates: int | None = None

    @property
    def correct(self) -> np.ndarray:
        """bool [n], whether the predicted class is the true one."""
        return self.predicted == self.labels


def fingerprint_of_order(dataset: Dataset, split: str, chosen: np.ndarray) -> str:
    """Returns a SHA-256 in hex over a data set and the images chosen from one of its splits, in their order.

    Args:
        split: "train", "validation" or "test".
        chosen: int [n], indices into that split.
    """
    images = getattr(dataset, split)
    digest = hashlib.sha256(f"{dataset.fingerprint} {split}\n".encode())
    digest.update(chosen.astype("<i8"))
    digest.update(images.labels[chosen].astype("<i4"))
    if isinstance(images, FileSplit):  # arrays are in the order of their content; files in that of their names
        for path in images.paths[chosen]:
            digest.update(os.fsencode(os.path.basename(path)) + b"\0")
    return digest.hexdigest()


def path_of(run: Run, *label: str) -> Path:
    """Returns the file that holds a run's predictions; `label` is that of the evaluation, see `Evaluation.label`."""
    return run.predictions / f"{'-'.join(label)}.npz"


def save(path: Path, predictions: Predictions) -> None:
    """Writes predictions, atomically."""
    path.parent.mkdir(exist_ok=True)
    arrays = {key: getattr(predictions, key) for key in ("labels", "predicted", "probability")}
    facts = {"images": predictions.images, "updates": predictions.updates}
    arrays |= {key: np.array(value) for key, value in facts.items() if value is not None}
    files.write_atomically(path, files.pack_arrays(arrays))


def load(path: Path) -> Predictions:
    """Reads predictions.

    Raises:
        UserError: missing, or not such a file.
    """
    try:
        arrays = files.unpack_arrays(path.read_bytes())
        updates = int(arrays.pop("updates")) if "updates" in arrays else None
        stored = Predictions(images=str(arrays.pop("images")), updates=updates, **arrays)
        if not len(stored.labels) == len(stored.predicted) == len(stored.probability):
            raise ValueError("its arrays differ in length")
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(
            f"The stored predictions {path} cannot be read: {error}. Run {installation.call('eval')} again.",
            "predictions-unreadable",
        ) from error
    return stored

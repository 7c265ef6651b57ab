"""What is wrong with a network beyond its accuracy: the classes it confuses, and how far its certainty is deserved."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

BINS = 15


@dataclass(frozen=True, eq=False)
class Calibration:
    """How sure a network was, set against how often it was right, in bins of equal width over 0..1.

    Attributes:
        confidence, accuracy: float64 [bins], the mean probability of the class put first and the share of images that
            were of it; NaN in an empty bin.
        count: int64 [bins].

    Source: Guo et al. 2017 (arXiv:1706.04599), section 2.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error, 0..1: the gap between the two, averaged over the images."""
        filled = self.count > 0
        gaps = np.abs(self.confidence[filled] - self.accuracy[filled])
        return float(np.average(gaps, weights=self.count[filled]))


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The probabilities that a network gave to all classes of all images of a split.

    Attributes:
        labels: int [n], the true classes.
        log_probabilities: float [n, classes].
    """

    labels: np.ndarray
    log_probabilities: np.ndarray

    @cached_property
    def predicted(self) -> np.ndarray:
        """int [n], the class put first."""
        return self.log_probabilities.argmax(axis=1)

    @property
    def confidence(self) -> np.ndarray:
        """float [n], the probability given to it."""
        return np.exp(self.log_probabilities.max(axis=1))

    @cached_property
    def confusion(self) -> np.ndarray:
        """int64 [classes, classes], rows the true class, columns the class put first."""
        classes = self.log_probabilities.shape[1]
        places = self.labels.astype(np.int64) * classes + self.predicted
        return np.bincount(places, minlength=classes**2).reshape(classes, classes)

    @property
    def recall(self) -> np.ndarray:
        """Percent [classes] of a class's images that were put into it; NaN for a class without images."""
        return _percent(np.diag(self.confusion), self.confusion.sum(axis=1))

    @property
    def precision(self) -> np.ndarray:
        """Percent [classes] of what was put into a class that is of it; NaN where nothing was."""
        return _percent(np.diag(self.confusion), self.confusion.sum(axis=0))

    def calibration(self, temperature: float = 1.0) -> Calibration:
        """Returns the calibration of the probabilities, as they are or with their logits divided by a temperature."""
        confidence = np.exp(_cooled(self.log_probabilities, temperature).max(axis=1))
        place = np.minimum((confidence * BINS).astype(int), BINS - 1)
        count = np.bincount(place, minlength=BINS)
        with np.errstate(invalid="ignore"):
            return Calibration(
                confidence=np.bincount(place, confidence, BINS) / count,
                accuracy=np.bincount(place, self.predicted == self.labels, BINS) / count,
                count=count,
            )

    @cached_property
    def temperature(self) -> float:
        """The temperature at which the cross entropy of these very images is least; above 1: the network is too sure.

        Source: Guo et al. 2017, section 4.2.
        """
        from scipy.optimize import minimize_scalar

        def loss(log_temperature: float) -> float:
            cooled = _cooled(self.log_probabilities, np.exp(log_temperature))
            return -float(cooled[np.arange(len(self.labels)), self.labels].mean())

        return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-6}).x))

    def mistakes(self, most: int) -> np.ndarray:
        """Returns the places of up to `most` images put into a wrong class, the most confident first."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")][:most]

    def figures(self) -> dict:
        """Returns what a row of the ledger keeps: errors of calibration in 0..1, and percent by class."""
        return {
            "calibration_error": round(self.calibration().error, 5),
            "temperature": round(self.temperature, 4),
            "calibration_error_at_temperature": round(self.calibration(self.temperature).error, 5),
            "precision": [None if np.isnan(value) else round(float(value), 2) for value in self.precision],
            "recall": [None if np.isnan(value) else round(float(value), 2) for value in self.recall],
        }


def _cooled(log_probabilities: np.ndarray, temperature: float) -> np.ndarray:
    divided = log_probabilities / temperature
    return divided - np.logaddexp.reduce(divided, axis=1)[:, None]


def _percent(hits: np.ndarray, totals: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return 100 * hits / totals

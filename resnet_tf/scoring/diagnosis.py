"""Confusion matrix and calibration of a network."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

BINS = 15
FEW_IMAGES = 500  # on fewer the calibration error is mostly chance: some points even for a perfectly calibrated network
UNSURE_MISTAKES = 0.8  # the part of the validation mistakes that are less probable than what is called sure
_LARGEST_LOG_TEMPERATURE = 3.0


@dataclass(frozen=True, eq=False)
class Calibration:
    """Confidence and accuracy of a network, in bins of equal width over the confidence, 0..1.

    Attributes:
        confidence: float64 [bins], the mean probability of the predicted class; NaN in an empty bin.
        accuracy: float64 [bins], the fraction of images that are of the predicted class; NaN in an empty bin.
        count: int64 [bins], images.

    Source: Guo et al. 2017 (arXiv:1706.04599), section 2.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error, 0..1: |confidence - accuracy|, averaged over the images."""
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
        """int [n], the most probable class."""
        return self.log_probabilities.argmax(axis=1)

    @cached_property
    def confidence(self) -> np.ndarray:
        """float [n], the probability of the predicted class."""
        return np.exp(self.log_probabilities.max(axis=1))

    @cached_property
    def confusion(self) -> np.ndarray:
        """int64 [classes, classes], rows the true class, columns the predicted one."""
        classes = self.log_probabilities.shape[1]
        places = self.labels.astype(np.int64) * classes + self.predicted
        return np.bincount(places, minlength=classes**2).reshape(classes, classes)

    @property
    def recall(self) -> np.ndarray:
        """Percent [classes] of a class's images that are predicted as it; NaN for a class without images."""
        return _percent(np.diag(self.confusion), self.confusion.sum(axis=1))

    @property
    def precision(self) -> np.ndarray:
        """Percent [classes] of the images predicted as a class that are of it; NaN where there are none."""
        return _percent(np.diag(self.confusion), self.confusion.sum(axis=0))

    def confused(self, most: int) -> list[tuple[int, int, int]]:
        """Returns up to `most` kinds of mistake as (true class, predicted class, images), the most frequent first."""
        counts = self.confusion * ~np.eye(len(self.confusion), dtype=bool)
        places = np.argsort(-counts, axis=None, kind="stable")[:most]
        rows, columns = np.unravel_index(places[counts.flat[places] > 0], counts.shape)
        return list(zip(rows.tolist(), columns.tolist(), counts[rows, columns].tolist(), strict=True))

    @cached_property
    def confused_together(self) -> np.ndarray:
        """int [classes], the classes (two at least) in an order in which those that are confused lie side by side.

        The leaves of average linkage; two classes are the nearer, the more of their images are taken for the other's.
        """
        from scipy.cluster.hierarchy import leaves_list, linkage
        from scipy.spatial.distance import squareform

        shares = self.confusion / np.maximum(self.confusion.sum(axis=1, keepdims=True), 1)
        distances = 2 - (shares + shares.T)
        np.fill_diagonal(distances, 0)
        return leaves_list(linkage(squareform(distances), "average"))

    def calibration(self, temperature: float = 1.0) -> Calibration:
        """Returns the calibration of the probabilities, as they are or with their logits divided by a temperature."""
        confidence = np.exp(scaled(self.log_probabilities, temperature).max(axis=1))
        bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
        count = np.bincount(bins, minlength=BINS)
        with np.errstate(invalid="ignore"):
            return Calibration(
                confidence=np.bincount(bins, confidence, BINS) / count,
                accuracy=np.bincount(bins, self.predicted == self.labels, BINS) / count,
                count=count,
            )

    @cached_property
    def temperature(self) -> float | None:
        """The temperature that minimises the cross entropy of these images; above 1: the network is overconfident.

        None where there is no such minimum between exp(-3) and exp(3), as of a network that is never wrong.

        Source: Guo et al. 2017, section 4.2.
        """
        from scipy.optimize import minimize_scalar

        def loss(log_temperature: float) -> float:
            divided = scaled(self.log_probabilities, np.exp(log_temperature))
            return -float(divided[np.arange(len(self.labels)), self.labels].mean())

        most = _LARGEST_LOG_TEMPERATURE
        best = minimize_scalar(loss, bounds=(-most, most), method="bounded", options={"xatol": 1e-6}).x
        return None if abs(best) > most - 1e-3 else float(np.exp(best))

    def calibrated(self) -> dict | None:
        """Returns what these validation images say of a network's probabilities; None without a temperature.

        Returns:
            "temperature": divides the logits. "unsure_below": a probability, after that, below which
            `UNSURE_MISTAKES` of the mistakes lie. "right_if_sure": the part of the images above it that are right,
            0..1. "images": their number.
        """
        right = self.predicted == self.labels
        if self.temperature is None or right.all():
            return None
        confidence = np.exp(scaled(self.log_probabilities, self.temperature).max(axis=1))
        limit = float(np.quantile(confidence[~right], UNSURE_MISTAKES))
        return {
            "temperature": round(self.temperature, 4),
            "unsure_below": round(limit, 4),
            "right_if_sure": round(float(right[confidence >= limit].mean()), 4),
            "images": len(right),
        }

    def mistakes(self, most: int) -> np.ndarray:
        """Returns the indices of up to `most` wrongly predicted images, the most confident first."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        return wrong[np.argsort(-self.confidence[wrong], kind="stable")][:most]

    def figures(self, temperature: float | None) -> dict:
        """Returns what a row of the log holds: calibration errors in 0..1, precision and recall in percent by class.

        Args:
            temperature: fitted on other images than these; None: there is none, and no error at it.
        """
        error = None if temperature is None else round(self.calibration(temperature).error, 5)
        return {
            "calibration_error": round(self.calibration().error, 5),
            "temperature": temperature,
            "calibration_error_at_temperature": error,
            "precision": [None if np.isnan(value) else round(float(value), 2) for value in self.precision],
            "recall": [None if np.isnan(value) else round(float(value), 2) for value in self.recall],
        }


def scaled(log_probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Returns the log probabilities of logits divided by a temperature."""
    divided = log_probabilities / temperature
    return divided - np.logaddexp.reduce(divided, axis=1)[:, None]


def _percent(hits: np.ndarray, totals: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return 100 * hits / totals

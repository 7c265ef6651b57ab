"""Exact counts over a split, kept in integers and float64, so that every image counts exactly once."""

import numpy as np

from resnet_tf.scoring.diagnosis import Diagnosis


class Scores:
    """What a network did on the images seen so far.

    Args:
        classes: number of classes.
        keep_all: keep the probabilities of all classes, which `diagnosis` needs.

    Attributes:
        count: images seen.
        correct1, correct5: images whose class is the most probable, or among the five most probable.
        loss_sum: sum over images of the cross entropy in nats, from unsmoothed probabilities.
    """

    def __init__(self, classes: int, keep_all: bool = False):
        self.classes, self.keep_all = classes, keep_all
        self.count, self.correct1, self.correct5, self.loss_sum = 0, 0, 0, 0.0
        self.batches: list[tuple[np.ndarray, ...]] = []  # what `predictions` joins
        self.log_probabilities: list[np.ndarray] = []

    def update(self, log_probabilities: np.ndarray, labels: np.ndarray) -> None:
        """Adds a batch: log probabilities [batch, classes] (of softmax, or of averaged views) and labels int [batch].

        Equal log probabilities count for the lower class index, as argmax does, and a NaN never counts as correct.
        """
        log_probabilities = np.asarray(log_probabilities, np.float64)
        rows = np.arange(len(labels))
        own = log_probabilities[rows, labels]
        ahead = (log_probabilities > own[:, None]) | np.isnan(log_probabilities)
        ties = log_probabilities == own[:, None]
        ahead |= ties & (np.arange(self.classes) < labels[:, None])
        rank = np.where(np.isnan(own), np.inf, ahead.sum(axis=1))
        self.count += len(labels)
        self.correct1 += int((rank == 0).sum())
        self.correct5 += int((rank < 5).sum())
        self.loss_sum -= float(own.sum())
        predicted = np.where(np.isnan(own), -1, log_probabilities.argmax(axis=1))
        self.batches.append((labels, predicted, np.exp(own)))
        if self.keep_all:
            self.log_probabilities.append(log_probabilities.astype(np.float32))

    @property
    def predictions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Per image: true class, predicted class (-1: not a number), probability of the true class."""
        labels, first, own = map(np.concatenate, zip(*self.batches, strict=True))
        return labels.astype(np.int32), first.astype(np.int32), own.astype(np.float32)

    @property
    def diagnosis(self) -> Diagnosis:
        """Of all images seen; needs `keep_all`."""
        return Diagnosis(self.predictions[0], np.concatenate(self.log_probabilities).astype(np.float64))

    @property
    def top1(self) -> float:
        """Percent."""
        return 100 * self.correct1 / self.count

    @property
    def top5(self) -> float:
        """Percent."""
        return 100 * self.correct5 / self.count

    @property
    def loss(self) -> float:
        """Mean cross entropy in nats."""
        return self.loss_sum / self.count

    @property
    def per_class_top1(self) -> list[float | None]:
        """Percent of each class's images that are predicted as it; None for a class without images."""
        labels, predicted, _ = self.predictions
        totals, hits = (np.bincount(part, minlength=self.classes) for part in (labels, labels[labels == predicted]))
        return [100 * hit / total if total else None for hit, total in zip(hits, totals, strict=True)]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Returns log probabilities float64 [..., classes] of logits [..., classes]."""
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def mean_over_views(logits: np.ndarray, views: int) -> np.ndarray:
    """Averages the probabilities of each image's views.

    Args:
        logits: [n x views, classes], those of an image one after another.

    Returns:
        Log probabilities, float64 [n, classes].
    """
    each = log_softmax(logits).reshape(-1, views, logits.shape[-1])
    return np.logaddexp.reduce(each, axis=1) - np.log(views)

"""What chance does to a top-1: the interval of one, and whether two networks differ on the same images."""

import math
from dataclasses import dataclass

import numpy as np

from resnet_tf.runs.predictions import Predictions


def wilson_interval(correct: int, count: int) -> tuple[float, float]:
    """Returns the 95 % interval, in percent, of `correct` of `count` images, by Wilson's score (1927)."""
    if count == 0:
        return 0.0, 100.0
    z = 1.959964  # the normal distribution's quantile for 95 %, in both directions
    share = correct / count
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 100 / (1 + z * z / count)
    return max(0.0, (centre - spread) * scale), min(100.0, (centre + spread) * scale)


@dataclass(frozen=True)
class Paired:
    """McNemar's test: of the images that just one of two networks gets right, does either get more than by chance?

    Attributes:
        count: images.
        ours, theirs: images that only the first, only the second network gets right.
    """

    count: int
    ours: int
    theirs: int

    @property
    def difference(self) -> float:
        """Top-1 of the first less that of the second, in points."""
        return 100 * (self.ours - self.theirs) / self.count

    @property
    def p(self) -> float:
        """Probability of a difference at least as large where both networks are equally good."""
        return mcnemar(self.ours, self.theirs)


def mcnemar(ours: int, theirs: int) -> float:
    """Returns the two-sided p-value of McNemar's exact test: the binomial test of `ours` of `ours + theirs` at 1/2.

    Source: McNemar 1947 (Psychometrika 12).
    """
    from scipy.stats import binomtest

    return float(binomtest(ours, ours + theirs).pvalue) if ours + theirs else 1.0


def paired(ours: Predictions, theirs: Predictions) -> Paired:
    """Counts on which images two networks differ; the images must be the same, in the same order."""
    mine, others = ours.correct, theirs.correct
    return Paired(len(mine), int(np.sum(mine & ~others)), int(np.sum(others & ~mine)))

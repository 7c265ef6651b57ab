"""Wilson's interval against scipy's, and McNemar's exact test against its definition."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from resnet_tf.runs import significance
from resnet_tf.runs.predictions import Predictions


@pytest.mark.parametrize(("correct", "count"), [(0, 10), (1, 10), (9, 10), (10, 10), (8659, 10_000), (1, 1), (0, 1)])
def test_interval_is_scipys(correct, count):
    expected = stats.binomtest(correct, count).proportion_ci(method="wilson")
    assert significance.wilson_interval(correct, count) == pytest.approx(
        (100 * expected.low, 100 * expected.high), abs=1e-4
    )


def test_interval_of_no_images_says_nothing():
    assert significance.wilson_interval(0, 0) == (0.0, 100.0)


@pytest.mark.parametrize(
    ("ours", "theirs"), [*itertools.product(range(7), repeat=2), (776, 889), (3000, 2000), (1000, 1003)]
)
def test_mcnemar_is_the_sum_of_binomial_coefficients(ours, theirs):
    pairs, few = ours + theirs, min(ours, theirs)
    expected = min(1, Fraction(2 * sum(math.comb(pairs, number) for number in range(few + 1)), 2**pairs))
    assert significance.mcnemar(ours, theirs) == pytest.approx(float(expected), rel=1e-9, abs=1e-300)


def test_pairs_are_those_of_a_contingency_table():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, 2000).astype(np.int32)
    answers = [np.where(generator.random(2000) < share, labels, (labels + 1) % 10) for share in (0.8, 0.7)]
    ours, theirs = (Predictions("x", labels, answer.astype(np.int32), np.ones(2000, np.float32)) for answer in answers)
    table = stats.contingency.crosstab(answers[0] == labels, answers[1] == labels).count  # rows ours, wrong then right
    test = significance.paired(ours, theirs)
    assert (test.ours, test.theirs, test.count) == (table[1, 0], table[0, 1], 2000)
    assert test.difference == pytest.approx(100 * (np.mean(answers[0] == labels) - np.mean(answers[1] == labels)))
    assert test.p == pytest.approx(stats.binomtest(int(table[1, 0]), int(table[1, 0] + table[0, 1])).pvalue)

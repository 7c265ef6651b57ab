"""Top-1, top-5 and the score of each class, against a stable sort by numpy."""

import numpy as np
import pytest

from resnet_tf.scoring.metrics import Scores, log_softmax

CLASSES = 12


@pytest.mark.parametrize("classes", [3, 10])
def test_an_output_that_is_no_number_is_never_correct(classes):
    scores = Scores(classes)
    outputs = np.zeros((2, classes))
    outputs[1] = np.nan
    scores.update(outputs, np.array([0, 0]))
    assert (scores.correct1, scores.correct5, scores.count) == (1, 1, 2)


def test_ranks_are_those_of_a_stable_sort():
    """In batches, with classes of unequal size, one without images, and rows in which classes tie."""
    rng = np.random.default_rng(0)
    labels = rng.choice(CLASSES - 1, 500, p=np.arange(1, CLASSES) / np.arange(1, CLASSES).sum())
    logits = rng.normal(size=(500, CLASSES)) + 1.5 * np.eye(CLASSES)[labels]
    logits[::3] = np.round(logits[::3])  # many ties
    scores = Scores(CLASSES)
    for start in range(0, 500, 64):
        scores.update(log_softmax(logits[start : start + 64]), labels[start : start + 64])
    order = np.argsort(-log_softmax(logits), axis=1, kind="stable")  # of equal ones the lower class comes first
    places = np.argmax(order == labels[:, None], axis=1)
    assert 0.2 < np.mean(places == 0) < 0.8
    assert (scores.top1, scores.top5) == (100 * np.mean(places == 0), 100 * np.mean(places < 5))
    by_class = [100 * np.mean(places[labels == number] == 0) for number in range(CLASSES - 1)]
    assert scores.per_class_top1[:-1] == pytest.approx(by_class)
    assert scores.per_class_top1[-1] is None
    np.testing.assert_array_equal(scores.predictions[1], order[:, 0])

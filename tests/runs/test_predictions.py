"""Predictions image by image: what is stored, and of which images."""

from dataclasses import replace

import numpy as np
import pytest
from assertions import user_error

from resnet_tf.datasets.splits import ArraySplit, Dataset, FileSplit
from resnet_tf.runs import predictions
from resnet_tf.runs.predictions import Predictions, fingerprint_of_order
from resnet_tf.scoring.metrics import Scores, log_softmax


def test_scores_keep_what_numpy_finds():
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(50, 5)), generator.integers(0, 5, 50)
    scores = Scores(5)
    for start in (0, 32):  # two batches
        scores.update(log_softmax(logits[start : start + 32]), labels[start : start + 32])
    true, first, own = scores.predictions
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(true, labels)
    np.testing.assert_array_equal(first, shares.argmax(axis=1))
    np.testing.assert_allclose(own, shares[np.arange(50), labels], rtol=1e-6)
    assert np.sum(first == true) == scores.correct1


def test_what_is_no_number_is_never_right():
    scores = Scores(3)
    scores.update(np.array([[np.nan, -1.0, -2.0], [-1.0, np.nan, -2.0]]), np.array([0, 0]))
    true, first, _ = scores.predictions
    assert first[0] == -1
    assert np.sum(first == true) == scores.correct1 == 0


def dataset(**changes) -> Dataset:
    labels = np.array([0, 1, 0, 1], np.int32)
    split = ArraySplit(np.zeros((4, 2, 2, 3), np.uint8), labels)
    made = Dataset("cifar10", "cifar10", "here", ("a", "b"), split, split, "f" * 64, True)
    return replace(made, **changes)


def test_order_has_a_fingerprint_of_its_own():
    everything = np.arange(4)
    known = fingerprint_of_order(dataset(), "test", everything)
    assert known == fingerprint_of_order(dataset(), "test", everything)
    files = FileSplit(np.array(["x/1.jpg", "x/2.jpg", "x/3.jpg", "x/4.jpg"], object), dataset().test.labels)
    moved = replace(files, paths=np.array(["y/1.jpg", "y/2.jpg", "y/3.jpg", "y/4.jpg"], object))
    other = replace(files, paths=files.paths[[2, 1, 0, 3]])
    of_files = fingerprint_of_order(dataset(test=files), "test", everything)
    assert of_files == fingerprint_of_order(dataset(test=moved), "test", everything)
    differing = [
        fingerprint_of_order(dataset(fingerprint="e" * 64), "test", everything),
        fingerprint_of_order(dataset(), "train", everything),
        fingerprint_of_order(dataset(), "test", everything[[2, 1, 0, 3]]),
        fingerprint_of_order(dataset(), "test", everything[:3]),
        of_files,
        fingerprint_of_order(dataset(test=other), "test", everything),
    ]
    assert len({known, *differing}) == 7


def test_stored_and_read_again(tmp_path):
    path = tmp_path / "predictions" / "test-1-crop-last.npz"
    labels, first = np.array([0, 1, 2], np.int32), np.array([0, 2, 2], np.int32)
    predictions.save(path, Predictions("abc", labels, first, np.array([0.9, 0.2, 0.6], np.float32)))
    again = predictions.load(path)
    assert again.images == "abc"
    assert again.correct.tolist() == [True, False, True]
    np.testing.assert_array_equal(again.probability, np.array([0.9, 0.2, 0.6], np.float32))


@pytest.mark.parametrize("content", [b"", b"not an archive", None])
def test_a_damaged_file_is_named_in_one_line(tmp_path, content):
    path = tmp_path / "test-1-crop-last.npz"
    if content is not None:
        path.write_bytes(content)
    error = user_error(predictions.load, path)
    assert error.code == "predictions-unreadable"
    assert str(path) in str(error)

"""A diagnosis against a second computation, image by image, in plain Python."""

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from resnet_tf.evaluation.plots import MISTAKES, calibration_figure, confusion_figure, draw, mistakes_figure
from resnet_tf.scoring.diagnosis import FEW_IMAGES, Diagnosis
from resnet_tf.scoring.metrics import Scores, log_softmax

IMAGES, CLASSES = 600, 4


@pytest.fixture(scope="module")
def logits() -> np.ndarray:
    """Three times as sure as they ought to be: labels are drawn from a third of them."""
    return 3 * np.random.default_rng(0).normal(size=(IMAGES, CLASSES))


@pytest.fixture(scope="module")
def labels(logits) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.array([rng.choice(CLASSES, p=np.exp(row / 3) / np.exp(row / 3).sum()) for row in logits], np.int32)


@pytest.fixture(scope="module")
def found(logits, labels) -> Diagnosis:
    scores = Scores(CLASSES, keep_all=True)
    for start in range(0, IMAGES, 250):
        scores.update(log_softmax(logits[start : start + 250]), labels[start : start + 250])
    return scores.diagnosis


def test_confusion_precision_and_recall_are_counts(found, logits, labels):
    pairs = [(int(label), int(np.argmax(row))) for label, row in zip(labels, logits, strict=True)]
    for true in range(CLASSES):
        for guess in range(CLASSES):
            assert found.confusion[true, guess] == pairs.count((true, guess))
        hits = pairs.count((true, true))
        assert found.recall[true] == pytest.approx(100 * hits / sum(pair[0] == true for pair in pairs))
        assert found.precision[true] == pytest.approx(100 * hits / sum(pair[1] == true for pair in pairs))


@pytest.fixture(scope="module")
def of_many_classes() -> Diagnosis:
    """100 classes in 20 families of five (class c is of family c % 20). Mistakes stay within a family."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(100), 30)
    answers = np.where(rng.random(3000) < 0.6, labels, (labels + 20 * rng.integers(1, 5, 3000)) % 100)
    return Diagnosis(labels, np.log(0.9 * np.eye(100)[answers] + 0.001))


def test_confused_classes_lie_side_by_side(of_many_classes):
    order = of_many_classes.confused_together
    assert sorted(order) == list(range(100))
    families = (order % 20).reshape(20, 5)
    assert (families == families[:, :1]).all()


def test_the_most_frequent_mistakes_are_counted(of_many_classes):
    pairs = zip(of_many_classes.labels.tolist(), of_many_classes.predicted.tolist(), strict=True)
    counts = Counter(pair for pair in pairs if pair[0] != pair[1])
    found = of_many_classes.confused(20)
    assert [count for *_, count in found] == [count for _, count in counts.most_common(20)]
    assert all(counts[true, answer] == count for true, answer, count in found)
    assert len(of_many_classes.confused(10_000)) == len(counts)


def test_many_classes_are_ordered_and_the_worst_pairs_named(of_many_classes):
    names = [f"class $^${number} with a name too long for a bar" for number in range(100)]
    matrix, bars, _ = confusion_figure(of_many_classes, names, "a run").axes
    order = of_many_classes.confused_together
    shares = of_many_classes.confusion[np.ix_(order, order)] / 30
    assert np.asarray(matrix.images[0].get_array()) == pytest.approx(np.sqrt(shares))
    assert not matrix.texts
    assert [bar.get_width() for bar in bars.patches] == [count for *_, count in of_many_classes.confused(20)]
    assert draw(of_many_classes, [], names, "a run")["confusion"]


def test_of_few_images_it_is_said_that_calibration_means_little(found):
    few = Diagnosis(found.labels[: FEW_IMAGES - 1], found.log_probabilities[: FEW_IMAGES - 1])
    notes = [calibration_figure(one, "a run").get_supxlabel() for one in (found, few)]
    assert [str(FEW_IMAGES) in note for note in notes] == [False, True]  # the number below which it is
    assert all(str(len(one.labels)) in note for one, note in zip((found, few), notes, strict=True))


def calibration_error(logits, labels, temperature: float) -> float:
    """The definition of Guo et al. 2017, equation 3, with 15 bins."""
    bins: dict[int, list[tuple[float, bool]]] = {}
    for row, label in zip(logits / temperature, labels, strict=True):
        shares = np.exp(row) / np.exp(row).sum()
        bins.setdefault(min(int(shares.max() * 15), 14), []).append((shares.max(), shares.argmax() == label))
    gaps = [abs(sum(sure for sure, _ in each) - sum(right for _, right in each)) for each in bins.values()]
    return sum(gaps) / len(labels)


def test_calibration_error_is_its_definition(found, logits, labels):
    for temperature in (1.0, 3.0):
        expected = calibration_error(logits, labels, temperature)
        assert found.calibration(temperature).error == pytest.approx(expected, abs=1e-6)
    assert found.calibration().error > 0.1
    assert found.calibration().count.sum() == IMAGES


def test_the_temperature_has_the_least_cross_entropy(found, logits, labels):
    """Among a fine grid of them; and it is near the three by which the logits are too sure."""

    def loss(temperature: float) -> float:
        shares = np.exp(logits / temperature) / np.exp(logits / temperature).sum(axis=1, keepdims=True)
        return float(-np.log(shares[np.arange(IMAGES), labels]).mean())

    grid = np.linspace(1, 6, 2001)
    best = grid[np.argmin([loss(temperature) for temperature in grid])]
    assert found.temperature == pytest.approx(best, abs=0.005)
    assert found.temperature == pytest.approx(3, rel=0.15)
    assert found.calibration(found.temperature).error < found.calibration().error / 2


def test_what_is_unsure_holds_four_of_five_mistakes(found, logits, labels):
    stored = found.calibrated()
    shares = np.exp(logits / stored["temperature"])
    shares /= shares.sum(axis=1, keepdims=True)
    sure, right = shares.max(axis=1) >= stored["unsure_below"], shares.argmax(axis=1) == labels
    assert (~sure & ~right).sum() / (~right).sum() == pytest.approx(0.8, abs=0.01)
    assert right[sure].mean() == pytest.approx(stored["right_if_sure"], abs=0.002)
    assert stored["images"] == IMAGES


def test_where_the_search_ends_at_its_bound_there_is_no_temperature(logits):
    best = logits.argmax(axis=1)
    for labels in (best, (best + 1) % CLASSES):  # never wrong, never right: the colder, or the hotter, the better
        found = Diagnosis(labels.astype(np.int32), log_softmax(logits))
        assert found.temperature is None
        assert found.calibrated() is None
        assert found.figures(None)["temperature"] is None


def test_mistakes_are_the_surest_first(found, logits, labels):
    places = found.mistakes(10)
    certainty = np.exp(logits).max(axis=1) / np.exp(logits).sum(axis=1)
    sure = [certainty[i] for i in places]
    assert sure == sorted(sure, reverse=True)
    wrong = [i for i in range(IMAGES) if np.argmax(logits[i]) != labels[i]]
    assert set(places) <= set(wrong)
    assert (
        sure[-1] >= sorted((np.exp(logits[i]).max() / np.exp(logits[i]).sum() for i in wrong), reverse=True)[9] - 1e-9
    )


def test_a_class_without_images_or_predictions_has_no_share():
    found = Diagnosis(np.array([0, 0]), np.log([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]))
    assert found.figures(None)["recall"] == [50.0, None, None]
    assert found.figures(None)["precision"] == [100.0, 0.0, None]


def test_pictures_show_a_diagnosis_worked_out_by_hand():
    """Four images: two are right; an `a` taken for a `b` is the more confident mistake, a `b` for a `c` the other."""
    probabilities = np.array([[0.06, 0.9, 0.04], [0.1, 0.82, 0.08], [0.2, 0.18, 0.62], [0.2, 0.08, 0.72]])
    four, names = Diagnosis(np.array([0, 1, 2, 1]), np.log(probabilities)), ["a", "b", "c"]
    matrix = confusion_figure(four, names, "a run").axes[0]
    written = {text.get_position()[::-1]: text.get_text() for text in matrix.texts}  # a text lies at column, row
    assert written == {(0, 1): "1", (1, 1): "1", (1, 2): "1", (2, 2): "1"}
    assert (matrix.get_xlabel(), matrix.get_ylabel()) == ("predicted class", "true class")
    bars = [
        {place: bar.get_height() for place, bar in enumerate(axes.patches) if bar.get_height()}
        for axes in calibration_figure(four, "a run").axes
    ]
    assert bars == [{9: 1, 12: 1}, {9: 1, 10: 1, 12: 1, 13: 1}]  # accuracy and images of 15 bins
    images = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(2, 8, 8, 3)
    shown = [axes for axes in mistakes_figure(four, images, names, "a run").axes if axes.images]
    assert [axes.get_title() for axes in shown] == ["b 90%\nis a", "c 72%\nis b"]
    for axes, image in zip(shown, images, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), image)


def test_pictures_of_odd_names_and_without_mistakes_can_be_drawn(found):
    names = ["plane", "cost $^$\x1b[31m", "cat", "a very long name of a class"]
    mistaken = np.random.default_rng(0).integers(0, 256, (MISTAKES, 8, 8, 3), np.uint8)
    drawn = draw(found, mistaken, names, "a run")
    assert set(drawn) == {"confusion", "calibration", "mistakes"}
    for content in drawn.values():
        picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        assert min(picture.shape[:2]) > 400
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    nothing_wrong = Diagnosis(np.array([0, 1]), np.log([[0.9, 0.1], [0.2, 0.8]]))
    assert draw(nothing_wrong, mistaken[:0], ["a", "b"], "")["mistakes"]

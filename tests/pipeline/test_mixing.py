"""mixup and cutmix against torchvision's rules in numpy; what is drawn, by which host, from which step on."""

import math

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from assertions import user_error
from drawn import LIKELY

from resnet_tf.datasets.splits import ArraySplit
from resnet_tf.pipeline.batches import TrainingBatches
from resnet_tf.pipeline.mixing import Mixing, quantiles
from resnet_tf.presets import augmentation
from resnet_tf.presets.parsing import build
from resnet_tf.presets.sections import Train

CHAIN = augmentation.parse("pad_crop(4) | flip_horizontal")
BATCH, CLASSES, SEED, HEIGHT, WIDTH = 8, 5, 3, 24, 32


@pytest.fixture(scope="module")
def split() -> ArraySplit:
    rng = np.random.default_rng(0)
    return ArraySplit(
        rng.integers(0, 256, (50, HEIGHT, WIDTH, 3), np.uint8), rng.integers(0, CLASSES, 50).astype(np.int32)
    )


def batches(split: ArraySplit, mixup: float = 0.0, cutmix: float = 0.0) -> TrainingBatches:
    mixing = Mixing(mixup, cutmix, CLASSES) if mixup or cutmix else None
    return TrainingBatches(split, CHAIN, BATCH, SEED, mixing=mixing)


def collect(dataset) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(images.numpy(), labels.numpy()) for images, labels in dataset]


def mixup_by_torchvision(images, targets, weight):
    """RandomMixup.forward of torchvision's references, from its documented source; images [batch, height, width, 3]."""
    return (
        images * weight + np.roll(images, 1, 0) * (1 - weight),
        targets * weight + np.roll(targets, 1, 0) * (1 - weight),
    )


def cutmix_by_torchvision(images, targets, weight, r_x, r_y):
    """RandomCutmix.forward, likewise."""
    height, width = images.shape[1:3]
    r = 0.5 * math.sqrt(1.0 - weight)
    r_w_half, r_h_half = int(r * width), int(r * height)
    x1, y1 = max(r_x - r_w_half, 0), max(r_y - r_h_half, 0)
    x2, y2 = min(r_x + r_w_half, width), min(r_y + r_h_half, height)
    mixed = images.copy()
    mixed[:, y1:y2, x1:x2] = np.roll(images, 1, 0)[:, y1:y2, x1:x2]
    weight = 1 - (x2 - x1) * (y2 - y1) / (width * height)
    return mixed, targets * weight + np.roll(targets, 1, 0) * (1 - weight)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.2, 0.0), (0.0, 1.0), (0.8, 0.4)])
def test_a_batch_is_mixed_as_torchvision_does(mixup, cutmix, split):
    plain, mixed = (collect(each.dataset(0, 20)) for each in (batches(split), batches(split, mixup, cutmix)))
    done = set()
    for step, ((images, labels), (found, shares)) in enumerate(zip(plain, mixed, strict=True)):
        which, place, down, across = Mixing(mixup, cutmix, CLASSES).draw(SEED, tf.constant(step, tf.int64)).numpy()
        targets, cut = np.eye(CLASSES)[labels], cutmix and (not mixup or which >= 0.5)
        done.add(cut)
        alpha = cutmix if cut else mixup
        weight = float(scipy.stats.beta.ppf(place, alpha, alpha))
        if cut:
            centre = int(float(across) * WIDTH), int(float(down) * HEIGHT)
            expected = cutmix_by_torchvision(images, targets, weight, *centre)
            np.testing.assert_array_equal(found, expected[0])
        else:
            expected = mixup_by_torchvision(images.astype(np.float64), targets, weight)
            np.testing.assert_allclose(found, expected[0], atol=0.02)  # of 65,536 equally likely weights one is taken
        np.testing.assert_allclose(shares, expected[1], atol=1e-4)
        assert (found.dtype, shares.dtype) == (np.float32, np.float32)
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    assert len(done) == (2 if mixup and cutmix else 1)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 8.0])
def test_weights_are_of_a_beta_distribution(alpha):
    weights = quantiles(alpha)
    distance = scipy.stats.kstest(weights, scipy.stats.beta(alpha, alpha).cdf).statistic
    # A rounded weight lies 2**-21 off, where for a small alpha much of the distribution lies.
    assert distance < 2**-16 + scipy.stats.beta(alpha, alpha).cdf(2**-20)
    np.testing.assert_array_equal(weights * 2**20, np.round(weights * 2**20))
    np.testing.assert_allclose(weights + weights[::-1], 1, atol=2**-19)


def test_numbers_are_uniform_and_those_of_the_seed_and_the_step():
    mixing = Mixing(0.2, 1.0, CLASSES)
    numbers = np.array([mixing.draw(SEED, tf.constant(step, tf.int64)) for step in range(1500)])
    for column in numbers.T:
        assert scipy.stats.kstest(column, "uniform").pvalue > LIKELY
    correlation = np.corrcoef(numbers.T)
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 0.1
    np.testing.assert_array_equal(mixing.draw(SEED, tf.constant(37, tf.int64)), numbers[37])
    assert (mixing.draw(SEED + 1, tf.constant(37, tf.int64)).numpy() != numbers[37]).all()
    np.testing.assert_array_equal(numbers * 2**23, np.round(numbers * 2**23))


def test_hosts_see_their_rows_of_the_global_batch(split):
    mixing = batches(split, 0.2, 1.0)
    whole = collect(mixing.dataset(5, 15))
    for rows in (4, 2, 1):
        parts = [collect(mixing.dataset(5, 15, first_row=first, rows=rows)) for first in range(0, BATCH, rows)]
        for step, (images, shares) in enumerate(whole):
            np.testing.assert_array_equal(images, np.concatenate([part[step][0] for part in parts]))
            np.testing.assert_array_equal(shares, np.concatenate([part[step][1] for part in parts]))


def test_a_pipeline_started_at_a_step_continues_the_one_started_at_0(split):
    whole, rest = (collect(batches(split, 0.2, 1.0).dataset(start, 16)) for start in (0, 9))
    for (images, shares), (again, shares_again) in zip(whole[9:], rest, strict=True):
        np.testing.assert_array_equal(images, again)
        np.testing.assert_array_equal(shares, shares_again)


@pytest.mark.parametrize(
    ("keys", "named", "code"),
    [
        ({"mixup": -0.1}, "mixup", "preset-wrong-value"),
        ({"cutmix": "1"}, "cutmix", "preset-wrong-type"),
        ({"mixup": 0.2, "batch_size": 1}, "batch_size", "preset-wrong-value"),
    ],
)
def test_what_cannot_be_mixed_is_refused(keys, named, code):
    error = user_error(build, Train, {"epochs": 1, **keys}, "'train'")
    assert error.code == code
    assert named in str(error)

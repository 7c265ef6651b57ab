"""Changes of colour against colorsys, Pillow and the published components."""

import colorsys
import math

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from drawn import LIKELY, noise, numbers_of
from PIL import Image, ImageEnhance

from resnet_tf.pipeline.augment import apply
from resnet_tf.pipeline.statistics import IMAGENET, measure


def grey(image: np.ndarray) -> np.ndarray:
    return image @ np.array([0.299, 0.587, 0.114])


def hue_shifted(image: np.ndarray, shift: float) -> np.ndarray:
    def shifted(pixel: np.ndarray) -> list[float]:
        h, s, v = colorsys.rgb_to_hsv(*(pixel / 255))
        return [255 * value for value in colorsys.hsv_to_rgb((h + shift) % 1, s, v)]

    return np.apply_along_axis(shifted, -1, image)


CHANGES = {
    "brightness": lambda image, factor: np.clip(factor * image, 0, 255),
    "contrast": lambda image, factor: np.clip(factor * image + (1 - factor) * grey(image).mean(), 0, 255),
    "saturation": lambda image, factor: np.clip(factor * image + (1 - factor) * grey(image)[..., None], 0, 255),
    "hue": hue_shifted,
}
PILLOW = {"brightness": ImageEnhance.Brightness, "contrast": ImageEnhance.Contrast, "saturation": ImageEnhance.Color}


def amounts(numbers: np.ndarray, strengths: dict[str, float]) -> np.ndarray:
    low = [-s if name == "hue" else max(0, 1 - s) for name, s in strengths.items()]
    high = [s if name == "hue" else 1 + s for name, s in strengths.items()]
    return np.array(low) + numbers[:, :4] * (np.array(high) - low)


@pytest.mark.parametrize(
    ("name", "strength"), [("brightness", 0.6), ("contrast", 1.5), ("saturation", 0.9), ("hue", 0.5)]
)
def test_each_colour_change_is_the_reference(name, strength):
    images = noise(8, 9, 7, 3)
    chain, (numbers,) = numbers_of(f"color_jitter({name}={strength})", 8)
    changed = apply(tf.constant(images), chain, [numbers]).numpy()
    column = list(CHANGES).index(name)
    by = amounts(numbers, {**dict.fromkeys(CHANGES, 0.0), name: strength})[:, column]
    expected = [CHANGES[name](image.astype(np.float64), amount) for image, amount in zip(images, by, strict=True)]
    assert np.abs(changed - expected).max() < 0.01
    for image, one, amount in zip(images, changed, by, strict=True):
        if name in PILLOW:  # Pillow works in whole grey levels: it rounds the grey it blends with and cuts the result
            pillow = np.asarray(PILLOW[name](Image.fromarray(image)).enhance(float(amount)))
            assert np.abs(pillow - one).max() < 1 + abs(1 - amount)


def test_colour_changes_come_in_an_order_drawn_for_each_image():
    images = noise(24, 6, 6, 3)
    strengths = {"brightness": 0.4, "contrast": 0.5, "saturation": 0.6, "hue": 0.3}
    chain, (numbers,) = numbers_of("color_jitter(0.4, 0.5, 0.6, 0.3)", 24)
    changed = apply(tf.constant(images), chain, [numbers]).numpy()
    by, orders = amounts(numbers, strengths), np.argsort(numbers[:, 4:], axis=1)
    assert len({tuple(order) for order in orders}) > 10
    names = list(CHANGES)
    for image, one, amount, order in zip(images, changed, by, orders, strict=True):
        expected = image.astype(np.float64)
        for i in order:
            expected = CHANGES[names[i]](expected, amount[i])
        assert np.abs(one - expected).max() < 0.05


def test_all_orders_of_colour_changes_are_equally_likely():
    _, (numbers,) = numbers_of("color_jitter(0.1, 0.1, 0.1, 0.1)", 4800)
    _, counts = np.unique(np.argsort(numbers[:, 4:], axis=1) @ [64, 16, 4, 1], return_counts=True)
    assert len(counts) == math.factorial(4)
    assert scipy.stats.chisquare(counts).pvalue > LIKELY


def test_pca_lighting_moves_all_pixels_along_the_components():
    images = np.uint8(100 + noise(40, 5, 5, 3) // 8)  # far enough from 0 and 255 for nothing to be cut
    measured = measure(images)
    chain, (numbers,) = numbers_of("pca_lighting(0.2, 'training')", 40)
    shift = apply(tf.constant(images), chain, [numbers], measured).numpy() - images
    eigenvalues, vectors = np.linalg.eigh(np.cov(images.reshape(-1, 3).T / 255, bias=True))
    vectors = vectors[:, ::-1] * np.sign(vectors[:, ::-1][np.abs(vectors[:, ::-1]).argmax(0), range(3)])
    expected = 255 * (numbers * eigenvalues[::-1]) @ vectors.T  # the numbers are the alphas
    np.testing.assert_allclose(shift, np.broadcast_to(expected[:, None, None], images.shape), atol=1e-3)


def test_pca_lighting_with_the_published_components():
    images = np.full((3000, 1, 1, 3), 128, np.uint8)
    chain, numbers = numbers_of("pca_lighting(0.2)", 3000)
    shift = (apply(tf.constant(images), chain, numbers).numpy() - 128)[:, 0, 0] / 255
    inverse = np.linalg.inv(IMAGENET.eigenvectors)
    alphas = shift @ inverse.T / IMAGENET.eigenvalues
    for column in alphas.T:
        assert scipy.stats.kstest(column, "norm", (0, 0.2)).pvalue > LIKELY
    assert apply(tf.constant([[[[255, 0, 0]]]] * 99, tf.uint8), chain, [numbers[0][:99]]).numpy().max() == 255


def test_pca_lighting_asks_for_the_training_set():
    chain, numbers = numbers_of("pca_lighting(vectors='training')", 1)
    with pytest.raises(ValueError, match="'statistics' of the training set must be given"):
        apply(tf.constant(noise(1, 4, 4, 3)), chain, numbers)

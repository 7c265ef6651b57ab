"""Random erasing against torchvision's rule in numpy: on the same numbers, and its distributions."""

import math

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from drawn import LIKELY, noise, numbers_of

from resnet_tf.pipeline import augment
from resnet_tf.pipeline.augment import apply, augment_batch
from resnet_tf.pipeline.statistics import IMAGENET, measure
from resnet_tf.presets.augmentation import parse

AREA, ASPECT = (0.02, 0.33), (0.3, 3.3)


def rectangle_by_torchvision(height, width, area, aspect, uniform, randint):
    """torchvision.transforms.RandomErasing.get_params, from its documented source: (top, left, height, width)."""
    for attempt in range(10):
        erase_area = height * width * (area[0] + (area[1] - area[0]) * uniform(1 + attempt))
        least, greatest = math.log(aspect[0]), math.log(aspect[1])
        ratio = math.exp(least + (greatest - least) * uniform(11 + attempt))
        h, w = round(math.sqrt(erase_area * ratio)), round(math.sqrt(erase_area / ratio))
        if h < height and w < width:
            return randint(21, height - h), randint(22, width - w), h, w
    return None


def by_torchvision(image, row, probability, area, aspect, fill):
    """An image as torchvision's rule leaves it, with the uniform numbers of a row."""
    rectangle = rectangle_by_torchvision(
        *image.shape[:2], area, aspect, lambda i: float(row[i]), lambda i, most: int(float(row[i]) * (most + 1))
    )
    image = image.copy()
    if row[0] < probability and rectangle is not None:
        top, left, h, w = rectangle
        image[top : top + h, left : left + w] = fill
    return image


@pytest.mark.parametrize(
    ("height", "width", "area", "aspect", "probability"),
    [
        (32, 32, AREA, ASPECT, 0.5),
        (20, 45, AREA, ASPECT, 1.0),
        (24, 24, (0.9, 1.0), (0.5, 2.0), 1.0),  # most tries fail, and often all ten
        (224, 160, (0.02, 0.2), ASPECT, 0.25),
    ],
)
def test_it_is_torchvisions_rule_on_the_same_numbers(height, width, area, aspect, probability, monkeypatch):
    rows, images = 300, np.repeat(noise(1, height, width, 3) // 2, 300, axis=0)
    expression = f"random_erasing({probability}, area={area}, aspect={aspect}, fill=200)"
    chain, numbers = numbers_of(expression, rows)
    monkeypatch.setattr(augment, "_TRANSFORM_NUMBERS", {})
    _, (uniform,) = numbers_of(expression, rows)
    found = apply(tf.constant(images), chain, numbers).numpy()
    same = [
        np.array_equal(one, by_torchvision(image, row, probability, area, aspect, 200))
        for one, image, row in zip(found, images, uniform, strict=True)
    ]
    assert np.mean(same) > 0.99  # a float32 square root may round the other way, once in a great while
    untouched = (found == images).all(axis=(1, 2, 3)).mean()
    assert untouched == pytest.approx(1 - probability, abs=0.1) or area[0] > 0.5


def test_it_has_torchvisions_distributions():
    side, rows = 64, 4000
    images = tf.zeros([rows, side, side, 3], tf.uint8)
    covered = augment_batch(images, parse("random_erasing(1, fill=1)"), 3, tf.constant(4, tf.int64), rows).numpy()[
        ..., 0
    ]
    rng = np.random.default_rng(11)
    expected = np.array(
        [
            rectangle_by_torchvision(
                side, side, AREA, ASPECT, lambda _: rng.random(), lambda _, most: rng.integers(0, most + 1)
            )
            for _ in range(rows)
        ]
    )
    down, across = covered.any(axis=2), covered.any(axis=1)
    found = np.stack([down.argmax(1), across.argmax(1), down.sum(1), across.sum(1)], axis=1)
    assert (covered.sum(axis=(1, 2)) == found[:, 2] * found[:, 3]).all()  # whole rectangles, within the image

    def measures(rectangles):
        top, left, h, w = rectangles.T
        return {"area": h * w, "aspect": h / w, "top": top, "left": left, "place": (top + 0.5) / (side - h + 1)}

    for name, values in measures(expected).items():
        assert scipy.stats.ks_2samp(values, measures(found)[name]).pvalue > LIKELY, name


def test_as_many_images_are_erased_as_the_probability_says():
    images = tf.zeros([4000, 8, 8, 3], tf.uint8)
    shown = augment_batch(images, parse("random_erasing(0.3, fill=9)"), 0, tf.constant(0, tf.int64), 4000).numpy()
    erased = int(shown.any(axis=(1, 2, 3)).sum())
    assert scipy.stats.binomtest(erased, 4000, 0.3).pvalue > LIKELY


def test_a_rectangle_that_never_fits_leaves_the_image():
    images = noise(50, 16, 16, 3)
    chain, numbers = numbers_of("random_erasing(1, area=(1, 1), aspect=(1, 1))", 50)
    np.testing.assert_array_equal(apply(tf.constant(images), chain, numbers, IMAGENET), images)


def test_the_colour_is_the_mean_of_the_training_images():
    """After normalisation that is 0, torchvision's default."""
    images, training = noise(40, 16, 16, 3), noise(9, 16, 16, 3, seed=2) // 3
    chain, numbers = numbers_of("random_erasing(1)", 40)
    mean = training.mean(axis=(0, 1, 2))
    for pixels, colour in ((images, mean.round()), (images.astype(np.float32), mean.astype(np.float32))):
        erased = apply(tf.constant(pixels), chain, numbers, measure(training)).numpy()
        changed = erased[(erased != pixels).any(axis=-1)]
        assert len(changed) > 100
        assert erased.dtype == pixels.dtype
        np.testing.assert_array_equal(changed, np.broadcast_to(colour, changed.shape))
    with pytest.raises(ValueError, match="'statistics' of the training set must be given with random_erasing"):
        apply(tf.constant(images), chain, numbers)


def test_a_host_sees_its_rows_of_the_whole_batch_in_the_same_bits():
    chain, step, images = parse("random_erasing(0.7, fill=7)"), tf.constant(37, tf.int64), noise(12, 24, 24, 3)
    whole = augment_batch(tf.constant(images), chain, 3, step, 12)
    parts = [augment_batch(tf.constant(images[at : at + 4]), chain, 3, step, 12, first_row=at) for at in (0, 4, 8)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)

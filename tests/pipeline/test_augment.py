"""Draws as a pure function of (seed, step, row); shifts, flips, cutout and rotation against numpy and scipy."""

import collections

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import tensorflow as tf
from assertions import user_error
from drawn import LIKELY, noise, numbers_of
from PIL import Image

from resnet_tf.pipeline import augment
from resnet_tf.pipeline.augment import apply, augment_batch, draws
from resnet_tf.presets.augmentation import output_shape, parse


def smooth(*shape: int, seed: int = 0) -> np.ndarray:
    """Images with soft edges, which tell one pixel's shift from another's by a few grey levels."""
    blurred = scipy.ndimage.gaussian_filter(noise(*shape, seed=seed).astype(np.float64), (0, 2, 2, 0))
    return np.uint8(255 * (blurred - blurred.min()) / np.ptp(blurred))


# Draws


def test_draws_are_uniform_and_independent_between_columns_steps_and_places():
    chain, numbers = numbers_of("shorter_side(8, 9) | random_crop(8) | color_jitter(0.1)", 2000)
    assert [one.shape for one in numbers] == [(2000, 1), (2000, 2), (2000, 8)]
    columns = np.concatenate([*numbers, *(x.numpy() for x in draws(chain, 5, tf.constant(10, tf.int64), 2000))], axis=1)
    assert scipy.stats.kstest(columns.ravel(), "uniform").pvalue > LIKELY
    correlation = np.corrcoef(columns.T)
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 0.1


def test_seed_step_and_row_are_all_that_draws_depend_on():
    (first,) = numbers_of("pad_crop(4)", 16)[1]
    np.testing.assert_array_equal(first, numbers_of("pad_crop(4)", 16)[1][0])
    assert (first != numbers_of("pad_crop(4)", 16, step=10)[1][0]).all()
    assert (first != numbers_of("pad_crop(4)", 16, seed=6)[1][0]).all()
    longer = numbers_of("pad_crop(4) | flip_horizontal | pca_lighting", 16)[1]
    np.testing.assert_array_equal(first, longer[0])
    assert len(np.unique(np.concatenate(longer, axis=1))) == 16 * 6


STL10 = "random_resized_crop(20) | rotate(45) | color_jitter(0.3, 0.3, 0.3, 0.3) | flip_horizontal | flip_vertical"


@pytest.mark.parametrize(
    "expression",
    [
        "pad_crop(4) | flip_horizontal",
        STL10,
        "rotate(9) | random_crop(20) | pca_lighting",
        "pad_crop(2) | cutout(7)",
        "shorter_side(30, 40) | random_crop(26)",
    ],
)
def test_a_host_sees_its_rows_of_the_whole_batch(expression):
    chain, step, images = parse(expression), tf.constant(37, tf.int64), noise(12, 24, 24, 3)
    whole = augment_batch(tf.constant(images), chain, 3, step, global_batch=12)
    parts = [
        augment_batch(tf.constant(images[first : first + 4]), chain, 3, step, global_batch=12, first_row=first)
        for first in (0, 4, 8)
    ]
    # Colours are products of floats, whose last bits depend on the batch's size on some processors.
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-3)
    assert not np.array_equal(whole, augment_batch(tf.constant(images), chain, 3, step + 1, global_batch=12))


@pytest.mark.parametrize("expression", ["pad_crop(4) | flip_horizontal", STL10])
def test_a_pipeline_started_at_37_goes_on_like_one_started_at_0(expression):
    chain, images = parse(expression), tf.constant(noise(6, 24, 24, 3))

    def batches(start: int) -> list[np.ndarray]:
        steps = tf.data.Dataset.range(start, 40)
        return [batch.numpy() for batch in steps.map(lambda step: augment_batch(images, chain, 3, step, 6))]

    from_37 = batches(37)
    np.testing.assert_array_equal(batches(0)[37:], from_37)
    eager = augment_batch(images, chain, 3, tf.constant(38, tf.int64), 6)
    np.testing.assert_array_equal(eager, from_37[1])
    assert not np.array_equal(from_37[0], from_37[1])


def test_pixels_stay_bytes_until_a_colour_step():
    images = tf.constant(noise(2, 24, 24, 3))
    for expression, dtype in [
        ("pad_crop(2) | rotate(9) | random_crop(20)", tf.uint8),
        ("pca_lighting", tf.float32),
    ]:
        assert augment_batch(images, parse(expression), 0, tf.constant(0, tf.int64), 2).dtype == dtype


def test_nothing_is_done_by_an_empty_chain():
    images = noise(3, 8, 8, 3)
    np.testing.assert_array_equal(augment_batch(tf.constant(images), (), 0, tf.constant(0, tf.int64), 3), images)


def test_a_random_chain_without_its_draws_is_refused():
    with pytest.raises(ValueError, match="'numbers' must be given"):
        apply(tf.constant(noise(1, 8, 8, 3)), parse("pad_crop(1)"))


# Shifts and flips


@pytest.mark.parametrize(
    ("arguments", "numpys"),
    [("fill=99", {"constant_values": 99}), ("padding_mode='reflect'", {"mode": "reflect"})],
    ids=["constant", "reflect"],
)
def test_pad_crop_shows_a_crop_of_the_padded_image_and_every_offset_equally_often(arguments, numpys):
    rows, padding = 8100, 4
    image = np.stack([*np.mgrid[0:8, 0:8], np.full((8, 8), 200)], axis=-1).astype(np.uint8)  # a pixel tells its place
    padded = np.pad(image, [(padding,) * 2, (padding,) * 2, (0, 0)], **numpys)
    offsets = {padded[y : y + 8, x : x + 8].tobytes(): (y, x) for y in range(9) for x in range(9)}
    assert len(offsets) == 81
    chain = parse(f"pad_crop({padding}, {arguments})")
    shown = augment_batch(
        tf.constant(np.tile(image, (rows, 1, 1, 1))), chain, 1, tf.constant(4, tf.int64), rows
    ).numpy()
    counts = np.zeros((9, 9), int)
    for one in shown:
        counts[offsets[one.tobytes()]] += 1
    assert counts.min() > 0
    assert scipy.stats.chisquare(counts.ravel()).pvalue > LIKELY


@pytest.mark.parametrize(("name", "axis"), [("flip_horizontal", 2), ("flip_vertical", 1)])
def test_flips_are_numpys_and_their_own_inverse(name, axis):
    images = noise(5, 6, 9, 3)
    chain, numbers = numbers_of(f"{name}(1)", 5)
    flipped = apply(tf.constant(images), chain, numbers)
    np.testing.assert_array_equal(flipped, np.flip(images, axis))
    np.testing.assert_array_equal(apply(flipped, chain, numbers), images)
    chain, numbers = numbers_of(f"{name}(0)", 5)
    np.testing.assert_array_equal(apply(tf.constant(images), chain, numbers), images)


def test_a_reflection_wider_than_the_image_is_refused():
    assert len(output_shape(parse("pad_crop(7, padding_mode='reflect')"), (8, 9))) == 2
    error = user_error(output_shape, parse("pad_crop(8, padding_mode='reflect')"), (8, 9))
    assert error.code == "augment-padding-too-large"


def test_a_flip_comes_as_often_as_its_probability_says():
    images = np.zeros((4000, 1, 2, 3), np.uint8)
    images[:, :, 1] = 1
    shown = augment_batch(tf.constant(images), parse("flip_horizontal(0.3)"), 0, tf.constant(0, tf.int64), 4000).numpy()
    flipped = int((shown[:, 0, 0, 0] == 1).sum())
    assert scipy.stats.binomtest(flipped, 4000, 0.3).pvalue > LIKELY


@pytest.mark.parametrize(
    "order", ["pad_crop(3, 7) | flip_horizontal | flip_vertical", "flip_vertical | flip_horizontal | pad_crop(3, 7)"]
)
def test_shifts_and_flips_at_once_are_those_one_by_one(order):
    images = tf.constant(noise(64, 10, 7, 3))
    chain, numbers = numbers_of(order, 64)
    one_by_one = images
    for step, of_step in zip(chain, numbers, strict=True):
        one_by_one = apply(one_by_one, (step,), (of_step,))
    np.testing.assert_array_equal(apply(images, chain, numbers), one_by_one)


# Cutout


@pytest.mark.parametrize("size", [1, 4, 5])
def test_cutout_covers_a_square_around_every_pixel_equally_often(size):
    """Every square that numpy cuts around a pixel of the picture, and no other; the rest of the picture stays."""
    rows, height, width, fill = 6000, 5, 6, 77
    images = noise(1, height, width, 3) // 3 + 100
    shown = augment_batch(
        tf.constant(np.tile(images, (rows, 1, 1, 1))),
        parse(f"cutout({size}, fill={fill})"),
        2,
        tf.constant(4, tf.int64),
        rows,
    ).numpy()
    expected = []
    for y in range(height):
        for x in range(width):
            covered = images[0].copy()
            top, left = y - size // 2, x - size // 2
            covered[max(0, top) : top + size, max(0, left) : left + size] = fill
            expected.append(covered.tobytes())
    counts = collections.Counter(image.tobytes() for image in shown)
    assert set(counts) == set(expected)
    assert len(set(expected)) == height * width
    deviation = (rows / len(expected)) ** 0.5
    assert max(abs(count - rows / len(expected)) for count in counts.values()) < 4.5 * deviation


# Rotation


def test_rotation_is_that_of_scipy():
    images = smooth(6, 31, 40, 3)
    chain, (numbers,) = numbers_of("rotate(45, fill=50)", 6)
    turned = apply(tf.constant(images), chain, [numbers]).numpy()
    angles = np.degrees(np.arctan2(numbers[:, 1], numbers[:, 0]))
    assert np.ptp(angles) > 30
    for image, one, angle in zip(images, turned, angles, strict=True):
        expected = scipy.ndimage.rotate(
            image.astype(np.float64), angle, reshape=False, order=1, mode="grid-constant", cval=50
        )
        assert np.abs(one - expected).max() < 1


@pytest.mark.parametrize("side", [32, 70, 96])
def test_rotation_to_the_nearest_pixel_is_pillows(side):
    """Pillow works out places in 1/65,536 of a pixel, TensorFlow in float32: where a place lies halfway between two
    pixels (up to 2 in a thousand of an image's) either may be taken."""
    image = noise(1, side, side, 3)
    angles = np.concatenate([np.linspace(-45, 45, 61), [-180, -90, 90, 180, 30, 1e-3]]).astype(np.float32)
    turns = np.stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))], axis=1)
    chain = parse("rotate(180, fill=50, interpolation='nearest')")
    turned = apply(tf.constant(np.repeat(image, len(angles), axis=0)), chain, [tf.constant(turns, tf.float32)]).numpy()
    for one, angle in zip(turned, angles.tolist(), strict=True):
        expected = Image.fromarray(image[0]).rotate(angle, Image.Resampling.NEAREST, fillcolor=(50, 50, 50))
        others = (one != np.asarray(expected)).any(axis=-1).mean()
        assert others <= 0.002, angle
    assert set(np.unique(turned)) <= {*np.unique(image), 50}  # no grey level is made


def test_rotation_is_bilinear_unless_told_otherwise():
    images, (_, numbers) = tf.constant(noise(3, 24, 24, 3)), numbers_of("rotate(45)", 3)
    usual, named, nearest = (
        apply(images, parse(f"rotate(45{more})"), numbers).numpy()
        for more in ("", ", interpolation='bilinear'", ", interpolation='nearest'")
    )
    np.testing.assert_array_equal(usual, named)
    assert np.abs(usual.astype(int) - nearest).mean() > 5


def test_angles_are_uniform_on_both_sides_of_zero():
    _, (numbers,) = numbers_of("rotate(45)", 3000)
    angles = np.degrees(np.arctan2(numbers[:, 1], numbers[:, 0]))
    assert scipy.stats.kstest(angles, "uniform", (-45, 90)).pvalue > LIKELY
    np.testing.assert_allclose(np.hypot(*numbers.T), 1, atol=1e-6)


def test_a_positive_angle_turns_counter_clockwise():
    image = smooth(1, 33, 33, 3)
    turned = apply(tf.constant(image), parse("rotate(90)"), [tf.constant([[0.0, 1.0]])]).numpy()[0]
    inside = np.hypot(*(np.mgrid[0:33, 0:33] - 16)) < 15
    difference = turned.astype(int) - np.asarray(Image.fromarray(image[0]).rotate(90))
    assert np.abs(difference[inside]).max() <= 1


# Files


def test_files_are_augmented_as_their_pixels_would_be(tmp_path):
    images = noise(6, 24, 24, 3)
    paths = [str(tmp_path / f"{i}.png") for i in range(6)]
    for image, path in zip(images, paths, strict=True):
        Image.fromarray(image).save(path)
    chain, step = parse(STL10), tf.constant(2, tf.int64)
    from_files = augment_batch(tf.constant(paths[2:5]), chain, 3, step, global_batch=6, first_row=2)
    from_arrays = augment_batch(tf.constant(images), chain, 3, step, 6)[2:5]
    np.testing.assert_allclose(from_files, from_arrays, rtol=0, atol=5)  # a level of resampling, its contrast raised
    np.testing.assert_array_equal(augment.read_batch(tf.constant(paths), parse("center_crop(24)")), images)

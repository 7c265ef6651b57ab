"""Each augmentation against numpy, Pillow, scipy or colorsys; draws as a pure function of (seed, step, row)."""

import collections
import colorsys
import math

import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
import tensorflow as tf
from PIL import Image, ImageEnhance

from resnet_tf.data import augment
from resnet_tf.data.augment import apply, augment_batch, augment_files, draws, views
from resnet_tf.data.augmentations import parse
from resnet_tf.data.statistics import IMAGENET, measure

LIKELY = 1e-3  # least p-value taken for chance; seeds are fixed, so a test that passes goes on passing


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(*shape: int, seed: int = 0) -> np.ndarray:
    """Images with soft edges, which tell one pixel's shift from another's by a few grey levels."""
    blurred = scipy.ndimage.gaussian_filter(noise(*shape, seed=seed).astype(np.float64), (0, 2, 2, 0))
    return np.uint8(255 * (blurred - blurred.min()) / np.ptp(blurred))


def numbers_of(expression: str, rows: int, seed: int = 5, step: int = 9) -> tuple[tuple, list[np.ndarray]]:
    chain = parse(expression)
    return chain, [numbers.numpy() for numbers in draws(chain, seed, tf.constant(step, tf.int64), rows)]


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
    np.testing.assert_array_equal(np.concatenate(parts), whole)
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
    with pytest.raises(ValueError, match="'draws' must be given"):
        apply(tf.constant(noise(1, 8, 8, 3)), parse("pad_crop(1)"))


# Shifts and flips


def test_pad_crop_shows_a_crop_of_the_padded_image_and_every_offset_equally_often():
    rows, padding, fill = 8100, 4, 99
    image = np.stack([*np.mgrid[0:8, 0:8], np.full((8, 8), 200)], axis=-1).astype(np.uint8)  # a pixel tells its place
    padded = np.pad(image, [(padding,) * 2, (padding,) * 2, (0, 0)], constant_values=fill)
    chain = parse(f"pad_crop({padding}, fill={fill})")
    shown = augment_batch(
        tf.constant(np.tile(image, (rows, 1, 1, 1))), chain, 1, tf.constant(4, tf.int64), rows
    ).numpy()
    counts = np.zeros((2 * padding + 1,) * 2, int)
    for one in shown:
        y, x = np.argwhere(one[..., 2] == 200)[0]
        offset = one[y, x, :2].astype(int) - (y, x) + padding
        counts[tuple(offset)] += 1
        np.testing.assert_array_equal(one, padded[offset[0] : offset[0] + 8, offset[1] : offset[1] + 8])
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


# Rotation


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


# Colour


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


# Views


def test_ten_crops_are_the_slices_of_the_image_and_of_its_mirror_image():
    images = noise(2, 8, 11, 3)
    shown = views(tf.constant(images), "10-crop", 5).numpy()
    assert shown.shape == (2, 10, 5, 5, 3)
    slices = [np.s_[:, 0:5, 0:5], np.s_[:, 0:5, 6:11], np.s_[:, 3:8, 0:5], np.s_[:, 3:8, 6:11], np.s_[:, 2:7, 3:8]]
    for i, where in enumerate(slices):  # the middle: 3 / 2 rounds to 2, half to even
        np.testing.assert_array_equal(shown[:, i], images[where])
        np.testing.assert_array_equal(shown[:, 5 + i], images[:, :, ::-1][where])


def test_one_crop_is_the_middle_or_the_whole_image():
    images = tf.constant(noise(2, 9, 9, 3))
    np.testing.assert_array_equal(views(images, "1-crop", 5)[:, 0], images[:, 2:7, 2:7])
    np.testing.assert_array_equal(views(images, "1-crop")[:, 0], images)


@pytest.mark.parametrize("size", [None, 5])
def test_mirrored_and_shifted_views_are_what_numpy_makes_of_the_image(size):
    images = noise(2, 9, 9, 3)
    middle = images if size is None else images[:, 2:7, 2:7]
    mirror = views(tf.constant(images), "mirror", size).numpy()
    np.testing.assert_array_equal(mirror, np.stack([middle, middle[:, :, ::-1]], axis=1))
    edged = np.pad(middle, ((0, 0), (1, 1), (1, 1), (0, 0)), "reflect")
    rows, columns = middle.shape[1:3]
    shifted = [edged[:, y : y + rows, y : y + columns] for y in (1, 0, 2)]
    # The mirror image of a shift to the right is a shift to the left of the mirror image.
    mirrored = [edged[:, y : y + rows, 2 - y : 2 - y + columns][:, :, ::-1] for y in (1, 0, 2)]
    shown = views(tf.constant(images), "mirror-shift", size).numpy()
    np.testing.assert_array_equal(shown, np.stack(shifted + mirrored, axis=1))


@pytest.mark.parametrize(("view", "size"), [("10-crop", None), ("5-crop", 4)])
def test_views_that_cannot_be_are_refused(view, size):
    with pytest.raises(ValueError, match="'view' must be one of"):
        views(tf.constant(noise(1, 8, 8, 3)), view, size)


def test_views_of_images_whose_size_is_known_late():
    images = noise(1, 8, 11, 3)
    traced = tf.function(
        lambda x: views(x, "10-crop", 5), input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)]
    )
    np.testing.assert_array_equal(traced(images), views(tf.constant(images), "10-crop", 5))


# Files


def test_files_are_augmented_as_their_pixels_would_be(tmp_path):
    images = noise(6, 24, 24, 3)
    paths = [str(tmp_path / f"{i}.png") for i in range(6)]
    for image, path in zip(images, paths, strict=True):
        Image.fromarray(image).save(path)
    chain, step = parse(STL10), tf.constant(2, tf.int64)
    from_files = augment_files(tf.constant(paths[2:5]), chain, 3, step, global_batch=6, first_row=2)
    np.testing.assert_array_equal(from_files, augment_batch(tf.constant(images), chain, 3, step, 6)[2:5])
    np.testing.assert_array_equal(augment.read_batch(tf.constant(paths), parse("center_crop(24)")), images)

"""Every operation of trivial_augment against Pillow, as torchvision's TrivialAugmentWide uses it; what is chosen."""

import collections
import math

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from drawn import LIKELY, noise, numbers_of
from PIL import Image, ImageEnhance, ImageOps

from resnet_tf.pipeline.augment import apply, augment_batch
from resnet_tf.pipeline.trivial_augment import MAGNITUDES, OPERATIONS
from resnet_tf.presets.augmentation import parse

NAMES = list(OPERATIONS)
SIGNED = NAMES[1:10]
# torchvision's _augmentation_space(31), from its documented source: (first, last) of a linspace, in the same order.
RANGES = {
    "identity": (0.0, 0.0),
    "shear_x": (0.0, 0.99),
    "shear_y": (0.0, 0.99),
    "translate_x": (0.0, 32.0),
    "translate_y": (0.0, 32.0),
    "rotate": (0.0, 135.0),
    "brightness": (0.0, 0.99),
    "color": (0.0, 0.99),
    "contrast": (0.0, 0.99),
    "sharpness": (0.0, 0.99),
    "posterize": (0.0, 0.0),
    "solarize": (255.0, 0.0),
    "autocontrast": (0.0, 0.0),
    "equalize": (0.0, 0.0),
}
ENHANCERS = {
    "brightness": ImageEnhance.Brightness,
    "color": ImageEnhance.Color,
    "contrast": ImageEnhance.Contrast,
    "sharpness": ImageEnhance.Sharpness,
}


def magnitude_by_torchvision(name: str, level: int) -> float:
    if name == "posterize":
        return 8 - round(level / ((MAGNITUDES - 1) / 6))
    return float(np.linspace(*RANGES[name], MAGNITUDES, dtype=np.float32)[level])


def by_torchvision(image: np.ndarray, name: str, magnitude: float, fill: int = 0, interpolation: str = "nearest"):
    """torchvision's _apply_op on a Pillow image, from its documented source."""
    picture, how = (
        Image.fromarray(image),
        {"fillcolor": (fill,) * 3, "resample": Image.Resampling[interpolation.upper()]},
    )
    move = {
        # The inverse matrices of F.affine, for a shear about (0, 0) and for a translation.
        "shear_x": (1, magnitude, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, magnitude, 1, 0),
        "translate_x": (1, 0, -int(magnitude), 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, -int(magnitude)),
    }
    if name in move:
        picture = picture.transform(picture.size, Image.Transform.AFFINE, move[name], **how)
    elif name == "rotate":
        picture = picture.rotate(magnitude, **how)
    elif name in ENHANCERS:
        picture = ENHANCERS[name](picture).enhance(1.0 + magnitude)
    elif name == "posterize":
        picture = ImageOps.posterize(picture, int(magnitude))
    elif name == "solarize":
        picture = ImageOps.solarize(picture, magnitude)
    elif name == "autocontrast":
        picture = ImageOps.autocontrast(picture)
    elif name == "equalize":
        picture = ImageOps.equalize(picture)
    else:
        assert name == "identity"
    return np.asarray(picture)


def choices(name: str) -> tuple[np.ndarray, list[float]]:
    """Returns numbers that choose an operation at every magnitude and sign, and torchvision's magnitudes."""
    rows = [
        [(NAMES.index(name) + 0.5) / len(NAMES), (level + 0.5) / MAGNITUDES, 0.25 if sign < 0 else 0.75]
        for sign in (1, -1)
        for level in range(MAGNITUDES)
    ]
    signs = np.repeat([1, -1] if name in SIGNED else [1, 1], MAGNITUDES)
    magnitudes = [magnitude_by_torchvision(name, level) for level in range(MAGNITUDES)]
    return np.float32(rows), (signs * np.tile(magnitudes, 2)).tolist()


def pictures(height: int = 37, width: int = 45) -> np.ndarray:
    """A picture for each choice: noise of another range of grey levels in each channel, and some flat channels."""
    images = noise(2 * MAGNITUDES, height, width, 3) // np.uint8([1, 2, 3]) + np.uint8([0, 20, 90])
    images[3, ..., 1] = 17
    images[5] = 200
    images[7, 0, 0, 0], images[7, ..., 0] = 9, 200
    return images


def test_operations_are_torchvisions_in_its_order():
    assert list(RANGES) == NAMES
    assert [name for name in NAMES if OPERATIONS[name].signed] == SIGNED
    for name in NAMES:
        expected = [magnitude_by_torchvision(name, level) for level in range(MAGNITUDES)]
        if name.startswith("translate"):
            expected = [int(pixels) for pixels in expected]
        np.testing.assert_allclose(OPERATIONS[name].magnitudes, expected, atol=1e-9)


def test_magnitudes_are_those_of_torchs_linspace():
    torch = pytest.importorskip("torch")
    for name, ends in RANGES.items():
        if name != "posterize" and not name.startswith("translate"):
            np.testing.assert_allclose(OPERATIONS[name].magnitudes, torch.linspace(*ends, MAGNITUDES), atol=1e-4)
    bits = 8 - (torch.arange(MAGNITUDES) / ((MAGNITUDES - 1) / 6)).round().int()
    np.testing.assert_array_equal(OPERATIONS["posterize"].magnitudes, bits)


@pytest.mark.parametrize("name", NAMES)
def test_an_operation_is_pillows(name):
    """Rounding may decide otherwise where a place lies halfway between two pixels, or a level is a whole number."""
    numbers, magnitudes = choices(name)
    images = pictures()
    changed = apply(tf.constant(images), parse("trivial_augment(fill=50)"), [tf.constant(numbers)])
    assert changed.dtype == tf.uint8
    expected = np.stack(
        [by_torchvision(*each, name, by, fill=50) for *each, by in zip(images, magnitudes, strict=True)]
    )
    difference = np.abs(changed.numpy().astype(int) - expected)
    if name.startswith("shear") or name == "rotate":
        assert (difference.any(axis=-1).mean(axis=(1, 2)) <= 0.01).all()
        assert (difference == 0).mean() > 0.998
    else:
        assert difference.max() <= 1
        assert difference.mean() < 1e-3
    if name != "identity":
        assert (changed.numpy() != images).any()


def test_autocontrast_rounds_every_level_as_pillow_does():
    ranges = [(low, high) for low in range(0, 256, 5) for high in range(low, 256, 7)]
    images = np.stack([np.arange(256).clip(*ends).reshape(16, 16, 1).repeat(3, axis=2) for ends in ranges])
    images = images.astype(np.uint8)
    chosen = np.repeat(choices("autocontrast")[0][:1], len(images), axis=0)
    stretched = apply(tf.constant(images), parse("trivial_augment()"), [tf.constant(chosen)])
    expected = np.stack([ImageOps.autocontrast(Image.fromarray(image)) for image in images])
    np.testing.assert_array_equal(stretched, expected)


@pytest.mark.parametrize("name", ["shear_x", "shear_y", "rotate", "translate_x"])
def test_bilinear_moves_are_pillows_within_the_image(name):
    """Next to the border Pillow repeats the last pixel, and TensorFlow goes over into the fill."""
    numbers, magnitudes = choices(name)
    images = np.repeat(noise(1, 40, 40, 3), len(numbers), axis=0)
    chain = parse("trivial_augment(interpolation='bilinear')")
    changed = apply(tf.constant(images), chain, [tf.constant(numbers)]).numpy()
    inside, _ = [
        apply(tf.fill(images.shape, tf.constant(v, tf.uint8)), chain, [tf.constant(numbers)]) for v in (200, 0)
    ]
    compared = 0
    for image, one, whole, by in zip(images, changed, inside.numpy() == 200, magnitudes, strict=True):
        expected = by_torchvision(image, name, by, interpolation="bilinear")
        difference = np.abs(one.astype(int) - expected)[whole]
        assert difference.max() <= 2
        compared += difference.size
    assert compared > images.size / 4


def test_operations_magnitudes_and_signs_are_equally_likely():
    """Recognised in what comes out: the picture that each choice makes by Pillow is like no other's."""
    rows = 14000
    _, (numbers,) = numbers_of("trivial_augment", rows)
    for column, count in ((0, len(NAMES)), (1, MAGNITUDES), (2, 2)):
        counts = np.bincount(np.floor(numbers[:, column] * count).astype(int), minlength=count)
        assert scipy.stats.chisquare(counts).pvalue > LIKELY
    image = noise(1, 12, 12, 3)[0] // 2 + 20
    shown = augment_batch(
        tf.constant(np.repeat(image[None], 4000, axis=0)), parse("trivial_augment"), 1, tf.constant(4, tf.int64), 4000
    ).numpy()
    expected = collections.defaultdict(float)
    for name in ("brightness", "color", "contrast", "solarize", "equalize"):
        for _, magnitude in zip(*choices(name), strict=True):
            expected[by_torchvision(image, name, magnitude).tobytes()] += 4000 / (14 * 2 * MAGNITUDES)
    counts = collections.Counter(one.tobytes() for one in shown)
    del expected[image.tobytes()]  # the picture as it was, which many choices leave
    likely = scipy.stats.poisson.ppf([1e-6, 1 - 1e-6], np.array(list(expected.values()))[:, None])
    found = np.array([counts[picture] for picture in expected])
    assert ((likely[:, 0] <= found) & (found <= likely[:, 1])).all()
    total = sum(expected.values())
    assert abs(found.sum() - total) < 4 * math.sqrt(total)


def test_a_host_sees_its_rows_of_the_whole_batch_in_the_same_bits():
    chain, step, images = parse("trivial_augment"), tf.constant(37, tf.int64), noise(48, 24, 24, 3)
    whole = augment_batch(tf.constant(images), chain, 3, step, 48)
    parts = [
        augment_batch(tf.constant(images[at : at + 4]), chain, 3, step, 48, first_row=at) for at in range(0, 48, 4)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert not np.array_equal(whole, augment_batch(tf.constant(images), chain, 3, step + 1, 48))


def test_images_that_a_colour_step_made_float_are_rounded_and_stay_float():
    images = noise(28, 16, 16, 3)
    chain, numbers = numbers_of("trivial_augment", 28)
    changed = apply(tf.constant(images.astype(np.float32) + 0.25), chain, numbers)
    assert changed.dtype == tf.float32
    np.testing.assert_array_equal(changed, apply(tf.constant(images), chain, numbers))

"""shapes10: always the same images, balanced, each with the shape of its label, too varied for a linear classifier."""

import hashlib
import math

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from resnet_tf.datasets import shapes10

NAMES = shapes10.CLASS_NAMES
SIDE = 32


@pytest.fixture(scope="module")
def drawn():
    return shapes10.draw(seed=0, train_size=1000, test_size=300)


def shapes_of(name, count=40, stretch=1.0):
    """Returns one class's shape, clean and placed anywhere: coverage [count, 32, 32], polygons and radius."""
    rng = np.random.default_rng(1)
    radius, angle = rng.uniform(8.0, 13.0, count), rng.uniform(0.0, 1.0, count)
    centre = rng.uniform(radius, SIDE - radius, (2, count)).T
    polygons = shapes10.place(shapes10.OUTLINES[name], centre, radius, angle, np.full(count, stretch))
    return shapes10.coverage(polygons), polygons, radius


def test_images_and_labels_have_the_stated_form(drawn):
    train_images, train_labels, test_images, test_labels = drawn
    assert train_images.shape == (1000, SIDE, SIDE, 3)
    assert test_images.shape == (300, SIDE, SIDE, 3)
    assert train_images.dtype == test_images.dtype == np.uint8
    assert train_labels.dtype == test_labels.dtype == np.int32
    assert len(NAMES) == len(set(NAMES)) == 10
    assert set(NAMES) == set(shapes10.OUTLINES)


def test_the_images_never_change():
    """Recorded results name the data by its fingerprint: other bytes would make them incomparable."""
    images, labels, test_images, test_labels = shapes10.draw(seed=0, train_size=20, test_size=20)
    digest = hashlib.sha256(b"".join(part.tobytes() for part in (images, labels, test_images, test_labels)))
    assert digest.hexdigest()[:16] == "03d7f0fbc6908bc1"


def test_a_smaller_set_is_the_beginning_of_a_larger_one(drawn):
    for size in (3, 250, 257):
        images, labels, test_images, test_labels = shapes10.draw(seed=0, train_size=size, test_size=size)
        np.testing.assert_array_equal(images, drawn[0][:size])
        np.testing.assert_array_equal(labels, drawn[1][:size])
        np.testing.assert_array_equal(test_images, drawn[2][:size])
        np.testing.assert_array_equal(test_labels, drawn[3][:size])


def test_no_image_occurs_twice_in_the_splits_or_with_another_seed(drawn):
    other = shapes10.draw(seed=1, train_size=500, test_size=500)
    images = np.concatenate([drawn[0], drawn[2], other[0], other[2]])
    assert len({image.tobytes() for image in images}) == len(images)


def test_the_classes_are_balanced(drawn):
    np.testing.assert_array_equal(np.bincount(drawn[1]), [100] * 10)
    np.testing.assert_array_equal(np.bincount(drawn[3]), [30] * 10)
    assert [len(part) for part in shapes10.draw(train_size=0, test_size=0)] == [0, 0, 0, 0]


def test_coverage_of_a_rectangle_and_of_its_hole_by_hand():
    outer = np.array([[2.25, 3.0], [9.5, 3.0], [9.5, 6.5], [2.25, 6.5]])
    row = np.zeros(SIDE)
    row[2:10] = [0.75, 1, 1, 1, 1, 1, 1, 0.5]
    expected = np.zeros((SIDE, SIDE))
    expected[3:6], expected[6] = row, row / 2
    np.testing.assert_allclose(shapes10.coverage(outer[None])[0], expected, atol=1e-6)
    np.testing.assert_allclose(shapes10.coverage(outer[None, ::-1])[0], expected, atol=1e-6)
    hole = np.array([[4.0, 4.0], [4.0, 5.0], [6.5, 5.0], [6.5, 4.0]])
    joined = np.concatenate([outer, outer[:1], hole, hole[:1]])
    expected[4, 4:7] = [0, 0, 0.5]
    np.testing.assert_allclose(shapes10.coverage(joined[None])[0], expected, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_coverage_is_what_pillow_fills_on_a_16_times_finer_grid(name):
    covered, polygons, _ = shapes_of(name, count=8)
    shift = np.array([9.0, -7.0])  # so that a part falls outside the image
    covered = np.concatenate([covered, shapes10.coverage(polygons + shift)])
    for mask, polygon in zip(covered, np.concatenate([polygons, polygons + shift]), strict=True):
        fine = Image.new("L", (SIDE * 16, SIDE * 16))
        parts = [polygon[:28], polygon[30:]] if name == "ring" else [polygon]  # Pillow fills a hole as a second polygon
        for part, ink in zip(parts, (255, 0), strict=False):
            ImageDraw.Draw(fine).polygon([tuple(corner) for corner in part * 16 - 0.5], fill=ink)
        expected = np.asarray(fine.reduce(16)) / 255
        assert np.abs(mask - expected).max() < 0.2
        assert np.abs(mask - expected).mean() < 0.006


def test_edges_are_anti_aliased():
    """Along a circle's edge the pixels are part covered, and what they cover follows a move of an eighth of a pixel."""
    centre = np.stack([np.linspace(16.0, 17.0, 9), np.full(9, 16.0)], axis=1)
    circle = shapes10.place(shapes10.OUTLINES["circle"], centre, np.full(9, 10.0), np.zeros(9))
    covered = shapes10.coverage(circle)
    partial = ((covered > 0) & (covered < 1)).sum(axis=(1, 2))
    assert 50 <= partial.min() <= partial.max() <= 8 * 10  # the edge crosses 8 r lines of the pixel grid
    across = (covered * (np.arange(SIDE) + 0.5)).sum(axis=(1, 2)) / covered.sum(axis=(1, 2))
    np.testing.assert_allclose(across, centre[:, 0], atol=0.01)


# Each class is its shape

# The crescent's tips open a quarter turn: it lacks the circle's segment right of them and the bite's left of them.
SEGMENT = math.pi / 4 - 0.5
BITE = 0.8**2 * (math.pi - math.asin(math.sqrt(0.5) / 0.8)) + math.sqrt(0.5 * (0.8**2 - 0.5))
AREAS = {  # of the outline in the unit circle, by hand
    "circle": math.pi,
    "triangle": 3 * math.sqrt(3) / 4,
    "square": 2.0,
    "pentagon": 2.5 * math.sin(math.radians(72)),
    "star": 10 * 0.5 * 0.45 * math.sin(math.radians(36)),
    "cross": (2 * 2 * 0.6 - 0.6**2) / (1 + 0.3**2),
    "ring": math.pi * (1 - 0.55**2),
    "crescent": math.pi - SEGMENT - BITE,
    "arrow": 0.9 * 1.5 / 2 + 1.05 * 0.5,
    "heart": 180 * math.pi / 17.9**2,
}
CONVEX = {"circle", "triangle", "square", "pentagon"}


@pytest.mark.parametrize("name", NAMES)
def test_each_outline_is_its_shape(name):
    covered, _, radius = shapes_of(name)
    np.testing.assert_allclose(covered.sum(axis=(1, 2)) / radius**2, AREAS[name], rtol=0.02)
    outline = shapes10.OUTLINES[name]
    assert 0.99 < np.hypot(*outline.T).max() < 1.0001
    assert (ConvexHull(outline).volume < 1.02 * AREAS[name]) == (name in CONVEX)  # a plane hull's `volume` is its area


@pytest.mark.parametrize("name", NAMES)
def test_a_flip_keeps_the_class(name):
    """The mirror image of a shape is the shape again, turned."""
    outline = shapes10.OUTLINES[name]
    turns = np.arange(360) / 360
    centre, radius = np.full((360, 2), 16.0), np.full(360, 12.0)
    turned = shapes10.coverage(shapes10.place(outline, centre, radius, turns))
    mirrored = turned[77, :, ::-1]
    assert np.abs(turned - mirrored).mean(axis=(1, 2)).min() < 0.01


def measures(mask):
    """Returns what is left of the largest region beside its holes, its share of its hull, and the hull's roundness."""
    regions, count = ndimage.label(mask, np.ones((3, 3)))
    region = regions == 1 + np.argmax(ndimage.sum(mask, regions, range(1, count + 1)))
    pixels = np.argwhere(region)
    corners = (pixels[:, None] + np.array([[0, 0], [0, 1], [1, 0], [1, 1]])).reshape(-1, 2)
    hull = ConvexHull(corners)
    filled = ndimage.binary_fill_holes(region).sum()
    longest = pdist(corners[hull.vertices]).max()
    return region.sum() / filled, filled / hull.volume, hull.volume / longest**2


def found_by_brightness(image):
    """Returns an image's foreground by Otsu's threshold: True where it is not the side with the border."""
    grey = ndimage.gaussian_filter(image.astype(float).mean(axis=2), 0.5)
    ordered = np.sort(grey.ravel())
    below = np.arange(1, ordered.size)
    sums = np.cumsum(ordered)[:-1]
    gap = (ordered.sum() - sums) / (ordered.size - below) - sums / below
    bright = grey > ordered[np.argmax(below * (ordered.size - below) * gap**2)]
    border = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
    return ~bright if border.mean() > 0.5 else bright


def test_the_images_show_the_shape_of_their_label(drawn):
    """Regions found in the images by brightness alone are, in the median, most like the labelled shape."""
    clean = [[measures(mask > 0.5) for mask in shapes_of(name, stretch=0.925)[0]] for name in NAMES]
    clean = np.median(clean, axis=1)
    for label, name in enumerate(NAMES):
        images = drawn[0][drawn[1] == label]
        seen = np.median([measures(found_by_brightness(image)) for image in images], axis=0)
        assert NAMES[((clean - seen) ** 2).sum(axis=1).argmin()] == name


def test_linear_classifiers_have_a_low_accuracy(drawn):
    """Nearest class means and a ridge classifier both fail: position and colour do not depend on the class."""
    train, test = (part.reshape(len(part), -1) / 255.0 - 0.5 for part in (drawn[0], drawn[2]))
    means = np.stack([train[drawn[1] == label].mean(axis=0) for label in range(10)])
    nearest = ((test[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    weights = np.linalg.solve(train @ train.T + 1000 * np.eye(len(train)), np.eye(10)[drawn[1]])
    linear = (test @ (train.T @ weights)).argmax(axis=1)
    for guess in (nearest, linear):
        assert (guess == drawn[3]).mean() < 0.25


def test_colour_and_light_vary_alike_in_every_class(drawn):
    images = drawn[0].astype(float)
    means = np.stack([images[drawn[1] == label].mean(axis=(0, 1, 2)) for label in range(10)])
    assert np.ptp(means, axis=0).max() < 25
    assert 85 < images.mean() < 140
    assert images.mean(axis=(1, 2)).std(axis=0).min() > 35

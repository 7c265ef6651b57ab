"""A training set's statistics against numpy's own mean, std and covariance, and published figures."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from resnet_tf.datasets.splits import FileSplit
from resnet_tf.pipeline.sample import sample_images
from resnet_tf.pipeline.statistics import IMAGENET, measure, whitening_filters
from resnet_tf.presets import schema


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    rng = np.random.default_rng(3)
    grey = rng.integers(0, 200, (1203, 6, 5, 1))  # common to the channels, so that they are correlated
    return (grey + rng.integers(0, 56, (1203, 6, 5, 3)) * [1.0, 0.5, 0.2]).astype(np.uint8)


def test_mean_and_deviation_are_those_of_numpy(images):
    found = measure(images)
    pixels = images.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(found.mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, pixels.std(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.pixel_mean, images.mean(axis=0, dtype=np.float64), rtol=1e-12)


def test_the_components_are_those_of_the_covariance(images):
    found = measure(images)
    covariance = np.cov(images.reshape(-1, 3).T / 255.0, bias=True)
    np.testing.assert_allclose(found.eigenvectors @ np.diag(found.eigenvalues) @ found.eigenvectors.T, covariance)
    np.testing.assert_allclose(found.eigenvectors.T @ found.eigenvectors, np.eye(3), atol=1e-12)
    assert (np.diff(found.eigenvalues) < 0).all()
    singular = np.linalg.svd(images.reshape(-1, 3) / 255.0 - found.mean / 255, compute_uv=False)
    np.testing.assert_allclose(found.eigenvalues, singular**2 / (images.size // 3))


def test_the_same_images_in_another_order_give_the_same_bits(images):
    one, other = measure(images), measure(images[::-1])
    for field in ("mean", "std", "eigenvalues", "eigenvectors", "pixel_mean"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def test_images_of_one_colour_have_no_deviation():
    found = measure(np.full((7, 4, 4, 3), 9, np.uint8))
    np.testing.assert_array_equal(found.mean, [9, 9, 9])
    np.testing.assert_array_equal(found.std, [0, 0, 0])
    np.testing.assert_allclose(found.eigenvalues, [0, 0, 0], atol=1e-12)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((4, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8), np.zeros((0, 8, 8, 3), np.uint8)],
    ids=["float", "one image", "none"],
)
def test_what_is_not_a_training_set_is_refused(wrong):
    with pytest.raises(ValueError, match=r"must be uint8 \[n, height, width, 3\]"):
        measure(wrong)


def test_the_published_imagenet_figures():
    np.testing.assert_allclose(IMAGENET.mean, [123.675, 116.28, 103.53])
    np.testing.assert_allclose(IMAGENET.std, [58.395, 57.12, 57.375])
    cuda_convnet = [55.46, 4.794, 1.148]
    np.testing.assert_allclose(255 * IMAGENET.eigenvalues, cuda_convnet, rtol=1e-3)
    np.testing.assert_allclose(IMAGENET.eigenvectors.T @ IMAGENET.eigenvectors, np.eye(3), atol=2e-3)


def test_large_images_are_measured_in_little_memory():
    images = np.random.default_rng(0).integers(0, 256, (24, 512, 512, 3), np.uint8)
    tracemalloc.start()
    found = measure(images)
    whitening_filters(images, found.mean, found.std, 2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * images.nbytes  # as float64 their patches of 2 x 2 alone are 32 times as large


def test_whitening_filters_give_uncorrelated_responses_of_variance_one():
    """Of the very patches, by torch's definition of a convolution: the sum over a window of pixel x weight."""
    rng = np.random.default_rng(5)
    grey = rng.integers(0, 130, (300, 10, 10, 1))
    images = (grey + np.roll(grey, 1, axis=1) // 2 + rng.integers(0, 60, (300, 10, 10, 3))).astype(np.uint8)
    mean, deviation = images.mean(axis=(0, 1, 2)), images.std(axis=(0, 1, 2))
    filters = whitening_filters(images, mean, deviation, 3)
    assert (filters.shape, filters.dtype) == ((3, 3, 3, 27), np.float32)
    normalised = (images - mean) / deviation
    windows = [normalised[:, y : y + 8, x : x + 8] for y in range(3) for x in range(3)]
    responses = sum(
        window @ filters[place // 3, place % 3].astype(np.float64) for place, window in enumerate(windows)
    ).reshape(-1, 27)
    covariance = np.cov(responses.T)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-3)
    assert (np.diag(covariance) > 0.8).all()  # the 1/100 that keeps noise small takes its share
    assert (np.diag(covariance) < 1.0).all()


@pytest.mark.parametrize(
    ("changes", "measured"),
    [
        ({}, False),
        ({"model": {"num_residual_units": 1, "filters": [24], "stem": "whitened-2x2"}}, True),
        ({"second": {"augment": "random_crop(8) | random_erasing"}}, True),
        ({"augment": "random_crop(8) | pca_lighting(0.1, 'training')"}, True),
        ({"augment": "random_crop(8) | pca_lighting(0.1)"}, False),
        ({"augment": "random_crop(8) | random_erasing"}, True),
        ({"normalize": "per_channel"}, True),
    ],
)
def test_files_are_measured_where_a_recipe_needs_their_own_figures(tiny_preset, image_tree, changes, measured):
    changes = dict(changes)
    model, second = changes.pop("model", tiny_preset["model"]), {"data": changes.pop("second", {})}
    data = {"dataset": "folder", "normalize": "imagenet", "image_size": 8, "augment": "random_crop(8)", **changes}
    # The base's frame leaves files of different sizes, and each phase has one of its own.
    frames = [{"evaluation": {"frame": frame}} for frame in ("center_crop(8)", "resize(8) | center_crop(8)")]
    phases = [frames[0], {**frames[1], **second}]
    preset = schema.from_dict({**tiny_preset, "model": model, "data": data, "phases": phases})
    paths = np.array(sorted(map(str, image_tree.rglob("*.png"))))
    split = FileSplit(paths, np.zeros(len(paths), np.int32))
    sample = sample_images(preset, split)
    assert (sample is not None) == measured
    if measured:
        first = np.asarray(Image.open(paths[0]))[12:20, 12:20]
        np.testing.assert_array_equal(sample[0], first)

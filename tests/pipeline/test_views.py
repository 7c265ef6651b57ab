"""What a network is shown of an image at the test, against numpy's slices of it."""

import numpy as np
import pytest
import tensorflow as tf
from drawn import noise

from resnet_tf.pipeline.views import views


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

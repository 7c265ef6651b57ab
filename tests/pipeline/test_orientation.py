"""Orientations against Pillow, which turns photos by the same numbers; windows against cutting after turning."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import ExifTags, Image, ImageOps

from resnet_tf.pipeline.orientation import Window, stored, upright, upright_size

STORED = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def turned_by_pillow(image: np.ndarray, orientation: int) -> np.ndarray:
    photo = Image.fromarray(image)
    photo.getexif()[ExifTags.Base.Orientation] = orientation
    return np.asarray(ImageOps.exif_transpose(photo))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_is_what_pillow_makes_of_it(orientation):
    expected = turned_by_pillow(STORED, orientation)
    np.testing.assert_array_equal(upright(STORED, tf.constant(orientation)), expected)
    size = upright_size(tf.constant(5), tf.constant(7), tf.constant(orientation))
    assert [int(side) for side in size] == list(expected.shape[:2])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_window_of_the_upright_photo_is_found_in_the_stored_one(orientation):
    whole = turned_by_pillow(STORED, orientation)
    window = Window(*map(tf.constant, (1, 0, 4, 3)))
    there = stored(window, *map(tf.constant, whole.shape[:2]), tf.constant(orientation))
    part = STORED[there.top : there.bottom, there.left : there.right]
    np.testing.assert_array_equal(upright(part, tf.constant(orientation)), whole[1:4, 0:3])


def test_a_photo_stored_upright_is_left_alone():
    window = Window(*map(tf.constant, (1, 0, 4, 3)))
    assert upright(STORED, None) is STORED
    assert stored(window, 5, 7, None) is window
    assert upright_size(5, 7, None) == (5, 7)

"""A photo of any shape is shown to the network by `predict.py` just as the evaluation would show it."""

import numpy as np
import pytest
from assertions import user_error
from PIL import Image

import resnet_tf
from resnet_tf.datasets.splits import ArraySplit, FileSplit
from resnet_tf.pipeline.framing import evaluation_batches, photo_sizes
from resnet_tf.prediction import photos
from resnet_tf.presets.rounding import centred

SIZES = [(75, 100), (100, 75), (97, 98), (64, 81), (40, 300), (90, 90), (901, 1203), (1003, 1601)]


@pytest.fixture
def written(tmp_path):
    """Photos of odd and even shapes, soft enough that JPEG's reduction shows nowhere, sharp enough to show a shift."""
    paths = []
    for suffix in ("png", "jpg"):
        for height, width in SIZES:
            coarse = np.random.default_rng(height).integers(0, 256, (9, 11, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
            paths.append(str(tmp_path / f"{height}x{width}.{suffix}"))
            image.save(paths[-1], quality=95)
    return paths


@pytest.mark.parametrize("frame", ["resize(32) | center_crop(32)", "resize(41) | center_crop(32)"])
def test_a_photos_pixels_are_the_evaluations(frame, written):
    preset = resnet_tf.load_preset(
        "demo", data={"dataset": "folder", "augment": "random_resized_crop(32)"}, evaluation={"frame": frame}
    )
    split = FileSplit(np.array(written, dtype=object), np.zeros(len(written), np.int32), upright=True)
    evaluated = np.concatenate([images[:, 0] for images, _ in evaluation_batches(preset, split).dataset()])
    for photo, expected in zip(photos.load_all(written, *photo_sizes(preset)), evaluated, strict=True):
        assert np.abs(photo.fitted - expected).max() <= 1, photo.path.name  # 1: a tie, rounded apart


def test_a_crop_larger_than_the_images_is_refused_before_any_is_cut():
    preset = resnet_tf.load_preset("demo", evaluation={"frame": "center_crop(64)"})
    split = ArraySplit(np.zeros((2, 32, 32, 3), np.uint8), np.zeros(2, np.int32))
    assert user_error(evaluation_batches, preset, split).code == "augment-crop-too-large"


def test_images_that_would_not_come_out_square_are_refused():
    split = ArraySplit(np.zeros((2, 32, 48, 3), np.uint8), np.zeros(2, np.int32))
    preset = resnet_tf.load_preset("demo", evaluation={"frame": "resize(24)"})
    assert user_error(evaluation_batches, preset, split).code == "evaluation-not-square"


def test_the_middle_is_rounded_half_to_even():
    rooms = np.arange(-9, 10)
    np.testing.assert_array_equal(centred(rooms), np.round(rooms / 2))
    assert [centred(room) for room in range(-9, 10)] == [round(room / 2.0) for room in range(-9, 10)]

"""A file that breaks in the middle of the work is named, with no more ado than a bad option."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from resnet_tf.datasets.splits import ArraySplit, FileSplit
from resnet_tf.errors import UserError
from resnet_tf.pipeline.batches import EvaluationBatches, TrainingBatches
from resnet_tf.pipeline.broken import broken_files, naming_broken_files
from resnet_tf.presets.augmentation import parse

IMAGES, BATCH = 60, 4


@pytest.fixture
def split(tmp_path) -> FileSplit:
    paths = [str(tmp_path / f"{number}.png") for number in range(IMAGES)]
    for number, path in enumerate(paths):
        Image.new("RGB", (16, 16), (number, 0, 0)).save(path)
    return FileSplit(np.array(paths, object), np.zeros(IMAGES, np.int32))


def cut(path):
    with open(path, "r+b") as file:
        file.truncate(50)


def test_first_broken_files_are_found_in_order_with_reasons(split, tmp_path):
    assert broken_files(split) == []
    for number in (50, 7):
        cut(split.paths[number])
    (tmp_path / "9.png").unlink()
    Image.new("1", (16, 16)).save(tmp_path / "8.png", "BMP")  # Pillow reads it, TensorFlow does not
    found = broken_files(split)
    assert [path for path, _ in found] == [split.paths[number] for number in (7, 8, 9, 50)]
    for (_, reason), words in zip(
        found, ("Invalid PNG", "Number of channels", "No such file", "Invalid PNG"), strict=True
    ):
        assert words in reason
        assert "\n" not in reason
        assert "{{" not in reason
    for path in split.paths[10:20]:
        cut(path)
    assert len(broken_files(split)) == 4
    assert broken_files(ArraySplit(np.zeros((1, 8, 8, 3), np.uint8), np.zeros(1, np.int32))) == []


def trained_until_it_breaks(batches: TrainingBatches, start: int, stop: int) -> int:
    """Goes through the batches of steps, naming the broken file as a trainer would; returns the steps done."""
    done = start
    with naming_broken_files(lambda: [batches.in_flight(done)]):
        for _ in batches.dataset(start, stop):
            done += 1
    return done


@pytest.mark.parametrize("start", [0, 13])
def test_a_file_that_breaks_in_training_is_named_at_any_step(split, start):
    batches = TrainingBatches(split, parse("random_crop(8)"), BATCH, seed=1)
    assert trained_until_it_breaks(batches, start, 40) == 40
    cut(split.paths[33])
    with pytest.raises(UserError, match=rf"{split.paths[33]} \(.*Invalid PNG.*move them out of the data set\."):
        trained_until_it_breaks(batches, start, 40)


def test_what_is_under_way_is_a_small_part_that_holds_the_coming_batches(split):
    batches = TrainingBatches(split, parse("center_crop(16)"), BATCH, seed=1)
    shown = [images.numpy()[:, 0, 0, 0] for images, _ in batches.dataset(0, 32)]
    for step in (0, 14, 15, 30):  # 15 steps make an epoch
        around = batches.in_flight(step)
        assert len(around) <= 8 * BATCH
        numbers = {int(path.rpartition("/")[2].removesuffix(".png")) for path in around.paths}
        assert all(numbers.issuperset(images) for images in shown[step : step + 2])


def test_a_file_that_breaks_in_evaluation_is_named(split):
    cut(split.paths[41])
    batches = EvaluationBatches(split, parse("resize(16) | center_crop(16)"), "1-crop", None, 16)
    with pytest.raises(UserError, match=split.paths[41]), naming_broken_files(lambda: [batches.split]):
        for _ in batches.dataset():
            pass


def test_an_error_over_anything_else_is_passed_on(split):
    with pytest.raises(tf.errors.InvalidArgumentError, match="of the model"), naming_broken_files(lambda: [split]):
        raise tf.errors.InvalidArgumentError(None, None, "of the model")

"""A file that cannot be read during training or evaluation is named, in one line."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from assertions import user_error
from PIL import Image

from resnet_tf.datasets.splits import FileSplit
from resnet_tf.pipeline.batches import EvaluationBatches, TrainingBatches
from resnet_tf.pipeline.read import naming_broken_files
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


def consume(dataset: tf.data.Dataset) -> int:
    """Goes through batches as a trainer would; returns how many there were."""
    with naming_broken_files():
        return sum(1 for _ in dataset)


@pytest.mark.parametrize("start", [0, 13])
def test_a_file_that_breaks_in_training_is_named_at_any_step(split, start):
    dataset = TrainingBatches(split, parse("random_crop(8)"), BATCH, seed=1).dataset(start, 40)
    assert consume(dataset) == 40 - start
    cut(split.paths[33])
    error = user_error(consume, dataset)
    assert error.code == "image-file-broken"
    assert f"{split.paths[33]} (damaged PNG file: " in str(error)


@pytest.mark.parametrize("view", ["1-crop", "10-crop"])
def test_a_file_that_breaks_in_evaluation_is_named(split, view, tmp_path):
    (tmp_path / "41.png").unlink()
    error = user_error(consume, EvaluationBatches(split, parse("resize(16)"), view, 12, 12).dataset())
    assert error.code == "image-file-broken"
    assert f"{split.paths[41]} (no such file)" in str(error)


def test_a_name_of_two_lines_makes_a_message_of_one(split):
    split.paths[5] = "two\nlines.jpg"
    assert "two\\nlines.jpg" in str(user_error(consume, EvaluationBatches(split, (), "1-crop", 8, 8).dataset()))


def test_an_error_over_anything_else_is_passed_on():
    with pytest.raises(tf.errors.InvalidArgumentError, match="of the model"), naming_broken_files():
        raise tf.errors.InvalidArgumentError(None, None, "of the model")


EXITS = """
import numpy as np
from resnet_tf.datasets.splits import FileSplit
from resnet_tf.pipeline.batches import TrainingBatches
from resnet_tf.presets.augmentation import parse
split = FileSplit(np.array({paths!r}, object), np.zeros({count}, np.int32))
batches = TrainingBatches(split, parse("random_crop(8)"), 4, 0)
iterator = iter(batches.dataset(0, 10**6))  # lives until the end, its threads ever reading
print(len(next(iterator)))
"""


def test_a_program_ends_that_leaves_files_unread(split):
    code = EXITS.format(paths=list(split.paths), count=IMAGES)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "2\n"

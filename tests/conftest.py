"""Shared by all tests: quiet settings, and a small set of real image files that trains in seconds."""

import os
from pathlib import Path

import numpy as np
import pytest
from messages import stop_listening
from PIL import ExifTags, Image

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
DEVELOPERS_DATA = os.environ.pop("RESNET_DATA", None)  # it must not change a test unawares

TRAIN_PER_CLASS, TEST_PER_CLASS = 24, 7


@pytest.fixture(autouse=True)
def no_listener_outlives_its_test():
    yield
    stop_listening()


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory) -> Path:
    """A cache of decoded images of the tests' own."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["RESNET_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def published():
    """The pretrained run that predicts where nothing else was trained."""
    from resnet_tf.runs.choose import all_runs
    from resnet_tf.runs.pretrained import FOLDER

    (run,) = all_runs(FOLDER, "quick-long")
    return run


@pytest.fixture(scope="session")
def developers_data() -> str | None:
    """Where RESNET_DATA had images when the tests were started."""
    return DEVELOPERS_DATA


@pytest.fixture(scope="session")
def image_tree(tmp_path_factory) -> Path:
    """A folder train/<class>/*, test/<class>/* with CIFAR-10's class names and drawn 32x32 pictures."""
    from PIL import Image

    from resnet_tf.datasets import shapes10
    from resnet_tf.presets.catalogue import DATASETS

    root = tmp_path_factory.mktemp("images")
    names = DATASETS["cifar10"].class_names
    drawn = shapes10.draw(0, 10 * TRAIN_PER_CLASS, 10 * TEST_PER_CLASS)
    for split, images, labels in (("train", *drawn[:2]), ("test", *drawn[2:])):
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            folder = root / split / names[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{number:04d}.png")
    return root


@pytest.fixture(scope="session")
def tiny_preset() -> dict:
    """A preset, as plain values, that trains on `image_tree` in a second or two: 10 steps an epoch."""
    return {
        "name": "tiny",
        "model": {"num_residual_units": 1, "filters": [4, 8]},
        "data": {"dataset": "cifar10", "validation_size": 40, "augment": "pad_crop(4) | flip_horizontal"},
        "train": {"batch_size": 20, "epochs": 3},
        "optimizer": {"name": "sgd", "learning_rate": 0.05, "weight_decay": 1e-4},
        "schedule": {"name": "exponential", "lr_decay": 0.8},
    }


@pytest.fixture
def write_photo():
    """Returns a writer of a photo as a camera held another way stores it: turned, with its EXIF orientation."""
    lying = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 7: "TRANSVERSE"}
    lying |= {6: "ROTATE_90", 8: "ROTATE_270"}  # the inverse of what turns it upright

    def write(path: Path, upright: np.ndarray, orientation: int, **options) -> Path:
        image = Image.fromarray(upright)
        if orientation != 1:
            image = image.transpose(Image.Transpose[lying[orientation]])
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, exif=exif, **options)
        return path

    return write

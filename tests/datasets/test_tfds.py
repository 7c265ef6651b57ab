"""Data sets prepared by tensorflow-datasets: real ones in small, and downloads that cannot work."""

import errno
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from assertions import user_error
from messages import listen

from resnet_tf.datasets import sources
from resnet_tf.datasets import tfds as prepared
from resnet_tf.datasets.cifar import CIFAR10
from resnet_tf.datasets.stl10 import STL10


@pytest.fixture
def prepare():
    """Returns a writer of prepared data sets, by tensorflow-datasets' own writer."""
    import tensorflow_datasets as tfds

    def write(name, version, features, examples):
        folder = prepared.folder() / name / version
        folder.mkdir(parents=True)
        about = tfds.core.DatasetInfo(
            builder=tfds.core.dataset_info.DatasetIdentity(
                name=name, version=tfds.core.Version(version), data_dir=os.fspath(folder), module_name="tests"
            ),
            features=tfds.features.FeaturesDict(features),
        )
        writer = tfds.core.SequentialWriter(about, max_examples_per_shard=1_000)
        writer.initialize_splits(list(examples))
        writer.add_examples(examples)
        writer.close_all()
        return folder

    return write


@pytest.fixture
def prepare_images(prepare):
    """Returns a writer of prepared image sets, whose labels count in the order of the names it is given."""
    import tensorflow_datasets as tfds

    def write(official, train, test, version="3.0.2", names=None):
        names = names or official.class_names
        features = {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=(official.side, official.side, 3)),
            "label": tfds.features.ClassLabel(names=names),
        }
        examples = {
            split: [
                {"id": str(number), "image": image, "label": official.class_names[label]}
                for number, (image, label) in enumerate(zip(part.images, part.labels, strict=True))
            ]
            for split, part in (("train", train), ("test", test))
        }
        return prepare(official.name, version, features, examples)

    return write


def test_prepared_cifar10_is_the_same_data_set_as_a_folder(
    tmp_path, draw_split, shrink, prepare_images, write_tree, same_content
):
    train, test = draw_split(0, 40), draw_split(1, 20)
    shrink("cifar10", train, test)
    folder = prepare_images(
        CIFAR10, train, test, names=tuple(reversed(CIFAR10.class_names))
    )  # labels counted otherwise
    dataset = sources.load("cifar10")
    assert dataset.class_names == CIFAR10.class_names
    assert same_content(dataset.train, train)
    assert same_content(dataset.test, test)
    assert (dataset.title, dataset.official) == ("cifar10", True)
    assert dataset.source == f"tensorflow-datasets {folder}"
    for name, split in (("train", train), ("test", test)):
        write_tree(tmp_path / "tree" / name, split, CIFAR10.class_names)
    copy = sources.load("cifar10", str(tmp_path / "tree"))
    assert copy.fingerprint == dataset.fingerprint
    np.testing.assert_array_equal(copy.train.images, dataset.train.images)


def test_prepared_stl10_with_other_pixels_is_named_as_a_copy(draw_split, shrink, prepare_images):
    train, test = draw_split(0, 10, side=96), draw_split(1, 10, side=96)
    shrink("stl10", test, train)
    prepare_images(STL10, train, test, "1.0.0")
    dataset = sources.load("stl10")
    assert dataset.title == "stl10 (tensorflow-datasets copy, not the official bytes)"
    assert dataset.train.images.shape == (10, 96, 96, 3)


def test_newest_version_is_taken(tmp_path):
    for version in ("3.0.2", "3.0.10", "incomplete"):
        (prepared.folder() / "cifar10" / version).mkdir(parents=True)
        (prepared.folder() / "cifar10" / version / "dataset_info.json").touch()
    (prepared.folder() / "cifar10" / "4.0.0").mkdir()  # as a download leaves it when it is stopped
    assert prepared.find("cifar10").name == "3.0.10"
    assert prepared.find("cifar100") is None


def test_damaged_prepared_files_are_named(draw_split, shrink, prepare_images):
    train, test = draw_split(0, 10), draw_split(1, 10)
    shrink("cifar10", train, test)
    folder = prepare_images(CIFAR10, train, test)
    (records,) = folder.glob("*-train*")
    os.truncate(records, 9_000)
    error = user_error(sources.load, "cifar10")
    assert error.code == "data-broken"
    assert "cifar10/3.0.2" in str(error)


def test_prepared_set_of_other_classes_is_refused(draw_split, prepare_images):
    names = ("car", *CIFAR10.class_names)
    split = draw_split(0, 10)
    prepare_images(CIFAR10, split, split, names=names)
    error = user_error(sources.load, "cifar10")
    assert error.code == "data-wrong-classes"
    assert "Differing: car" in str(error)


def test_prepared_imagenet_is_unpacked_once_and_goes_on_where_it_was_killed(prepare, monkeypatch):
    import tensorflow_datasets as tfds

    wnids = ("n01440764", "n01443537")
    features = {
        "file_name": tfds.features.Text(),
        "image": tfds.features.Image(encoding_format="jpeg"),
        "label": tfds.features.ClassLabel(names=wnids),
    }
    random = np.random.default_rng(0)

    def example(number, name):
        image = random.integers(0, 256, (20 + number, 30, 3), dtype=np.uint8)
        return {"file_name": name, "image": image, "label": number % 2}

    examples = {
        "train": [example(number, f"{wnids[number % 2]}_{number}.JPEG") for number in range(6)],
        "validation": [example(number, f"ILSVRC2012_val_{number:08d}.JPEG") for number in range(4)],
    }
    prepare("imagenet2012", "5.1.0", features, examples)
    lines = listen()
    dataset = sources.load("imagenet")
    assert "unpacking" in lines[0]
    assert dataset.class_names == wnids
    assert dataset.source.startswith("tensorflow-datasets")
    assert np.bincount(dataset.train.labels).tolist() == [3, 3]
    assert np.bincount(dataset.test.labels).tolist() == [2, 2]
    assert sorted(map(os.path.basename, dataset.test.paths)) == [e["file_name"] for e in examples["validation"]]
    from PIL import Image

    heights = {os.path.basename(path): Image.open(path).height for path in dataset.train.paths}
    assert heights == {example["file_name"]: len(example["image"]) for example in examples["train"]}
    lines.clear()
    assert sources.load("imagenet").fingerprint == dataset.fingerprint
    assert lines == []
    # Killed while a file was written, it goes on from there; what is unpacked already needs no room.
    half = Path(dataset.train.paths[2])
    content = half.read_bytes()
    half.write_bytes(content[:50])
    next(half.parents[2].glob(prepared._DONE)).unlink()
    needed = sum(map(os.path.getsize, (*dataset.train.paths, *dataset.test.paths)))
    monkeypatch.setattr(shutil, "disk_usage", lambda out: SimpleNamespace(free=needed // 2))
    assert sources.load("imagenet").fingerprint == dataset.fingerprint
    assert half.read_bytes() == content


@pytest.fixture
def small_imagenet(prepare):
    import tensorflow_datasets as tfds

    features = {
        "file_name": tfds.features.Text(),
        "image": tfds.features.Image(encoding_format="jpeg"),
        "label": tfds.features.ClassLabel(names=("n1", "n2")),
    }
    examples = [{"file_name": "a.JPEG", "image": np.zeros((9, 9, 3), np.uint8), "label": 0}]
    prepare("imagenet2012", "5.1.0", features, {"train": examples, "validation": examples})


def test_imagenet_is_not_unpacked_to_a_disk_that_is_too_small(small_imagenet, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda out: SimpleNamespace(free=10))
    assert user_error(sources.load, "imagenet").code == "disk-full"


def test_a_disk_that_fills_while_imagenet_is_unpacked_is_not_taken_for_damaged_images(small_imagenet, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=re.escape("a.JPEG")) as caught:
        sources.load("imagenet")
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("Failed to resolve 'www.cs.toronto.edu'", "no network: the server's name cannot be resolved"),
        ("timed out\nand more", "ConnectionError: timed out"),
    ],
)
def test_a_download_without_network_says_why_and_what_to_do(failure, reason, monkeypatch):
    import requests

    def fail(*_, **__):
        raise requests.exceptions.ConnectionError(failure)

    monkeypatch.setattr(requests, "head", fail)
    error = user_error(sources.load, "cifar10")
    assert error.code == "data-not-found"
    for part in (
        str(prepared.folder()),
        reason,
        "train/<class>/*, test/<class>/*",
        "cifar-10-python.tar.gz",
        "cifar-10-batches-bin",
    ):
        assert part in str(error)


def test_download_prepares_and_reads(draw_split, shrink, prepare_images, monkeypatch, same_content):
    import requests
    import tensorflow_datasets as tfds

    train, test = draw_split(0, 10), draw_split(1, 10)
    shrink("cifar10", train, test)
    asked = []

    class Builder:
        def __init__(self, name, data_dir):
            asked.append((name, data_dir))

        def download_and_prepare(self):
            prepare_images(CIFAR10, train, test)

    class Answer:
        def raise_for_status(self):
            asked.append("answered")

    monkeypatch.setattr(requests, "head", lambda url, **_: Answer())
    monkeypatch.setattr(tfds, "builder", Builder)
    dataset = sources.load("cifar10")
    assert asked == ["answered", ("cifar10", str(prepared.folder()))]
    assert same_content(dataset.train, train)

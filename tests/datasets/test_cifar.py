"""The official CIFAR files: their formats, their checksums, and pickles that must not run."""

import hashlib
import os
import pickle
import struct
from typing import ClassVar

import numpy as np
import pytest
from assertions import user_error

from resnet_tf.datasets import sources
from resnet_tf.datasets.cifar import CIFAR10, CIFAR100, read_python


class Python2Pickler(pickle._Pickler):
    """Writes as Python 2's cPickle did, whose files the official ones are: texts and bytes are both byte strings."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, value):
        content = value if isinstance(value, bytes) else value.encode("latin-1")
        self.write(b"T" + struct.pack("<I", len(content)) + content)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_string


def python2_pickle(value, path):
    with open(path, "wb") as file:
        Python2Pickler(file, protocol=2).dump(value)
    return path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def to_planes(images):
    """Each image as the official files hold it: all reds, then all greens, then all blues, row by row."""
    return np.stack([np.concatenate([image[:, :, channel].ravel() for channel in range(3)]) for image in images])


def python_members(train, test, tmp_path, official):
    """The members of a Python archive, the training images in as many batches as the official one has."""
    form, key = official.archives[0], "labels" if official.name == "cifar10" else "fine_labels"
    members = {}
    parts = np.array_split(np.arange(len(train)), len(form.train))
    for name, split in zip((*form.train, *form.test), [train.take(part) for part in parts] + [test], strict=True):
        batch = {
            "batch_label": name,
            key: split.labels.tolist(),
            "data": to_planes(split.images),
            "filenames": ["a.png"],
        }
        members[f"{form.folder}/{name}"] = python2_pickle(batch, tmp_path / "pickle")
    return members


def binary_members(train, test, official):
    form, coarse = official.archives[1], official.name == "cifar100"
    members = {}
    parts = np.array_split(np.arange(len(train)), len(form.train))
    for name, split in zip((*form.train, *form.test), [train.take(part) for part in parts] + [test], strict=True):
        rows = [
            bytes([7, label] if coarse else [label]) + plane.tobytes()
            for label, plane in zip(split.labels, to_planes(split.images), strict=True)
        ]
        members[f"{form.folder}/{name}"] = b"".join(rows)
    return members


@pytest.mark.parametrize("official", [CIFAR10, CIFAR100], ids=lambda official: official.name)
@pytest.mark.parametrize("form", [0, 1], ids=["python", "binary"])
def test_archive_and_its_unpacked_folder_give_the_images(
    official, form, tmp_path, draw_split, shrink, write_archive, same_content
):
    classes = len(official.class_names)
    train, test = draw_split(0, 200, classes=classes), draw_split(1, 100, classes=classes)
    members = python_members(train, test, tmp_path, official) if form == 0 else binary_members(train, test, official)
    file = official.archives[form].file
    extra = {f"{official.archives[form].folder}/readme.html": b"nothing"}
    md5 = {file: write_archive(tmp_path / file, extra | members)}
    md5 |= {os.path.basename(name): hashlib.md5(content).hexdigest() for name, content in members.items()}
    shrink(official.name, train, test, md5)
    unpacked = tmp_path / "unpacked"
    write_files(unpacked, members)

    datasets = [
        sources.load(official.name, str(place))
        for place in (tmp_path / file, tmp_path, unpacked, unpacked / official.archives[form].folder)
    ]
    for dataset in datasets:
        assert dataset.official
        assert dataset.title == official.name
        assert dataset.class_names == official.class_names
        assert same_content(dataset.train, train)
        assert same_content(dataset.test, test)
        assert dataset.fingerprint == datasets[0].fingerprint
        np.testing.assert_array_equal(dataset.train.images, datasets[0].train.images)


def test_archive_with_another_checksum_is_refused(tmp_path, draw_split, shrink, write_archive):
    train, test = draw_split(0, 20), draw_split(1, 10)
    received = write_archive(tmp_path / "cifar-10-python.tar.gz", python_members(train, test, tmp_path, CIFAR10))
    shrink("cifar10", train, test)
    error = user_error(sources.load, "cifar10", str(tmp_path))
    assert error.code == "data-wrong-checksum"
    assert received in str(error)


def write_files(folder, members):
    for name, content in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def test_unpacked_file_with_another_checksum_is_refused(tmp_path, draw_split, shrink):
    train, test = draw_split(0, 20), draw_split(1, 10)
    shrink("cifar10", train, test)
    write_files(tmp_path, python_members(train, test, tmp_path, CIFAR10))
    error = user_error(sources.load, "cifar10", str(tmp_path))
    assert error.code == "data-wrong-checksum"
    assert "data_batch_1" in str(error)


def test_binary_folder_is_compared_with_the_pixel_sums(tmp_path, draw_split, shrink):
    train, test = draw_split(0, 20), draw_split(1, 10)
    shrink("cifar10", train, test)
    train.images[3, 5, 7, 1] ^= 1  # a single bit of a single pixel
    write_files(tmp_path, binary_members(train, test, CIFAR10))
    assert user_error(sources.load, "cifar10", str(tmp_path)).code == "data-not-official"


def test_missing_file_and_broken_archive_are_named(tmp_path, draw_split, shrink, write_archive):
    train, test = draw_split(0, 20), draw_split(1, 10)
    members = binary_members(train, test, CIFAR10)
    members.pop("cifar-10-batches-bin/test_batch.bin")
    file = tmp_path / "cifar-10-binary.tar.gz"
    shrink("cifar10", train, test, {file.name: write_archive(file, members)})
    error = user_error(sources.load, "cifar10", str(file))
    assert error.code == "data-incomplete"
    assert "cifar-10-batches-bin/test_batch.bin" in str(error)
    file.write_bytes(file.read_bytes()[:1000])
    shrink("cifar10", train, test, {file.name: hashlib.md5(file.read_bytes()).hexdigest()})
    assert user_error(sources.load, "cifar10", str(file)).code == "data-broken"


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("place", ["archive", "archive whose checksum is right", "folder"])
def test_a_pickle_without_the_published_checksum_is_not_unpickled(place, tmp_path, draw_split, shrink, write_archive):
    target = tmp_path / "made by the pickle"
    content = pickle.dumps(Hostile(target))
    pickle.loads(content)
    assert target.exists()  # so it works where it is unpickled
    target.rmdir()
    split = draw_split(0, 1)
    archive = CIFAR10.archives[0]
    members = {f"{archive.folder}/{name}": content for name in (*archive.train, *archive.test)}
    md5 = {}
    if place == "folder":
        write_files(tmp_path, members)
    else:
        checksum = write_archive(tmp_path / archive.file, members)
        md5 = {archive.file: checksum} if "right" in place else {}
    shrink("cifar10", split, split, md5)
    assert user_error(sources.load, "cifar10", str(tmp_path)).code == "data-wrong-checksum"
    assert not target.exists()


@pytest.mark.parametrize("official", [CIFAR10, CIFAR100], ids=lambda official: official.name)
def test_every_pickle_has_a_published_checksum(official):
    (archive,) = (archive for archive in official.archives if archive.parse.func is read_python)
    assert set(archive.md5) == {archive.file, *archive.train, *archive.test}


@pytest.mark.parametrize(
    "batch",
    [
        [1, 2],
        {b"labels": [0]},
        {b"labels": [0, 1], b"data": np.zeros((1, 3072), np.uint8)},
        {b"labels": [0], b"data": np.zeros((1, 3072), np.float32)},
        {b"labels": [0], b"data": np.zeros((1, 100), np.uint8)},
        {b"labels": ["cat"], b"data": np.zeros((1, 3072), np.uint8)},
    ],
    ids=["a list", "no data", "too few images", "floats", "small images", "texts as labels"],
)
def test_a_pickle_that_is_no_batch_is_refused(batch):
    with pytest.raises(ValueError, match="pickle"):
        read_python([pickle.dumps(batch)], "labels")

"""Images that are in two splits are counted and reported."""

import os
import shutil

import numpy as np
from messages import listen
from PIL import Image

from resnet_tf.datasets import sources
from resnet_tf.datasets.cache import describe
from resnet_tf.datasets.cifar import CIFAR10
from resnet_tf.datasets.shared_images import shared_files

CLASSES = CIFAR10.class_names


def test_images_in_two_splits_are_counted(divide):
    root = divide("train", "val", "test")
    lines = listen()
    sources.load("folder", str(root))
    assert not [line for line in lines if line.startswith("warning")]
    train = sorted((root / "train" / "rose").iterdir())
    shutil.copy(train[0], root / "test" / "rose" / "copy.jpg")
    shutil.copy(train[1], root / "test" / "daisy" / "copy.jpg")  # under another label
    shutil.copy(train[2], root / "val" / "rose" / "copy.jpg")
    sources.load("folder", str(root))
    found = [line for line in lines if line.startswith("warning")]
    assert len(found) == 2
    assert "1 of 4 validation images" in found[0]
    assert "2 of 5 test images" in found[1]
    assert "copy.jpg" in found[1]
    os.rename(root / "test" / "rose" / "copy.jpg", root / "test" / "rose" / "zz\n\x1b[2J.jpg")
    os.rename(root / "test" / "daisy" / "copy.jpg", root / "test" / "daisy" / "zz\n\x1b[2J.jpg")
    lines.clear()
    sources.load("folder", str(root))
    assert "zz\\n\\x1b[2J.jpg" in "".join(lines)  # no terminal takes a name for a command
    assert all(line.isprintable() for line in lines)
    shutil.rmtree(root / "test")
    (root / "test").symlink_to(root / "train")
    sources.load("folder", str(root))
    assert any("the test split is the training split (24 images)" in line for line in lines)


def test_files_of_one_size_and_end_that_differ_are_not_taken_for_one(tmp_path):
    for name, first in (("a", b"x"), ("b", b"y"), ("c", b"x")):
        (tmp_path / name).write_bytes(first + bytes(10_000))
    a, b, c = (describe(tmp_path / name) for name in "abc")
    assert shared_files([a], [b, c]) == [(c.path, a.path)]
    assert shared_files([], [a]) == []


def test_no_file_is_read_whole_where_sizes_or_ends_differ(tmp_path, monkeypatch):
    monkeypatch.setattr("hashlib.file_digest", None)  # would fail if it were called
    rng = np.random.default_rng(0)
    files = []
    for number in range(400):
        (tmp_path / str(number)).write_bytes(rng.bytes(3000 + number % 50))  # many sizes, each of several files
        files.append(describe(tmp_path / str(number)))
    assert shared_files(files[:300], files[300:]) == []


def test_pixels_in_two_splits_of_a_copy_are_counted(tmp_path, tree, write_tree, monkeypatch):
    _, train, test = tree
    test.images[:3] = train.images[5:8]
    write_tree(tmp_path / "copy" / "train", train, CLASSES)
    write_tree(tmp_path / "copy" / "test", test, CLASSES)
    for _ in range(2):  # read, then taken from the cache with the count
        lines = listen()
        sources.load("cifar10", str(tmp_path / "copy"))
        assert ["3 of 20 test images" in line for line in lines].count(True) == 1
        monkeypatch.setattr(sources, "shared_images", None)  # would fail if it were called


def test_a_copy_in_the_cache_that_was_not_compared_is_read_again(tree, monkeypatch):
    root, train, test = tree
    for split, images in (("train", train.images), ("test", test.images)):
        victim = sorted((root / split / "cat").iterdir())[0]
        Image.fromarray(images[0] * 0 + 7).save(victim)
    with monkeypatch.context() as earlier:
        earlier.setattr(sources, "_COMPARED", "")
        earlier.setattr(sources, "shared_images", lambda first, second: 0)
        sources.load("cifar10", str(root))
    lines = listen()
    sources.load("cifar10", str(root))
    assert "1 of 20 test images" in lines[-1]

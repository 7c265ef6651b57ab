"""The official STL-10 files, which store images column by column."""

import hashlib

import numpy as np
import pytest
from assertions import user_error

from resnet_tf.datasets import sources
from resnet_tf.datasets.stl10 import STL10, read_binary


def to_columns(images):
    """Images as STL-10 stores them, spelt out: channel by channel, column by column, from the top down."""
    height, width = images.shape[1:3]
    values = [
        image[row, column, channel]
        for image in images
        for channel in range(3)
        for column in range(width)
        for row in range(height)
    ]
    return bytes(values)


def members_of(train, test):
    return {
        "stl10_binary/test_X.bin": to_columns(test.images),
        "stl10_binary/test_y.bin": (test.labels + 1).astype(np.uint8).tobytes(),
        "stl10_binary/train_X.bin": to_columns(train.images),
        "stl10_binary/train_y.bin": (train.labels + 1).astype(np.uint8).tobytes(),
    }


def test_archive_folder_and_image_tree_are_the_same_data(
    tmp_path, draw_split, shrink, write_archive, write_tree, same_content
):
    train, test = draw_split(0, 20, side=96), draw_split(1, 10, side=96)
    members = members_of(train, test)
    file = tmp_path / "stl10_binary.tar.gz"
    md5 = {file.name: write_archive(file, members | {"stl10_binary/unlabeled_X.bin": b"many"})}
    md5 |= {name.split("/")[1]: hashlib.md5(content).hexdigest() for name, content in members.items()}
    shrink("stl10", train, test, md5)
    unpacked = tmp_path / "unpacked"
    (unpacked / "stl10_binary").mkdir(parents=True)
    for name, content in members.items():
        (unpacked / name).write_bytes(content)
    tree = tmp_path / "tree"
    write_tree(tree / "train", train, STL10.class_names)
    write_tree(tree / "test", test, STL10.class_names)

    found = [sources.load("stl10", str(place)) for place in (file, unpacked, tree)]
    assert len({dataset.fingerprint for dataset in found}) == 1
    for dataset in found:
        assert dataset.title == "stl10"
        assert same_content(dataset.train, train)
        assert same_content(dataset.test, test)


def test_file_with_another_checksum_is_refused(tmp_path, draw_split, shrink):
    train, test = draw_split(0, 10, side=96), draw_split(1, 10, side=96)
    (tmp_path / "stl10_binary").mkdir()
    for name, content in members_of(train, test).items():
        (tmp_path / name).write_bytes(content)
    shrink("stl10", train, test)
    error = user_error(sources.load, "stl10", str(tmp_path))
    assert error.code == "data-wrong-checksum"
    assert "train_X.bin" in str(error)


def test_lengths_and_labels_are_checked():
    image = bytes(3 * 96 * 96)
    assert read_binary([image, b"\x0a"])[1].tolist() == [9]
    with pytest.raises(ValueError, match="do not fit"):
        read_binary([image, b"\x01\x02"])
    for label in (b"\x00", b"\x0b"):
        with pytest.raises(ValueError, match="1 to 10"):
            read_binary([image, label])


@pytest.mark.parametrize("changed", ["test split", "train split"])
def test_a_tree_whose_images_were_changed_is_not_official(changed, tmp_path, draw_split, shrink, write_tree):
    """Sizes, classes and balance are those of STL-10; the images of one split are black."""
    train, test = draw_split(0, 20, side=96), draw_split(1, 10, side=96)
    shrink("stl10", train, test)
    (train if changed == "train split" else test).images[:] = 0
    write_tree(tmp_path / "train", train, STL10.class_names)
    write_tree(tmp_path / "test", test, STL10.class_names)
    dataset = sources.load("stl10", str(tmp_path))
    assert not dataset.official
    assert "not the official bytes" in dataset.title

"""Where data is found, the error when there is none, and the split into training and validation."""

import dataclasses
import hashlib

import numpy as np
import pytest
from assertions import user_error
from messages import listen

from resnet_tf.datasets import shapes10, sources, tfds
from resnet_tf.datasets.cifar import CIFAR10
from resnet_tf.datasets.splits import (
    ArraySplit,
    canonical,
    fingerprint,
    split_train_validation,
    training_and_validation,
)
from resnet_tf.presets.catalogue import DATASETS


@pytest.fixture
def tree(tree):
    return tree[0]


def test_unknown_data_set_names_the_nearest():
    error = user_error(sources.load, "cifar-10")
    assert error.code == "dataset-unknown"
    assert "'cifar10'" in str(error)


def test_data_comes_before_the_variable_and_the_variable_before_the_rest(
    tree, tmp_path, monkeypatch, draw_split, write_tree
):
    other = tmp_path / "other"
    for name, seed in (("train", 2), ("test", 3)):
        write_tree(other / name, draw_split(seed, 20), CIFAR10.class_names)
    monkeypatch.setattr(tfds, "find", None)  # would fail if it were called
    monkeypatch.setenv("RESNET_DATA", str(other))
    assert sources.load("cifar10", str(tree)).source == f"image folder {tree}"
    assert sources.load("cifar10").source == f"image folder {other}"


@pytest.mark.parametrize("by", ["argument", "variable"])
def test_a_given_place_that_does_not_serve_is_an_error_by_itself(by, tmp_path, monkeypatch):
    monkeypatch.setattr(tfds, "find", None)
    empty = tmp_path / "empty"
    (empty / "holiday").mkdir(parents=True)
    for place, named in ((tmp_path / "nowhere", "does not exist"), (empty, "holiday")):
        if by == "variable":
            monkeypatch.setenv("RESNET_DATA", str(place))
        error = user_error(sources.load, "cifar10", str(place) if by == "argument" else None)
        assert error.code == "data-not-found"
        assert str(error).startswith(f"{'--data' if by == 'argument' else 'RESNET_DATA'} '{place}'")
        for part in (named, "cifar-10-python"):
            assert part in str(error)


def test_an_empty_path_is_not_the_working_directory(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert user_error(sources.load, "cifar10", "").code == "data-not-found"


def test_one_folder_can_hold_several_data_sets(tree, tmp_path):
    tree.rename(tmp_path / "cifar10")
    assert sources.load("cifar10", str(tmp_path)).source == f"image folder {tmp_path / 'cifar10'}"


@pytest.mark.parametrize("name", ["cifar10", "imagenet"])
def test_one_split_points_to_the_folder_above(name, tree):
    error = user_error(sources.load, name, str(tree / "train"))
    assert error.code == "data-is-one-split"
    assert str(tree) in str(error)


def test_one_split_of_an_own_folder_is_used_with_a_message(tree):
    lines = listen()
    assert len(sources.load("folder", str(tree / "train")).train) < 40
    assert f"one split of {tree}" in lines[0]


def test_spelling_of_the_splits_does_not_matter(tree):
    before = sources.load("cifar10", str(tree)).fingerprint
    for name in ("train", "test"):
        (tree / name).rename(tree / name.title())
    assert sources.load("cifar10", str(tree)).fingerprint == before


@pytest.mark.parametrize("form", ["tree", "files", "archive"])
def test_another_published_data_set_points_to_its_presets(form, tmp_path, draw_split, write_tree):
    given = tmp_path / "given"
    if form == "tree":
        for seed, part in enumerate(("train", "test")):
            write_tree(given / part, draw_split(seed, 100, classes=100), DATASETS["cifar100"].class_names)
    elif form == "files":
        (given / "cifar-100-binary").mkdir(parents=True)
    else:
        given.mkdir()
        (given / "cifar-100-python.tar.gz").write_bytes(b"")
    for place in [given, *([given / "cifar-100-python.tar.gz"] if form == "archive" else [])]:
        error = user_error(sources.load, "cifar10", str(place))
        assert error.code == "data-of-another-dataset"
        assert "--preset resnet34-cifar100" in str(error)


@pytest.mark.parametrize("name", ["folder", "imagenet"])
def test_sets_that_cannot_be_downloaded_say_what_they_want(name):
    error = user_error(sources.load, name)
    assert error.code == "data-not-found"
    assert DATASETS[name].wants in str(error)


def test_an_unreadable_place_is_named(tree, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", str(tree / "train"))

    monkeypatch.setattr(sources, "scan", refuse)
    error = user_error(sources.load, "cifar10", str(tree))
    assert error.code == "data-unreadable"
    assert f"{tree}/train: Permission denied" in str(error)


def test_shapes10_is_drawn_once_and_cached(monkeypatch):
    draw, asked = shapes10.draw, []
    monkeypatch.setattr(shapes10, "draw", lambda *sizes: asked.append(sizes) or draw(*sizes))
    description = dataclasses.replace(sources.DATASETS["shapes10"], train_size=30, test_size=20)
    monkeypatch.setitem(sources.DATASETS, "shapes10", description)
    first, second = (sources.load("shapes10") for _ in range(2))
    assert asked == [(0, 30, 20)]
    assert first.title == "shapes10"
    assert first.official
    assert first.class_names == shapes10.CLASS_NAMES
    assert second.fingerprint == first.fingerprint
    drawn = {image.tobytes(): label for image, label in zip(*draw(0, 30, 20)[:2], strict=True)}
    found = {image.tobytes(): label for image, label in zip(second.train.images, second.train.labels, strict=True)}
    assert found == drawn
    assert user_error(sources.load, "shapes10", "somewhere").code == "data-not-needed"


def test_shapes10_of_another_size_is_drawn_again(monkeypatch):
    for size in (30, 40):
        description = dataclasses.replace(sources.DATASETS["shapes10"], train_size=size, test_size=20)
        monkeypatch.setitem(sources.DATASETS, "shapes10", description)
        assert len(sources.load("shapes10").train) == size


def test_descriptions_fit_the_data_sets():
    assert list(sources.DATASETS) == ["shapes10", "cifar10", "cifar100", "stl10", "imagenet", "folder"]
    facts = {name: (d.classes, d.image_size, d.train_size, d.test_size) for name, d in sources.DATASETS.items()}
    assert facts["cifar10"] == (10, 32, 50_000, 10_000)
    assert facts["cifar100"] == (100, 32, 50_000, 10_000)
    assert facts["stl10"] == (10, 96, 5_000, 8_000)
    assert facts["imagenet"] == (1_000, None, 1_281_167, 50_000)
    for description in sources.DATASETS.values():
        assert "\n" not in description.wants
        if description.class_names:
            assert len(description.class_names) == description.classes


def test_fingerprint_and_order_are_what_is_written(draw_split):
    train, test = draw_split(0, 20), draw_split(1, 10)

    def hashes(split):
        rows = zip(split.images, split.labels, strict=True)
        parts = [image.tobytes() + int(label).to_bytes(4, "little") for image, label in rows]
        return sorted(hashlib.sha256(part).digest() for part in parts)

    content = b"train 20\n" + b"".join(hashes(train)) + b"test 10\n" + b"".join(hashes(test))
    (ordered, train_hashes), (_, test_hashes) = canonical(train), canonical(test)
    assert fingerprint(train_hashes, test_hashes) == hashlib.sha256(content).hexdigest()
    assert train_hashes == hashes(ordered) == hashes(train)


def test_take_gives_examples_in_the_order_asked_for(draw_split):
    split = draw_split(0, 20)
    taken = split.take(np.array([7, 2]))
    assert isinstance(taken, ArraySplit)
    assert len(taken) == 2
    np.testing.assert_array_equal(taken.images, split.images[[7, 2]])
    np.testing.assert_array_equal(taken.labels, split.labels[[7, 2]])


def test_validation_split_is_stratified_by_largest_remainder():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 3], [50, 30, 13, 7]))
    train, validation = split_train_validation(labels, 21, seed=0)
    # quotas 10.5, 6.3, 2.73, 1.47: 10 + 6 + 2 + 1, and the two left over go to .73 and .5
    assert np.bincount(labels[validation]).tolist() == [11, 6, 3, 1]
    assert sorted([*train, *validation]) == list(range(100))
    assert np.all(np.diff(train) > 0)
    assert np.all(np.diff(validation) > 0)


def test_validation_split_depends_on_the_seed_alone():
    labels = np.tile(np.arange(10), 20)
    first, again, other = (split_train_validation(labels, 30, seed)[1].tolist() for seed in (0, 0, 1))
    assert first == again != other
    # Philox's raw stream, written down: the same on any machine and with any NumPy
    assert split_train_validation(labels, 5, 7)[1].tolist() == [13, 52, 130, 181, 184]


def test_validation_leaves_each_class_a_training_image():
    data = sources.load("shapes10")
    labels = data.train.labels
    kept = np.array([*np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)[0]])
    few = dataclasses.replace(data, train=data.train.take(kept))
    error = user_error(training_and_validation, few, len(few.train) - 1, 0)
    assert error.code == "validation-takes-class"
    training, held_out = training_and_validation(data, 100, 0)
    assert (len(held_out), len(np.unique(training.labels))) == (100, 10)


def test_a_path_that_is_no_users_home_is_the_users_error():
    assert user_error(sources.load, "cifar10", "~nobody-here/images").code == "data-not-found"


def test_validation_split_of_nothing_and_out_of_range():
    labels = np.tile(np.arange(10), 2)
    train, validation = split_train_validation(labels, 0, 0)
    assert (len(train), len(validation)) == (20, 0)
    for size in (-1, 20):
        error = user_error(split_train_validation, labels, size, 0)
        assert error.code == "validation-size-out-of-range"
        assert f"Received: {size}" in str(error)
    with_validation = dataclasses.replace(sources.load("shapes10"), validation=sources.load("shapes10").test)
    for seed in (-1, 2**40):
        assert user_error(split_train_validation, labels, 1, seed).code == "seed-out-of-range"
        assert user_error(training_and_validation, with_validation, 0, seed).code == "seed-out-of-range"

"""Image folders, decoded or left on disk; ImageNet trees with foldered and flat validation images."""

import hashlib
import shutil

import numpy as np
import pytest
from assertions import user_error
from messages import listen
from PIL import Image

from resnet_tf.datasets import sources
from resnet_tf.datasets.cifar import CIFAR10
from resnet_tf.datasets.folder import scan, to_split
from resnet_tf.datasets.splits import training_and_validation

CLASSES = CIFAR10.class_names


def test_lossless_copy_of_the_official_images_is_official(tree, shrink, same_content):
    root, train, test = tree
    shrink("cifar10", train, test)
    dataset = sources.load("cifar10", str(root))
    assert (dataset.title, dataset.official, dataset.classes) == ("cifar10", True, 10)
    assert dataset.train.images.dtype == np.uint8
    assert dataset.train.labels.dtype == np.int32
    assert same_content(dataset.train, train)
    assert same_content(dataset.test, test)


def test_jpeg_copy_is_named_as_one(tmp_path, tree, shrink, write_tree):
    _, train, test = tree
    shrink("cifar10", train, test)
    root = tmp_path / "jpeg"
    write_tree(root / "train", train, CLASSES, ".jpg")
    write_tree(root / "test", test, CLASSES, ".JPG")
    dataset = sources.load("cifar10", str(root))
    assert dataset.title == "cifar10 (folder copy, not the official bytes)"
    assert not dataset.official
    some = dataset.test.images[0]
    decoded = [np.asarray(Image.open(path)) for path in (root / "test").glob("*/*")]
    assert any(np.array_equal(some, image) for image in decoded)


def test_order_of_files_does_not_matter(tmp_path, tree, write_tree):
    root, train, test = tree
    other = tmp_path / "other"
    write_tree(other / "train", train.take(np.arange(40)[::-1]), CLASSES)
    write_tree(other / "test", test.take(np.arange(20)[::-1]), CLASSES)
    first, second = (sources.load("cifar10", str(place)) for place in (root, other))
    assert first.fingerprint == second.fingerprint
    np.testing.assert_array_equal(first.train.images, second.train.images)
    np.testing.assert_array_equal(first.train.labels, second.train.labels)


def test_content_and_split_change_the_fingerprint(tmp_path, tree):
    root, *_ = tree
    before = sources.load("cifar10", str(root)).fingerprint
    moved = tmp_path / "moved"
    shutil.copytree(root, moved)
    victim = next((moved / "test" / "cat").iterdir())
    victim.rename(moved / "train" / "cat" / "9999.png")  # the same images, one in the other split
    assert sources.load("cifar10", str(moved)).fingerprint != before
    relabelled = tmp_path / "relabelled"
    shutil.copytree(root, relabelled)
    victim = next((relabelled / "test" / "cat").iterdir())
    victim.rename(relabelled / "test" / "dog" / "9999.png")  # the same images, one with another label
    assert sources.load("cifar10", str(relabelled)).fingerprint != before


def test_missing_unknown_and_empty_classes_are_named(tree):
    root, *_ = tree
    (root / "test" / "frog").rename(root / "frogs away")
    error = user_error(sources.load, "cifar10", str(root))
    assert error.code == "data-wrong-classes"
    assert "Missing: 'frog'" in str(error)
    (root / "frogs away").rename(root / "test" / "frogs")
    error = user_error(sources.load, "cifar10", str(root))
    assert error.code == "data-wrong-classes"
    assert "Did you mean 'frog'" in str(error)
    (root / "test" / "frogs").rename(root / "test" / ".hidden")
    (root / "test" / "frog").mkdir()
    assert user_error(sources.load, "cifar10", str(root)).code == "class-without-images"


def test_tree_with_one_split_says_which_is_missing(tree):
    root, *_ = tree
    shutil.rmtree(root / "test")
    error = user_error(sources.load, "cifar10", str(root))
    assert error.code == "image-folder-lacks-split"
    assert "test/" in str(error)
    (root / "train").rename(root / "test")
    error = user_error(sources.load, "cifar10", str(root))
    assert error.code == "image-folder-lacks-split"
    assert "train/" in str(error)


def spoil_with_text(path):
    path.write_text("not an image")


def spoil_by_cutting(path):
    path.write_bytes(path.read_bytes()[:-200])


def spoil_by_size(path):
    Image.new("RGB", (32, 31)).save(path)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (spoil_with_text, "image-file-broken"),
        (spoil_by_cutting, "image-file-broken"),
        (spoil_by_size, "image-file-size"),
    ],
)
def test_bad_image_is_named_and_nothing_is_cached(spoil, code, tree, tmp_path):
    root, *_ = tree
    victim = sorted((root / "train" / "ship").iterdir())[1]
    spoil(victim)
    error = user_error(sources.load, "cifar10", str(root))
    assert error.code == code
    assert f"ship/{victim.name}" in str(error)
    assert not list((tmp_path / "cache").glob("cifar10-*"))


def test_grey_and_palette_images_become_rgb(tree):
    root, *_ = tree
    victims = sorted((root / "train" / "ship").iterdir())
    grey = np.arange(1024, dtype=np.uint8).reshape(32, 32)
    Image.fromarray(grey).save(victims[0])
    Image.fromarray(np.stack([grey] * 3, -1)).quantize(256).save(victims[1])
    images = sources.load("cifar10", str(root)).train.images
    matches = [image for image in images if np.array_equal(image, np.stack([grey] * 3, -1))]
    assert len(matches) == 2


def test_own_folder_holds_a_fifth_of_each_class_out(photos):
    lines = listen()
    dataset = sources.load("folder", str(photos))
    assert dataset.class_names == ("daisy", "rose", "tulip")
    assert np.bincount(dataset.test.labels).tolist() == [3, 2, 1]
    assert np.bincount(dataset.train.labels).tolist() == [12, 8, 4]
    everything = sorted([*dataset.train.paths, *dataset.test.paths])
    assert everything == sorted(str(path) for path in photos.glob("*/*.jpg"))
    for split in (dataset.train, dataset.test):
        assert [dataset.class_names[label] for label in split.labels] == [p.split("/")[-2] for p in split.paths]
    ranked = sorted(photos.glob("rose/*.jpg"), key=lambda path: hashlib.sha256(f"rose/{path.name}".encode()).digest())
    assert {path for path in dataset.test.paths if "/rose/" in path} == {str(path) for path in ranked[:2]}
    assert lines == [f"{photos}: files that are not .jpg, .jpeg, .png, .bmp, .webp are ignored: 1 .txt"]
    again = sources.load("folder", str(photos))
    assert again.test.paths.tolist() == dataset.test.paths.tolist()
    assert again.fingerprint == dataset.fingerprint


def test_what_is_left_out_is_said_by_kind(photos):
    for name in ("1.heic", "2.HEIC", "3.tif", "4"):
        (photos / "rose" / name).write_bytes(b"not looked into")
    (photos / "daisy" / "more").mkdir()
    (photos / "tulip" / "gone.jpg").symlink_to(photos / "nowhere.jpg")
    (photos / "tulip" / "loop.jpg").symlink_to(photos / "tulip" / "loop.jpg")
    shutil.copy(next(photos.glob("rose/*.jpg")), photos / "beside.jpg")
    lines = listen()
    dataset = sources.load("folder", str(photos))
    assert len(dataset.train) + len(dataset.test) == 30
    beside, left_out = lines
    assert "1 image outside any class folder" in beside
    kinds = left_out.partition("are ignored: ")[2].split(", ")
    assert kinds[0] == "2 .heic"
    assert set(kinds) == {"2 .heic", "2 broken link", "1 .tif", "1 .txt", "1 without suffix", "1 folder"}


def test_own_photos_are_turned_upright_and_those_of_imagenet_are_not(tmp_path, write_photo):
    rng = np.random.default_rng(0)
    for orientation in range(1, 9):
        for name in ("a", "b"):
            write_photo(tmp_path / name / f"{orientation}.jpg", rng.integers(0, 256, (8, 12, 3), np.uint8), orientation)
    (tmp_path / "train").mkdir()
    (tmp_path / "val").mkdir()
    for name in ("a", "b"):
        shutil.copytree(tmp_path / name, tmp_path / "train" / name)
        shutil.copytree(tmp_path / name, tmp_path / "val" / name)
    own, published = (sources.load(name, str(tmp_path)) for name in ("folder", "imagenet"))
    assert own.train.upright
    assert own.test.take(np.array([3, 0])).upright
    assert not published.train.upright
    assert not published.test.upright
    assert own.fingerprint == published.fingerprint
    assert own.train.paths.tolist() == published.train.paths.tolist()


def test_a_bad_photo_is_named_before_the_work_begins(photos):
    (photos / "rose" / "3.jpg").write_bytes(b"")
    (photos / "tulip" / "4.jpg").write_bytes((photos / "tulip" / "4.jpg").read_bytes()[:-1])
    error = user_error(to_split, scan(photos), ("rose", "tulip"), upright=True)
    assert error.code == "image-file-broken"
    assert "rose/3.jpg (an empty file)" in str(error)
    assert "tulip/4.jpg (cut short)" in str(error)
    assert user_error(sources.load, "folder", str(photos)).code == "image-file-broken"


def test_of_many_bad_files_the_first_are_named(photos):
    for number in range(5):
        (photos / "daisy" / f"{number}.jpg").write_text("no image")
    error = user_error(to_split, scan(photos), ("rose", "daisy"), upright=True)
    assert "; and 2 more" in str(error)
    assert str(error).count("(not a JPEG") == 3


def test_a_new_photo_leaves_the_others_where_they_are(photos):
    before = set(sources.load("folder", str(photos)).test.paths)
    Image.new("RGB", (9, 9)).save(photos / "rose" / "new.jpg")
    after = sources.load("folder", str(photos))
    assert len(before ^ set(after.test.paths)) <= 2
    taken = after.test.take(np.array([2, 0]))
    assert taken.paths.tolist() == [after.test.paths[2], after.test.paths[0]]


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [("train", "val", "test"), ("Train", "Validation", "Test"), ("TRAIN", "valid", "test")],
)
def test_an_own_validation_folder_is_the_validation_split(train, validation, test, divide):
    root, lines = divide(train, validation, test), listen()
    dataset = sources.load("folder", str(root))
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [24, 3, 3]
    assert all(f"/{validation}/" in path for path in dataset.validation.paths)
    assert sorted(dataset.validation.labels) == [0, 1, 2]
    assert "validation split of its own" in dataset.title  # which the run records
    assert any("data.validation_size is not applied" in line for line in lines)
    for size in (0, 10):
        learned, selected = training_and_validation(dataset, size, seed=0)
        assert learned is dataset.train
        assert selected is dataset.validation
    shutil.rmtree(root / validation / "rose")
    error = user_error(sources.load, "folder", str(root))
    assert error.code == "data-wrong-classes"
    assert "'rose'" in str(error)
    shutil.rmtree(root / validation)
    without = sources.load("folder", str(root))
    assert without.validation is None
    assert without.fingerprint != dataset.fingerprint
    assert len(training_and_validation(without, 10, seed=0)[1]) == 10


def test_two_folders_for_one_split_are_refused(divide):
    root = divide("train", "val", "test")
    shutil.copytree(root / "val", root / "Valid")
    error = user_error(sources.load, "folder", str(root))
    assert error.code == "image-folder-ambiguous"
    assert "Valid/ and val/" in str(error)


def test_the_validation_folder_of_a_published_set_is_left_out_aloud(tree):
    root, *_ = tree
    shutil.copytree(root / "test", root / "val")
    lines = listen()
    assert sources.load("cifar10", str(root)).validation is None
    assert any("ignored" in line and "/val" in line for line in lines)


def test_validation_folders_that_nobody_reads_may_be_two(tree, imagenet):
    root, *_ = tree
    for name in ("val", "valid"):
        shutil.copytree(root / "test", root / name)
    lines = listen()
    assert len(sources.load("cifar10", str(root)).test) == 20
    assert sum("ignored" in line for line in lines) == 2
    root, _ = imagenet
    shutil.copytree(root / "val", root / "validation")
    assert len(sources.load("imagenet", str(root)).test) == 6


def test_two_validation_folders_are_refused_where_one_would_be_the_test(divide):
    root = divide("train", "val", "test")
    shutil.rmtree(root / "test")
    shutil.copytree(root / "val", root / "validation")
    error = user_error(sources.load, "folder", str(root))
    assert error.code == "image-folder-ambiguous"
    assert "val/ and validation/" in str(error)


def test_own_folder_with_splits(photos, tmp_path):
    root = tmp_path / "divided"
    shutil.copytree(photos, root / "train")
    shutil.copytree(photos, root / "val")
    dataset = sources.load("folder", str(root))
    assert (dataset.name, len(dataset.train), len(dataset.test), dataset.official) == ("folder", 30, 30, False)
    assert all("/val/" in path for path in dataset.test.paths)
    shutil.rmtree(root / "val" / "tulip")
    error = user_error(sources.load, "folder", str(root))
    assert error.code == "data-wrong-classes"
    assert "'tulip'" in str(error)


def test_fingerprint_of_files_follows_name_size_and_class_but_not_place(photos, tmp_path):
    first = sources.load("folder", str(photos)).fingerprint
    copy = tmp_path / "elsewhere"
    shutil.copytree(photos, copy)
    assert sources.load("folder", str(copy)).fingerprint == first
    with open(copy / "rose" / "1.jpg", "ab") as file:
        file.write(b"\0")
    assert sources.load("folder", str(copy)).fingerprint != first


def test_folder_without_two_classes_is_refused(tmp_path):
    (tmp_path / "one" / "cats").mkdir(parents=True)
    error = user_error(sources.load, "folder", str(tmp_path / "one"))
    assert error.code == "too-few-classes"
    assert "cats" in str(error)
    for name in ("cats", "dogs"):
        (tmp_path / "one" / name).mkdir(exist_ok=True)
        Image.new("RGB", (9, 9)).save(tmp_path / "one" / name / "a.png")
    assert user_error(sources.load, "folder", str(tmp_path / "one")).code == "class-too-small"

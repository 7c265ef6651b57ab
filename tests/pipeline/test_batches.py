"""The input is a pure function of (images, seed, step)."""

import itertools
import os

import numpy as np
import pytest
from PIL import Image, ImageOps

from resnet_tf.datasets import sources
from resnet_tf.datasets.splits import ArraySplit, Dataset, FileSplit
from resnet_tf.pipeline import batches as batches_module
from resnet_tf.pipeline.batches import EvaluationBatches, TrainingBatches
from resnet_tf.pipeline.views import views
from resnet_tf.presets import augmentation

CHAIN = augmentation.parse("pad_crop(4) | flip_horizontal")
IMAGES = 103
BATCH = 8


@pytest.fixture(scope="module")
def split() -> ArraySplit:
    """Images that tell their own number: every pixel of image i is i."""
    numbers = np.arange(IMAGES, dtype=np.uint8)
    return ArraySplit(np.tile(numbers[:, None, None, None], (1, 8, 8, 3)), numbers.astype(np.int32))


@pytest.fixture(scope="module")
def pictures() -> ArraySplit:
    generator = np.random.default_rng(0)
    return ArraySplit(generator.integers(0, 256, (IMAGES, 32, 32, 3), np.uint8), np.arange(IMAGES, dtype=np.int32))


@pytest.fixture(scope="module")
def on_disk(pictures, tmp_path_factory) -> FileSplit:
    folder = tmp_path_factory.mktemp("pictures")
    paths = [str(folder / f"{number}.png") for number in range(IMAGES)]
    for path, image in zip(paths, pictures.images, strict=True):
        Image.fromarray(image).save(path)
    return FileSplit(np.array(paths, object), pictures.labels)


def collect(dataset) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(images.numpy(), labels.numpy()) for images, labels in dataset]


def test_a_pipeline_started_at_step_37_continues_the_one_started_at_0(pictures):
    batches = TrainingBatches(pictures, CHAIN, BATCH, seed=3)
    whole, rest = collect(batches.dataset(0, 60)), collect(batches.dataset(37, 60))
    assert len(rest) == 23
    for (images, labels), (again, labels_again) in zip(whole[37:], rest, strict=True):
        np.testing.assert_array_equal(images, again)
        np.testing.assert_array_equal(labels, labels_again)


def test_alternate_flip_mirrors_each_image_in_every_second_epoch(split):
    """Each image has a dark left half; chance decides in which epoch it is mirrored first."""
    images = split.images.copy()
    images[:, :, :4] = 0
    split = ArraySplit(images[1:], split.labels[1:])  # 102 images: 6 batches of 17, so that an epoch shows all
    batches = TrainingBatches(split, augmentation.parse("alternate_flip"), 17, seed=3)
    mirrored = np.zeros((4, IMAGES), bool)
    for number, (shown, labels) in enumerate(collect(batches.dataset(0, 24))):
        left, right = shown[:, :, :4].max((1, 2, 3)), shown[:, :, 4:].max((1, 2, 3))
        np.testing.assert_array_equal(np.maximum(left, right), labels)
        mirrored[number // 6, labels] = left > right
    np.testing.assert_array_equal(mirrored[0, 1:], ~mirrored[1, 1:])
    np.testing.assert_array_equal(mirrored[2:], mirrored[:2])
    assert 30 < mirrored[0].sum() < 72  # of 102
    hosts = [collect(batches.dataset(5, 9, first_row=row, rows=rows)) for row, rows in ((0, 9), (9, 8))]
    for (whole, _), (upper, _), (lower, _) in zip(collect(batches.dataset(5, 9)), *hosts, strict=True):
        np.testing.assert_array_equal(whole, np.concatenate([upper, lower]))


def test_with_repeats_alternate_flip_alternates_within_an_epoch(split):
    images = split.images.copy()
    images[:, :, :4] = 0
    split = ArraySplit(images[1:], split.labels[1:])
    batches = TrainingBatches(split, augmentation.parse("alternate_flip"), 17, seed=3, repeats=2)
    sides = {label: [] for label in split.labels}
    for shown, labels in collect(batches.dataset(0, 12)):
        for image, label in zip(shown, labels, strict=True):
            sides[label].append(image[0, 0, 0] > 0)
    assert all(sorted(seen) == [False, True] for seen in sides.values())


def test_hosts_see_their_rows_of_the_global_batch(pictures):
    batches = TrainingBatches(pictures, CHAIN, BATCH, seed=3)
    whole = collect(batches.dataset(5, 15))
    slices = [collect(batches.dataset(5, 15, first_row=first, rows=2)) for first in range(0, BATCH, 2)]
    for step, (images, labels) in enumerate(whole):
        np.testing.assert_array_equal(images, np.concatenate([part[step][0] for part in slices]))
        np.testing.assert_array_equal(labels, np.concatenate([part[step][1] for part in slices]))


def test_an_epoch_shows_no_image_twice_and_leaves_out_only_the_remainder(split):
    per_epoch = TrainingBatches(split, (), BATCH, seed=0).steps_per_epoch
    assert per_epoch == 12
    epochs = []
    for epoch in range(3):
        rows = collect(TrainingBatches(split, (), BATCH, seed=0).dataset(epoch * per_epoch, (epoch + 1) * per_epoch))
        shown = np.concatenate([labels for _, labels in rows])
        assert len(set(shown)) == len(shown) == 96
        for images, labels in rows:  # an image and its label stay together
            np.testing.assert_array_equal(images[:, 0, 0, 0], labels)
        epochs.append(shown)
    assert not np.array_equal(epochs[0], epochs[1])
    assert set(epochs[0]) != set(epochs[1]), "the remainder must not be the same images in every epoch"


def test_an_epoch_of_repeats_shows_every_image_as_often_each_pass_in_its_own_order(split):
    """And it is what as many epochs of one pass would be whose remainders are not left out."""
    batches = TrainingBatches(split, (), BATCH, seed=0, repeats=5)
    assert batches.steps_per_epoch == 5 * IMAGES // BATCH == 64
    for epoch in (0, 1):
        order = batches._order(np.int64(epoch)).numpy().reshape(5, IMAGES)
        single = [TrainingBatches(split, (), BATCH, seed=0)._order(np.int64(5 * epoch + k)).numpy() for k in range(5)]
        np.testing.assert_array_equal(order, single)
        assert len({tuple(row) for row in order}) == 5
        shown = np.concatenate([labels for _, labels in collect(batches.dataset(64 * epoch, 64 * (epoch + 1)))])
        np.testing.assert_array_equal(shown, order.ravel()[: 64 * BATCH])


def test_repeats_are_augmented_again_and_resumed_exactly(pictures):
    batches = TrainingBatches(pictures, CHAIN, BATCH, seed=3, repeats=3)
    whole, rest = collect(batches.dataset(0, 45)), collect(batches.dataset(29, 45))
    for (images, labels), (again, labels_again) in zip(whole[29:], rest, strict=True):
        np.testing.assert_array_equal(images, again)
        np.testing.assert_array_equal(labels, labels_again)
    shown = [image.tobytes() for images, labels in whole for image in images[labels == 5]]
    assert len(shown) in (3, 4)  # of an epoch's 38 steps and 7 of the next
    assert len(set(shown)) == len(shown)


def test_the_order_is_uniform_and_independent_of_the_epoch_before(split):
    # 300 epochs: where does image 0 come? Chi-square over twelve steps (11 degrees of freedom; 31.3 is p = 0.001).
    batches = TrainingBatches(split, (), BATCH, seed=1)
    orders = np.array([batches._order(np.int64(epoch)).numpy() for epoch in range(300)])
    places = np.argmax(orders == 0, axis=1)
    counts = np.bincount(places * 12 // IMAGES, minlength=12)
    expected = np.bincount(np.arange(IMAGES) * 12 // IMAGES, minlength=12) * 300 / IMAGES
    assert ((counts - expected) ** 2 / expected).sum() < 31.3
    correlations = [np.corrcoef(first, second)[0, 1] for first, second in itertools.pairwise(orders)]
    assert abs(np.mean(correlations)) < 4 / np.sqrt(300 * IMAGES)


def test_seeds_differ(split):
    first, second = (collect(TrainingBatches(split, (), BATCH, seed).dataset(0, 3)) for seed in (0, 1))
    assert any(not np.array_equal(a[1], b[1]) for a, b in zip(first, second, strict=True))


def test_augmentation_differs_by_seed_and_by_epoch(pictures):
    """All images are one, so that only the places of their crops can differ."""
    same = ArraySplit(np.tile(pictures.images[:1], (IMAGES, 1, 1, 1)), pictures.labels)
    per_epoch = IMAGES // BATCH
    batches = [TrainingBatches(same, CHAIN, BATCH, seed) for seed in (0, 1)]
    first, other, later = (
        collect(one.dataset(step, step + 1))[0][0]
        for one, step in ((batches[0], 0), (batches[1], 0), (batches[0], per_epoch))
    )
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, later)


def test_evaluation_counts_every_image_once_the_partial_batch_included(split, monkeypatch):
    monkeypatch.setattr(batches_module, "_PIXELS", 10 * 8 * 8)
    rows = collect(EvaluationBatches(split, (), "1-crop", None, 8).dataset())
    assert [len(labels) for _, labels in rows] == [10] * 10 + [3]
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in rows]), np.arange(IMAGES))
    np.testing.assert_array_equal(np.concatenate([images for images, _ in rows])[:, 0, 0, 0, 0], np.arange(IMAGES))


def test_ten_crops_of_files_and_of_arrays_are_ten_explicit_slices(pictures, on_disk):
    evaluated = [
        collect(EvaluationBatches(source, (), "10-crop", 24, 24).dataset())[0][0] for source in (pictures, on_disk)
    ]
    images = pictures.images[: len(evaluated[0])].astype(np.float32)
    corners = [(0, 0), (0, 8), (8, 0), (8, 8), (4, 4)]
    for view, (source, (top, left)) in enumerate([(s, c) for s in (images, images[:, :, ::-1]) for c in corners]):
        expected = source[:, top : top + 24, left : left + 24]
        np.testing.assert_array_equal(evaluated[0][:, view], expected)
        np.testing.assert_array_equal(evaluated[1][:, view], expected)


def test_images_on_disk_give_the_same_batches_as_in_memory(pictures, on_disk):
    chain = augmentation.parse("random_crop(24) | flip_horizontal")
    for from_memory, from_disk in zip(
        collect(TrainingBatches(pictures, chain, BATCH, seed=2).dataset(10, 16)),
        collect(TrainingBatches(on_disk, chain, BATCH, seed=2).dataset(10, 16)),
        strict=True,
    ):
        np.testing.assert_array_equal(from_memory[1], from_disk[1])
        np.testing.assert_array_equal(from_memory[0], from_disk[0])


@pytest.fixture
def photos(tmp_path, write_photo) -> Dataset:
    """A user's photos, held every way: 40 to train on and 16 to test on, by the folder's own reader."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("test", 16)):
        for number in range(count):
            path = tmp_path / part / "ab"[number % 2] / f"{number}.{'png' if number % 3 == 0 else 'jpg'}"
            write_photo(path, rng.integers(0, 256, (24, 24, 3), np.uint8), number % 8 + 1)
    return sources.load("folder", str(tmp_path))


def seen(path: str) -> np.ndarray:
    """A photo by Pillow's own rule."""
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image))


def test_photos_are_trained_on_upright(photos):
    batches = TrainingBatches(photos.train, augmentation.parse("random_crop(24)"), BATCH, seed=2)
    shown = np.concatenate([images for images, _ in collect(batches.dataset(0, 5))])
    expected = np.stack([seen(photos.train.paths[i]) for i in batches._order(np.int64(0)).numpy()])
    np.testing.assert_array_equal(shown, expected)


def test_photos_are_evaluated_upright(photos):
    held_out = photos.test.take(np.arange(16)[::-1])
    ((shown, _),) = collect(EvaluationBatches(held_out, (), "1-crop", 24, 24).dataset())
    np.testing.assert_array_equal(shown[:, 0], np.stack([seen(path) for path in held_out.paths]))


def test_a_transparent_picture_among_photos_is_laid_over_white(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 4), np.uint8)
    Image.fromarray(picture).save(tmp_path / "0.png")
    Image.fromarray(picture).save(tmp_path / "1.webp", lossless=True, exact=True)
    Image.fromarray(picture[..., :3]).save(tmp_path / "2.jpg")
    paths = [str(tmp_path / name) for name in ("0.png", "1.webp", "2.jpg")]
    split = FileSplit(np.array(paths, object), np.zeros(3, np.int32), upright=True)
    ((shown, _),) = collect(EvaluationBatches(split, (), "1-crop", 16, 16).dataset())
    colours, opacity = picture[..., :3].astype(float), picture[..., 3:] / 255
    over_white = np.round(colours * opacity + 255 * (1 - opacity))
    for image, expected in zip(shown[:, 0], (over_white, over_white, seen(paths[2])), strict=True):
        np.testing.assert_array_equal(image, expected)


def test_a_file_name_need_not_be_utf_8(pictures, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    try:
        Image.fromarray(pictures.images[0]).save(path)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    split = FileSplit(np.array([path], object), np.zeros(1, np.int32))
    ((shown, _),) = collect(EvaluationBatches(split, (), "1-crop", 32, 32).dataset())
    np.testing.assert_array_equal(shown[0, 0], pictures.images[0])


def test_the_autotuner_is_off(split):
    options = TrainingBatches(split, (), BATCH, seed=0).dataset(0, 1).options()
    assert options.autotune.enabled is False


def test_repeats_count_for_the_size_of_a_batch(split):
    assert TrainingBatches(split, (), 128, seed=0, repeats=2).steps_per_epoch == 1


@pytest.mark.parametrize("view", ["1-crop", "mirror", "mirror-shift", "10-crop"])
def test_views_of_files_of_odd_sizes_are_those_of_their_pixels(view, tmp_path):
    image = np.random.default_rng(1).integers(0, 256, (19, 23, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "0.png")
    split = FileSplit(np.array([str(tmp_path / "0.png")], object), np.zeros(1, np.int32))
    ((shown, _),) = collect(EvaluationBatches(split, (), view, 12, 12).dataset())
    np.testing.assert_array_equal(shown, views(image[np.newaxis], view, 12))

"""The tables of the published data sets: the files and checksums, and the sums that identify their pixels."""

import dataclasses

import pytest

from resnet_tf.datasets import sources
from resnet_tf.datasets.cifar import CIFAR10, CIFAR100
from resnet_tf.datasets.stl10 import STL10
from resnet_tf.presets.catalogue import DATASETS


@pytest.mark.parametrize("name", sources.PUBLISHED)
def test_tables_are_complete_and_the_catalogue_names_the_files_that_are_taken(name):
    official, about = sources.PUBLISHED[name], DATASETS[name]
    assert f"{official.side}x{official.side} images" in about.wants
    for form in official.archives:
        assert f" {form.file} or its folder {form.folder}" in about.wants
        assert all(len(md5) == 32 for md5 in form.md5.values())
        assert form.file in form.md5
    assert {part: sums.images for part, sums in official.sums.items()} == {
        "train": about.train_size,
        "test": about.test_size,
    }
    assert list(official.class_names) == sorted(set(official.class_names))


@pytest.mark.parametrize(
    ("official", "split", "mean", "deviation"),
    [
        (
            CIFAR10,
            "train",
            (125.306918046875, 122.950394140625, 113.86538318359375),
            (62.993219278136884, 62.08870764001421, 66.70489964063091),
        ),
        (
            CIFAR10,
            "test",
            (126.02464140625, 123.70850419921875, 114.85431865234375),
            (62.89639134921991, 61.93752718231365, 66.70605639561605),
        ),
        (
            CIFAR100,
            "train",
            (255 * 0.5070751592371323, 255 * 0.48654887331495095, 255 * 0.4409178433670343),
            (255 * 0.2673342858792401, 255 * 0.2564384629170883, 255 * 0.27615047132568404),
        ),
        (
            CIFAR100,
            "test",
            (129.74308525390626, 124.285218359375, 112.6952638671875),
            (68.40415141388044, 65.62775279419219, 70.65942155331254),
        ),
        (
            STL10,
            "train",
            (255 * 0.44671062065972217, 255 * 0.43980983983523964, 255 * 0.40664644709967324),
            (255 * 0.2603409782662331, 255 * 0.25657727311344447, 255 * 0.27126738145225493),
        ),
    ],
)
def test_pixel_sums_are_those_of_the_published_mean_and_deviation(official, split, mean, deviation):
    sums = official.sums[split]
    assert sums.images == official.sizes[split == "test"]
    pixels = sums.images * official.side**2
    for channel in range(3):
        assert sums.sums[channel] / pixels == pytest.approx(mean[channel], rel=1e-14)
        variance = sums.squares[channel] / pixels - (sums.sums[channel] / pixels) ** 2
        assert variance**0.5 == pytest.approx(deviation[channel], rel=1e-13)


def test_pixel_sums_of_the_test_split_are_possible_and_near_those_of_the_train_split():
    """What arithmetic can tell without the images: a mean and deviation like the training split's, within 2 %."""
    for channel in range(3):
        moments = {}
        for name, sums in STL10.sums.items():
            pixels = sums.images * 96 * 96
            mean, square = sums.sums[channel] / pixels, sums.squares[channel] / pixels
            assert sums.squares[channel] % 2 == sums.sums[channel] % 2  # x and x * x are both odd or both even
            moments[name] = mean, (square - mean**2) ** 0.5
        assert moments["test"] == pytest.approx(moments["train"], rel=0.02)


@pytest.mark.parametrize("missing", ["train", "test"])
@pytest.mark.parametrize("name", sources.PUBLISHED)
def test_a_copy_of_which_a_split_cannot_be_checked_is_never_official(
    name, missing, tmp_path, monkeypatch, draw_split, shrink, write_tree
):
    classes, side = DATASETS[name].classes, DATASETS[name].image_size
    splits = {part: draw_split(seed, classes, side, classes) for seed, part in enumerate(("train", "test"))}
    known = shrink(name, **splits)
    for part, split in splits.items():
        write_tree(tmp_path / part, split, known.class_names)
    assert sources.load(name, str(tmp_path)).official
    sums = {part: value for part, value in known.sums.items() if part != missing}
    monkeypatch.setitem(sources.PUBLISHED, name, dataclasses.replace(known, sums=sums))
    assert not sources.load(name, str(tmp_path)).official  # nor is what the cache holds

"""Tiny stand-ins for published data sets: the real readers run on them, with sizes, sums and checksums of their own."""

import dataclasses
import hashlib
import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from wnids import WNIDS

from resnet_tf.datasets import sources
from resnet_tf.datasets.archives import PixelSums
from resnet_tf.datasets.cifar import CIFAR10
from resnet_tf.datasets.splits import ArraySplit


@pytest.fixture(autouse=True)
def nothing_from_outside(monkeypatch, tmp_path):
    """No test meets the data, cache or network of the machine it runs on."""
    monkeypatch.delenv("RESNET_DATA", raising=False)
    monkeypatch.setenv("RESNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tensorflow_datasets"))


@pytest.fixture
def draw_split():
    """Returns a maker of random images of ten classes, the same number of each, in mixed order."""

    def draw(seed: int, size: int, side: int = 32, classes: int = 10) -> ArraySplit:
        random = np.random.default_rng(seed)
        images = random.integers(0, 256, (size, side, side, 3), dtype=np.uint8)
        return ArraySplit(images, random.permutation(size).astype(np.int32) % classes)

    return draw


@pytest.fixture
def shrink(monkeypatch):
    """Returns what puts other splits in a published data set's place: sizes and pixel sums become theirs."""

    def put(name: str, train: ArraySplit, test: ArraySplit, md5: dict[str, str] | None = None):
        def sums(images: np.ndarray) -> PixelSums:
            values = images.reshape(-1, 3).astype(object)  # Python's whole numbers: nothing can overflow
            return PixelSums(len(images), tuple(values.sum(axis=0)), tuple((values**2).sum(axis=0)))

        official = sources.PUBLISHED[name]
        tiny = dataclasses.replace(
            official,
            description=dataclasses.replace(official.description, train_size=len(train), test_size=len(test)),
            sums={"train": sums(train.images), "test": sums(test.images)},
            archives=tuple(
                dataclasses.replace(form, md5={key: (md5 or {}).get(key, "0" * 32) for key in form.md5})
                for form in official.archives
            ),
        )
        monkeypatch.setitem(sources.PUBLISHED, name, tiny)
        return tiny

    return put


@pytest.fixture
def write_tree():
    """Returns a writer of image folders: <root>/<class>/<number>.png, or .jpg."""

    def write(root: Path, split: ArraySplit, class_names: tuple[str, ...], suffix: str = ".png") -> Path:
        for number, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
            folder = root / class_names[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{number:04d}{suffix}")
        return root

    return write


@pytest.fixture
def write_archive():
    """Returns a writer of .tar.gz files that gives the archive's MD5."""

    def write(path: Path, members: dict[str, bytes]) -> str:
        with tarfile.open(path, "w:gz") as archive:
            for name, content in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return hashlib.md5(path.read_bytes()).hexdigest()

    return write


@pytest.fixture
def same_content():
    """Returns a check that two splits hold the same labelled images, in whatever order."""

    def pairs(split: ArraySplit) -> list[tuple[bytes, int]]:
        return sorted((image.tobytes(), int(label)) for image, label in zip(split.images, split.labels, strict=True))

    return lambda first, second: pairs(first) == pairs(second)


@pytest.fixture
def tree(tmp_path, draw_split, write_tree):
    """A CIFAR-10 tree of 40 training and 20 test images as .png files, and its splits."""
    splits = draw_split(0, 40), draw_split(1, 20)
    for name, split in zip(("train", "test"), splits, strict=True):
        write_tree(tmp_path / "tree" / name, split, CIFAR10.class_names)
    return tmp_path / "tree", *splits


@pytest.fixture
def photos(tmp_path):
    """A user's folder of three classes, 10, 15 and 5 images of varying sizes, hidden files and a text among them."""
    root = tmp_path / "photos"
    for blue, (name, count) in enumerate((("rose", 10), ("daisy", 15), ("tulip", 5))):
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (20 + number, 30), (9 * number, 0, 99 * blue)).save(root / name / f"{number}.jpg")
        (root / name / ".DS_Store").write_text("hidden")
    (root / "rose" / "notes.txt").write_text("red")
    return root


@pytest.fixture
def divide(photos, tmp_path):
    """Returns what divides the photos in folders train, validation and test of any spelling: 24, 3 and 3 images."""

    def move(train, validation, test):
        root = tmp_path / "divided"
        for name in ("rose", "daisy", "tulip"):
            files = sorted((photos / name).glob("*.jpg"))
            for folder, own in ((test, files[:1]), (validation, files[1:2]), (train, files[2:])):
                (root / folder / name).mkdir(parents=True, exist_ok=True)
                for file in own:
                    shutil.copy(file, root / folder / name)
        return root

    return move


@pytest.fixture
def imagenet(tmp_path):
    """A tree of three wnids, four training and two validation images each; and the class of each validation image."""
    root = tmp_path / "imagenet"
    labels = {}
    for place, wnid in enumerate(WNIDS):
        for part, count in (("train", 4), ("val", 2)):
            (root / part / wnid).mkdir(parents=True)
            for number in range(count):
                # validation names run across the classes, as the published ones do
                name = f"{wnid}_{number}" if part == "train" else f"ILSVRC2012_val_0000000{3 * number + place + 1}"
                Image.new("RGB", (40 + place, 30 + number)).save(root / part / wnid / f"{name}.JPEG")
                if part == "val":
                    labels[name] = wnid
    return root, labels

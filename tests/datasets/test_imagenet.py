"""ImageNet as train/<wnid>/ and val/, the latter flat with a list of labels too."""

import os
import shutil

import pytest
from assertions import user_error
from wnids import WNIDS

from resnet_tf.datasets import sources
from resnet_tf.datasets.cifar import CIFAR10

CLASSES = CIFAR10.class_names


def flatten(root):
    for path in list((root / "val").glob("*/*.JPEG")):
        path.rename(root / "val" / path.name)
    for wnid in WNIDS:
        (root / "val" / wnid).rmdir()


def label_lines(form, labels):
    names = sorted(labels)
    return {
        "name and wnid": ("val_labels.txt", [f"{name}.JPEG {labels[name]}" for name in reversed(names)]),
        "name and place": ("val.txt", [f"{name}.JPEG {WNIDS.index(labels[name])}" for name in names]),
        "wnids alone": ("val_labels.txt", [labels[name] for name in names]),
        "Kaggle's table": (
            "LOC_val_solution.csv",
            ["ImageId,PredictionString", *(f"{name},{labels[name]} 85 1 499 272 " for name in names)],
        ),
    }[form]


@pytest.mark.parametrize("form", ["name and wnid", "name and place", "wnids alone", "Kaggle's table"])
def test_flat_validation_images_equal_foldered_ones(form, imagenet):
    root, labels = imagenet
    foldered = sources.load("imagenet", str(root))
    flatten(root)
    name, lines = label_lines(form, labels)
    (root / name).write_text("\n".join(lines) + "\n")
    flat = sources.load("imagenet", str(root.parent))
    for dataset in (foldered, flat):
        assert dataset.class_names == WNIDS
        assert len(dataset.train) == 12
        assert not dataset.official
        assert dataset.title == "imagenet (another tree: 3 classes, 12 + 6 images)"
        found = {
            os.path.basename(path).removesuffix(".JPEG"): WNIDS[label]
            for path, label in zip(dataset.test.paths, dataset.test.labels, strict=True)
        }
        assert found == labels
    assert flat.fingerprint == foldered.fingerprint


def test_flat_validation_images_need_a_sound_list(imagenet):
    root, labels = imagenet
    flatten(root)
    assert user_error(sources.load, "imagenet", str(root)).code == "imagenet-labels-missing"
    _, lines = label_lines("name and wnid", labels)
    for text, datum in (
        ("\n".join(lines[1:]), lines[0].split()[0]),
        ("\n".join([*lines[1:], "ILSVRC2012_val_00000001.JPEG n09999999"]), "'n09999999'"),
        ("\n".join("210"), "Received: 3"),
        ("\n".join("210210"), "'2'"),  # the development kit's numbers
        ("\n".join([*lines, "lonely"]), "'lonely' in row 7"),
    ):
        (root / "val_labels.txt").write_text(text)
        error = user_error(sources.load, "imagenet", str(root))
        assert error.code == "imagenet-labels-broken"
        assert datum in str(error)


def test_a_list_of_labels_is_text_in_utf_8_with_or_without_a_mark(imagenet):
    root, labels = imagenet
    flatten(root)
    _, lines = label_lines("name and wnid", labels)
    (root / "val_labels.txt").write_text("\n".join(lines), encoding="utf-8-sig")
    assert len(sources.load("imagenet", str(root)).test) == 6
    (root / "val_labels.txt").write_text("\n".join(lines), encoding="utf-16")  # PowerShell's
    assert user_error(sources.load, "imagenet", str(root)).code == "imagenet-labels-broken"


def test_imagenet_wants_both_splits(imagenet):
    root, _ = imagenet
    shutil.rmtree(root / "val" / WNIDS[1])
    error = user_error(sources.load, "imagenet", str(root))
    assert error.code == "data-wrong-classes"
    assert WNIDS[1] in str(error)
    shutil.rmtree(root / "val")
    assert user_error(sources.load, "imagenet", str(root)).code == "image-folder-lacks-split"
    shutil.rmtree(root / "train")
    assert user_error(sources.load, "imagenet", str(root)).code == "image-folder-lacks-split"

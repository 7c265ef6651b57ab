"""ImageNet (ILSVRC 2012) on disk: `train/<wnid>/*` and `val/<wnid>/*`, or a flat `val/*.JPEG` with a list of labels.

The 50,000 published validation images are the test split, as the labels of the real test set are not public. The class
names are the WordNet ids, sorted, which is the customary label order. A tree of other or fewer classes is read too, and
its title says so. Images are shown as they are stored: torchvision, with which published figures were measured,
ignores EXIF orientation and transparency.

A flat `val` needs one of these text files in the root or in `val` (`LABEL_FILES`), each line one of:
- `ILSVRC2012_val_00000001.JPEG n01751748`: name (with or without suffix) and wnid, separated by space, tab or comma,
  further words ignored; this covers Kaggle's LOC_val_solution.csv;
- `ILSVRC2012_val_00000001.JPEG 65`: name and place among the sorted wnids, from 0, as Caffe's val.txt;
- `n01751748`: wnids alone, in the order of the file names.
The development kit's ILSVRC2012_validation_ground_truth.txt is refused: its numbers follow an order of its own, which
only the kit's meta.mat tells.
"""

import re
from pathlib import Path

from resnet_tf.datasets import folder
from resnet_tf.datasets.cache import File
from resnet_tf.datasets.folder import Tree, check_classes, class_folders, scan
from resnet_tf.datasets.splits import Dataset
from resnet_tf.errors import UserError
from resnet_tf.presets.catalogue import DATASETS

LABEL_FILES = ("val_labels.txt", "val.txt", "LOC_val_solution.csv")
_REFUSED = "ILSVRC2012_validation_ground_truth.txt"


def load_imagenet(root: Path, source: str | None = None) -> Dataset:
    """Reads an ImageNet tree; official means here that the numbers of classes and images are the published ones.

    Args:
        root: holds `train` and `val`.
        source: where it came from, for people; default: the root.

    Raises:
        UserError: a split, a class or a label is missing.
    """
    flat = (root / "val").is_dir() and not class_folders(root / "val")
    if flat and class_folders(root / "train"):
        train = scan(root / "train")
        test = _label_flat(root, tuple(train))
    else:
        found = folder.find_splits(root, ("val",))
        if found is None:
            raise UserError(
                f"image folder {root} has no train/<wnid>/ and val/ folders, which imagenet needs.",
                "image-folder-lacks-split",
            )
        train, test = scan(found.train), scan(found.test)
    names, about = tuple(train), DATASETS["imagenet"]
    check_classes(train, names, root / "train")
    check_classes(test, names, root / "val")
    splits = folder.to_split(train, names), folder.to_split(test, names)
    sizes = len(names), len(splits[0]), len(splits[1])
    official = sizes == (about.classes, about.train_size, about.test_size)
    count = "{:,} classes, {:,} + {:,} images".format(*sizes)
    return Dataset(
        name="imagenet",
        title="imagenet" if official else f"imagenet (another tree: {count})",
        source=source or f"image folder {root}",
        class_names=names,
        train=splits[0],
        test=splits[1],
        fingerprint=folder.fingerprint_of_files(train, test),
        official=official,
    )


def _label_flat(root: Path, names: tuple[str, ...]) -> Tree:
    """Returns the files of a flat `val` by class."""
    files, _ = folder.scan_files(root / "val")
    places = (where / name for where in (root, root / "val") for name in LABEL_FILES)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise UserError(
            f"{root / 'val'} holds images without class folders, so it needs a list of labels. Put one of these beside "
            f"it: {', '.join(LABEL_FILES)}, with lines as 'ILSVRC2012_val_00000001.JPEG n01751748' ({_REFUSED} will "
            "not do: its numbers follow another order).",
            "imagenet-labels-missing",
        )
    labels = _read_labels(path, files, names)
    tree: dict[str, list[File]] = {name: [] for name in names}
    for file in files:
        stem = Path(file.path).stem
        if stem not in labels:
            raise _broken(f"{path} has no label for the image {Path(file.path).name!r}.")
        tree[labels[stem]].append(file)
    return tree


def _read_labels(path: Path, files: list[File], names: tuple[str, ...]) -> dict[str, str]:
    """Returns classes by the stems of the images' file names."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # with or without a byte order mark
    except UnicodeDecodeError:
        raise _broken(f"{path} must be a text in UTF-8. Received: another encoding.") from None
    rows = [re.split(r"[,\s]+", line.strip()) for line in lines if line.strip()]
    if rows and rows[0][0] == "ImageId":  # the head of Kaggle's table
        rows = rows[1:]
    alone = all(len(row) == 1 for row in rows)
    if alone:
        if len(rows) != len(files):
            raise _broken(f"{path} must have a line for each of the {len(files):,} images. Received: {len(rows):,}.")
        rows = [[file.path, *row] for file, row in zip(files, rows, strict=True)]
    known, labels = frozenset(names), {}
    for number, (image, *rest) in enumerate(rows, 1):
        if not rest:
            raise _broken(f"{path} must have a name and a label in each row. Received: {image!r} in row {number:,}.")
        label = rest[0]
        if label not in known and label.isdecimal() and int(label) < len(names) and not alone:
            label = names[int(label)]
        if label not in known:
            raise _broken(f"{path} names a class that train/ has no folder for. Received: {label!r} for {image!r}.")
        labels[Path(image).stem] = label
    return labels


def _broken(message: str) -> UserError:
    return UserError(message, "imagenet-labels-broken")

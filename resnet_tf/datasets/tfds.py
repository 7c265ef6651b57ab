"""Data sets prepared by tensorflow-datasets: find them without importing it, read and download them with it."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from resnet_tf.datasets.archives import PublishedDataset
from resnet_tf.datasets.cache import File, describe, expanded
from resnet_tf.datasets.splits import ArraySplit
from resnet_tf.errors import UserError
from resnet_tf.files import WriteError, locked, write_atomically, writing
from resnet_tf.format import first_line
from resnet_tf.log import logger

_BATCH = 500  # images decoded at a time
_TIMEOUT = 10  # seconds to wait for an answer before a download
_DONE = ".complete"  # marks a folder whose images are all there


def folder() -> Path:
    """Returns where tensorflow-datasets keeps what it prepares: TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return expanded(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets", "TFDS_DATA_DIR")


def find(name: str) -> Path | None:
    """Returns the newest prepared version of a data set, or None."""
    versions = [info.parent for info in folder().glob(f"{name}/*/dataset_info.json")]
    numbered = [version for version in versions if version.name.replace(".", "").isdecimal()]
    return max(numbered, key=lambda version: [int(part) for part in version.name.split(".")], default=None)


def files_of(version: Path) -> list[File]:
    """Returns the files of a prepared version."""
    return [describe(path) for path in sorted(version.iterdir()) if path.is_file()]


def read_arrays(version: Path, dataset: PublishedDataset) -> tuple[ArraySplit, ArraySplit]:
    """Reads the train and test split; labels are in the official order.

    Raises:
        UserError: the classes or image sizes are not those of the data set, or a file cannot be read.
    """
    with _builder(version) as builder:
        labels = _label_table(builder, dataset.class_names, version)
        return tuple(_read_split(builder, split, dataset.side, labels) for split in ("train", "test"))


@contextlib.contextmanager
def _builder(version: Path) -> Iterator[Any]:
    """Gives the builder of a version; any error over it becomes a UserError."""
    import tensorflow_datasets as tfds

    try:
        yield tfds.builder_from_directory(os.fspath(version))
    except (UserError, WriteError):
        raise
    except Exception as error:  # TensorFlow, protobuf and tensorflow-datasets each raise their own
        raise UserError(
            f"the prepared data set {version} cannot be read: {_described(error)}. Remove it, or give --data PATH.",
            "data-broken",
        ) from error


def _label_table(builder: Any, class_names: tuple[str, ...], version: Path) -> np.ndarray:
    """Returns the official label of each label of the prepared version, int32 [classes]."""
    names = builder.info.features["label"].names
    if sorted(names) != sorted(class_names):
        differing = sorted(set(names) ^ set(class_names))
        message = f"the prepared data set {version} has other classes. Differing: {', '.join(differing)}."
        raise UserError(message, "data-wrong-classes")
    return np.array([class_names.index(name) for name in names], np.int32)


def _read_split(builder: Any, split: str, side: int, labels: np.ndarray) -> ArraySplit:
    import tensorflow_datasets as tfds

    shape = builder.info.splits[split].num_examples, side, side, 3
    features = tfds.decode.PartialDecoding({"image": True, "label": True})
    batches = list(tfds.as_numpy(builder.as_dataset(split=split, batch_size=_BATCH, decoders=features)))
    images, own_labels = (np.concatenate([batch[key] for batch in batches]) for key in ("image", "label"))
    if images.shape != shape:
        raise ValueError(f"the images of {split!r} must be of shape {shape}, not {images.shape}")
    return ArraySplit(images, labels[own_labels])


def unpack_imagenet(version: Path, out: Path) -> None:
    """Writes the images of a prepared `imagenet2012` as files `train/<wnid>/*` and `val/<wnid>/*`, bytes unchanged.

    Images inside TFRecord files cannot be read by index. It is done once, needs as much disk space as the prepared
    version, and continues where it was interrupted.

    Raises:
        UserError: too little disk space, or files that cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / ".lock"):
        if (out / _DONE).exists():
            return
        with _builder(version) as builder:
            _unpack(builder, out)
        write_atomically(out / _DONE, "")


def _unpack(builder: Any, out: Path) -> None:
    import tensorflow_datasets as tfds

    needed, free = sum(builder.info.splits[split].num_bytes for split in ("train", "validation")), _free_bytes(out)
    if needed > free:
        raise UserError(
            f"unpacking imagenet to {out} needs {needed / 1e9:.1f} GB. Free: {free / 1e9:.1f} GB. "
            "Set RESNET_CACHE to a larger disk, or give an image folder with --data PATH.",
            "disk-full",
        )
    logger.info(f"imagenet: unpacking {needed / 1e9:.1f} GB of images to {out} (once)")
    wnids = builder.info.features["label"].names
    for split, part in (("train", "train"), ("validation", "val")):
        for wnid in wnids:
            with writing(out / part / wnid, 0):
                (out / part / wnid).mkdir(parents=True, exist_ok=True)
        raw = {"image": tfds.decode.SkipDecoding()}
        examples = tfds.as_numpy(builder.as_dataset(split=split, decoders=raw))
        for count, example in enumerate(examples, 1):
            name = Path(os.fsdecode(example["file_name"])).name
            path = out / part / wnids[example["label"]] / name
            if not path.exists() or path.stat().st_size != len(example["image"]):
                with writing(path, len(example["image"])):
                    path.write_bytes(example["image"])
            if count % 50_000 == 0:
                logger.info(f"imagenet: unpacked {count:,} images of {part}")


def _free_bytes(out: Path) -> int:
    unpacked = sum(entry.stat().st_size for part in out.glob("*/*") for entry in os.scandir(part))
    return shutil.disk_usage(out).free + unpacked


def download(dataset: PublishedDataset) -> Path:
    """Downloads and prepares a data set with tensorflow-datasets, which shows its own progress bars.

    A short request is made first: without a network tensorflow-datasets would try for minutes.

    Raises:
        UserError: the reason, to be put after "could not be downloaded".
    """
    try:
        import requests
        import tensorflow_datasets as tfds

        requests.head(dataset.url, timeout=_TIMEOUT, allow_redirects=True).raise_for_status()
        tfds.builder(dataset.name, data_dir=os.fspath(folder())).download_and_prepare()
    except Exception as error:  # of requests, urllib3, TensorFlow or tensorflow-datasets
        reason = _described(error)
        if isinstance(error, ImportError):
            reason = f"tensorflow-datasets needs the package {error.name}: pip install {error.name}"
        elif isinstance(error, OSError) and "resolve" in str(error):
            reason = "no network: the server's name cannot be resolved"
        raise UserError(reason, "download-failed") from error
    version = find(dataset.name)
    if version is None:
        raise UserError(f"tensorflow-datasets left nothing in {folder()}", "download-failed")
    return version


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error).rstrip('.')}"

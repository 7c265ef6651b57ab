"""Data sets as tensorflow-datasets prepares them: found without importing it, read with it, and downloaded by it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from resnet_tf.datasets.archives import Official
from resnet_tf.datasets.cache import File, describe
from resnet_tf.datasets.splits import ArraySplit
from resnet_tf.errors import UserError
from resnet_tf.files import locked, write_atomically
from resnet_tf.log import logger

_BATCH = 500  # images decoded at a time
_PATIENCE = 10  # seconds to wait for an answer before a download
_DONE = ".complete"  # marks a folder whose images are all there


def folder() -> Path:
    """Returns where tensorflow-datasets keeps what it prepares: TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def find(name: str) -> Path | None:
    """Returns the newest prepared version of a data set, or None."""
    versions = [found.parent for found in folder().glob(f"{name}/*/dataset_info.json")]
    numbered = [version for version in versions if version.name.replace(".", "").isdecimal()]
    return max(numbered, key=lambda version: [int(part) for part in version.name.split(".")], default=None)


def files_of(version: Path) -> list[File]:
    """Lists what a prepared version consists of."""
    return [describe(path) for path in sorted(version.iterdir()) if path.is_file()]


def read_arrays(version: Path, official: Official) -> tuple[ArraySplit, ArraySplit]:
    """Reads the train and test split, labels in the official order.

    Raises:
        UserError: other classes or image sizes than the data set has, or files that cannot be read.
    """

    def read(builder: Any) -> tuple[ArraySplit, ArraySplit]:
        labels = _label_table(builder, official.class_names, version)
        return tuple(_read_split(builder, split, official.side, labels) for split in ("train", "test"))

    return _with_builder(version, read)


def _with_builder(version: Path, act: Callable[[Any], Any]) -> Any:
    """Returns what `act` makes of the version's builder; whatever goes wrong inside becomes a UserError."""
    import tensorflow_datasets as tfds

    try:
        return act(tfds.builder_from_directory(os.fspath(version)))
    except UserError:
        raise
    except Exception as error:  # TensorFlow, protobuf and tensorflow-datasets each have their own
        raise UserError(
            f"the prepared data set {version} cannot be read: {_first_line(error)}. Remove it, or give --data PATH."
        ) from error


def _label_table(builder: Any, class_names: tuple[str, ...], version: Path) -> np.ndarray:
    """Returns int32 [classes]: what each label of the prepared version is in the official order."""
    names = builder.info.features["label"].names
    if sorted(names) != sorted(class_names):
        differing = sorted(set(names) ^ set(class_names))
        raise UserError(f"the prepared data set {version} has other classes. Differing: {', '.join(differing)}.")
    return np.array([class_names.index(name) for name in names], np.int32)


def _read_split(builder: Any, split: str, side: int, labels: np.ndarray) -> ArraySplit:
    import tensorflow_datasets as tfds

    size = builder.info.splits[split].num_examples
    images, found = np.empty((size, side, side, 3), np.uint8), np.empty(size, np.int32)
    wanted = tfds.decode.PartialDecoding({"image": True, "label": True})
    start = 0
    for batch in tfds.as_numpy(builder.as_dataset(split=split, batch_size=_BATCH, decoders=wanted)):
        if batch["image"].shape[1:] != images.shape[1:]:
            raise ValueError(f"images must be {side}x{side} RGB, not of shape {batch['image'].shape[1:]}")
        stop = start + len(batch["label"])
        images[start:stop], found[start:stop] = batch["image"], labels[batch["label"]]
        start = stop
    if start != size:
        raise ValueError(f"{start} of {size} images in split {split!r}")
    return ArraySplit(images, found)


def unpack_imagenet(version: Path, out: Path) -> None:
    """Writes the images of a prepared `imagenet2012` as files `train/<wnid>/*` and `val/<wnid>/*`, bytes unchanged.

    Single images inside TFRecord files cannot be read by index. It is done once, takes as much disk space as the
    prepared version, and goes on where it was stopped.

    Raises:
        UserError: too little disk space, or files that cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / ".lock"):
        if (out / _DONE).exists():
            return
        _with_builder(version, lambda builder: _unpack(builder, out))
        write_atomically(out / _DONE, "")


def _unpack(builder: Any, out: Path) -> None:
    import tensorflow_datasets as tfds

    needed, free = sum(builder.info.splits[split].num_bytes for split in ("train", "validation")), _free_bytes(out)
    if needed > free:
        raise UserError(
            f"unpacking imagenet to {out} needs {needed / 1e9:.1f} GB. Free: {free / 1e9:.1f} GB. "
            "Set RESNET_CACHE to a larger disk, or give a folder tree with --data PATH."
        )
    logger.info(f"imagenet: unpacking {needed / 1e9:.1f} GB of images to {out} (once)")
    wnids = builder.info.features["label"].names
    for split, part in (("train", "train"), ("validation", "val")):
        for wnid in wnids:
            (out / part / wnid).mkdir(parents=True, exist_ok=True)
        raw = {"image": tfds.decode.SkipDecoding()}
        examples = tfds.as_numpy(builder.as_dataset(split=split, decoders=raw))
        for count, example in enumerate(examples, 1):
            name = Path(os.fsdecode(example["file_name"])).name
            path = out / part / wnids[example["label"]] / name
            if not path.exists() or path.stat().st_size != len(example["image"]):
                path.write_bytes(example["image"])
            if count % 50_000 == 0:
                logger.info(f"imagenet: unpacked {count:,} images of {part}")


def _free_bytes(out: Path) -> int:
    unpacked = sum(entry.stat().st_size for part in out.glob("*/*") for entry in os.scandir(part))
    return shutil.disk_usage(out).free + unpacked


def download(official: Official) -> Path:
    """Lets tensorflow-datasets download and prepare a data set, with its own progress bars.

    One short request comes first: without a network tensorflow-datasets would try for minutes.

    Raises:
        UserError: why it did not work, to be put behind "could not be downloaded".
    """
    try:
        import requests
        import tensorflow_datasets as tfds

        requests.head(official.url, timeout=_PATIENCE, allow_redirects=True).raise_for_status()
        tfds.builder(official.name, data_dir=os.fspath(folder())).download_and_prepare()
    except Exception as error:  # of requests, urllib3, TensorFlow or tensorflow-datasets
        raise UserError(_reason(error)) from error
    version = find(official.name)
    if version is None:
        raise UserError(f"tensorflow-datasets left nothing in {folder()}")
    return version


def _reason(error: Exception) -> str:
    """Returns the innermost cause of a failed download in a few words."""
    if isinstance(error, ImportError):
        return f"tensorflow-datasets needs the package {error.name}: pip install {error.name}"
    if isinstance(error, OSError) and "resolve" in str(error):
        return "no network: the server's name cannot be resolved"
    return _first_line(error)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200].rstrip('.')}" if lines else type(error).__name__

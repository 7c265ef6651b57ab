"""CIFAR-10 and CIFAR-100 (fine labels): 50,000 training and 10,000 test images of 32x32 pixels, in the official files.

Source: https://www.cs.toronto.edu/~kriz/cifar.html (formats, class order, checksums of the archives); checksums of the
files from torchvision; the pixel sums follow from means and deviations that others published with 16 digits.
"""

import functools
import pickle

import numpy as np

from resnet_tf.datasets.archives import Archive, PixelSums, PublishedDataset
from resnet_tf.presets.catalogue import DATASETS

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE


def read_python(contents: list[bytes], label_key: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads batches of the Python version, which are pickles whose checksums must have been verified.

    Args:
        label_key: "labels" (CIFAR-10) or "fine_labels" (CIFAR-100).

    Returns:
        Images uint8 [n, 32, 32, 3] and labels int32 [n].

    Raises:
        ValueError: a pickle that is not a CIFAR batch.
    """
    batches = [_unpickle_verified(content) for content in contents]
    try:
        planes = np.concatenate([batch[b"data"] for batch in batches])
        labels = np.concatenate([batch[label_key.encode()] for batch in batches])
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"a pickle has no arrays 'data' and {label_key!r} ({error})") from error
    if planes.dtype != np.uint8 or labels.dtype.kind != "i" or planes.shape != (len(labels), _PIXELS):
        raise ValueError(f"the pickles have {planes.dtype} data of shape {planes.shape} for {len(labels)} labels")
    return _to_images(planes), labels.astype(np.int32)


def _unpickle_verified(content: bytes) -> object:
    """Returns the object in a pickle whose published MD5 has been verified.

    Unpickling can run code. It is safe here because `archives` compares the MD5 of these very bytes with the published
    one before it calls a parser: only the files that the authors of CIFAR published get here.
    """
    return pickle.loads(content, encoding="bytes")  # Python 2 wrote them


def read_binary(contents: list[bytes], label_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads batches of the binary version: rows of one or two labels, then 3,072 pixels.

    Args:
        label_bytes: 1 (CIFAR-10) or 2 (CIFAR-100: coarse and fine label; the fine one is returned).

    Returns:
        Images uint8 [n, 32, 32, 3] and labels int32 [n].

    Raises:
        ValueError: a length that is not a number of whole rows.
    """
    rows = np.concatenate([np.frombuffer(c, np.uint8).reshape(-1, label_bytes + _PIXELS) for c in contents])
    return _to_images(rows[:, label_bytes:]), rows[:, label_bytes - 1].astype(np.int32)


def _to_images(planes: np.ndarray) -> np.ndarray:
    """Turns rows of a red, a green and a blue plane into images [n, 32, 32, 3]."""
    return np.ascontiguousarray(planes.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1))


CIFAR10 = PublishedDataset(
    name="cifar10",
    description=DATASETS["cifar10"],
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    archives=(
        Archive(
            file="cifar-10-python.tar.gz",
            folder="cifar-10-batches-py",
            train=tuple(f"data_batch_{number}" for number in range(1, 6)),
            test=("test_batch",),
            md5={
                "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
                "data_batch_1": "c99cafc152244af753f735de768cd75f",
                "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
                "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
                "data_batch_4": "634d18415352ddfa80567beed471001a",
                "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
                "test_batch": "40351d587109b95175f43aff81a1287e",
            },
            parse=functools.partial(read_python, label_key="labels"),
        ),
        Archive(
            file="cifar-10-binary.tar.gz",
            folder="cifar-10-batches-bin",
            train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
            test=("test_batch.bin",),
            md5={"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"},
            parse=functools.partial(read_binary, label_bytes=1),
        ),
    ),
    sums={
        "train": PixelSums(50_000, (6415714204, 6295060180, 5829907619), (1007102432534, 971356520230, 891641299129)),
        "test": PixelSums(10_000, (1290492328, 1266775083, 1176108223), (203142822772, 195994125155, 180646015723)),
    },
)

CIFAR100 = PublishedDataset(
    name="cifar100",
    description=DATASETS["cifar100"],
    url="https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    archives=(
        Archive(
            file="cifar-100-python.tar.gz",
            folder="cifar-100-python",
            train=("train",),
            test=("test",),
            md5={
                "cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85",
                "train": "16019d7e3df5f24257cddd939b257f8d",
                "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
            },
            parse=functools.partial(read_python, label_key="fine_labels"),
        ),
        Archive(
            file="cifar-100-binary.tar.gz",
            folder="cifar-100-binary",
            train=("train.bin",),
            test=("test.bin",),
            md5={"cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8"},
            parse=functools.partial(read_binary, label_bytes=2),
        ),
    ),
    sums={
        "train": PixelSums(50_000, (6620373279, 6352382090, 5756623363), (1093977562105, 1007075543166, 901128318593)),
        "test": PixelSums(10_000, (1328569193, 1272680636, 1153999502), (220286936083, 202279090580, 181176077848)),
    },
)

"""CIFAR-10 and CIFAR-100 (fine labels): 50,000 training and 10,000 test images of 32x32 pixels, in the official files.

Source: https://www.cs.toronto.edu/~kriz/cifar.html (layouts, class order, archives' checksums); the files' checksums as
torchvision has them; the pixel sums follow from means and deviations that others publish to 16 digits.
"""

import functools
import io
import pickle
from typing import Any

import numpy as np

from resnet_tf.datasets.archives import Archive, Official, PixelSums
from resnet_tf.presets.catalogue import DATASETS

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE


def read_python(contents: list[bytes], label_key: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads batches of the Python version, which are pickles; nothing in them is run.

    Args:
        label_key: "labels" (CIFAR-10) or "fine_labels" (CIFAR-100).

    Returns:
        Images uint8 [n, 32, 32, 3] and labels int32 [n].

    Raises:
        ValueError: a pickle that is not a CIFAR batch.
    """
    batches = [read_batch(content, label_key) for content in contents]
    planes, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return _to_images(planes), labels


def read_binary(contents: list[bytes], label_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads batches of the binary version: rows of labels (the last one counts), then 3,072 pixels.

    Args:
        label_bytes: 1 (CIFAR-10) or 2 (CIFAR-100: coarse, fine).

    Returns:
        Images uint8 [n, 32, 32, 3] and labels int32 [n].

    Raises:
        ValueError: a length that is not whole rows.
    """
    rows = np.concatenate([np.frombuffer(c, np.uint8).reshape(-1, label_bytes + _PIXELS) for c in contents])
    return _to_images(rows[:, label_bytes:]), rows[:, label_bytes - 1].astype(np.int32)


def _to_images(planes: np.ndarray) -> np.ndarray:
    """Turns rows of a red, a green and a blue plane into images [n, 32, 32, 3]."""
    return np.ascontiguousarray(planes.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1))


def read_batch(content: bytes, label_key: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads the pickle of one batch.

    Returns:
        Planes uint8 [n, 3072] and labels int32 [n].

    Raises:
        ValueError: it is not a CIFAR batch, or names anything beyond a NumPy array.
    """
    try:
        batch = _Reader(io.BytesIO(content), encoding="latin-1").load()
    except Exception as error:  # a spoilt pickle can raise nearly anything
        raise ValueError(f"its pickle is refused ({error})") from error
    data = batch.get("data") if isinstance(batch, dict) else None
    labels = batch.get(label_key) if isinstance(batch, dict) else None
    if not isinstance(data, _Array) or not isinstance(labels, list) or any(type(label) is not int for label in labels):
        raise ValueError(f"its pickle holds no array 'data' with a list {label_key!r}")
    planes = data.pixels()
    if planes.shape != (len(labels), _PIXELS):
        raise ValueError(f"its pickle holds data of shape {planes.shape} for {len(labels)} labels")
    return planes, np.array(labels, np.int32)


class _Array:
    """Takes a NumPy array's place while a pickle is read: it keeps what is said of the array, and does nothing."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def pixels(self) -> np.ndarray:
        """Returns the uint8 array that the state describes: (version, shape, type, is Fortran order, bytes)."""
        try:
            _, shape, kind, fortran, raw = self.state
            raw = raw.encode("latin-1") if isinstance(raw, str) else raw  # Python 2 wrote the bytes as a str
            if kind.code != "u1" or fortran:
                raise ValueError("another type or order")
            return np.frombuffer(raw, np.uint8).reshape(shape)
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"its array is not of bytes in rows ({error})") from error


class _Type:
    """Takes the place of `numpy.dtype`."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        pass


class _Bytes(bytes):
    """Takes the place of `_codecs.encode`, by which Python 3 writes bytes in an old pickle."""

    def __new__(cls, text: str = "", encoding: str = "latin-1") -> "_Bytes":
        if encoding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError(f"bytes as {encoding}")
        return super().__new__(cls, text.encode("latin-1"))

    def __setstate__(self, state: Any) -> None:
        pass


_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _Bytes,
}


class _Reader(pickle.Unpickler):
    """Reads a pickle without importing or calling what it names: some names get inert stand-ins, others are refused."""

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _STAND_INS[module, name]


CIFAR10 = Official(
    name="cifar10",
    about=DATASETS["cifar10"],
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

CIFAR100 = Official(
    name="cifar100",
    about=DATASETS["cifar100"],
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

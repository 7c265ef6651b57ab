"""STL-10: 5,000 training and 8,000 test images of 96x96 pixels in ten classes; the unlabelled images are not used.

Source: https://cs.stanford.edu/~acoates/stl10/ (format of the binary files, class order); checksums from torchvision;
the training split's pixel sums follow from its mean and deviation, which others published with 16 digits; the test
split's were computed from the test_X.bin with the checksum below.
"""

import numpy as np

from resnet_tf.datasets.archives import Archive, PixelSums, PublishedDataset
from resnet_tf.presets.catalogue import DATASETS

_SIDE = 96


def read_binary(contents: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Reads a file of images, stored column by column in each channel, and one of labels, counted from 1.

    Returns:
        Images uint8 [n, 96, 96, 3] and labels int32 [n] from 0.

    Raises:
        ValueError: the files' lengths do not fit, or a label is out of range.
    """
    pixels, labels = (np.frombuffer(content, np.uint8) for content in contents)
    if len(pixels) != len(labels) * 3 * _SIDE * _SIDE:
        raise ValueError(f"{len(pixels)} bytes of images do not fit {len(labels)} labels")
    if np.any((labels < 1) | (labels > len(STL10.class_names))):
        raise ValueError(f"labels must be 1 to {len(STL10.class_names)}")
    images = pixels.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 3, 2, 1)  # from [n, channel, column, row]
    return np.ascontiguousarray(images), labels.astype(np.int32) - 1


STL10 = PublishedDataset(
    name="stl10",
    description=DATASETS["stl10"],
    url="http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
    archives=(
        Archive(
            file="stl10_binary.tar.gz",
            folder="stl10_binary",
            train=("train_X.bin", "train_y.bin"),
            test=("test_X.bin", "test_y.bin"),
            md5={
                "stl10_binary.tar.gz": "91f7769df0f17e558f3565bffb0c7dfb",
                "train_X.bin": "918c2871b30a85fa023e0c44e0bee87f",
                "train_y.bin": "5a34089d4802c674881badbb80307741",
                "test_X.bin": "7f263ba9f9e0b06b93213547f721ac82",
                "test_y.bin": "36f9794fa4beb8a2c72628de14fa638e",
            },
            parse=read_binary,
        ),
    ),
    sums={
        "train": PixelSums(5_000, (5249028477, 5167941542, 4778258412), (801008198897, 776847979650, 715970295694)),
        "test": PixelSums(8_000, (8408222090, 8265559848, 7613455544), (1284399935184, 1242458255254, 1135623366314)),
    },
)

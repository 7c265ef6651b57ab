"""What each way to make a photo a square is worth: python -m benchmarks.photo_frames PHOTOS --preset quick-long

PHOTOS has a folder of photos for each class of CIFAR-10. They are predicted in each frame that `predict.py` knows, and
so are windows of three shapes, cut at random from the test images of STL-10 (`--data`, else RESNET_DATA), whose classes
are CIFAR-10's but for one. Half of the windows are upright. Prints a Markdown table.
"""

import argparse
import logging
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import resnet_tf
from resnet_tf.datasets import sources
from resnet_tf.datasets.splits import Dataset
from resnet_tf.format import markdown_table
from resnet_tf.prediction.sandbox import FRAMES
from resnet_tf.prediction.table import is_right

SHAPES = {"4:3": 3 / 4, "3:2": 2 / 3, "16:9": 9 / 16}
CLASSES = {"car": "automobile", "monkey": None}  # STL-10's words for CIFAR-10's classes, where they differ


def write_windows(dataset: Dataset, ratio: float, each: int, folder: Path, rng: np.random.Generator) -> None:
    """Writes windows of STL-10's test images as `folder/CLASS/NUMBER.png`, `each` of every class that CIFAR-10 has.

    Args:
        ratio: of the shorter side to the longer one, which is as long as the image's.
    """
    for label, name in enumerate(dataset.class_names):
        if name := CLASSES.get(name, name):
            (folder / name).mkdir()
            for index in rng.choice(np.flatnonzero(dataset.test.labels == label), each, replace=False):
                image = dataset.test.images[index]
                sides = [len(image), round(len(image) * ratio)]
                height, width = rng.permutation(sides)
                top, left = rng.integers(len(image) - height + 1), rng.integers(len(image) - width + 1)
                Image.fromarray(image[top : top + height, left : left + width]).save(folder / name / f"{index}.png")


def count_right(photos: Path, preset: str, frame: str) -> tuple[int, int]:
    """Returns how many photos of a folder are predicted right, and how many there are."""
    rows = resnet_tf.predict(photos, preset=preset, top=1, frame=frame)
    return sum(is_right(row) is True for row in rows), len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--preset", default="quick-long")
    parser.add_argument("--data", help="STL-10; default: RESNET_DATA")
    parser.add_argument("--each", type=int, default=200, help="windows of each class and shape; default: %(default)s")
    given = parser.parse_args()
    logging.getLogger("resnet_tf").setLevel(logging.WARNING)
    dataset, rng = sources.load("stl10", given.data), np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for shape, ratio in SHAPES.items():
            windows = Path(folder) / shape
            windows.mkdir()
            write_windows(dataset, ratio, given.each, windows, rng)
        rows = []
        for frame in FRAMES:
            right, count = count_right(given.photos, given.preset, frame)
            cells = [f"`{frame}`", f"{right} of {count}"]
            for shape in SHAPES:
                right, count = count_right(Path(folder) / shape, given.preset, frame)
                cells.append(f"{100 * right / count:.2f} %")
            rows.append(cells)
    print(markdown_table(("`--frame`", "photos", *SHAPES), rows))


if __name__ == "__main__":
    main()

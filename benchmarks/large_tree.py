"""How an image folder of ImageNet's kind is taken up: `python -m benchmarks.large_tree --files 100000`.

Makes a tree `train/<wnid>/*`, `val/<wnid>/*` of hard links to a few hundred drawn JPEGs, reads it as training does, and
tells the seconds to the first batch of preset `imagenet-resnet34-exp3` and how far memory grows over many more.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from resnet_tf.cli import command
from resnet_tf.presets.preset_files import load_preset

DISTINCT = 200  # pictures; the rest are links to them
SIZE = (500, 375)  # ImageNet's commonest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000, help="training images (default: 100,000)")
    parser.add_argument("--classes", type=int, default=1000, help="classes (default: 1,000)")
    parser.add_argument("--steps", type=int, default=1000, help="batches after the first (default: 1,000)")
    parser.add_argument("--batch-size", type=int, default=32, help="images a batch (default: 32)")
    options = parser.parse_args()
    command.start_tensorflow()
    with tempfile.TemporaryDirectory() as folder:
        make_tree(Path(folder), options.files, options.classes)
        print(json.dumps(measure(folder, options.batch_size, options.steps), indent=2))


def make_tree(root: Path, files: int, classes: int) -> None:
    """Writes the tree; the images of each class follow one another, as they do in the archive."""
    rng = np.random.default_rng(0)
    drawn = root / "drawn"
    drawn.mkdir()
    for number in range(DISTINCT):
        soft = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
        soft.save(drawn / f"{number}.jpg", quality=90)
    per_class = files // classes
    for label in range(classes):
        for split, count in (("train", per_class), ("val", 1)):
            folder = root / split / f"n{label:08d}"
            folder.mkdir(parents=True)
            for number in range(count):
                os.link(drawn / f"{(label * per_class + number) % DISTINCT}.jpg", folder / f"{number:06d}.jpg")


def measure(root: str, batch_size: int, steps: int) -> dict:
    """Returns seconds from the start of the reading to the first batch, MiB that memory grew by after it, images/s."""
    from resnet_tf.datasets import sources
    from resnet_tf.training.plan import make_plans

    preset = load_preset("imagenet-resnet34-exp3", train={"batch_size": batch_size}, data={"validation_size": 0})
    began = time.perf_counter()
    dataset = sources.load("imagenet", root)
    plan = make_plans(preset, dataset, seed=0)[0]
    batches = iter(plan.batches.dataset(0, plan.total_steps))
    next(batches)
    first = time.perf_counter() - began
    before = resident()
    began, spent, highest = time.perf_counter(), time.process_time(), before
    for _ in range(steps):
        next(batches)
        highest = max(highest, resident())
    images = steps * batch_size
    return {
        "files": len(dataset.train),
        "seconds_to_first_batch": round(first, 2),
        "resident_mib_at_first_batch": round(before),
        "resident_mib_grown_by": round(highest - before),
        "steps": steps,
        "images_per_second": round(images / (time.perf_counter() - began)),
        "images_per_cpu_second": round(images / (time.process_time() - spent)),
    }


def resident() -> float:
    """Returns this process's resident memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()

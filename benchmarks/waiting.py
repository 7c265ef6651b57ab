"""What a user waits for besides training steps: `python -m benchmarks.waiting --data PATH`.

Start-up: seconds from the command to its answer for --help and --list, and to the end of a training of a single step.
Pipeline: augmented CIFAR images a second, ImageNet-size JPEGs decoded a second beside Pillow's, all on one core.
Photos: predicted a second, from the command to the last row.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
REPEATS = 3
PHOTOS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="where the images of CIFAR-10 are; default: as train.py finds them")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {
            "seconds": startup(Path(folder), options.data),
            "images_per_second_and_core": pipeline(Path(folder)),
            "photos_per_second": photos(Path(folder)),
        }
    print(json.dumps(found, indent=2))


def startup(folder: Path, data: str | None) -> dict[str, float]:
    """Returns the seconds that commands take, the shortest of a few tries; the first one only warms the disk."""
    commands = {"help": ["train.py", "--help"], "list": ["train.py", "--list"]}
    for preset in ("3", "4"):
        one_step = ["--set", "train.steps=1", "--set", "data.validation_size=0", "--runs", str(folder / "runs")]
        where = ["--data", data] if data else []
        commands[f"first step of preset {preset}"] = ["train.py", "--preset", preset, *one_step, *where]
    return {name: round(min(_seconds(command) for _ in range(REPEATS)), 2) for name, command in commands.items()}


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - began


def pipeline(folder: Path) -> dict[str, int]:
    """Returns images a CPU second, so that what runs on several cores counts as on one."""
    import resnet_tf  # noqa: F401  switches oneDNN on
    from resnet_tf.datasets.splits import ArraySplit, FileSplit
    from resnet_tf.pipeline.batches import TrainingBatches
    from resnet_tf.presets.augmentation import parse

    rng = np.random.default_rng(0)
    small = ArraySplit(rng.integers(0, 256, (50000, 32, 32, 3), np.uint8), np.zeros(50000, np.int32))
    paths = _jpegs(folder / "imagenet", rng)
    large = FileSplit(np.array(paths, object), np.zeros(len(paths), np.int32))
    chain = "random_resized_crop(224) | flip_horizontal"
    return {
        "CIFAR, pad_crop(4) | flip_horizontal": _images_a_cpu_second(
            TrainingBatches(small, parse("pad_crop(4) | flip_horizontal"), 128, 0), 350
        ),
        f"500 x 375 JPEG, {chain}": _images_a_cpu_second(TrainingBatches(large, parse(chain), 25, 0), 16),
        "500 x 375 JPEG, Pillow: the same crop, size and flip": _pillow(paths, rng),
    }


def _images_a_cpu_second(batches, steps: int) -> int:
    iterator = iter(batches.dataset(0, 2 * steps))
    for _ in range(steps):
        next(iterator)
    began = time.process_time()
    done = sum(len(labels) for _, labels in iterator)
    return round(done / (time.process_time() - began))


def _pillow(paths: list[str], rng) -> int:
    began = time.process_time()
    for path in paths:
        with Image.open(path) as image:
            side = int(rng.integers(150, 350))
            window = image.resize((224, 224), Image.Resampling.BILINEAR, box=(0, 0, side, side))
            np.asarray(window.transpose(Image.Transpose.FLIP_LEFT_RIGHT), np.float32)
    return round(len(paths) / (time.process_time() - began))


def _jpegs(folder: Path, rng) -> list[str]:
    """Draws pictures that compress about as photographs do."""
    folder.mkdir()
    paths = [str(folder / f"{number:03d}.jpg") for number in range(PHOTOS)]
    for path in paths:
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).resize((500, 375))
        Image.fromarray(np.clip(np.asarray(coarse) + rng.normal(0, 8, (375, 500, 3)), 0, 255).astype(np.uint8)).save(
            path, quality=90
        )
    return paths


def photos(folder: Path) -> dict[str, float]:
    """Returns how many photos predict.py does a second with the network of preset 3."""
    pictures = folder / "imagenet"
    command = ["predict.py", "--runs", str(folder / "runs"), "--preset", "3", "--json"]
    names = sorted(os.listdir(pictures))
    all_of_them, one = (_seconds([*command, *(str(pictures / name) for name in some)]) for some in (names, names[:1]))
    return {"from the command": round(PHOTOS / all_of_them, 1), "once started": round(PHOTOS / (all_of_them - one), 1)}


if __name__ == "__main__":
    main()

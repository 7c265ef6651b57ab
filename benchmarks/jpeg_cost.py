"""What a JPEG encoding costs in accuracy: `python -m benchmarks.jpeg_cost --run RUN --data PATH`.

The copy of CIFAR-10 at hand was JPEG-encoded once (quality 75, chroma 4:2:0), and its originals are not here to measure
that. So a trained network is shown the test images as they are and encoded once more, on a grid of blocks that is four
pixels off, which loses about as much anew as a first encoding does.
"""

import argparse
import dataclasses
import io
import json

import numpy as np
from PIL import Image

from resnet_tf.cli import command
from resnet_tf.datasets.splits import ArraySplit
from resnet_tf.errors import UserError
from resnet_tf.runs.choose import find_run
from resnet_tf.runs.run import Run

OFF = 4  # pixels, half a block: on its own grid a second encoding would change next to nothing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, help="a finished run's name or folder")
    parser.add_argument("--runs", default="runs", help="the folder of runs (default: runs)")
    parser.add_argument("--data", help="where the images are; default: as train.py finds them")
    parser.add_argument("--quality", type=int, default=75, help="of the second encoding (default: 75)")
    options = parser.parse_args()
    command.start_tensorflow()
    run = find_run(options.run, options.runs)
    print(json.dumps(measure(run, options.data, options.quality), indent=2))


def measure(run: Run, data: str | None, quality: int) -> dict:
    """Returns top-1 in percent on the test images as they are and encoded again, and how far the pixels moved."""
    from resnet_tf.evaluation.evaluate import dataset_of
    from resnet_tf.models.build import load_network
    from resnet_tf.pipeline.views import evaluation_batches
    from resnet_tf.scoring.score import score

    preset = run.preset.in_phases[-1]
    dataset = dataset_of(run, data, print)
    if not isinstance(dataset.test, ArraySplit):
        raise UserError(f"small images in memory are encoded again. Received: {dataset.title}, whose images are files.")
    batches = evaluation_batches(preset, dataset.test)
    model, _ = load_network(preset, dataset.classes, run.last, image_size=batches.size)
    once = np.asarray(dataset.test.images)
    twice = np.stack([encoded(image, quality) for image in once])
    errors = np.mean((once.astype(np.float64) - twice) ** 2, axis=(1, 2, 3))
    found = {"run": run.name, "psnr_db": round(float(np.median(10 * np.log10(255**2 / errors))), 2)}
    for name, images in {"as it is": once, "encoded once more": twice}.items():
        split = dataclasses.replace(dataset.test, images=images)
        found[name] = round(score(model, dataclasses.replace(batches, split=split), dataset.classes).top1, 2)
    return found


def encoded(image: np.ndarray, quality: int) -> np.ndarray:
    """Returns an image, uint8 [height, width, 3], after one more encoding whose blocks lie `OFF` pixels further."""
    height, width, _ = image.shape
    buffer = io.BytesIO()
    canvas = np.pad(image, ((OFF, OFF), (OFF, OFF), (0, 0)), mode="edge")
    Image.fromarray(canvas).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(buffer))[OFF : OFF + height, OFF : OFF + width]


if __name__ == "__main__":
    main()

"""What published weights are worth on a few photos of one's own: python -m benchmarks.finetuning PHOTOS

PHOTOS has a folder of photos for each class. Every split puts half of each class, at random, into the test. Four ways
are compared: the recipe below from random weights, the same from published weights, their frozen features with one
dense layer, and, where all classes are among its own, the published network as it is. Prints top-1 of the test photos:
mean, deviation, and each split.
"""

import argparse
import logging
import shutil
import tempfile
from pathlib import Path

import keras
import numpy as np
from PIL import Image, ImageOps

import resnet_tf
from resnet_tf.presets.catalogue import DATASETS

INIT = "quick-long"
SIZE = 32
RECIPE = {
    "name": "photos",
    "data": {
        "dataset": "folder",
        "validation_size": 0,
        "image_size": SIZE,
        "augment": f"random_resized_crop({SIZE}, area=(0.5, 1)) | flip_horizontal",
    },
    "train": {"batch_size": 8, "epochs": 30},
    "optimizer": {"name": "sgd", "learning_rate": 0.003, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4},
    "schedule": {"name": "one_cycle"},
    "evaluation": {"frame": f"resize({SIZE}) | center_crop({SIZE})"},
}


def split(photos: Path, folder: Path, seed: int) -> None:
    """Copies half of each class of two photos or more, at random, to test/, the rest to train/."""
    rng = np.random.default_rng(seed)
    for source in sorted(path for path in photos.iterdir() if path.is_dir()):
        paths = rng.permutation(sorted(path for path in source.iterdir() if path.is_file()))
        for place, path in enumerate(paths if len(paths) > 1 else ()):
            target = folder / ("test" if place < len(paths) // 2 else "train") / source.name
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns photos as uint8 [n, SIZE, SIZE, 3], cut to squares, and their class numbers."""
    classes = sorted(path.name for path in folder.iterdir())
    paths = sorted(folder.glob("*/*"))
    opened = (ImageOps.exif_transpose(Image.open(path)).convert("RGB") for path in paths)
    images = [np.asarray(ImageOps.fit(image, (SIZE, SIZE), Image.Resampling.BILINEAR)) for image in opened]
    return np.stack(images), np.array([classes.index(path.parent.name) for path in paths])


def trained(folder: Path, seed: int, **train) -> float:
    """Trains the recipe; returns its test top-1 in percent."""
    network = vars(resnet_tf.load_preset(INIT).model) | {"logit_scale": 1.0}  # of a fresh head
    preset = resnet_tf.load_preset({**RECIPE, "model": {"num_residual_units": 1}}, model=network, train=train)
    run = resnet_tf.train(preset, str(folder), folder / "runs", seed=seed)
    return resnet_tf.evaluate(run, data=str(folder))["top1"]


def dense_on_features(folder: Path, seed: int) -> float:
    """Trains one dense layer on the published weights' features; returns its test top-1 in percent."""
    keras.utils.set_random_seed(seed)
    features = resnet_tf.from_pretrained(INIT, include_top=False)
    features.trainable = False
    images, labels = read(folder / "train")
    model = keras.Sequential([features, keras.layers.Dense(int(labels.max()) + 1)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    model.fit(images, labels, batch_size=8, epochs=30, verbose=0)
    return 100 * model.evaluate(*read(folder / "test"), verbose=0)[1]


def as_it_is(folder: Path, seed: int) -> float:
    """Returns the published network's test top-1 in percent, among all of its own classes."""
    images, labels = read(folder / "test")
    own = list(DATASETS[resnet_tf.load_preset(INIT).data.dataset].class_names)
    places = np.array([own.index(path.name) for path in sorted((folder / "test").iterdir())])
    answers = resnet_tf.from_pretrained(INIT).predict(images, verbose=0).argmax(axis=-1)
    return 100 * float(np.mean(answers == places[labels]))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("photos", type=Path)
    options.add_argument("--splits", type=int, default=5)
    given = options.parse_args()
    logging.getLogger("resnet_tf").setLevel(logging.WARNING)
    ways = {
        "from random weights": trained,
        "from published weights": lambda folder, seed: trained(folder, seed, init=INIT),
        "features and a dense layer": dense_on_features,
    }
    known = DATASETS[resnet_tf.load_preset(INIT).data.dataset].class_names
    if all(path.name in known for path in given.photos.iterdir() if path.is_dir()):
        ways["the published network as it is"] = as_it_is
    found = {way: [] for way in ways}
    for seed in range(given.splits):
        with tempfile.TemporaryDirectory() as folder:
            split(given.photos, Path(folder), seed)
            for way, score in ways.items():
                found[way].append(score(Path(folder), seed))
                print(f"split {seed}, {way}: {found[way][-1]:.1f} %", flush=True)
    for way, scores in found.items():
        each = ", ".join(f"{score:.1f}" for score in scores)
        deviation = f", deviation {np.std(scores, ddof=1):.1f}" if len(scores) > 1 else ""
        print(f"{way}: {np.mean(scores):.1f} %{deviation} ({each})")


if __name__ == "__main__":
    main()

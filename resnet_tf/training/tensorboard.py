"""A run in TensorBoard: curves, a picture of an augmented batch, the recipe as text, HParams with final metrics."""

import json
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hp

from resnet_tf.format import first_line
from resnet_tf.log import logger
from resnet_tf.presets import schema
from resnet_tf.runs.run_folder import Run

METRICS = ("validation_top1", "validation_loss", "test_top1", "test_loss")


class TensorBoardLog:
    """Writes a run's event files: `train` and `validation` as two curves of one chart.

    Args:
        run: whose folder takes them.
    """

    def __init__(self, run: Run):
        self.run = run
        self.writers: dict[str, tf.summary.SummaryWriter] = {}
        self.broken = False

    def open(self, overview: str) -> None:
        """Opens the event files and writes the recipe; `overview` is a text about the network, one line a stage."""
        self._attempt(lambda: self._open(overview))

    def write_images(self, images: np.ndarray) -> None:
        """Shows an augmented batch [n, size, size, 3] in 0..255."""
        self._attempt(lambda: self._write_images(np.asarray(images)))

    def write_row(self, row: dict) -> None:
        """Adds an epoch's figures to the curves."""
        self._attempt(lambda: self._write(row))

    def write_hparams(self, metrics: dict[str, float]) -> None:
        """Adds the run to the HParams table; see the function of this name."""
        self._attempt(lambda: _write_hparams(self.run, metrics))

    def _attempt(self, write: Callable[[], None]) -> None:
        if not self.broken:
            self.broken = not _succeeds(write)

    def _open(self, overview: str) -> None:
        for part in ("train", "validation"):
            self.writers[part] = tf.summary.create_file_writer(str(self.run.tensorboard / part))
        preset = self.run.preset
        with self.writers["train"].as_default(step=0):
            recipe = json.dumps(schema.recipe(preset), indent=2)
            tf.summary.text("preset", f"### {preset.title}\n\n" + _as_markdown_code(recipe))
            tf.summary.text("network", _as_markdown_code(overview))

    def _write_images(self, images: np.ndarray) -> None:
        with self.writers["train"].as_default(step=0):
            tf.summary.image("augmented batch", contact_image(images)[None])

    def _write(self, row: dict) -> None:
        step = row["step"]
        with self.writers["train"].as_default(step=step):
            tf.summary.scalar("loss", row["loss"])
            tf.summary.scalar("top1", row["top1"])
            tf.summary.scalar("learning_rate", row["learning_rate"])
            tf.summary.scalar("images_per_second", row["timing"]["images_per_second"])
        if "validation_top1" in row:
            with self.writers["validation"].as_default(step=step):
                tf.summary.scalar("loss", row["validation_loss"])
                tf.summary.scalar("top1", row["validation_top1"])
        for writer in self.writers.values():
            writer.flush()


def write_hparams(run: Run, metrics: dict[str, float]) -> None:
    """Adds a run to TensorBoard's HParams table: what its preset chose beside its metrics ("validation_top1", ...).

    Args:
    """
    _succeeds(lambda: _write_hparams(run, metrics))


def write_pictures(run: Run, pictures: dict[str, bytes]) -> None:
    """Adds PNG pictures to a run's TensorBoard, by name; logs one warning if they cannot be written."""

    def write() -> None:
        writer = tf.summary.create_file_writer(str(run.tensorboard / "evaluation"))
        with writer.as_default(step=run.about.get("step", 0)):
            for name, content in pictures.items():
                tf.summary.image(name, tf.io.decode_png(content, channels=3)[None])
        writer.close()

    if pictures:
        _succeeds(write)


def _succeeds(write: Callable[[], None]) -> bool:
    """Writes event files and says whether that went well; no trouble with them may end a training."""
    try:
        write()
    except Exception as error:  # TensorFlow has an error of its own for each thing that a disk can do
        logger.warning(f"nothing more is written for TensorBoard ({first_line(error)}); all else goes on")
        return False
    return True


def _write_hparams(run: Run, metrics: dict[str, float]) -> None:
    preset, about = run.preset, run.about
    chosen = {
        "preset": preset.name,
        "depth": preset.model.depth,
        "data": about["data"]["title"],
        "batch_size": preset.train.batch_size,
        "length": f"{preset.train.epochs} epochs" if preset.train.epochs else f"{preset.train.steps} steps",
        "learning_rate": preset.optimizer.learning_rate,
        "schedule": preset.schedule.describe(),
        "weight_decay": preset.optimizer.weight_decay,
        "augment": preset.data.augment or "none",
        "seed": about["seed"],
    }
    writer = tf.summary.create_file_writer(str(run.tensorboard), filename_suffix=".hparams")
    with writer.as_default(step=about.get("step", 0)):
        hp.hparams_config(
            hparams=[hp.HParam(name) for name in chosen],
            metrics=[hp.Metric(name, display_name=name.replace("_", " ")) for name in METRICS],
        )
        hp.hparams(chosen, trial_id=run.name)
        for name, value in metrics.items():
            tf.summary.scalar(name, value)
    writer.close()


def contact_image(images: np.ndarray, most: int = 64) -> np.ndarray:
    """Returns up to `most` images [n, s, s, 3] as one uint8 picture: a nearly square grid, enlarged to be seen."""
    images = np.clip(np.round(images[:most]), 0, 255).astype(np.uint8)
    count, size = images.shape[:2]
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    grid = np.full((rows * columns, size, size, 3), 255, np.uint8)
    grid[:count] = images
    picture = grid.reshape(rows, columns, size, size, 3).swapaxes(1, 2).reshape(rows * size, columns * size, 3)
    scale = max(1, 768 // picture.shape[1])
    return picture.repeat(scale, axis=0).repeat(scale, axis=1)


def _as_markdown_code(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())

"""A run in TensorBoard: curves, an augmented batch, the recipe as text, HParams with final metrics."""

import functools
import json
from collections.abc import Callable

import tensorflow as tf
from tensorboard.plugins.hparams import api as hp

from resnet_tf.format import first_line
from resnet_tf.log import logger
from resnet_tf.presets import schema
from resnet_tf.runs.run import Run

METRICS = ("validation_top1", "validation_loss", "test_top1", "test_loss")


def _never_fatal(write: Callable) -> Callable:
    """Logs a warning when event files cannot be written, and writes no more: this must not end a training."""

    @functools.wraps(write)
    def attempt(board: "TensorBoardLog", *arguments) -> None:
        try:
            if not board.broken:
                write(board, *arguments)
        except Exception as error:  # TensorFlow has an error of its own for each thing that a disk can do
            board.broken = True
            logger.warning(f"nothing more is written for TensorBoard ({first_line(error)}); all else goes on")

    return attempt


class TensorBoardLog:
    """Writes a run's event files: `train` and `validation` as two curves of one chart."""

    def __init__(self, run: Run):
        self.run, self.broken = run, False
        self.writers: dict[str, tf.summary.SummaryWriter] = {}

    @_never_fatal
    def open(self, overview: str) -> None:
        """Opens the event files and writes the recipe; `overview` is a text about the network, one line a stage."""
        for part in ("train", "validation"):
            self.writers[part] = tf.summary.create_file_writer(str(self.run.tensorboard / part))
        preset = self.run.preset
        with self.writers["train"].as_default(step=0):
            recipe = json.dumps(schema.recipe(preset), indent=2)
            tf.summary.text("preset", f"### {preset.title}\n\n" + _as_markdown_code(recipe))
            tf.summary.text("network", _as_markdown_code(overview))

    @_never_fatal
    def write_images(self, images: tf.Tensor) -> None:
        """Shows the first images of an augmented batch [n, size, size, 3] in 0..255."""
        pixels = tf.cast(tf.clip_by_value(tf.round(images), 0, 255), tf.uint8)
        with self.writers["train"].as_default(step=0):
            tf.summary.image("augmented batch", pixels, max_outputs=16)

    @_never_fatal
    def write_row(self, row: dict) -> None:
        """Adds an epoch's row of the log to the curves."""
        figures = {key: row[key] for key in ("loss", "top1", "learning_rate")}
        figures["images_per_second"] = row["timing"]["images_per_second"]
        validation = {key: row[f"validation_{key}"] for key in ("loss", "top1") if f"validation_{key}" in row}
        for part, values in (("train", figures), ("validation", validation)):
            with self.writers[part].as_default(step=row["step"]):
                for name, value in values.items():
                    tf.summary.scalar(name, value)
            self.writers[part].flush()

    @_never_fatal
    def write_hparams(self, metrics: dict[str, float]) -> None:
        """Adds the run to the HParams table: its recipe's values beside its metrics ("validation_top1", ...)."""
        preset, info = self.run.preset, self.run.about
        hparams = {"preset": preset.name, "depth": preset.model.depth, "data": info["data"]["title"]}
        hparams |= {"schedule": preset.schedule.describe(), "seed": info["seed"]}
        for section, values in schema.recipe(preset).items():
            if section != "phases":
                plain = {key: value for key, value in values.items() if isinstance(value, str | int | float)}
                hparams |= {f"{section}.{key}": value for key, value in plain.items()}
        writer = tf.summary.create_file_writer(str(self.run.tensorboard), filename_suffix=".hparams")
        with writer.as_default(step=info.get("step") or 0):
            hp.hparams_config([hp.HParam(name) for name in hparams], [hp.Metric(name) for name in METRICS])
            hp.hparams(hparams, trial_id=self.run.name)
            for name, value in metrics.items():
                tf.summary.scalar(name, value)
        writer.close()

    @_never_fatal
    def write_plots(self, plots: dict[str, bytes]) -> None:
        """Adds plots, PNGs by name."""
        if not plots:
            return
        writer = tf.summary.create_file_writer(str(self.run.tensorboard / "evaluation"))
        with writer.as_default(step=self.run.about.get("step") or 0):
            for name, content in plots.items():
                tf.summary.image(name, tf.io.decode_png(content, channels=3)[None])
        writer.close()


def _as_markdown_code(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())

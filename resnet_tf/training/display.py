"""The progress of a training for its user: a live bar in a terminal, a line an epoch everywhere."""

import sys
import time

from rich import progress as rich_progress
from rich.console import Console

from resnet_tf.format import duration
from resnet_tf.log import logger
from resnet_tf.training.plan import Plan


class ProgressDisplay:
    """A bar with loss, top-1, images a second and time left; and a line at the end of an epoch.

    Args:
        total_steps, epochs: of the whole run.
        step: updates done before this training started.
    """

    def __init__(self, total_steps: int, epochs: int, step: int):
        self.total_steps, self.epochs, self.step = total_steps, epochs, step
        self.pause = 0.0  # seconds of validation and saving behind the last epoch
        self.console = Console(file=sys.stderr)
        self.bar: rich_progress.Progress | None = None

    def start_phase(self, plan: Plan) -> None:
        """Starts a phase, whose steps may take longer or shorter than the last phase's."""
        self.plan = plan
        self.step_seconds, self.weight = 0.0, 0.0

    def start_epoch(self, epoch: int) -> None:
        """Starts the bar of an epoch, counted from 0 within the phase."""
        self.epoch = self.plan.first_epoch + epoch + 1
        self.last_end: float | None = None
        if not self.console.is_terminal:
            return
        before = epoch * self.plan.steps_per_epoch
        columns = ("{task.description}", rich_progress.BarColumn(None), "{task.fields[figures]}")
        self.bar = rich_progress.Progress(*columns, console=self.console, transient=True, expand=True)
        self.task = self.bar.add_task(
            f"epoch {self.epoch}/{self.epochs}",
            total=min(self.plan.steps_per_epoch, self.plan.total_steps - before),
            completed=self.step - self.plan.first_step - before,
            figures="...",
        )
        self.bar.start()

    def show_step(self, loss: float, top1: float) -> None:
        """Advances the bar by a step; `loss` and `top1` (percent) are the epoch's means so far."""
        self.step += 1
        now = time.monotonic()
        if self.last_end is not None:
            # A running mean over about fifty steps, and at first over all: steady, and it follows changes of speed.
            self.weight = 0.98 * self.weight + 0.02
            self.step_seconds += 0.02 / self.weight * (now - self.last_end - self.step_seconds)
        self.last_end = now
        if self.bar is not None:
            figures = f"loss {loss:.3f}  top-1 {top1:.1f} %"
            if self.step_seconds:
                images_per_second = self.plan.preset.train.batch_size / self.step_seconds
                figures += f"  {images_per_second:,.0f} images/s  {self._time_left(self.epochs - self.epoch + 1)} left"
            self.bar.update(self.task, advance=1, figures=figures)

    def _time_left(self, pauses: int) -> str:
        """Returns the time of the steps and of so many pauses: "12:05" (minutes and seconds) or "3 h 20 min"."""
        seconds = (self.total_steps - self.step) * self.step_seconds + pauses * self.pause
        return "{}:{:02}".format(*divmod(round(seconds), 60)) if seconds < 3600 else duration(seconds)

    def show_row(self, row: dict) -> None:
        """Logs the line of an epoch that has just been validated and saved."""
        if self.last_end is not None:
            self.pause = time.monotonic() - self.last_end
        line = f"epoch {row['epoch']}/{self.epochs}  loss {row['loss']:.4f}  top-1 {row['top1']:.2f} %"
        if "validation_top1" in row:
            line += f"  validation {row['validation_loss']:.4f}, {row['validation_top1']:.2f} %"
        line += f"  learning rate {row['learning_rate']:.4g}  {row['timing']['images_per_second']:,.0f} images/s"
        if self.step < self.total_steps:
            line += f"  {self._time_left(self.epochs - self.epoch)} left"
        logger.info(line)

    def stop_bar(self) -> None:
        """Removes the bar, so that lines can be printed."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

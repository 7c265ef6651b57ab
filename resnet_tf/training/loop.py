"""The training loop: batch, step, log, validate, checkpoint, stop.

The arithmetic of a step is in `training.step`; what the steps of a run share is in `training.session`.
"""

import math
import time
from collections.abc import Callable

import keras
import numpy as np

from resnet_tf import files
from resnet_tf.models import weights
from resnet_tf.pipeline.broken import naming_broken_files
from resnet_tf.scoring.score import score
from resnet_tf.training import checkpoint
from resnet_tf.training.checkpoint import State
from resnet_tf.training.distributed import undistributed
from resnet_tf.training.plan import Plan
from resnet_tf.training.session import Diverged, Session


def train_phases(session: Session, on_step: Callable[["Phase"], None]) -> keras.Model:
    """Trains phase by phase from where the run stands to its end; returns the trained network.

    Raises:
        UserError: the training diverged.
        Stopped: the user's request to stop; the state is saved.
    """
    progress = session.progress
    arrays = session.saved.arrays if session.saved else {}
    for number, plan in enumerate(session.plans, start=1):
        if progress.step >= plan.last_step and plan is not session.plans[-1]:
            continue
        progress.phase = number
        phase = Phase(session, plan, arrays)
        try:
            stop = phase.train(on_step)
        except Diverged as diverged:
            raise session.diverged(diverged) from diverged
        if stop and progress.step < session.total_steps:
            raise session.stopped()
        if plan is not session.plans[-1]:
            arrays = checkpoint.copy_of(phase.step.variables)  # the next phase goes on with these weights
    return phase.step.network


class Phase:
    """A phase of a training: its network, what trains it, and the loop over its steps.

    Args:
        session: the training.
        plan: of this phase.
        arrays: the saved variables to go on with. In the middle of a phase all of them are restored, at its start only
            the network's.

    Attributes:
        step: trains `step.network` by one batch a call.
        watchers: the metric rules of the schedule.
        last: mean loss and top-1 (percent) of the step done last.
    """

    def __init__(self, session: Session, plan: Plan, arrays: dict[str, np.ndarray]):
        self.session, self.progress, self.plan = session, session.progress, plan
        self.batch_size = plan.preset.train.batch_size
        self.watchers = plan.watchers
        self.recent_losses: list[float] = []
        self.last: dict[str, float] = {}
        self.undistributed: keras.Model | None = None
        with session.group.scope():
            self.step = plan.build_step()
        if arrays:
            self._restore(arrays)

    def _restore(self, arrays: dict[str, np.ndarray]) -> None:
        inside = self.steps_done > 0
        variables = self.step.variables.items()
        checkpoint.restore({name: each for name, each in variables if inside or name.startswith("model/")}, arrays)
        if inside:
            for watcher, state in zip(self.watchers, self.progress.watchers, strict=True):
                watcher.restore(state)

    @property
    def steps_done(self) -> int:
        """Updates done in this phase."""
        return self.progress.step - self.plan.first_step

    @property
    def at_epoch_end(self) -> bool:
        return self.steps_done % self.plan.steps_per_epoch == 0 or self.steps_done == self.plan.total_steps

    @property
    def learning_rate(self) -> float:
        """The learning rate of the step done last."""
        return float(self.plan.rates[max(0, self.steps_done - 1)]) * self._scale

    @property
    def _scale(self) -> float:
        return math.prod(watcher.scale for watcher in self.watchers)

    def train(self, on_step: Callable[["Phase"], None]) -> bool:
        """Trains from where the run stands to the phase's end, or until a request to stop; returns whether one came.

        Raises:
            Diverged: a loss or a weight is not finite; nothing more is saved.
        """
        session, progress, plan = self.session, self.progress, self.plan
        if self.steps_done == plan.total_steps:  # killed between the last checkpoint and the run's end
            return False
        if self.watchers:
            self._set_scale()  # a warm-up rule starts below 1
        session.display.start_phase(plan)
        rows = session.group.rows(self.batch_size)
        try:
            with naming_broken_files():
                self._start_clock()
                for images, labels in plan.batches.dataset(self.steps_done, plan.total_steps, *rows):
                    if progress.step == 0:
                        session.board.write_images(images)
                    loss, correct = self.step(images, labels)
                    self._count(loss, correct)
                    on_step(self)
                    if not math.isfinite(loss):
                        raise self._diverged("the loss", loss)
                    self._follow(self.last, each_step=True)
                    if self.at_epoch_end:
                        self._end_epoch()
                    if self._must_stop():
                        return True
            return False
        finally:
            session.display.stop_bar()  # before anything else is printed

    def _start_clock(self) -> None:
        """Starts an epoch's time, and the time until the next checkpoint."""
        self.session.display.start_epoch(self.steps_done // self.plan.steps_per_epoch)
        self.epoch_began = time.monotonic() - self.progress.epoch_seconds
        self.saved_at = time.monotonic()

    def _count(self, loss: float, correct: int) -> None:
        """Adds a step to the epoch's sums."""
        progress = self.progress
        progress.step += 1
        progress.epoch_loss += loss * self.batch_size
        progress.epoch_correct += correct
        progress.epoch_seconds = time.monotonic() - self.epoch_began
        self.last = {"loss": loss, "top1": 100 * correct / self.batch_size}
        self.recent_losses = [*self.recent_losses[-4:], loss]
        self.session.display.show_step(*self._epoch_means())

    def _epoch_means(self) -> tuple[float, float]:
        """Returns mean loss and top-1 (percent) of the current epoch so far."""
        images = self._epoch_steps * self.batch_size
        return self.progress.epoch_loss / images, 100 * self.progress.epoch_correct / images

    @property
    def _epoch_steps(self) -> int:
        """Steps done in the epoch of the step done last."""
        return (self.steps_done - 1) % self.plan.steps_per_epoch + 1

    def _must_stop(self) -> bool:
        """Saves a checkpoint where one is due; returns whether any process was asked to stop."""
        session = self.session
        due = time.monotonic() - self.saved_at >= 60 * self.plan.preset.train.state_minutes
        signal, due = session.group.any_of(session.stop.signal, due)
        stop = signal is not None
        if stop:  # of any process; a signal that came meanwhile is kept for the next step
            session.stop.signal = session.stop.signal or signal
        if (stop or due) and not self.at_epoch_end:  # at an epoch's end it is saved already
            self._check_weights()
            self._save()
        return stop

    def _end_epoch(self) -> None:
        """Validates, follows the metric rules, logs and saves."""
        session, progress, plan = self.session, self.progress, self.plan
        session.display.stop_bar()
        self._check_weights()
        loss, top1 = self._epoch_means()
        row = {
            "epoch": plan.first_epoch + -(-self.steps_done // plan.steps_per_epoch),
            "step": progress.step,
            "learning_rate": self.learning_rate,
            "loss": loss,
            "top1": top1,
            **self._validate(),
        }
        if not math.isfinite(row.get("validation_loss", 0.0)):
            raise self._diverged("the validation loss", row["validation_loss"])
        rate = self._epoch_steps * self.batch_size / max(progress.epoch_seconds, 1e-9)
        row["timing"] = {"seconds": round(progress.epoch_seconds, 3), "images_per_second": round(rate, 1)}
        progress.seconds += progress.epoch_seconds
        progress.epoch_loss, progress.epoch_correct, progress.epoch_seconds = 0.0, 0, 0.0
        self._follow(row, each_step=False)
        self._keep_best(row)
        files.append_row(session.run.log, row)
        progress.rows.append(row)
        self._save()
        session.display.show_row(row)
        session.board.write_row(row)
        if self.steps_done < plan.total_steps:
            self._start_clock()

    def _validate(self) -> dict[str, float]:
        if self.plan.validation is None:
            return {}
        group, classes = self.session.group, self.plan.dataset.classes
        if not group.devices:
            scores = score(self.step.network, self.plan.validation, classes)
            return {"validation_loss": scores.loss, "validation_top1": scores.top1}
        with undistributed():  # every process scores all images, by itself
            self.undistributed = self.undistributed or self.plan.network()
            for variable, distributed in zip(self.undistributed.variables, self.step.network.variables, strict=True):
                variable.assign(np.asarray(distributed))
            scores = score(self.undistributed, self.plan.validation, classes)
        # The first process's scores everywhere, so that all make the same decisions.
        return group.broadcast({"validation_loss": scores.loss, "validation_top1": scores.top1})

    def _follow(self, values: dict[str, float], each_step: bool) -> None:
        """Feeds the metric rules of a step or of an epoch; sets the learning rate's scale if a rule changed it."""
        changed = False
        for watcher in self.watchers:
            if each_step == (watcher.every_steps is not None):
                value = values[watcher.metric.removeprefix("training_")]
                changed |= watcher.add(value) if each_step else watcher.update(value)
        if changed:
            self._set_scale()

    def _set_scale(self) -> None:
        self.step.synchronize()
        self.step.optimizer.rate_scale.assign(self._scale)

    def _keep_best(self, row: dict) -> None:
        session, top1 = self.session, row.get("validation_top1")
        if top1 is not None and (self.progress.best_top1 is None or top1 > self.progress.best_top1):
            self.progress.best_top1 = top1
            about = {key: row[key] for key in ("step", "epoch", "validation_top1")}
            session.best = weights.pack(self.step.network, about)
            files.write_atomically(session.run.best, session.best)

    def _save(self) -> None:
        """Saves a checkpoint; the first process's serves all."""
        session = self.session
        self.saved_at = time.monotonic()
        if session.group.rank == 0:
            self.step.synchronize()
            self.progress.watchers = [watcher.state() for watcher in self.watchers]
            arrays = checkpoint.copy_of(self.step.variables)
            checkpoint.save(session.run.state, State(self.progress, arrays, session.best, session.made_with))

    def _check_weights(self) -> None:
        """Raises Diverged where a variable is not finite. A loss shows it only a step later, if at all."""
        self.step.synchronize()
        if found := checkpoint.not_finite(self.step.variables):
            raise self._diverged(*found)

    def _diverged(self, what: str, value: float) -> Diverged:
        losses = [str(loss) for loss in self.recent_losses]
        return Diverged(what, str(value), self.progress.step, self.learning_rate, losses)

"""The training loop: batch, step, log, validate, checkpoint, stop.

The arithmetic of a step is in `training.step`; what the steps of a run share is in `training.session`.
"""

import math
import time
from collections import deque
from collections.abc import Callable

import keras
import numpy as np

from resnet_tf import files
from resnet_tf.models import weights
from resnet_tf.presets.schedule import log_key
from resnet_tf.scoring.score import score
from resnet_tf.training import checkpoint
from resnet_tf.training.averaging import build_averaging
from resnet_tf.training.checkpoint import State
from resnet_tf.training.distributed import undistributed
from resnet_tf.training.plan import Plan, step_errors_in_one_line
from resnet_tf.training.session import Session
from resnet_tf.transfer import load_start


def train_phases(session: Session, on_step: Callable[["Phase"], None]) -> keras.Model:
    """Trains a run phase by phase to its end; returns the trained network.

    Raises:
        UserError: the training diverged.
        Stopped: the user asked for it; the state is saved.
    """
    progress = session.progress
    arrays = session.saved.arrays if session.saved else {}
    for number, plan in enumerate(session.plans, start=1):
        if progress.step >= plan.last_step and plan is not session.plans[-1]:
            continue
        progress.phase = number
        phase = Phase(session, plan, arrays)
        if phase.train(on_step) and progress.step < session.total_steps:
            raise session.mark_stopped()
        if plan is not session.plans[-1]:
            arrays = checkpoint.copy_of(phase.step.variables)  # the next phase goes on with these weights
    phase.averaging.load()
    return phase.step.network


class Phase:
    """A phase of a training: its network, what trains it, and the loop over its steps.

    Args:
        arrays: the variables to go on with. In the middle of a phase all are restored, at its start the network's.

    Attributes:
        step: trains `step.network` by one batch a call.
        averaging: of its weights.
        learning_rate: of the last step.
        last: mean loss and top-1 (percent) of the last step.
    """

    def __init__(self, session: Session, plan: Plan, arrays: dict[str, np.ndarray]):
        self.session, self.progress, self.plan = session, session.progress, plan
        self.batch_size = plan.preset.train.batch_size
        self.metric_rules = plan.metric_rules()
        self.last: dict[str, float] = {}
        self.last_losses: deque[float] = deque(maxlen=5)
        self.undistributed: keras.Model | None = None
        with session.group.scope():
            self.step = plan.build_step()
            self.averaging = build_averaging(self.step, plan)
        if arrays:
            inside, variables = self.steps_done > 0, self.variables.items()
            checkpoint.restore({name: each for name, each in variables if inside or name.startswith("model/")}, arrays)
            if inside:
                for rule, state in zip(self.metric_rules, self.progress.watchers, strict=True):
                    rule.restore(state)
        elif session.run.about.get("init"):
            load_start(self.step.network, session.run)

    @property
    def variables(self) -> dict[str, keras.Variable]:
        """What a checkpoint holds, by name."""
        return self.step.variables | self.averaging.variables

    @property
    def steps_done(self) -> int:
        """Updates done in this phase."""
        return self.progress.step - self.plan.first_step

    @property
    def epoch_steps(self) -> int:
        """Updates done in the epoch of the last step."""
        return (self.steps_done - 1) % self.plan.steps_per_epoch + 1

    @property
    def at_epoch_end(self) -> bool:
        return self.steps_done % self.plan.steps_per_epoch == 0 or self.steps_done == self.plan.total_steps

    @property
    def scale(self) -> float:
        """The product of the metric rules' scales."""
        return math.prod(rule.scale for rule in self.metric_rules)

    def train(self, on_step: Callable[["Phase"], None]) -> bool:
        """Trains to the phase's end, or until a request to stop; returns whether one came.

        Raises:
            UserError: a loss or a weight is not finite; nothing more is saved.
        """
        session, progress, plan = self.session, self.progress, self.plan
        if self.steps_done == plan.total_steps:  # killed between the last checkpoint and the run's end
            return False
        if self.metric_rules:
            self._set_scale()  # a warm-up rule starts below 1
        session.display.start_phase(plan)
        rows = session.group.rows(self.batch_size)
        try:
            with step_errors_in_one_line(plan):
                self._start_clock()
                for images, labels in plan.batches.dataset(self.steps_done, plan.total_steps, *rows):
                    if progress.step == 0:
                        session.board.write_images(images)
                    loss, correct = self.step(images, labels)
                    self._count(loss, correct)
                    self.averaging.after_step(self.steps_done)
                    on_step(self)
                    self._check_finite("the loss", loss)
                    self._follow_metrics(self.last, each_step=True)
                    if self.at_epoch_end:
                        self._end_epoch()
                    if self._save_if_due():
                        return True
            return False
        finally:
            session.display.stop_bar()  # before anything else is printed

    def _start_clock(self) -> None:
        """Starts the epoch's time, and the time until the next checkpoint."""
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
        # Taken now: a rule that follows every step lowers it before the epoch's end.
        self.learning_rate = float(self.plan.learning_rates[self.steps_done - 1]) * self.scale
        self.last = {"loss": loss, "top1": 100 * correct / self.batch_size}
        self.last_losses.append(loss)
        self.session.display.show_step(*self._epoch_means())

    def _epoch_means(self) -> tuple[float, float]:
        """Returns mean loss and top-1 (percent) of the current epoch so far."""
        images = self.epoch_steps * self.batch_size
        return self.progress.epoch_loss / images, 100 * self.progress.epoch_correct / images

    def _follow_metrics(self, values: dict[str, float], each_step: bool) -> None:
        """Gives the metric rules a step's or an epoch's values; applies their scale if it changed."""
        changed = False
        for rule in self.metric_rules:
            if each_step == (rule.every_steps is not None):
                value = values[log_key(rule.metric)]
                changed |= rule.add(value) if each_step else rule.update(value)
        if changed:
            self._set_scale()

    def _set_scale(self) -> None:
        self.step.synchronize()
        self.step.optimizer.learning_rate_scale.assign(self.scale)

    def _save_if_due(self) -> bool:
        """Saves a checkpoint where one is due; returns whether the training must stop, as any process was asked to."""
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
        self._check_finite("the validation loss", row.get("validation_loss", 0.0))
        images_per_second = self.epoch_steps * self.batch_size / max(progress.epoch_seconds, 1e-9)
        row["timing"] = {"seconds": round(progress.epoch_seconds, 3), "images_per_second": round(images_per_second, 1)}
        progress.seconds += progress.epoch_seconds
        progress.epoch_loss, progress.epoch_correct, progress.epoch_seconds = 0.0, 0, 0.0
        self._follow_metrics(row, each_step=False)
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
        group, network = self.session.group, self.step.network
        with self.averaging.in_network(), undistributed():  # every process scores all images by itself
            if group.devices:
                self.undistributed = self.undistributed or self.plan.build_network()
                for variable, trained in zip(self.undistributed.variables, network.variables, strict=True):
                    variable.assign(np.asarray(trained))
                network = self.undistributed
            scores = score(network, self.plan.validation, self.plan.dataset.classes)
        # The first process's scores everywhere, so that all make the same decisions.
        return group.broadcast({"validation_loss": scores.loss, "validation_top1": scores.top1})

    def _keep_best(self, row: dict) -> None:
        session, top1 = self.session, row.get("validation_top1")
        if top1 is not None and (self.progress.best_top1 is None or top1 > self.progress.best_top1):
            self.progress.best_top1 = top1
            metadata = {key: row[key] for key in ("step", "epoch", "validation_top1")}
            with self.averaging.in_network():
                session.best = weights.pack(self.step.network, metadata)
            files.write_atomically(session.run.best, session.best)

    def _save(self) -> None:
        """Saves a checkpoint; that of process 0 serves all."""
        session = self.session
        self.saved_at = time.monotonic()
        if session.group.rank == 0:
            self.step.synchronize()
            self.progress.watchers = [rule.state() for rule in self.metric_rules]
            arrays = checkpoint.copy_of(self.variables)
            checkpoint.save(session.run.state, State(self.progress, arrays, session.best, session.made_with))

    def _check_weights(self) -> None:
        """Ends the training where a variable is not finite. A loss shows that only a step later, if at all."""
        self.step.synchronize()
        if found := checkpoint.not_finite(self.variables):
            self._check_finite(*found)

    def _check_finite(self, what: str, value: float) -> None:
        """Ends the training as diverged where a value is not finite."""
        if not math.isfinite(value):
            # Numbers as text: JSON has no infinity.
            losses = [str(loss) for loss in self.last_losses]
            where = {"step": self.progress.step, "learning_rate": self.learning_rate, "last_losses": losses}
            raise self.session.mark_diverged({"what": what, "value": str(value), **where})

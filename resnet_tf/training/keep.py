"""Keeps a run while Keras trains it: log rows, best weights, the state to resume from, and stopping when told to."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import keras
import numpy as np

from resnet_tf import files
from resnet_tf.evaluation.score import score
from resnet_tf.models import weights
from resnet_tf.optim.watchers import Watcher
from resnet_tf.run_folder import Run
from resnet_tf.training import state
from resnet_tf.training.distribution import ALONE, Share, undistributed
from resnet_tf.training.plan import Plan
from resnet_tf.training.state import State
from resnet_tf.training.stop import Stop

MADE_WITH = ("versions", "device", "backend")  # what the last bits of a result depend on, in run.json


@dataclass
class Progress:
    """How far a run is: all of its state that is not in Keras's variables. Saved with them.

    Attributes:
        step: updates done.
        phase: the phase they belong to, counted from 1.
        rows: the log's rows, so that a spoilt log costs nothing.
        best_top1: highest validation top-1 so far, in percent.
        epoch_seconds: training time of the current epoch, over stops and resumes.
        seconds: training time of the epochs before.
        watchers: state of each metric-driven rule of the schedule.
    """

    step: int = 0
    phase: int = 1
    rows: list[dict] = field(default_factory=list)
    best_top1: float | None = None
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    watchers: list[dict] = field(default_factory=list)


class KeepRun(keras.callbacks.Callback):
    """Writes what a run leaves behind, and ends the training when it must.

    Args:
        run: whose folder takes it.
        progress: how far the run is; kept up to date here.
        plan: of the phase being trained.
        watchers: the metric-driven rules of its schedule.
        listeners: called with each epoch's row.
        stop: the wish to stop.
        arrays: metric accumulators to take up in the middle of an epoch, from a saved state.
        best: content of the file of best weights, if there are any yet.
        share: this process's part in a training by several.

    Attributes:
        diverged: what was not finite, and where; None as long as all is.
    """

    def __init__(
        self,
        run: Run,
        progress: Progress,
        plan: Plan,
        watchers: list[Watcher],
        listeners: list[Callable[[dict], None]],
        stop: Stop,
        arrays: dict[str, np.ndarray],
        best: bytes | None,
        share: Share = ALONE,
    ):
        super().__init__()
        self.share, self.rows = share, share.rows(plan.preset.train.batch_size)
        self.own: keras.Model | None = None  # a copy that is not distributed
        self.run, self.progress, self.plan, self.watchers = run, progress, plan, watchers
        self.listeners, self.stop, self.best = listeners, stop, best
        self.saved_at = time.monotonic()
        self.metric_arrays = {name: array for name, array in arrays.items() if name.startswith("metric/")}
        self.diverged: dict | None = None
        self.recent_losses: list[float] = []
        about = run.about
        self.made_with = {key: about[key] for key in MADE_WITH}

    @property
    def phase_step(self) -> int:
        """Updates done in this phase."""
        return self.progress.step - self.plan.first_step

    @property
    def at_epoch_end(self) -> bool:
        return self.phase_step % self.plan.steps_per_epoch == 0 or self.phase_step == self.plan.total_steps

    @property
    def rate(self) -> float:
        """The learning rate of the step done last."""
        scale = math.prod(watcher.scale for watcher in self.watchers)
        return float(self.plan.rates[max(0, self.phase_step - 1)]) * scale

    def on_train_begin(self, logs=None):
        if self.watchers:
            self._set_scale()  # a warm-up rule starts below 1

    def on_epoch_begin(self, epoch, logs=None):
        for name, variable in metric_variables(self.model).items():
            if name in self.metric_arrays:
                variable.assign(self.metric_arrays[name])
        self.metric_arrays = {}
        loss, images, correct, _ = (np.float32(variable) for variable in self.model.metrics_variables)
        # By way of the means that Keras hands out, in its own precision: a resumed epoch goes on in the same bits.
        self.images = int(images)
        self.sums = {"loss": loss / images, "top1": correct / images} if images else {"loss": 0.0, "top1": 0.0}
        self.sums = {name: float(mean) * self.images for name, mean in self.sums.items()}
        self.began = time.monotonic() - self.progress.epoch_seconds

    def on_train_batch_end(self, batch, logs=None):
        self.progress.step += 1
        self.progress.epoch_seconds = time.monotonic() - self.began
        values = self._step_values(logs)
        self.recent_losses = [*self.recent_losses[-4:], values["loss"]]
        if not math.isfinite(values["loss"]):
            self._diverge("the loss", values["loss"])
            return
        if self._follow(values, each_step=True):
            self._set_scale()
        if self.at_epoch_end:
            return  # it saves when it has validated
        due = time.monotonic() - self.saved_at >= 60 * self.plan.preset.train.state_minutes
        stop, due = self.share.agree(self.stop, due)
        if stop:
            self.model.stop_training = True
        if (stop or due) and self._weights_are_finite():
            self.save_state()

    def on_epoch_end(self, epoch, logs=None):
        if self.diverged or not self.at_epoch_end or not self._weights_are_finite():
            return
        progress, plan = self.progress, self.plan
        row = {
            "epoch": plan.first_epoch + epoch + 1,
            "step": progress.step,
            "learning_rate": self.rate,
            "loss": float(logs["loss"]),
            "top1": 100 * float(logs["top1"]),
            **self._validate(),
        }
        if not math.isfinite(row.get("validation_loss", 0.0)):
            self._diverge("the validation loss", row["validation_loss"])
            return
        images = (self.phase_step - epoch * plan.steps_per_epoch) * plan.preset.train.batch_size
        rate = images / max(progress.epoch_seconds, 1e-9)
        row["timing"] = {"seconds": round(progress.epoch_seconds, 3), "images_per_second": round(rate, 1)}
        progress.seconds += progress.epoch_seconds
        progress.epoch_seconds = 0.0
        if self._follow(row, each_step=False):
            self._set_scale()
        self._keep_best(row)
        files.append_row(self.run.log, row)
        progress.rows.append(row)
        self.save_state()
        for listener in self.listeners:
            listener(row)
        if self.share.agree(self.stop)[0]:
            self.model.stop_training = True

    def _diverge(self, what: str, value: float) -> None:
        """Ends the training without a save: the states before are the last good ones."""
        self.diverged = {"what": what, "value": str(value), "step": self.progress.step, "learning_rate": self.rate}
        # As text: JSON has no word for what some of these are.
        self.diverged["last_losses"] = [str(loss) for loss in self.recent_losses]
        self.model.stop_training = True

    def _weights_are_finite(self) -> bool:
        """Says whether every variable is finite; diverges if not. A loss shows it only a step later, if at all."""
        synchronise(self.model)
        for name, variable in training_variables(self.model).items():
            array = np.asarray(variable)
            if not np.isfinite(array).all():
                self._diverge(name, array[~np.isfinite(array)][0])
                return False
        return True

    def _validate(self) -> dict:
        if self.plan.validation is None:
            return {}
        if not self.share.devices:
            scores = score(self.model, self.plan.validation, self.plan.dataset.classes)
            return {"validation_loss": scores.loss, "validation_top1": scores.top1}
        with undistributed():  # every process scores all images, by itself
            self.own = self.own or self.plan.network()
            for variable, distributed in zip(self.own.variables, self.model.variables, strict=True):
                variable.assign(np.asarray(distributed))
            scores = score(self.own, self.plan.validation, self.plan.dataset.classes)
        # To the last bit alike everywhere: the rules that watch the scores must decide alike.
        return self.share.of_the_first({"validation_loss": scores.loss, "validation_top1": scores.top1})

    def _keep_best(self, row: dict) -> None:
        top1 = row.get("validation_top1")
        if top1 is not None and (self.progress.best_top1 is None or top1 > self.progress.best_top1):
            self.progress.best_top1 = top1
            self.best = weights.pack(self.model, {key: row[key] for key in ("step", "epoch", "validation_top1")})
            files.write_atomically(self.run.best, self.best)

    def _step_values(self, means: dict) -> dict[str, float]:
        """Returns loss and top-1 (percent) of the last step alone; Keras hands out means since the epoch began."""
        batch = self.plan.preset.train.batch_size
        self.images += batch
        before, self.sums = self.sums, {name: float(means[name]) * self.images for name in self.sums}
        loss, correct = (self.sums[name] - before[name] for name in ("loss", "top1"))
        return {"loss": loss / batch, "top1": 100 * correct / batch}

    def _follow(self, values: dict, each_step: bool) -> bool:
        """Feeds the metric-driven rules of a step or of an epoch; returns whether the rate changed."""
        changed = False
        for watcher in self.watchers:
            if each_step == (watcher.every_steps is not None):
                value = values[watcher.metric.removeprefix("training_")]
                changed |= watcher.add(value) if each_step else watcher.update(value)
        return changed

    def _set_scale(self) -> None:
        synchronise(self.model)
        self.model.optimizer.rate_scale.assign(math.prod(watcher.scale for watcher in self.watchers))

    def save_state(self) -> None:
        self.saved_at = time.monotonic()
        if self.share.index:
            return  # the first process's will do
        synchronise(self.model)
        self.progress.watchers = [watcher.state() for watcher in self.watchers]
        variables = training_variables(self.model)
        if not self.at_epoch_end:
            variables |= metric_variables(self.model)  # at an epoch's end they start anew
        values = {"progress": asdict(self.progress), "made_with": self.made_with}
        state.save(self.run.state, State(self.progress.step, copied(variables), self.best, values))


def synchronise(model: keras.Model) -> None:
    """Lets a model's variables hold what training has made of them; in JAX a step works on copies.

    To be called in the middle of an epoch before variables are read or assigned; at its end Keras does so.
    """
    if keras.backend.backend() == "jax":
        model.jax_state_sync()


def copied(variables: dict[str, keras.Variable]) -> dict[str, np.ndarray]:
    """Returns a copy of each variable, by name."""
    return {name: np.array(variable) for name, variable in variables.items()}


def training_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns the variables that a training carries from step to step: weights, statistics, optimizer slots."""
    found = {f"model/{variable.path}": variable for variable in model.variables}
    for variable in model.optimizer.variables:
        # Without the optimizer's own name, which Keras numbers: a second one of a process is "sgd_1".
        found[f"optimizer/{variable.path.partition('/')[2]}"] = variable
    return found


def metric_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns the accumulators of the current epoch's metrics, loss included."""
    return {f"metric/{i}": variable for i, variable in enumerate(model.metrics_variables)}

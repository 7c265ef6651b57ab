"""A training session: the run, and what its steps share, from its opening to its row in the ledger."""

from pathlib import Path

import keras

from resnet_tf import files, installation, plots
from resnet_tf.errors import Stopped, UserError
from resnet_tf.format import duration, iso_time, printable
from resnet_tf.log import logger
from resnet_tf.models import weights
from resnet_tf.models.cost import describe_network, describe_stages, network_size
from resnet_tf.runs import ledger
from resnet_tf.runs.curves import curves
from resnet_tf.runs.records import TrainingRecord
from resnet_tf.runs.run import Run, trained_with
from resnet_tf.tensorboard import TensorBoardLog
from resnet_tf.training import checkpoint, resume
from resnet_tf.training.checkpoint import Progress, State
from resnet_tf.training.device import device_description
from resnet_tf.training.display import ProgressDisplay
from resnet_tf.training.distributed import ProcessGroup
from resnet_tf.training.plan import Plan
from resnet_tf.training.recalibration import recalibrate_if_lagging
from resnet_tf.training.signals import StopSignal
from resnet_tf.transfer import describe_start


class Session:
    """What all steps of a training share.

    Args:
        run: the run that is trained.
        runs: the folder of all runs.
        plans: its phases.
        group: this process's place among several.
        saved: the state that the session goes on from; None for a new run.

    Attributes:
        preset: the recipe of the whole run.
        progress: how far the run is.
        best: content of the file of best weights, once there are any.
        made_with: see `State`.
        stop: the user's request to stop.
        display, board: show the progress in the terminal and in TensorBoard.
    """

    def __init__(self, run: Run, runs: Path, plans: list[Plan], group: ProcessGroup, saved: State | None):
        self.run, self.runs, self.plans, self.group, self.saved = run, runs, plans, group, saved
        self.preset, last = run.preset, plans[-1]
        self.progress, self.best = (Progress(), None) if saved is None else (saved.progress, saved.best)
        self.made_with = {
            "versions": ledger.versions(keras.backend.backend()),
            "device": device_description() + group.description,
            "backend": keras.backend.backend(),
        }
        self.total_steps = last.last_step
        self.stop = StopSignal()
        self.display = ProgressDisplay(self.total_steps, last.first_epoch + last.epochs, self.progress.step)
        self.board = TensorBoardLog(run)

    def open(self) -> None:
        """Writes into the run what it is trained with from now on, and logs it."""
        precisions = dict.fromkeys(plan.preset.train.precision for plan in self.plans)
        self.run.update(
            status="running",
            step=None,  # until it stops: what was measured at an earlier step counts no more
            preset_hash=self.preset.hash,
            steps_planned=self.total_steps,
            precision=", then ".join(precisions),
            jit_compile=any(plan.compiled_by_xla for plan in self.plans),
            **self.made_with,
        )
        if self.saved is not None:
            logger.info(f"resuming {self.run.name} after step {self.progress.step:,}")
            before, now = self.saved.made_with, self.made_with
            if changed := [f"{key} {before[key]} -> {now[key]}" for key in now if before[key] != now[key]]:
                until = {"until_step": self.progress.step, **before}
                self.run.update(earlier=[*self.run.about.get("earlier", []), until])
                logger.info(f"the last bits may differ from an unbroken run's: {'; '.join(changed)}")
        resume.restore_files(self.run, self.progress, self.best)
        self._log_header()
        size = network_size(self.preset.model, self.preset.data.image_size, self.plans[0].dataset.classes)
        self.board.open(describe_stages(size))

    def _log_header(self) -> None:
        info = self.run.about
        logger.info(f"run {self.run.folder}")
        logger.info(f"{self.preset.title}: {describe_network(self.preset, self.plans[0].dataset.classes)}")
        logger.info(f"images: {info['data']['title']}, {printable(info['data']['source'])}")
        device = f"{info['device']} ({info['backend']}, {info['precision']}{', XLA' * info['jit_compile']})"
        if "init" in info:
            logger.info(describe_start(info["init"]))
        phases = f" in {len(self.plans)} phases" if len(self.plans) > 1 else ""
        logger.info(f"on {device}, seed {info['seed']}, {self.total_steps:,} steps{phases}")

    def mark_stopped(self) -> Stopped:
        """Marks the run as stopped before its end; returns the exception to raise."""
        step = self.progress.step
        self.run.forget_predictions()
        seconds = self.progress.seconds + self.progress.epoch_seconds
        self.run.update(status="stopped", step=step, seconds=round(seconds, 1))
        again = f"{self.run.as_argument}{' --distribute' * bool(self.group.devices)}"
        return Stopped(
            f"stopped at step {step:,} of {self.total_steps:,}; saved in {self.run.folder}. Go on with "
            f"{installation.call('train')} --resume {again}.",
            self.stop.signal,
        )

    def mark_diverged(self, cause: dict) -> UserError:
        """Writes into the run and the ledger that the run diverged; returns the exception to raise.

        Args:
            cause: "what" was not finite, its "value", "step", "learning_rate" and "last_losses".
        """
        self.display.stop_bar()
        self._close("diverged", cause)
        states = checkpoint.saved_states(self.run.state)
        saved = f" and its checkpoint after step {checkpoint.step_of(states[0]):,} is kept" if states else ""
        return UserError(
            f"Training diverged at step {cause['step']:,}: {cause['what']} became {cause['value']} (learning rate "
            f"{cause['learning_rate']:g}, last losses {', '.join(cause['last_losses'])}). The run is marked as "
            f"diverged{saved}. Try a lower optimizer.learning_rate, in a new run.",
            "training-diverged",
        )

    def finish(self, network: keras.Model, keep_state: bool) -> None:
        """Writes the last weights, and the end of the training into the run and the ledger; then frees its states.

        After a kill in the middle the run is unfinished: the next start repeats this. States are removed only once it
        is marked as finished.

        Args:
            keep_state: keep one state, from which the run can be made longer, or none.
        """
        metadata = {key: self.last[key] for key in ("step", "epoch", "validation_top1") if key in self.last}
        weights.save(network, self.run.last, metadata)
        # Written in any case: a run that has grown may have been recalibrated at its earlier end.
        top1 = None if self.group.devices else recalibrate_if_lagging(self.run, self.plans[-1], self.last)
        self.run.update(recalibrated=top1 is not None, recalibrated_top1=top1)
        self.run.figures.mkdir(exist_ok=True)
        files.write_atomically(self.run.curves, plots.encode(curves(self.run.name, self.progress.rows), "png"))
        self._close("finished")
        if keep_state:
            checkpoint.keep_newest(self.run.state, self.run.best)
        else:
            checkpoint.discard(self.run.state)
        logger.info(
            f"trained in {duration(self.progress.seconds)}; weights in {self.run.last.parent}, curves in "
            f"{self.run.curves}"
        )

    @property
    def last(self) -> dict:
        """The log's last row, without its timing."""
        rows = self.progress.rows
        return {key: value for key, value in (rows[-1] if rows else {}).items() if key != "timing"}

    def _close(self, status: str, diverged: dict | None = None) -> None:
        """Writes the end of the training into the ledger, once even if a kill repeats this, and then into the run."""
        progress, about, last = self.progress, self.run.about, self.last
        ending = {
            "status": status,
            "step": progress.step,
            "seconds": round(progress.seconds, 1),
            "finished": iso_time(),
        }
        keys = ("preset_hash", "seed", "data", "changed", "steps_planned")
        training = TrainingRecord(
            date=ending["finished"],
            run=self.run.name,
            preset=self.preset.name,
            **{key: about[key] for key in (*keys, "precision", "jit_compile", "versions")},
            **{key: trained_with(about, key) for key in ("device", "backend")},
            init=about.get("init", {}).get("run"),
            status=status,
            step=last.get("step", progress.step),
            seconds=ending["seconds"],
            last={key: value for key, value in last.items() if key != "step"},
            best_validation_top1=progress.best_top1,
            diverged=diverged,
        )
        identity = training.run, training.step, training.status
        known = ledger.trainings(self.runs, log_torn=True)
        if identity not in ((row.run, row.step, row.status) for row in known):
            ledger.append(self.runs, ledger.TRAINED, training.to_row())
        self.run.forget_predictions()  # of the best weights of an earlier epoch
        self.run.update(**ending, last=last)
        self.board.write_hparams({key: last[key] for key in ("validation_top1", "validation_loss") if key in last})

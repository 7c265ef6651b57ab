"""A training session: the run, and what its steps share, from its opening to its row in the ledger."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import keras

from resnet_tf import files
from resnet_tf.errors import Stopped, UserError
from resnet_tf.format import duration, printable
from resnet_tf.log import logger
from resnet_tf.models import weights
from resnet_tf.models.cost import describe_network, describe_stages, network_size
from resnet_tf.runs import ledger
from resnet_tf.runs.run_folder import Run
from resnet_tf.training import checkpoint, resume
from resnet_tf.training.checkpoint import Progress, State
from resnet_tf.training.device import device_description
from resnet_tf.training.distributed import ProcessGroup
from resnet_tf.training.plan import Plan
from resnet_tf.training.progress import ProgressDisplay
from resnet_tf.training.recalibration import mend_lag
from resnet_tf.training.signals import StopSignal
from resnet_tf.training.tensorboard import TensorBoardLog


@dataclass(eq=False)
class Diverged(Exception):
    """What was not finite, where, and the losses before it; numbers as text, as JSON has no word for infinity."""

    what: str
    value: str
    step: int
    learning_rate: float
    last_losses: list[str]


class Session:
    """What all steps of a training share.

    Args:
        run: the run that is trained.
        runs: the folder of all runs.
        plans: its phases.
        group: this process's place in a training by several.
        saved: the state that the session goes on from; None for a new run.

    Attributes:
        preset: the recipe of the whole run.
        progress: how far the run is.
        best: content of the file of best weights, once there are any.
        made_with: see `State`.
        stop: the user's request to stop.
        display, board: show the progress in the terminal and in TensorBoard.
    """

    def __init__(
        self,
        run: Run,
        runs: Path,
        plans: list[Plan],
        group: ProcessGroup,
        saved: State | None = None,
    ):
        self.run, self.runs, self.plans, self.group, self.saved = run, runs, plans, group, saved
        self.preset, last = run.preset, plans[-1]
        self.progress, self.best = (Progress(), None) if saved is None else (saved.progress, saved.best)
        self.made_with = {
            "versions": ledger.versions(keras.backend.backend()),
            "device": device_description() + group.description,
            "backend": keras.backend.backend(),
        }
        # Whoever signals a process that prints nothing else must see that it was heard.
        self.stop = StopSignal()
        self.display = ProgressDisplay(last.last_step, last.first_epoch + last.epochs, self.progress.step)
        self.board = TensorBoardLog(run)

    @property
    def total_steps(self) -> int:
        """Updates of the whole run."""
        return self.plans[-1].last_step

    def open(self) -> None:
        """Writes into the run what it is trained with from now on, and prints it."""
        precisions = dict.fromkeys(plan.preset.train.precision for plan in self.plans)
        self.run.update(
            status="running",
            preset_hash=self.preset.hash,
            steps_planned=self.total_steps,
            precision=", then ".join(precisions),
            jit_compile=any(plan.compiled_by_xla for plan in self.plans),
            **self.made_with,
        )
        if self.saved is not None:
            logger.info(f"resuming {self.run.name} after step {self.progress.step:,}")
            resume.say_what_changed(self.saved.made_with, self.made_with)
        resume.restore_files(self.run, self.progress, self.best)
        self._introduce()
        plan = self.plans[0]
        size = network_size(plan.preset.model, self.preset.data.image_size, plan.dataset.classes)
        self.board.open(describe_stages(size))

    def _introduce(self) -> None:
        about, preset = self.run.about, self.preset
        logger.info(f"run {self.run.folder}")
        logger.info(f"{preset.title}: {describe_network(preset, self.plans[0].dataset.classes)}")
        logger.info(f"images: {about['data']['title']}, from {printable(about['data']['source'])}")
        means = f"{about['device']} ({about['backend']}, {about['precision']}{', XLA' * about['jit_compile']})"
        phases = f" in {len(self.plans)} phases" if len(self.plans) > 1 else ""
        logger.info(f"on {means}, seed {about['seed']}, {self.total_steps:,} steps{phases}")

    def stopped(self) -> Stopped:
        """Writes into the run that it stopped before its end; returns the exception that says so."""
        step = self.progress.step
        self.run.update(status="stopped", step=step)
        return Stopped(
            f"stopped at step {step:,} of {self.total_steps:,}; saved in {self.run.folder}. Go on with the same "
            "command and --resume.",
            self.stop.signal,
        )

    def diverged(self, divergence: Diverged) -> UserError:
        """Writes into the run and the ledger that it diverged; returns the exception that says so."""
        self._close("diverged", {"diverged": dataclasses.asdict(divergence)})
        states = checkpoint.saved_states(self.run.state)
        kept = f" and its state after step {checkpoint.step_of(states[0]):,} is kept" if states else ""
        return UserError(
            f"a training must stay finite. Received: {divergence.what} = {divergence.value} at step "
            f"{divergence.step:,}, rate {divergence.learning_rate:g}, last losses "
            f"{', '.join(divergence.last_losses)}; the run is marked as diverged{kept}. Try a lower "
            "optimizer.learning_rate, in a new run."
        )

    def finish(self, network: keras.Model) -> None:
        """Writes the last weights, and the end of the training into the run and the ledger.

        A kill in the middle leaves the run unfinished; the next start comes here again and does what is missing.
        """
        about = {key: self.last[key] for key in ("step", "epoch", "validation_top1") if key in self.last}
        weights.save(network, self.run.last, about)
        # Written in any case: a run that is gone on with may have been mended at its earlier end.
        top1 = None if self.group.devices else mend_lag(self.run, self.plans[-1], self.last)
        self.run.update(recalibrated=top1 is not None, recalibrated_top1=top1)
        self._close("finished", {})
        logger.info(f"trained in {duration(self.progress.seconds)}; weights in {self.run.last.parent}")

    @property
    def last(self) -> dict:
        """The log's last row, without its timing."""
        rows = self.progress.rows
        return {key: value for key, value in (rows[-1] if rows else {}).items() if key != "timing"}

    def _close(self, status: str, more: dict) -> None:
        progress = self.progress
        ending = {
            "status": status,
            "step": progress.step,
            "seconds": round(progress.seconds, 1),
            "finished": ledger.now(),
        }
        about = {**self.run.about, **ending}
        keys = ("preset_hash", "seed", "data", "changed", "status", "step", "steps_planned", "seconds", "device")
        row = {
            "date": about["finished"],
            "run": self.run.name,
            "preset": self.preset.name,
            **{key: about[key] for key in (*keys, "backend", "precision", "jit_compile", "versions")},
            **self.last,
            "best_validation_top1": progress.best_top1,
            **more,
        }
        path = self.runs / ledger.TRAINED
        rows, torn = files.read_rows(path)
        if torn:
            logger.info(f"{path}: {torn} torn row{'s' * (torn > 1)} passed over")
        if not any(all(known.get(key) == row[key] for key in ("run", "step", "status")) for known in rows):
            ledger.append(self.runs, ledger.TRAINED, row)
        self.run.update(**ending, last=self.last)
        self.board.write_hparams(
            {key: self.last[key] for key in ("validation_top1", "validation_loss") if key in self.last}
        )

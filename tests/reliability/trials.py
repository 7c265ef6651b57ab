"""Trainings that are killed, stopped and broken on purpose, each in a process of its own.

The processes are forked from a server that has imported TensorFlow and run nothing (one thread, no context): a start
costs milliseconds, not seconds, and no trial inherits anything of another.
"""

import hashlib
import io
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from resnet_tf import files
from resnet_tf.errors import Stopped, UserError
from resnet_tf.presets.preset_files import load_preset
from resnet_tf.runs.choose import all_runs
from resnet_tf.training import checkpoint
from resnet_tf.training.train import train

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["trials", "pytest", "PIL.Image"])

# Distinct images in a shuffled order, augmentation, two phases, a plateau rule that counts steps, best weights, and
# states saved in the middle of epochs too: 4 epochs of 10 steps.
PRESET = {
    "name": "tiny",
    "model": {"num_residual_units": 1, "filters": [4]},
    "data": {"dataset": "cifar10", "validation_size": 40, "augment": "pad_crop(4) | flip_horizontal"},
    "train": {"batch_size": 20, "epochs": 2, "state_minutes": 0.0003},
    "optimizer": {"name": "sgd", "learning_rate": 0.1, "weight_decay": 1e-4},
    "schedule": {
        "name": "plateau",
        "metric": "training_loss",
        "every_steps": 3,
        "patience": 0,
        "factor": 0.7,
        "threshold": 0.05,
    },
    "phases": [
        {},
        {
            "data": {"augment": "random_crop(24) | flip_horizontal", "image_size": 24},
            "optimizer": {"learning_rate": 0.05},
            "evaluation": {"frame": "center_crop(24)"},
        },
    ],
}
STEPS = 40
SEED = 2  # with it the best weights are those of the second epoch: the rest must remember them


class Trial:
    """A training in a process of its own.

    Args:
        data: the folder of images.
        runs: the folder of runs.
        resume: go on with the run in it, or with the run of this name.
        act: what to do at each moment of the run, called with its number and its name; see `watch_moments`.
        preset: changes to PRESET.
        log: the folder that takes what the process prints; default: that of the runs.
    """

    def __init__(
        self,
        data: Path,
        runs: Path,
        resume: bool | str = False,
        act: Callable[[int, str], None] | None = None,
        preset: dict | None = None,
        log: Path | None = None,
    ):
        runs.mkdir(exist_ok=True)
        self.log = (log or runs) / f"output-{time.monotonic_ns()}.txt"
        self.reader, writer = CONTEXT.Pipe(duplex=False)
        arguments = (data, runs, resume, act, preset or {}, self.log, writer)
        self.process = CONTEXT.Process(target=_train, args=arguments)
        self.process.start()
        writer.close()
        self.reader.recv()  # the imports are done

    def signal_after(self, seconds: float, number: int) -> int:
        """Sends a signal after this time, unless the training ends before; returns the exit code."""
        self.process.join(seconds)
        if self.process.is_alive():
            os.kill(self.process.pid, number)
        return self.end()

    def end(self) -> int:
        """Waits for the end; returns the exit code, below 0 for a signal that killed the process."""
        self.process.join(300)
        assert not self.process.is_alive(), "a training hangs"
        return self.process.exitcode

    @property
    def moments(self) -> list[str]:
        """The moments of a training that ended by itself."""
        return self.reader.recv()

    @property
    def output(self) -> str:
        return self.log.read_text()


class Send:
    """At one moment of a run, send its process a signal."""

    def __init__(self, number: int, moment: int):
        self.number, self.moment = number, moment

    def __call__(self, moment: int, name: str) -> None:
        if moment == self.moment:
            os.kill(os.getpid(), self.number)


class SendAtStep(Send):
    """At the end of one step, counted from 1 in this process, send the process a signal."""

    def __init__(self, number: int, step: int):
        super().__init__(number, step)
        self.steps = 0

    def __call__(self, moment: int, name: str) -> None:
        self.steps += name == "step"
        if name == "step" and self.steps == self.moment:
            os.kill(os.getpid(), self.number)


class Fail:
    """From one moment of a run on (or at it alone), let everything that writes fail, as on a full or protected disk."""

    def __init__(self, number: int, moment: int, lasting: bool):
        self.number, self.moment, self.lasting = number, moment, lasting

    def __call__(self, moment: int, name: str) -> None:
        due = moment >= self.moment if self.lasting else moment == self.moment
        if due and name not in ("step", "remove", "rmdir"):
            raise OSError(self.number, os.strerror(self.number))


def _train(data: Path, runs: Path, resume, act, preset: dict, log: Path, writer) -> None:
    """The life of a trial's process."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    tf.config.threading.set_intra_op_parallelism_threads(1)  # two trials share two cores
    tf.config.threading.set_inter_op_parallelism_threads(1)
    moments, on_step = watch_moments(runs / "tiny", act)
    writer.send("imported")
    try:
        train(load_preset(PRESET, **preset), str(data), runs, seed=SEED, resume=resume, on_step=on_step)
        code = 0
    except (UserError, Stopped) as error:
        print(error)
        code = error.exit_code
    except KeyboardInterrupt:  # before the training listens
        code = 130
    writer.send(moments)
    sys.stdout.flush()
    os._exit(code)


def watch_moments(folder: Path, act: Callable[[int, str], None] | None = None) -> tuple[list[str], Callable]:
    """Calls `act` after each step's update and before each thing that this process does to a file in a folder.

    Those are open, mkdir, rename, remove, rmdir, fsync and write, the last when half of the content is written.

    Returns:
        The list that the names of the moments are added to, and the `on_step` that a training must be given.
    """
    folder, moments = str(folder), []

    def moment(name: str) -> None:
        moments.append(name)
        if act is not None:
            act(len(moments) - 1, name)

    def hook(event: str, arguments: tuple) -> None:
        name = event.removeprefix("os.")
        if name not in ("open", "mkdir", "rename", "remove", "rmdir"):
            return
        if name == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        # shutil.rmtree names files within an opened folder.
        if folder in str(arguments[0]) or (name in ("remove", "rmdir") and arguments[1] != -1):
            moment(name)

    def fsync(descriptor: int, original=os.fsync) -> None:
        moment("fsync")
        original(descriptor)

    def write(descriptor: int, content: bytes, original=os.write) -> int:
        if folder not in os.readlink(f"/proc/self/fd/{descriptor}"):
            return original(descriptor, content)
        done = original(descriptor, content[: len(content) // 2])
        moment("write")
        return done + original(descriptor, content[done:])

    class Halved(io.FileIO):
        def write(self, content):
            done = super().write(content[: len(content) // 2])
            moment("write")
            return done + super().write(content[done:])

    os.fsync, os.write = fsync, write
    files.open = lambda path, mode: (Halved if mode == "xb" else open)(path, mode)
    sys.addaudithook(hook)
    return moments, lambda phase: moment("step")


def outcome(runs: Path) -> dict:
    """Returns all that a finished run leaves, as plain values: to be equal to another's bit for bit."""
    (run,) = all_runs(runs)
    assert run.about["status"] == "finished"
    saved = checkpoint.load(run.state)
    progress = {key: value for key, value in vars(saved.progress).items() if "seconds" not in key}
    progress["rows"] = [_without(row, "timing") for row in progress["rows"]]
    rows, torn = files.read_rows(runs / "train_overall.jsonl")
    return {
        "arrays": {
            name: (str(array.dtype), array.shape, _digest(array.tobytes())) for name, array in saved.arrays.items()
        },
        "best": (_digest(run.best.read_bytes()), _digest(saved.best)),
        "last": _digest(run.last.read_bytes()),
        "progress": progress,
        "log": [_without(row, "timing") for row in run.rows],
        "ledger": ([_without(row, "date", "run", "seconds") for row in rows], torn),
    }


def finish(data: Path, runs: Path, preset: dict | None = None) -> Trial | None:
    """Goes on with the run in a folder until it is finished; begins one where the last died before there was any."""
    if is_finished(runs):
        return None
    trial = Trial(data, runs, resume=bool(all_runs(runs)), preset=preset)
    assert trial.end() == 0, trial.output
    return trial


def is_finished(runs: Path) -> bool:
    return any(run.about["status"] == "finished" for run in all_runs(runs))


def _without(row: dict, *keys: str) -> dict:
    return {key: value for key, value in row.items() if key not in keys}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

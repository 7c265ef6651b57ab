"""One training on several devices: with `keras.distribution` on JAX, by several processes too, or TensorFlow's mirrors.

Every process computes the same plan from (preset, images, seed) and takes its rows of every global batch; sums over the
batch, batch norm's statistics among them, are over all of it. The first process alone writes into the folder of runs.
The others keep theirs in a temporary folder, so that nothing else needs to know which process it is in.
"""

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from resnet_tf.errors import Stopped, UserError
from resnet_tf.format import first_line
from resnet_tf.log import logger
from resnet_tf.presets.schema import Train
from resnet_tf.runs.run_folder import Run

VARIABLES = [f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")]
COPIED = ("run.json", "preset.json", "log.jsonl", "state", "weights")


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together, seen from one of them.

    Attributes:
        rank: of this process, from 0; process 0 alone writes into the folder of runs.
        world_size: number of processes.
        devices: over all processes; 0: the training is not distributed.
        scope: gives the context that a network must be built in.
    """

    rank: int = 0
    world_size: int = 1
    devices: int = 0
    scope: Callable[[], AbstractContextManager] = nullcontext

    @property
    def description(self) -> str:
        """What follows a device's description."""
        if not self.devices:
            return ""
        devices = f"{self.devices} device{'s' * (self.devices > 1)}"
        return f"; distributed over {devices} of {self.world_size} process{'es' * (self.world_size > 1)}"

    def check(self, train: Train) -> None:
        """Checks that a training can be distributed this way.

        Raises:
            UserError: a batch cannot be divided evenly, or XLA is to compile a step of several TensorFlow devices.
        """
        if train.batch_size % max(1, self.devices):
            raise UserError(
                f"a batch must be a multiple of the devices. Received: train.batch_size={train.batch_size}, "
                f"{self.devices} devices."
            )
        if train.jit_compile and self.devices > 1 and keras.backend.backend() == "tensorflow":
            raise UserError(
                "XLA cannot compile a step that several devices share in TensorFlow. Received: train.jit_compile=true, "
                f"{self.devices} devices. Set KERAS_BACKEND=jax, which always compiles, or train.jit_compile=false."
            )

    def rows(self, batch_size: int) -> tuple[int, int]:
        """Returns the first row of a global batch that this process takes, and how many."""
        return self.rank * (batch_size // self.world_size), batch_size // self.world_size

    def check_alike(self, **facts) -> None:
        """Checks that all processes are about to train the same; every process must call it.

        Raises:
            UserError: in all of them, if the facts differ.
        """
        if self.world_size > 1:
            digests = _all_gather(np.frombuffer(hashlib.sha256(repr(facts).encode()).digest(), np.uint8))
            if len({digest.tobytes() for digest in digests}) > 1:
                raise UserError(
                    f"all processes must train the same from the same step with the same versions. Received: "
                    f"differences; this one has {', '.join(f'{name} {value}' for name, value in facts.items())}."
                )

    def any_of(self, signal: int | None, due: bool) -> tuple[int | None, bool]:
        """All-reduces a request to stop and whether a checkpoint is due; every process must call it at the same step.

        Returns:
            The number of a signal that any process received, None where none did; and whether any checkpoint is due.
        """
        if self.world_size == 1:
            return signal, due
        signal, due = _all_gather(np.array([signal or 0, due], np.int32)).max(axis=0).tolist()
        return signal or None, bool(due)

    def broadcast(self, values: dict[str, float]) -> dict[str, float]:
        """Returns the values of process 0, as float32; every process must call it."""
        if self.world_size == 1:
            return values
        return dict(zip(values, _all_gather(np.array(list(values.values()), np.float32))[0].tolist(), strict=True))

    @contextmanager
    def workplace(self, run: Run | None, runs: str | Path) -> Iterator[tuple]:
        """Gives (run, runs) as this process is to use them.

        Any but the first gets a folder of runs of its own, in it a copy of the run to go on with, and shows nothing but
        its bar.
        """
        with tempfile.TemporaryDirectory() as folder:
            if self.rank:
                runs = folder
                logger.setLevel(logging.ERROR)
                run = run and _copied(run, Path(folder))
            if self.world_size > 1:
                _all_gather(np.zeros(1, np.int32))  # all have their copy before the first writes into the run
            try:
                yield run, runs
            except Stopped as stopped:
                if self.rank:  # where it saved is gone in a moment
                    raise Stopped("stopped with the first process", stopped.exit_code - 128) from stopped
                raise


SINGLE_PROCESS = ProcessGroup()


def single_process() -> ProcessGroup:
    """Returns the group of a process that trains by itself, on one device.

    Raises:
        UserError: the environment names processes, each of which would train the whole by itself.
    """
    if check_variables():
        raise UserError(
            f"processes that train together are started with --distribute. Received: {', '.join(VARIABLES)} without "
            "it. Add it, or unset them."
        )
    return SINGLE_PROCESS


def join() -> ProcessGroup:
    """Joins the processes that Keras's environment variables name, if they do, and spreads batches over all devices.

    These are KERAS_DISTRIBUTION_JOB_ADDRESSES (address and port of the first process), _NUM_PROCESSES and _PROCESS_ID.

    Raises:
        UserError: the backend cannot do that, or the processes do not find each other.
    """
    backend, processes = keras.backend.backend(), check_variables()
    if backend == "tensorflow" and not processes:
        return _mirrored()
    if backend != "jax":
        raise UserError(
            f"several processes train together with JAX. Received: {', '.join(VARIABLES)} and the backend {backend}. "
            "Set KERAS_BACKEND=jax, or train on this machine's devices alone without those variables."
        )
    import jax

    if processes:
        try:
            keras.distribution.initialize()
        except (ValueError, RuntimeError, IndexError) as error:
            reason = first_line(error)
            raise UserError(f"the processes of a training must find each other. Received: {reason}") from error
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    group = ProcessGroup(jax.process_index(), jax.process_count(), jax.device_count())
    if group.devices % group.world_size or jax.local_device_count() * group.world_size != group.devices:
        raise UserError(
            f"every process needs as many devices. Received: {jax.local_device_count()} here, {group.devices} in "
            f"{group.world_size} processes."
        )
    return group


def _mirrored() -> ProcessGroup:
    """Spreads batches over this machine's devices with TensorFlow, which keeps every variable on each of them."""
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    return ProcessGroup(devices=len(devices), scope=strategy.scope)


def check_variables() -> bool:
    """Says whether the environment names processes.

    Raises:
        UserError: it does so in part, or wrongly.
    """
    missing = [name for name in VARIABLES if not os.environ.get(name)]
    if len(missing) == len(VARIABLES):
        return False
    if missing:
        raise UserError(f"{', '.join(VARIABLES)} belong together. Received: none for {', '.join(missing)}.")
    _, count, index = (os.environ[name] for name in VARIABLES)
    if not (count.isdecimal() and index.isdecimal() and int(index) < int(count)):
        raise UserError(
            f"{VARIABLES[2]} counts from 0 to {VARIABLES[1]} - 1. Received: {index!r} of {count!r} processes."
        )
    return True


def _all_gather(values: np.ndarray) -> np.ndarray:
    """Returns every process's values, [processes, ...]; every process must call it at the same step."""
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(values))


def _copied(run: Run, folder: Path) -> Run:
    """Copies what a process needs of a run to go on with it."""
    copy = folder / run.folder.parent.name / run.folder.name
    copy.mkdir(parents=True)
    for name in COPIED:
        place = run.folder / name
        if place.is_dir():
            shutil.copytree(place, copy / name)
        elif place.exists():
            shutil.copy(place, copy)
    return Run(copy)


@contextmanager
def undistributed() -> Iterator[None]:
    """Lets a network be built and used that belongs to this process alone."""
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)

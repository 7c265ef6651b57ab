"""One training on several devices: TensorFlow's `MirroredStrategy`, or JAX with `keras.distribution`.

With JAX several processes can train together. Each makes the same plan from (preset, images, seed) and computes its
rows of every batch; sums and batch norm's statistics are over the whole batch. Process 0 alone writes into the folder
of runs. The others write into a temporary folder, so that the rest of the code need not know which process it is in.
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
from resnet_tf.format import first_line, plural
from resnet_tf.log import logger
from resnet_tf.presets.sections import Train
from resnet_tf.runs.run import Run

VARIABLES = [f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")]


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together, as one of them sees them.

    Attributes:
        rank: of this process, from 0.
        world_size: number of processes.
        devices: over all processes; 0: the training is not distributed.
        scope: returns the context in which a network must be built.
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
        processes = f"{self.world_size} process{'es' * (self.world_size > 1)}"
        return f"; distributed over {plural(self.devices, 'device')} of {processes}"

    def check(self, train: Train) -> None:
        """Raises UserError where a batch cannot be divided evenly, or XLA cannot compile the step for the devices."""
        if train.batch_size % max(1, self.devices):
            raise UserError(
                f"a batch must be a multiple of the devices. Received: train.batch_size={train.batch_size}, "
                f"{self.devices} devices.",
                "batch-not-divisible",
            )
        if train.jit_compile and self.devices > 1 and keras.backend.backend() == "tensorflow":
            raise UserError(
                "XLA cannot compile a step that several devices share in TensorFlow. Received: train.jit_compile=true, "
                f"{self.devices} devices. Set KERAS_BACKEND=jax, which always compiles, or train.jit_compile=false.",
                "xla-on-several-devices",
            )

    def rows(self, batch_size: int) -> tuple[int, int]:
        """Returns the first row of a global batch that this process takes, and how many."""
        return self.rank * (batch_size // self.world_size), batch_size // self.world_size

    def check_alike(self, **facts) -> None:
        """Raises UserError in every process where the facts differ between processes; all must call it."""
        if self.world_size > 1:
            digests = _all_gather(np.frombuffer(hashlib.sha256(repr(facts).encode()).digest(), np.uint8))
            if len({digest.tobytes() for digest in digests}) > 1:
                raise UserError(
                    f"all processes must train the same from the same step with the same versions. Received: "
                    f"differences; this one has {', '.join(f'{name} {value}' for name, value in facts.items())}.",
                    "processes-differ",
                )

    def any_of(self, signal: int | None, due: bool) -> tuple[int | None, bool]:
        """Returns a signal that any process received, or None, and whether a checkpoint is due in any process.

        Every process must call it at the same step.
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
    def workplace(self, run: Run | None, runs: str | Path) -> Iterator[tuple[Run | None, str | Path]]:
        """Gives (run, runs) as this process may write into them.

        Every process but process 0 gets a temporary folder of runs with a copy of the run, and logs errors only.
        """
        with tempfile.TemporaryDirectory() if self.rank else nullcontext() as folder:
            if self.rank:
                runs = folder
                logger.setLevel(logging.ERROR)
                if run is not None:
                    copy = Path(folder, run.folder.parent.name, run.folder.name)
                    run = Run(shutil.copytree(run.folder, copy, ignore=shutil.ignore_patterns("tensorboard", "export")))
            if self.world_size > 1:
                _all_gather(np.zeros(1, np.int32))  # process 0 must not write before all have their copy
            try:
                yield run, runs
            except Stopped as stopped:
                if self.rank:  # its message names the temporary folder
                    raise Stopped("stopped with the first process", stopped.signal_number) from stopped
                raise


SINGLE_PROCESS = ProcessGroup()


def process_group(distribute: bool) -> ProcessGroup:
    """Returns the group of this process: itself on one device, or with `distribute` all devices of all processes.

    Keras's environment variables name several processes: KERAS_DISTRIBUTION_JOB_ADDRESSES (address and port of process
    0), _NUM_PROCESSES and _PROCESS_ID.

    Raises:
        UserError: the variables are wrong or need `distribute`, the backend has no such thing, or the processes do not
            find each other.
    """
    backend, several = keras.backend.backend(), check_variables()
    if several and not distribute:
        raise UserError(
            f"processes that train together are started with --distribute. Received: {', '.join(VARIABLES)} without "
            "it. Add it, or unset them.",
            "distribute-missing",
        )
    if not distribute:
        return SINGLE_PROCESS
    if backend == "tensorflow" and not several:
        import tensorflow as tf

        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
        return ProcessGroup(devices=len(devices), scope=strategy.scope)
    if backend != "jax":
        raise UserError(
            f"several processes train together with JAX. Received: {', '.join(VARIABLES)} and the backend {backend}. "
            "Set KERAS_BACKEND=jax, or train on this machine's devices alone without those variables.",
            "backend-single-process",
        )
    import jax

    if several:
        try:
            keras.distribution.initialize()
        except (ValueError, RuntimeError, IndexError) as error:
            reason = first_line(error)
            message = f"the processes of a training must find each other. Received: {reason}"
            raise UserError(message, "processes-not-found") from error
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    group = ProcessGroup(jax.process_index(), jax.process_count(), jax.device_count())
    if jax.local_device_count() * group.world_size != group.devices:
        raise UserError(
            f"every process needs as many devices. Received: {jax.local_device_count()} here, {group.devices} in "
            f"{group.world_size} processes.",
            "devices-differ",
        )
    return group


def check_variables() -> bool:
    """Returns whether the environment names several processes.

    Raises:
        UserError: only some of the variables are set, or they are wrong.
    """
    values = {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}
    if not values:
        return False
    if missing := [name for name in VARIABLES if name not in values]:
        message = f"{', '.join(VARIABLES)} belong together. Received: none for {', '.join(missing)}."
        raise UserError(message, "process-variables")
    _, count, rank = values.values()
    if not (count.isdecimal() and rank.isdecimal() and int(rank) < int(count)):
        message = f"{VARIABLES[2]} counts from 0 to {VARIABLES[1]} - 1. Received: {rank!r} of {count!r} processes."
        raise UserError(message, "process-variables")
    return True


def _all_gather(values: np.ndarray) -> np.ndarray:
    """Returns every process's values, [processes, ...]; every process must call it at the same step."""
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(values))


@contextmanager
def undistributed() -> Iterator[None]:
    """Lets a network be built and used that belongs to this process alone."""
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)

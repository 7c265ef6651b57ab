"""One training on several devices and by several processes, with `keras.distribution` on JAX.

Every process computes the same plan from (preset, images, seed) and takes its rows of every global batch; sums over the
batch, batch norm's statistics among them, are over all of it. The first process alone writes into the folder of runs.
The others keep theirs in a temporary folder, so that nothing else needs to know which process it is in.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from resnet_tf.errors import Stopped, UserError
from resnet_tf.run_folder import Run
from resnet_tf.training.stop import Stop

PROCESSES = "KERAS_DISTRIBUTION_NUM_PROCESSES"


@dataclass(frozen=True)
class Share:
    """What this process is among all that carry out a training.

    Attributes:
        index, count: of this process; 0 writes.
        devices: over all processes; 0: the training is not distributed.
    """

    index: int = 0
    count: int = 1
    devices: int = 0

    def rows(self, batch_size: int) -> tuple[int, int]:
        """Returns the first row of a global batch that this process takes, and how many.

        Raises:
            UserError: the batch does not come out even.
        """
        if batch_size % max(1, self.devices):
            raise UserError(
                f"a batch must be a multiple of the devices. Received: train.batch_size={batch_size}, "
                f"{self.devices} devices."
            )
        return self.index * (batch_size // self.count), batch_size // self.count

    def agree(self, stop: Stop) -> bool:
        """Says whether any process was to stop when all asked, which they must do at the same step."""
        if self.count == 1:
            return stop.signal is not None
        from jax.experimental import multihost_utils

        wish = int(multihost_utils.process_allgather(np.int32(stop.signal or 0)).max())
        if wish:
            stop.signal = stop.signal or wish
        return wish != 0  # not what this process has been told since

    @contextmanager
    def workplace(self, run: Run | None, runs: str | Path, say: Callable[[str], None]) -> Iterator[tuple]:
        """Gives (run, runs, say) as this process is to use them.

        Any but the first gets a folder of runs of its own, in it a copy of the run to go on with, and is silent.
        """
        with tempfile.TemporaryDirectory() as folder:
            if self.index:
                runs, say = folder, str
                if run is not None:
                    run = Run(
                        Path(shutil.copytree(run.folder, Path(folder) / run.folder.parent.name / run.folder.name))
                    )
            if self.count > 1:
                from jax.experimental import multihost_utils

                multihost_utils.sync_global_devices("copied")  # before the first process writes into the run
            try:
                yield run, runs, say
            except Stopped as stopped:
                if self.index:  # where it saved is gone in a moment
                    raise Stopped("stopped with the first process", stopped.exit_code - 128) from stopped
                raise


ALONE = Share()


def join() -> Share:
    """Joins the processes that Keras's environment variables name, if they do, and spreads batches over all devices.

    These are KERAS_DISTRIBUTION_JOB_ADDRESSES (address and port of the first process), _NUM_PROCESSES and _PROCESS_ID.

    Raises:
        UserError: the backend is not JAX.
    """
    if keras.backend.backend() != "jax":
        raise UserError(
            f"--distribute computes with JAX. Received: the backend {keras.backend.backend()}. Set KERAS_BACKEND=jax."
        )
    import jax

    if os.environ.get(PROCESSES):
        keras.distribution.initialize()
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    return Share(jax.process_index(), jax.process_count(), jax.device_count())


@contextmanager
def undistributed() -> Iterator[None]:
    """Lets a network be built and used that belongs to this process alone."""
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)

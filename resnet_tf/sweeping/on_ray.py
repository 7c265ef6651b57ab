"""A sweep's trials carried out by Ray, each in a process of its own, here or on a cluster.

The machines of a cluster share the folder of runs, the images and this project, all under the same paths.
"""

import importlib.util
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from resnet_tf.errors import Stopped, UserError
from resnet_tf.format import first_line, printable
from resnet_tf.log import logger
from resnet_tf.sweeping.trials import Outcome, Trial, carry_out

# What a process of Ray's must know of the one that asks: the backend, and where images are.
PASSED_ON = ("KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS")
PLACES = ("RESNET_DATA", "RESNET_CACHE", "TFDS_DATA_DIR")
PROJECT = Path(__file__).resolve().parents[2]


@dataclass
class Sweep:
    """A sweep under way.

    Attributes:
        outcomes: of every trial, in order.
        runs: the folder of runs.
        data: as `train.py --data` takes it.
        workers: trials at a time, here; a cluster has as many as its processors allow.
        threads: processors a trial, to which TensorFlow keeps; None: here all processors / workers, on a cluster all of
            its smallest machine.
        gpus: GPUs a trial, at most 1; 0: none is used.
        retries: how often a failed trial is started again.
    """

    outcomes: Sequence[Outcome]
    runs: str
    data: str | None = None
    workers: int = 1
    threads: int | None = None
    gpus: float = 0
    retries: int = 1
    under_way: dict = field(default_factory=dict, init=False)

    def start(self, address: str | None = None) -> None:
        """Starts Ray, or joins the cluster at an address, and hands it all trials that are not over.

        Raises:
            UserError: Ray is not installed, there is no such cluster, or no machine of it has room for a trial.
        """
        if importlib.util.find_spec("ray") is None:
            raise UserError(
                "a sweep needs the package ray. Received: an environment without it. Install it with pip install -r "
                "requirements-sweep.txt."
            )
        import ray

        threads = self.threads or max(1, (os.cpu_count() or 1) // self.workers)
        here = {} if address else {"num_cpus": self.workers * threads, "include_dashboard": False}
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment |= {name: _absolute(os.environ[name]) for name in PLACES if os.environ.get(name)}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))
        quiet = {"logging_level": "error", "log_to_driver": False}
        try:
            ray.init(address or "local", runtime_env={"env_vars": environment}, **quiet, **here)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = first_line(error)
            raise UserError(
                f"Ray must start, or be found at --address. Received: {address or 'here'}: {reason}"
            ) from error
        rooms = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        if not rooms:
            raise UserError(f"a cluster needs machines with processors. Received: {address}, which has none yet.")
        self.threads = self.threads or (int(min(room["CPU"] for room in rooms)) if address else threads)
        if not any(room["CPU"] >= self.threads and room.get("GPU", 0) >= self.gpus for room in rooms):
            most = [max(room.get(kind, 0) for room in rooms) for kind in ("CPU", "GPU")]
            raise UserError(
                f"a trial must fit on a machine. Received: {self.threads} processors and {self.gpus:g} GPUs a trial, "
                f"where no machine has more than {most[0]:g} and {most[1]:g}."
            )
        for outcome in self.outcomes:
            if outcome.status == "waiting":
                self._submit(outcome)

    def _submit(self, outcome: Outcome) -> None:
        import ray

        outcome.tries += 1
        remote = ray.remote(num_cpus=self.threads, num_gpus=self.gpus, max_calls=1, max_retries=0)(_in_a_process)
        where = os.path.abspath(self.runs), outcome.fingerprint, self.data and _absolute(self.data)
        self.under_way[remote.remote(outcome.trial, *where, self.threads, self.gpus)] = outcome

    def watch(self, pause: float = 1.0) -> Iterator[None]:
        """Waits for trials to end and starts failed ones again; yields every `pause` seconds until all is over."""
        import ray

        while self.under_way:
            for task in ray.wait(list(self.under_way), timeout=pause)[0]:
                outcome = self.under_way.pop(task)
                self._take(outcome, task)
                if outcome.status == "failed" and outcome.tries <= self.retries:
                    outcome.status = "waiting"
                    self._submit(outcome)
            yield

    def stop(self) -> None:
        """Lets every training save its state, however long its step takes, and end."""
        import ray

        for task in self.under_way:
            ray.cancel(task)
        while self.under_way:
            for task in ray.wait(list(self.under_way))[0]:
                outcome = self.under_way.pop(task)
                self._take(outcome, task)
                if outcome.status == "failed":
                    outcome.status, outcome.error = "stopped", ""

    def _take(self, outcome: Outcome, task) -> None:
        """Takes up what became of a trial, from its task and from the folder of runs."""
        import ray

        try:
            outcome.error = ray.get(task)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause or error
            lines = str(cause).strip().splitlines()
            outcome.error = printable(": ".join((type(cause).__name__, *lines[-1:])))
        except ray.exceptions.RayError as error:  # its process was killed, or its machine is gone
            outcome.error = first_line(error)
        outcome.status = "failed" if outcome.error else "waiting"
        outcome.look(self.runs)


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _in_a_process(trial: Trial, runs: str, fingerprint: str, data: str | None, threads: int, gpus: float) -> str:
    """Carries a trial out in a process of Ray's; returns the line that says why it failed, "" where it did not."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if gpus == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if 0 < gpus < 1:  # it is shared: neither backend may take all of its memory at once
        os.environ |= {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    logger.setLevel(logging.ERROR)  # the table of trials shows how they fare
    try:
        carry_out(trial, runs, fingerprint, data)
    except (UserError, Stopped) as error:
        return str(error)
    return ""

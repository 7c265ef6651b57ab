"""Runs the trials of a sweep with Ray, each in its own process, on this machine or on a cluster.

The machines of a cluster must share the folder of runs, the images and this project under the same paths.
"""

import importlib.util
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from resnet_tf import installation
from resnet_tf.errors import Stopped, UserError
from resnet_tf.format import first_line, printable
from resnet_tf.log import logger
from resnet_tf.sweeping.trials import Outcome, run_trial

# Environment variables that Ray's processes get from this one; those with paths are made absolute.
VARIABLES = ("KERAS_BACKEND", "TF_ENABLE_ONEDNN_OPTS")
PATH_VARIABLES = ("RESNET_DATA", "RESNET_CACHE", "TFDS_DATA_DIR")
# Ray's processes find an installed package by themselves, and a clone by its path.
PYTHONPATH = () if installation.INSTALLED else (str(installation.FILES),)


def check_ray() -> None:
    """Raises UserError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise UserError(
            "a sweep needs the package ray. Received: an environment without it. Install it with "
            f"{installation.install('sweep')}.",
            "ray-not-installed",
        )


@dataclass
class Sweep:
    """A running sweep.

    Attributes:
        outcomes: of every trial, in order.
        runs: the folder of runs.
        data: as `train.py --data` takes it.
        workers: trials at a time on this machine; a cluster runs as many as fit on its processors.
        threads: processors of a trial, also TensorFlow's limit, while JAX has none; None: on this machine all
            processors / workers, on a cluster all processors of its smallest machine.
        gpus: GPUs of a trial, 0 to 1; 0: none is used; None: `gpus_of_a_trial`.
        retries: how often a failed trial is started again.
    """

    outcomes: Sequence[Outcome]
    runs: str
    data: str | None = None
    workers: int = 1
    threads: int | None = None
    gpus: float | None = None
    retries: int = 1
    tasks: dict = field(default_factory=dict, init=False)
    at_a_time: int = field(default=0, init=False)

    def start(self, address: str | None = None) -> None:
        """Starts Ray, or connects to the cluster at an address, and submits all waiting trials.

        Then `threads` and `gpus` are what each trial gets, and `at_a_time` is how many trials these let run at once.

        Raises:
            UserError: there is no such cluster, or no machine of it is large enough for a trial.
        """
        import ray

        threads = self.threads or max(1, (os.cpu_count() or 1) // self.workers)
        here = {} if address else {"num_cpus": self.workers * threads, "include_dashboard": False}
        environment = {name: os.environ[name] for name in VARIABLES if name in os.environ}
        environment |= {name: _absolute(os.environ[name]) for name in PATH_VARIABLES if os.environ.get(name)}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (*PYTHONPATH, os.environ.get("PYTHONPATH"))))
        quiet = {"logging_level": "error", "log_to_driver": False}
        try:
            ray.init(address or "local", runtime_env={"env_vars": environment}, **quiet, **here)
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = first_line(error)
            message = f"Ray must start, or run at --address. Received: {address or 'this machine'}: {reason}"
            raise UserError(message, "ray-not-started") from error
        machines = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        if not machines:
            message = f"a cluster needs machines with processors. Received: {address}, which has none yet."
            raise UserError(message, "cluster-empty")
        self.threads = self.threads or (int(min(machine["CPU"] for machine in machines)) if address else threads)
        if self.gpus is None:
            self.gpus = gpus_of_a_trial(machines)
        self.at_a_time = trials_at_a_time(machines, self.threads, self.gpus)
        if not self.at_a_time:
            largest = [max(machine.get(kind, 0) for machine in machines) for kind in ("CPU", "GPU")]
            raise UserError(
                f"a trial must fit on a machine. Received: {self.threads} processors and {self.gpus:g} GPUs a trial, "
                f"where no machine has more than {largest[0]:g} and {largest[1]:g}.",
                "trial-too-large",
            )
        for outcome in self.outcomes:
            if outcome.status == "waiting":
                self._submit(outcome)

    def _submit(self, outcome: Outcome) -> None:
        import ray

        outcome.tries += 1
        remote = ray.remote(num_cpus=self.threads, num_gpus=self.gpus, max_calls=1, max_retries=0)(_run_in_process)
        places = os.path.abspath(self.runs), self.data and _absolute(self.data)
        self.tasks[remote.remote(outcome, *places, self.threads, self.gpus)] = outcome

    def watch(self, pause: float = 1.0) -> Iterator[None]:
        """Waits for trials to end and restarts failed ones; yields every `pause` seconds until all have ended."""
        import ray

        while self.tasks:
            for task in ray.wait(list(self.tasks), timeout=pause)[0]:
                outcome = self.tasks.pop(task)
                self._collect(outcome, task)
                if outcome.status == "failed" and outcome.tries <= self.retries:
                    outcome.status = "waiting"
                    self._submit(outcome)
            yield

    def stop(self) -> None:
        """Lets every training save its state, and waits until all have ended."""
        import ray

        running, self.retries = list(self.tasks.values()), 0
        for task in self.tasks:
            ray.cancel(task)
        for _ in self.watch():
            pass
        for outcome in running:
            if outcome.status == "failed":
                outcome.status, outcome.error = "stopped", ""

    def _collect(self, outcome: Outcome, task) -> None:
        """Updates the outcome of a trial whose task has ended."""
        import ray

        try:
            outcome.error = ray.get(task)
        except ray.exceptions.RayTaskError as error:
            cause = error.cause or error
            lines = str(cause).strip().splitlines()
            outcome.error = printable(": ".join((type(cause).__name__, *lines[-1:])))
        except ray.exceptions.RayError as error:  # its process was killed, or its machine is lost
            outcome.error = first_line(error)
        outcome.status = "failed" if outcome.error else "waiting"
        outcome.update(self.runs)


def gpus_of_a_trial(machines: Iterable[Mapping[str, float]]) -> int:
    """Returns 1 where a machine of the cluster has a GPU, else 0.

    Args:
        machines: the resources of each, as Ray names them.
    """
    return int(any(machine.get("GPU", 0) >= 1 for machine in machines))


def trials_at_a_time(machines: Iterable[Mapping[str, float]], threads: int, gpus: float) -> int:
    """Returns how many trials of so many processors and GPUs fit on the machines of a cluster at the same time."""
    count = 0
    for machine in machines:
        fitting = [machine["CPU"] / threads] + ([machine.get("GPU", 0) / gpus] if gpus else [])
        count += int(min(fitting))
    return count


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _run_in_process(outcome: Outcome, runs: str, data: str | None, threads: int, gpus: float) -> str:
    """Runs a trial in a process of Ray; returns the message of its failure, or ""."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if gpus == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if 0 < gpus < 1:  # shared: no backend may reserve all of its memory
        os.environ |= {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    logger.setLevel(logging.ERROR)  # the table of trials shows their state
    try:
        run_trial(outcome.trial, runs, outcome.fingerprint, data)
    except (UserError, Stopped) as error:
        return str(error)
    return ""

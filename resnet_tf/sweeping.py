"""Many runs: presets x seeds x settings, each an ordinary run with its rows in the ledger, carried out by Ray.

Ray gives every trial a process of its own, here or on a cluster whose machines share the folder of runs. All that is
known of a trial lies in that folder, so a sweep that is started again skips what is finished and goes on with the rest.
"""

import itertools
import json
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from resnet_tf import files, ledger, preset_files, presets, run_folder
from resnet_tf.errors import Stopped, UserError, shown
from resnet_tf.presets import Preset
from resnet_tf.run_folder import Run


@dataclass(frozen=True)
class Trial:
    """One training of a sweep.

    Attributes:
        preset: name or path of its preset.
        seed: of weights, order and augmentation.
        settings: "key=value", as `train.py --set` takes them.
    """

    preset: str
    seed: int
    settings: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.preset, f"seed {self.seed}", *self.settings))

    @property
    def recipe(self) -> Preset:
        return preset_files.apply_settings(preset_files.load_preset(self.preset), list(self.settings))


@dataclass
class Outcome:
    """What became of a trial.

    Attributes:
        status: "waiting" (or under way), "finished" (its test row is in the ledger), "failed" or "stopped".
        tries: how often it was started in this sweep.
        error: the line that the last failure left.
    """

    trial: Trial
    status: str = "waiting"
    tries: int = 0
    error: str = ""


def trials(names: Sequence[str], seeds: Sequence[int], settings: Sequence[str], varied: Sequence[str]) -> list[Trial]:
    """Returns every combination of presets, seeds and values.

    Args:
        settings: "key=value", for all trials.
        varied: "key=[value, value]", JSON lists; one trial for each value.

    Raises:
        UserError: no list of values, or a setting that does not fit a preset.
    """
    choices = []
    for setting in varied:
        key, equals, text = setting.partition("=")
        try:
            values = json.loads(text)
        except ValueError:
            values = None
        if not equals or not isinstance(values, list) or not values:
            raise UserError(f"--vary takes key=[value, value]. Received: {shown(setting)}.")
        choices.append([f"{key}={json.dumps(value)}" for value in values])
    found = [
        Trial(name, seed, (*settings, *chosen))
        for name, chosen, seed in itertools.product(names, itertools.product(*choices), seeds)
    ]
    twice = {(trial.recipe.name, trial.recipe.hash, trial.seed): trial for trial in found}  # loads every recipe once
    if len(twice) < len(found):
        raise UserError(f"trials must differ. Received: {len(found)} of which {len(twice)} are different recipes.")
    return found


def run_of(trial: Trial, runs: str | Path) -> Run | None:
    """Returns the newest run of a trial's recipe and seed that is not diverged; None where there is none."""
    recipe = trial.recipe
    for run in reversed(run_folder.every(runs, recipe.name)):
        about = run.about
        if (about.get("seed"), run.preset.hash) == (trial.seed, recipe.hash) and about.get("status") != "diverged":
            return run
    return None


def is_scored(run: Run, runs: str | Path) -> bool:
    """Says whether the ledger has a test row of a finished run."""
    rows, _ = files.read_rows(Path(runs) / ledger.EVALUATED)
    scored = any(row.get("run") == run.name and row.get("split") == "test" for row in rows)
    return run.about.get("status") == "finished" and scored


def carry_out(trial: Trial, runs: str, data: str | None, say: Callable[[str], None] = print) -> Run:
    """Brings a trial to its end from wherever it stands: trains it, or goes on with it, and scores it; returns its run.

    Raises:
        UserError, Stopped: as `train` and `evaluate` do.
    """
    from resnet_tf.evaluation.evaluate import evaluate, record
    from resnet_tf.training.loop import train

    path = preset_files.find(trial.preset)
    recipe, run = trial.recipe, run_of(trial, runs)
    if run is None or run.about.get("status") != "finished":
        changed = presets.changes(recipe, preset_files.load_preset(path))
        resume = run.name if run else False
        run = train(recipe, data, runs, trial.seed, resume, say, preset_file=path.resolve(), changed=changed)
    if not is_scored(run, runs):
        # The preset's own file is left alone: it is the person's choice which result goes there.
        record(run, evaluate(run, data=data, say=say), runs, preset_file=None)
    return run


@dataclass
class Sweep:
    """A sweep under way.

    Attributes:
        outcomes: of every trial, in order.
        runs: the folder of runs, shared by all machines.
        data: as `train.py --data` takes it.
        workers: trials at a time on this machine; not for a cluster, which has as many as its processors allow.
        threads: processors a trial.
        gpus: GPUs a trial; Ray hides those that a trial does not ask for.
        retries: how often a failed trial is started again.
    """

    outcomes: list[Outcome]
    runs: str
    data: str | None = None
    workers: int = 1
    threads: int = 1
    gpus: float = 0
    retries: int = 1
    under_way: dict = field(default_factory=dict)

    def start(self, address: str | None = None) -> None:
        """Finds what is finished already, and starts Ray or joins the cluster at an address."""
        import ray

        for outcome in self.outcomes:
            run = run_of(outcome.trial, self.runs)
            if run and is_scored(run, self.runs):
                outcome.status = "finished"
        here = {"num_cpus": self.workers * self.threads, "include_dashboard": False} if address is None else {}
        ray.init(address, logging_level="error", log_to_driver=False, **here)
        remote = ray.remote(num_cpus=self.threads, num_gpus=self.gpus, max_calls=1, max_retries=0)(_in_a_process)
        for outcome in self.outcomes:
            if outcome.status != "finished":
                self._submit(remote, outcome)
        self.remote = remote

    def _submit(self, remote, outcome: Outcome) -> None:
        outcome.tries += 1
        task = remote.remote(asdict(outcome.trial), os.path.abspath(self.runs), self.data, self.threads)
        self.under_way[task] = outcome

    def watch(self, pause: float = 1.0) -> Iterator[None]:
        """Waits for trials to end and starts failed ones again; yields every `pause` seconds until all is over."""
        import ray

        while self.under_way:
            over, _ = ray.wait(list(self.under_way), timeout=pause)
            for task in over:
                outcome = self.under_way.pop(task)
                try:
                    outcome.error = ray.get(task)
                except ray.exceptions.RayError as error:  # its process was killed, or its machine is gone
                    outcome.error = str(error).strip().splitlines()[0]
                outcome.status = "failed" if outcome.error else "finished"
                if outcome.error and outcome.tries <= self.retries:
                    outcome.status = "waiting"
                    self._submit(self.remote, outcome)
            yield

    def stop(self, patience: float = 60.0) -> None:
        """Lets every training save its state and end."""
        import ray

        for task in self.under_way:
            ray.cancel(task)
        ray.wait(list(self.under_way), num_returns=len(self.under_way), timeout=patience)
        for outcome in self.under_way.values():
            outcome.status = "stopped"
        self.under_way.clear()


def _in_a_process(trial: dict, runs: str, data: str | None, threads: int) -> str:
    """Carries a trial out in a process of Ray's; returns the line that says why it failed, "" where it did not."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    trial = Trial(trial["preset"], trial["seed"], tuple(trial["settings"]))
    try:
        carry_out(trial, runs, data)
    except (UserError, Stopped) as error:
        return str(error)
    return ""


def look(outcome: Outcome, runs: str | Path) -> tuple[str, str | None, dict]:
    """Returns a trial's status, its run's name, and the last row of the run's log, as the run's own files have them."""
    run = run_of(outcome.trial, runs)
    if run is None:
        return outcome.status, None, {}
    running = outcome.status == "waiting" and run.about.get("status") == "running"
    return "running" if running else outcome.status, run.name, run.rows[-1] if run.rows else {}


def report(sweep: Sweep) -> str:
    """Returns what came of a sweep: a line a recipe, mean and spread over its seeds; a line a trial not finished."""
    rows, _ = files.read_rows(Path(sweep.runs) / ledger.EVALUATED)
    tested = {row["run"]: row["top1"] for row in rows if row.get("split") == "test"}
    seeds: dict[tuple, dict[int, tuple[float, str]]] = {}
    for outcome in sweep.outcomes:
        trial, run = outcome.trial, run_of(outcome.trial, sweep.runs)
        if outcome.status == "finished" and run:
            seeds.setdefault((trial.preset, *trial.settings), {})[trial.seed] = tested[run.name], run.name
    lines = []
    for recipe, found in seeds.items():
        top1 = [value for value, _ in found.values()]
        spread = f" +/- {statistics.stdev(top1):.2f}" if len(top1) > 1 else ""
        best, run = max(found.values())
        many = f"seed{'s' * (len(found) > 1)} {', '.join(map(str, sorted(found)))}"
        lines.append(
            f"{' '.join(recipe)}: test top-1 {statistics.fmean(top1):.2f}{spread} %, {many}; best {best:.2f} % in {run}"
        )
    for outcome in sweep.outcomes:
        if outcome.status != "finished":
            why = f": {outcome.error}" if outcome.error else ""
            lines.append(
                f"{outcome.trial}: {outcome.status} after {outcome.tries} start{'s' * (outcome.tries != 1)}{why}"
            )
    return "\n".join([*lines, f"python report.py --runs {sweep.runs} draws them"])

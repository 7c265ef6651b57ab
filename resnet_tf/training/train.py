"""Trains a preset: opens a run, new or resumed, and hands it to the training loop."""

import contextlib
import os
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path

import keras

from resnet_tf import files
from resnet_tf.datasets import sources
from resnet_tf.datasets.splits import Dataset
from resnet_tf.errors import UserError
from resnet_tf.lint.check import check_on
from resnet_tf.log import logger
from resnet_tf.presets import preset_files
from resnet_tf.presets.schema import Preset
from resnet_tf.runs import ledger
from resnet_tf.runs.run import Run, create_run
from resnet_tf.training import checkpoint
from resnet_tf.training.device import warn_of_xla
from resnet_tf.training.distributed import SINGLE_PROCESS, ProcessGroup
from resnet_tf.training.loop import Phase, train_phases
from resnet_tf.training.plan import make_plans
from resnet_tf.training.resume import check_data, recipe_of, run_to_resume, take_recipe
from resnet_tf.training.session import Session
from resnet_tf.training.step import check_backend
from resnet_tf.transfer import Start, source_of, start_from


def train(
    preset: Preset | str | PathLike | dict,
    data: str | None = None,
    runs: str | Path = "runs",
    *,
    seed: int | None = None,
    resume: bool | str | PathLike | Run = False,
    preset_file: Path | None = None,
    group: ProcessGroup = SINGLE_PROCESS,
    keep_state: bool = True,
    on_step: Callable[[Phase], None] = lambda phase: None,
) -> Run:
    """Trains a preset, given as such or by name, file or plain values, to its end, or resumes a run.

    A resumed run keeps the recipe it began with. Of `preset` it takes only the overrides given to `load_preset`, which
    may make it longer: `train(load_preset("3", train={"epochs": 4}), resume=True)`.

    Args:
        data: where the images are; default: see `datasets.sources.load`.
        seed: of initial weights, order and augmentation; default: 0, or that of the resumed run.
        resume: True for the preset's newest unfinished run; or a run, or its name or folder.
        preset_file: the file of the preset, recorded in the run; its results are written there.
        group: this process's place among several, see `distributed.process_group`.
        keep_state: whether the finished run keeps the state from which it can be made longer.
        on_step: called after every update, before it is checked, logged or saved.

    Returns:
        The finished run.

    Raises:
        UserError: a mistake that the user can fix, in one line.
        Stopped: Ctrl-C or a TERM signal; the state is saved.
    """
    check_backend()
    if isinstance(preset, str | PathLike):
        preset_file = preset_file or preset_files.path_of(preset).resolve()
    preset = preset_files.load_preset(preset)
    run = None if resume is False else run_to_resume(preset, runs, resume, seed)
    source = source_of(preset, runs) if run is None else None
    with group.workplace(run, runs) as (run, runs):
        seed, preset = (seed or 0, preset) if run is None else (run.about["seed"], recipe_of(run, preset))
        dataset = sources.load(preset.data.dataset, data)
        plans = make_plans(preset, dataset, seed)
        for plan in plans:
            group.check(plan.preset.train)
        start = source and start_from(source, plans[0].build_network(), preset, dataset, seed)
        group.check_alike(
            preset=preset.hash,
            init=None if start is None else start.about,
            images=dataset.fingerprint,
            seed=seed,
            run="a new one" if run is None else run.name,
            step=0 if run is None else max(map(checkpoint.step_of, checkpoint.saved_states(run.state)), default=0),
            versions=ledger.versions(keras.backend.backend()),
        )
        resumed = run is not None
        if not resumed:
            run = _new_run(preset, dataset, seed, runs, preset_file=preset_file, start=start)
        with _disk_errors_in_one_line(run), _sole_writer(run):
            saved = checkpoint.load(run.state)
            if resumed:
                check_data(run, dataset)
                take_recipe(run, preset, plans, saved.progress.step if saved else 0)
            run.update(data_option=data and os.path.abspath(os.path.expanduser(data)))  # for suggested commands
            session = Session(run, Path(runs), plans, group, saved)
            session.open()
            warn_of_xla(preset)
            for finding in check_on(preset, dataset):
                logger.info(str(finding))
            with session.stop.listening():
                network = train_phases(session, on_step)
            session.finish(network, keep_state)
            return run


def _new_run(
    preset: Preset,
    dataset: Dataset,
    seed: int,
    runs: str | Path,
    *,
    preset_file: Path | None,
    start: Start | None = None,
) -> Run:
    """Makes the run of a new training, with a copy of the weights that it starts from."""
    about = {} if start is None else {"init": start.about}
    return create_run(
        preset,
        seed,
        runs,
        initial=None if start is None else start.content,
        preset_file=None if preset_file is None else str(preset_file),
        data=ledger.describe_data(dataset),
        class_names=list(dataset.class_names),
        own_validation=dataset.validation is not None,
        changed=preset.changed,
        **about,
    )


@contextlib.contextmanager
def _sole_writer(run: Run) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.locked(run.lock, wait=False))
        except BlockingIOError:
            message = f"Run {run.name} is being trained already, by another process."
            raise UserError(message, "run-in-use") from None
        yield


@contextlib.contextmanager
def _disk_errors_in_one_line(run: Run) -> Iterator[None]:
    """Turns the error of a disk that cannot be written into one line that says what to do."""
    try:
        yield
    except files.WriteError as error:
        states = checkpoint.saved_states(run.state)
        safe, named = "No step is saved yet", run.name
        with contextlib.suppress(UserError):  # its files may be on a disk that has gone
            named = run.as_argument
        if states:
            safe = f"The checkpoint after step {checkpoint.step_of(states[0]):,} is saved"
        raise UserError(
            f"{error.filename} cannot be written: {error.strerror}. {safe}. Fix this, then go on with "
            f"--resume {named}.",
            "run-not-writable",
        ) from error

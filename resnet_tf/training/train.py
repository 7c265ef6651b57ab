"""Trains a preset: opens the run, or one to resume, and hands it to the training loop."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import tensorflow as tf

from resnet_tf import files
from resnet_tf.datasets import sources
from resnet_tf.errors import UserError
from resnet_tf.lint import check
from resnet_tf.lint.check import Finding
from resnet_tf.log import logger
from resnet_tf.presets.schema import Preset
from resnet_tf.runs import ledger
from resnet_tf.runs.run import Run, create_run
from resnet_tf.training import checkpoint
from resnet_tf.training.device import warn_of_xla
from resnet_tf.training.distributed import SINGLE_PROCESS, ProcessGroup
from resnet_tf.training.loop import Phase, train_phases
from resnet_tf.training.plan import Plan, make_plans
from resnet_tf.training.resume import check_data, check_recipe, find_run, recipe_of, take_recipe
from resnet_tf.training.session import Session


def train(
    preset: Preset,
    data: str | None = None,
    runs: str | Path = "runs",
    seed: int | None = None,
    resume: bool | str = False,
    preset_file: Path | None = None,
    group: ProcessGroup = SINGLE_PROCESS,
    on_step: Callable[[Phase], None] = lambda phase: None,
) -> Run:
    """Trains a preset to its end, or goes on with a run that was stopped.

    A run that goes on keeps the recipe it began with. Of `preset` it takes only the overrides given to `load_preset`,
    which may make it longer: `train(load_preset("3", train={"epochs": 4}), resume=True)`.

    Args:
        data: where the images are; default: see `datasets.sources.load`.
        seed: of weights, order and augmentation; default: 0, or that of the run that goes on.
        resume: True for the preset's newest unfinished run, or a run's name or folder.
        preset_file: where the preset came from; kept in the run, so that a result finds its way back.
        group: this process's place in a training by several, see `distributed.join`.
        on_step: called after every update, before it is checked, logged or saved.

    Returns:
        The finished run.

    Raises:
        UserError: a mistake of the user's, in one line.
        Stopped: Ctrl-C or a TERM signal; the state is saved.
    """
    run = find_run(preset, runs, resume, seed) if resume is not False else None
    with group.workplace(run, runs) as (run, runs):
        if run is None:
            seed = seed or 0
        else:
            seed, preset = run.about["seed"], recipe_of(run, preset)
        plans = make_plans(preset, sources.load(preset.data.dataset, data), seed)
        warnings = _warnings(preset, plans[0])
        for plan in plans:
            group.check(plan.preset.train)
        group.check_alike(
            preset=preset.hash,
            images=plans[0].dataset.fingerprint,
            seed=seed,
            run="a new one" if run is None else run.name,
            step=0 if run is None else max(map(checkpoint.step_of, checkpoint.saved_states(run.state)), default=0),
            versions=ledger.versions(keras.backend.backend()),
        )
        resumed, run = run is not None, run or _create(preset, plans, runs, preset_file)
        with _errors_in_one_line(run, preset), _sole_writer(run):
            saved = checkpoint.load(run.state)
            if resumed:
                step = saved.progress.step if saved else 0
                check_data(run, plans[0].dataset)
                take_recipe(run, preset, check_recipe(run, preset, plans, step), step)
            session = Session(run, Path(runs), plans, group, saved)
            session.open()
            warn_of_xla(preset)
            for finding in warnings:
                logger.info(str(finding))
            with session.stop.listening():
                network = train_phases(session, on_step)
            session.finish(network)
            return run


def _create(preset: Preset, plans: list[Plan], runs: str | Path, preset_file: Path | None) -> Run:
    dataset = plans[0].dataset
    return create_run(
        preset,
        plans[0].seed,
        runs,
        preset_file=None if preset_file is None else str(preset_file),
        data=ledger.describe_data(dataset),
        class_names=list(dataset.class_names),
        changed=preset.changed,
    )


def _warnings(preset: Preset, plan: Plan) -> list[Finding]:
    """Returns what the recipe check warns of.

    Raises:
        UserError: it finds what cannot be carried out.
    """
    found = check.check_on(preset, plan.dataset)
    for finding in found:
        if finding.severity == "error":
            raise UserError(
                f"a recipe must be one that can be carried out. Received: {finding.reason} {finding.remedy}"
            )
    return found


@contextlib.contextmanager
def _sole_writer(run: Run) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.locked(run.lock, wait=False))
        except BlockingIOError:
            taken = f"Received: {run.name}, which is being trained already."
            raise UserError(f"a run can have one training at a time. {taken}") from None
        yield


@contextlib.contextmanager
def _errors_in_one_line(run: Run, preset: Preset) -> Iterator[None]:
    """Turns a disk that cannot be written, and memory that runs out, into one line on what to do."""
    try:
        yield
    except files.WriteError as error:
        states = checkpoint.saved_states(run.state)
        safe = (
            f"Its state after step {checkpoint.step_of(states[0]):,} is whole"
            if states
            else "No step of it was saved yet"
        )
        raise UserError(
            f"a run's files must be writable. Received: {error.filename}: {error.strerror}. {safe}: mend this, then go "
            f"on with --resume {run.name}."
        ) from error
    except Exception as error:
        # MemoryError comes from Python, the other from TensorFlow; in JAX's the name is part of the text.
        exhausted = isinstance(error, MemoryError | tf.errors.ResourceExhaustedError)
        if not exhausted and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        batch, size = preset.train.batch_size, preset.data.image_size
        raise UserError(
            f"a step must fit into memory. Received: train.batch_size={batch} at {size} pixels, which does not. Try a "
            f"smaller batch (--set train.batch_size={max(1, batch // 2)}), in a new run, or a smaller network."
        ) from error

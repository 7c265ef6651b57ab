"""Carries a preset out: from its images to a finished run."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from resnet_tf import files, ledger, lint, run_folder
from resnet_tf.data import sources
from resnet_tf.data.broken import naming_broken_files
from resnet_tf.errors import Stopped, UserError
from resnet_tf.lint import Finding
from resnet_tf.models import weights
from resnet_tf.models.size import describe_network, describe_stages, network_size
from resnet_tf.presets import Preset
from resnet_tf.run_folder import Run
from resnet_tf.text import printable
from resnet_tf.training import keep, resuming, state
from resnet_tf.training.device import device_description, warn_of_xla
from resnet_tf.training.distribution import ALONE, Share
from resnet_tf.training.keep import KeepRun, Progress
from resnet_tf.training.lag import mend_lag
from resnet_tf.training.plan import Plan, make_plans
from resnet_tf.training.progress import ShowProgress, duration
from resnet_tf.training.state import State
from resnet_tf.training.stop import Stop
from resnet_tf.training.tensorboard import TensorBoardLog


def train(
    preset: Preset,
    data: str | None = None,
    runs: str | Path = "runs",
    seed: int | None = None,
    resume: bool | str = False,
    say: Callable[[str], None] = print,
    preset_file: Path | None = None,
    share: Share = ALONE,
) -> Run:
    """Trains a preset to its end, or goes on with a run that was stopped.

    A run that goes on keeps the recipe it began with. Of `preset` it takes only the overrides, which may make it
    longer: `train(load_preset("3", train={"epochs": 4}), resume=True)`.

    Args:
        data: where the images are; default: see `data.sources.load`.
        seed: of weights, order and augmentation; default: 0, or that of the run that goes on.
        resume: True for the preset's newest unfinished run, or a run's name or folder.
        say: takes each line meant for people.
        preset_file: where the preset came from; kept in the run, so that a result finds its way back.
        share: this process's part in a training by several, see `distribution.join`.

    Returns:
        The finished run.

    Raises:
        UserError: a mistake of the user's, in one line.
        Stopped: Ctrl-C or a TERM signal; the state is saved.
    """
    run = resuming.find_run(preset, runs, resume, seed) if resume is not False else None
    with share.workplace(run, runs, say) as (run, runs, say):
        if run is None:
            seed = seed or 0
        else:
            seed, preset = run.about["seed"], resuming.recipe_of(run, preset, say)
        plans = make_plans(preset, sources.load(preset.data.dataset, data, say=say), seed)
        warnings = _warnings(preset, plans[0])
        for plan in plans:
            share.check(plan.preset.train)
        share.check_alike(
            preset=preset.hash,
            images=plans[0].dataset.fingerprint,
            seed=seed,
            run="a new one" if run is None else run.name,
            step=0 if run is None else max(map(state.step_of, state.saved_states(run.state)), default=0),
            versions=ledger.versions(keras.backend.backend()),
        )
        return _train(preset, plans, warnings, run, Path(runs), say, preset_file, share)


def _warnings(preset: Preset, plan: Plan) -> list[Finding]:
    """Returns what the recipe check warns of.

    Raises:
        UserError: it finds what cannot be carried out.
    """
    found = lint.check_on(preset, plan.dataset)
    for finding in found:
        if finding.severity == "error":
            raise UserError(
                f"a recipe must be one that can be carried out. Received: {finding.reason} {finding.remedy}"
            )
    return found


def _train(
    preset: Preset,
    plans: list[Plan],
    warnings: list[Finding],
    run: Run | None,
    runs: Path,
    say: Callable[[str], None],
    preset_file: Path | None,
    share: Share,
) -> Run:
    """Trains what is planned, in a new run or one that was stopped."""
    resume, dataset = run is not None, plans[0].dataset
    if run is None:
        run = run_folder.create(
            preset,
            plans[0].seed,
            runs,
            preset_file=None if preset_file is None else str(preset_file),
            data=ledger.describe_data(dataset),
            class_names=list(dataset.class_names),
            changed=preset.changed,
        )
    with _told_in_a_line(run, preset), _sole_writer(run):
        saved = state.load(run.state, say)
        progress = Progress(**saved.values["progress"]) if saved else Progress()
        if resume:
            resuming.check_data(run, dataset)
            grown = resuming.check_recipe(run, preset, plans, progress.step)
            resuming.take_recipe(run, preset, grown, progress.step, say)
        run.update(
            status="running",
            preset_hash=preset.hash,
            steps_planned=plans[-1].last_step,
            backend=keras.backend.backend(),
            device=device_description() + share.description,
            precision=", then ".join(dict.fromkeys(plan.preset.train.precision for plan in plans)),
            jit_compile=any(plan.compiled_by_xla for plan in plans),
            versions=ledger.versions(keras.backend.backend()),
        )
        if saved:
            say(f"resuming {run.name} after step {progress.step:,}")
            resuming.say_what_changed(run, saved.values["made_with"], say)
        resuming.restore_files(run, progress, saved.best if saved else None, say)
        _introduce(run, preset, plans, say)
        warn_of_xla(preset, say)
        for finding in warnings:
            say(str(finding))
        return _carry_out(run, preset, plans, progress, saved, runs, say, share)


@contextlib.contextmanager
def _sole_writer(run: Run) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.locked(run.lock, wait=False))
        except BlockingIOError:
            taken = f"Received: {run.name}, which has another."
            raise UserError(f"a run can have one training at a time. {taken}") from None
        yield


@contextlib.contextmanager
def _told_in_a_line(run: Run, preset: Preset) -> Iterator[None]:
    """Turns a disk that cannot be written, and memory that runs out, into one line on what to do."""
    try:
        yield
    except files.WriteError as error:
        states = state.saved_states(run.state)
        safe = (
            f"Its state after step {state.step_of(states[0]):,} is whole" if states else "No step of it was saved yet"
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


def _carry_out(
    run: Run,
    preset: Preset,
    plans: list[Plan],
    progress: Progress,
    saved: State | None,
    runs: Path,
    say: Callable[[str], None],
    share: Share,
) -> Run:
    """Trains phase by phase from where the run stands; writes its end into run.json and the ledger."""
    arrays, best = (saved.arrays, saved.best) if saved else ({}, None)
    size = network_size(preset.model, preset.data.image_size, plans[0].dataset.classes)
    show = ShowProgress(plans[-1].last_step, plans[-1].first_epoch + plans[-1].epochs, progress.step, say)
    board = TensorBoardLog(run, first_images(plans[0]), describe_stages(size), say)
    stop = Stop(print if share.index else say)  # whoever signals a silent process must know that it heard
    with stop.listening():
        for number, plan in enumerate(plans, start=1):
            if progress.step >= plan.last_step and plan is not plans[-1]:
                continue
            progress.phase = number
            with share.scope():
                model = plan.compiled_network()
            watchers = plan.watchers
            if arrays:
                resuming.take_up(model, watchers, plan, progress, arrays)
            show.start_phase(plan)
            keeper = KeepRun(run, progress, plan, watchers, [show.show_row, board.write_row], stop, arrays, best, share)
            _train_phase(plan, model, keeper, show, board)
            if progress.step < plan.last_step or model.stop_training:
                break
            # The next phase goes on with these weights.
            arrays, best = keep.copied(keep.training_variables(model)), keeper.best
    _close(run, preset, plans[-1].last_step, model, keeper, board, runs, say)
    if keeper.diverged:
        raise UserError(_diverged(run, keeper.diverged))
    if progress.step < plans[-1].last_step:
        raise Stopped(
            f"stopped at step {progress.step:,} of {plans[-1].last_step:,}; saved in {run.folder}. Go on with the same "
            "command and --resume.",
            stop.signal,
        )
    say(f"trained in {duration(progress.seconds)}; weights in {run.last.parent}")
    return run


def _diverged(run: Run, diverged: dict) -> str:
    states = state.saved_states(run.state)
    kept = f" and its state after step {state.step_of(states[0]):,} is kept" if states else ""
    return (
        f"a training must stay finite. Received: {diverged['what']} = {diverged['value']} at step "
        f"{diverged['step']:,}, rate {diverged['learning_rate']:g}, last losses {', '.join(diverged['last_losses'])}; "
        f"the run is marked as diverged{kept}. Try a lower optimizer.learning_rate, in a new run."
    )


def _train_phase(plan: Plan, model: keras.Model, keeper: KeepRun, show: ShowProgress, board: TensorBoardLog) -> None:
    """Trains a phase from where it stands to its end, or until the training is told to stop."""
    try:
        for epoch, epochs, steps in fit_calls(keeper.phase_step, plan.total_steps, plan.steps_per_epoch):
            with naming_broken_files(lambda: [plan.batches.under_way(keeper.phase_step)]):
                model.fit(
                    plan.batches.dataset(keeper.phase_step, plan.total_steps, *keeper.rows),
                    initial_epoch=epoch,
                    epochs=epochs,
                    steps_per_epoch=steps,
                    callbacks=[show, board, keeper],
                    shuffle=False,  # the order is ours
                    verbose=0,
                )
            if model.stop_training:
                return
    finally:
        show.stop_bar()  # whatever ended it: a message must not meet a running bar


def fit_calls(step: int, total_steps: int, per_epoch: int) -> list[tuple[int, int, int]]:
    """Returns the calls of Keras's `fit` that lead from a step to the end, as (initial_epoch, epochs, steps_per_epoch).

    `fit` knows epochs of one length only, so the rest of a broken-off epoch, the whole epochs, and a last short one
    are a call each.
    """
    calls = []
    while step < total_steps:
        epoch, done = divmod(step, per_epoch)
        whole = total_steps // per_epoch - epoch
        if done or not whole:
            steps = min(per_epoch - done, total_steps - step)
            calls.append((epoch, epoch + 1, steps))
            step += steps
        else:
            calls.append((epoch, epoch + whole, per_epoch))
            step += whole * per_epoch
    return calls


def _introduce(run: Run, preset: Preset, plans: list[Plan], say: Callable[[str], None]) -> None:
    about = run.about
    say(f"run {run.folder}")
    say(f"{preset.title}: {describe_network(preset, plans[0].dataset.classes)}")
    say(f"images: {about['data']['title']}, from {printable(about['data']['source'])}")
    means = f"{about['device']} ({about['backend']}, {about['precision']}{', XLA' * about['jit_compile']})"
    phases = f" in {len(plans)} phases" if len(plans) > 1 else ""
    say(f"on {means}, seed {about['seed']}, {plans[-1].last_step:,} steps{phases}")


def first_images(plan: Plan) -> np.ndarray:
    """Returns the first augmented batch [batch, size, size, 3], for people to look at."""
    with naming_broken_files(lambda: [plan.batches.under_way(0)]):
        images, _ = next(iter(plan.batches.dataset(0, 1)))
    return images.numpy()


def _close(
    run: Run,
    preset: Preset,
    total_steps: int,
    model: keras.Model,
    keeper: KeepRun,
    board: TensorBoardLog,
    runs: str | Path,
    say: Callable[[str], None],
) -> None:
    """Says in run.json how the run stands and, when it is over, writes the last weights and its row in the ledger.

    A kill in the middle leaves the run unfinished; the next start comes here again and does what is missing.
    """
    progress = keeper.progress
    if not keeper.diverged and progress.step < total_steps:
        run.update(status="stopped", step=progress.step)
        return
    last = {key: value for key, value in (progress.rows[-1] if progress.rows else {}).items() if key != "timing"}
    status = "diverged" if keeper.diverged else "finished"
    if status == "finished":
        about = {key: last[key] for key in ("step", "epoch", "validation_top1") if key in last}
        weights.save(model, run.last, about)
        if not keeper.share.devices:
            run.update(recalibrated=mend_lag(run, keeper.plan, last, say))
    about = {
        **run.about,
        "status": status,
        "step": progress.step,
        "seconds": round(progress.seconds, 1),
        "finished": ledger.now(),
    }
    keys = ("preset_hash", "seed", "data", "changed", "status", "step", "steps_planned", "seconds", "device")
    row = {
        "date": about["finished"],
        "run": run.name,
        "preset": preset.name,
        **{key: about[key] for key in (*keys, "backend", "precision", "jit_compile", "versions")},
        **last,
        "best_validation_top1": progress.best_top1,
        **({"diverged": keeper.diverged} if keeper.diverged else {}),
    }
    rows, torn = files.read_rows(Path(runs) / ledger.TRAINED)
    if torn:
        say(f"{Path(runs) / ledger.TRAINED}: {torn} torn row{'s' * (torn > 1)} passed over")
    if not any(all(known.get(key) == row[key] for key in ("run", "step", "status")) for known in rows):
        ledger.append(runs, ledger.TRAINED, row)
    run.update(**{key: about[key] for key in ("status", "step", "seconds", "finished")}, last=last)
    board.write_hparams({key: last[key] for key in ("validation_top1", "validation_loss") if key in last})

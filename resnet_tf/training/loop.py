"""Carries a preset out: from its images to a finished run."""

import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from resnet_tf import files, ledger, presets, run_folder
from resnet_tf.data import sources
from resnet_tf.data.splits import Dataset
from resnet_tf.errors import Stopped, UserError
from resnet_tf.evaluation.score import score
from resnet_tf.models import weights
from resnet_tf.models.size import describe_network, describe_stages, network_size
from resnet_tf.optim.watchers import Watcher
from resnet_tf.presets import Preset
from resnet_tf.run_folder import Run
from resnet_tf.training import keep, state
from resnet_tf.training.device import device_description
from resnet_tf.training.keep import KeepRun, Progress, Stop
from resnet_tf.training.plan import Plan, make_plan
from resnet_tf.training.progress import ShowProgress, duration
from resnet_tf.training.tensorboard import TensorBoardLog, write_hparams


def train(
    preset: Preset,
    data: str | None = None,
    runs: str | Path = "runs",
    seed: int = 0,
    resume: bool | str = False,
    say: Callable[[str], None] = print,
    preset_file: Path | None = None,
    changed: dict | None = None,
) -> Run:
    """Trains a preset to its end, or goes on with a run that was stopped.

    Args:
        data: where the images are; default: see `data.sources.load`.
        resume: True for the preset's newest unfinished run, or a run's name or folder.
        say: takes each line meant for people.
        preset_file: where the preset came from; kept in the run, so that a result finds its way back.
        changed: where the recipe departs from the preset's file, as `presets.changes` gives it; kept in the run.

    Returns:
        The finished run.

    Raises:
        UserError: a mistake of the user's, in one line.
        Stopped: Ctrl-C or a TERM signal; the state is saved.
    """
    run = _find_unfinished(preset, runs, resume) if resume else None
    if run is not None:
        seed = run.about["seed"]
    dataset = sources.load(preset.data.dataset, data, say=say)
    plan = make_plan(preset, dataset, seed)
    if run is None:
        run = run_folder.create(
            preset,
            seed,
            runs,
            preset_hash=preset.hash,
            preset_file=None if preset_file is None else str(preset_file),
            data=ledger.describe_data(dataset),
            class_names=list(dataset.class_names),
            changed=changed or {},
            steps_planned=plan.total_steps,
            steps_per_epoch=plan.steps_per_epoch,
        )
    _check_same_data(run, dataset)
    try:
        with files.locked(run.lock, wait=False):
            run.update(
                status="running",
                backend=keras.backend.backend(),
                device=device_description(),
                precision=keras.config.dtype_policy().name,
                versions=ledger.versions(),
            )
            return _carry_out(run, plan, runs, say)
    except BlockingIOError:
        raise UserError(
            f"a run can have one training at a time. Received: {run.name}, which another one has."
        ) from None


def _carry_out(run: Run, plan: Plan, runs: str | Path, say: Callable[[str], None]) -> Run:
    model = plan.compiled_network()
    watchers = plan.watchers
    progress, arrays = _restore(run, model, watchers, say)
    classes = plan.dataset.classes
    show = ShowProgress(plan.total_steps, plan.steps_per_epoch, progress.step, plan.preset.train.batch_size, say)
    size = network_size(plan.preset.model, plan.preset.data.image_size, classes)
    board = TensorBoardLog(run, _first_images(plan), describe_stages(size), say)
    stop = Stop()
    keeper = KeepRun(
        run,
        progress,
        steps_per_epoch=plan.steps_per_epoch,
        total_steps=plan.total_steps,
        batch_size=plan.preset.train.batch_size,
        rates=plan.rates,
        watchers=watchers,
        validate=lambda: _validate(model, plan),
        listeners=[show.show_row, board.write_row],
        stop=stop,
        state_minutes=plan.preset.train.state_minutes,
        arrays=arrays,
    )
    about = run.about
    say(f"run {run.folder}")
    say(f"{plan.preset.title}: {describe_network(plan.preset, classes)}")
    say(
        f"on {about['device']} ({about['backend']}, {about['precision']}), seed {plan.seed}, {plan.total_steps:,} steps"
    )
    with stop.listening():
        for epoch, epochs, steps in fit_calls(progress.step, plan.total_steps, plan.steps_per_epoch):
            model.fit(
                plan.batches.dataset(progress.step, plan.total_steps),
                initial_epoch=epoch,
                epochs=epochs,
                steps_per_epoch=steps,
                callbacks=[show, board, keeper],
                shuffle=False,  # the order is ours
                verbose=0,
            )
            if model.stop_training:
                break
    _close(run, plan, model, keeper, runs)
    if keeper.diverged:
        raise UserError(
            f"a loss must be finite. Received: {keeper.diverged['last_losses'][-1]} at step {progress.step:,}, rate "
            f"{keeper.diverged['learning_rate']:g}; the run is marked as diverged. Try a lower optimizer.learning_rate."
        )
    if progress.step < plan.total_steps:
        raise Stopped(
            f"stopped at step {progress.step:,} of {plan.total_steps:,}; saved in {run.folder}. "
            f"Go on with: python train.py --preset {plan.preset.name} --resume",
            stop.signal,
        )
    say(f"trained in {duration(progress.seconds)}; weights in {run.last.parent}")
    return run


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


def _find_unfinished(preset: Preset, runs: str | Path, resume: bool | str) -> Run:
    """Returns the run to go on with; refuses one that is finished or follows another recipe."""
    if isinstance(resume, str):
        run = run_folder.find(resume, runs)
        if run.about["status"] == "finished":
            raise UserError(f"only an unfinished run can be resumed. Received: {run.name}, which is finished.")
    else:
        needs = "--resume needs an unfinished run; start one without --resume."
        run = run_folder.latest(runs, preset.name, ("running", "stopped"), needs)
    changed = presets.changes(preset, run.preset)
    if changed:
        told = ", ".join(f"{key}: {theirs} -> {ours}" for key, (ours, theirs) in changed.items())
        raise UserError(f"a run is resumed with the recipe it began with. Received: {told} ({run.name}).")
    return run


def _check_same_data(run: Run, dataset: Dataset) -> None:
    before = run.about["data"]
    if before["fingerprint"] != dataset.fingerprint:
        raise UserError(
            f"a run is resumed on the images it began with: {before['title']} ({before['fingerprint'][:12]}). "
            f"Received: {dataset.title} ({dataset.fingerprint[:12]})."
        )


def _restore(
    run: Run, model: keras.Model, watchers: list[Watcher], say: Callable[[str], None]
) -> tuple[Progress, dict[str, np.ndarray]]:
    """Takes up a run's newest state, if there is one: all variables, rules and counters; returns the arrays as well."""
    saved = state.load(run.state, say)
    if saved is None:
        files.write_atomically(run.log, "")
        return Progress(), {}
    arrays, values = saved
    for name, variable in keep.training_variables(model).items():
        variable.assign(arrays[name])
    progress = Progress(**values["progress"])
    for watcher, kept in zip(watchers, progress.watchers, strict=True):
        watcher.restore(kept)
    # Rows after the state belong to steps that will be done again.
    rows = files.read_rows(run.log)[0][: progress.rows]
    files.write_atomically(run.log, "".join(json.dumps(row) + "\n" for row in rows))
    say(f"resuming {run.name} after step {progress.step:,}")
    return progress, arrays


def _validate(model: keras.Model, plan: Plan) -> dict:
    if plan.validation is None:
        return {}
    scores = score(model, plan.validation, plan.dataset.classes)
    return {"validation_loss": scores.loss, "validation_top1": scores.top1}


def _first_images(plan: Plan) -> np.ndarray:
    """Returns the first augmented batch, for TensorBoard."""
    images, _ = next(iter(plan.batches.dataset(0, 1)))
    return images.numpy()


def _close(run: Run, plan: Plan, model: keras.Model, keeper: KeepRun, runs: str | Path) -> None:
    """Says in run.json how the run stands and, when it is over, writes the last weights and its row in the ledger."""
    progress = keeper.progress
    if not keeper.diverged and progress.step < plan.total_steps:
        run.update(status="stopped", step=progress.step)
        return
    rows = run.rows
    last = {key: value for key, value in (rows[-1] if rows else {}).items() if key != "timing"}
    status = "diverged" if keeper.diverged else "finished"
    if status == "finished":
        about = {key: last[key] for key in ("step", "validation_top1") if key in last}
        weights.save(model, run.last, about)
    seconds = round(progress.seconds, 1)
    run.update(status=status, step=progress.step, seconds=seconds, finished=ledger.now(), last=last)
    about = run.about
    keys = ("preset_hash", "seed", "data", "changed", "status", "step", "steps_planned", "seconds", "device")
    ledger.append(
        runs,
        ledger.TRAINED,
        {
            "date": about["finished"],
            "run": run.name,
            "preset": plan.preset.name,
            **{key: about[key] for key in (*keys, "backend", "precision", "versions")},
            **last,
            "best_validation_top1": progress.best_top1,
            **({"diverged": keeper.diverged} if keeper.diverged else {}),
        },
    )
    write_hparams(run, {key: last[key] for key in ("validation_top1", "validation_loss") if key in last})

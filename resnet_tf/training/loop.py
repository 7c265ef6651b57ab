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
from resnet_tf.models import weights
from resnet_tf.models.size import describe_network, describe_stages, network_size
from resnet_tf.optim.watchers import Watcher
from resnet_tf.presets import Preset
from resnet_tf.run_folder import Run
from resnet_tf.training import keep, state
from resnet_tf.training.device import device_description
from resnet_tf.training.keep import KeepRun, Progress, Stop
from resnet_tf.training.plan import Plan, make_plans
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
    plans = make_plans(preset, dataset, seed)
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
            steps_planned=plans[-1].last_step,
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
            return _carry_out(run, preset, plans, runs, say)
    except BlockingIOError:
        raise UserError(f"a run can have one training at a time. Received: {run.name}, which has another.") from None


def _carry_out(run: Run, preset: Preset, plans: list[Plan], runs: str | Path, say: Callable[[str], None]) -> Run:
    """Trains phase by phase from where the run stands; writes its end into run.json and the ledger."""
    saved = state.load(run.state, say)
    progress = Progress(**saved[1]["progress"]) if saved else Progress()
    arrays = saved[0] if saved else {}
    _drop_later_rows(run, progress)
    if saved:
        say(f"resuming {run.name} after step {progress.step:,}")
    _introduce(run, preset, plans, say)
    size = network_size(preset.model, preset.data.image_size, plans[0].dataset.classes)
    show = ShowProgress(plans[-1].last_step, plans[-1].first_epoch + plans[-1].epochs, progress.step, say)
    board = TensorBoardLog(run, first_images(plans[0]), describe_stages(size), say)
    stop = Stop()
    with stop.listening():
        for plan in plans:
            if progress.step >= plan.last_step and plan is not plans[-1]:
                continue
            model = plan.compiled_network()
            watchers = plan.watchers
            if arrays:
                _take_up(model, watchers, plan, progress, arrays)
            show.start_phase(plan)
            keeper = KeepRun(run, progress, plan, watchers, [show.show_row, board.write_row], stop, arrays)
            _train_phase(plan, model, keeper, [show, board])
            if progress.step < plan.last_step or keeper.diverged or stop.signal is not None:
                break
            arrays = keep.training_arrays(model)  # the next phase goes on with these weights
    _close(run, preset, plans[-1].last_step, model, keeper, runs)
    if keeper.diverged:
        raise UserError(
            f"a loss must be finite. Received: {keeper.diverged['last_losses'][-1]} at step {progress.step:,}, rate "
            f"{keeper.diverged['learning_rate']:g}; the run is marked as diverged. Try a lower optimizer.learning_rate."
        )
    if progress.step < plans[-1].last_step:
        raise Stopped(
            f"stopped at step {progress.step:,} of {plans[-1].last_step:,}; saved in {run.folder}. "
            f"Go on with: python train.py --preset {preset.name} --resume",
            stop.signal,
        )
    say(f"trained in {duration(progress.seconds)}; weights in {run.last.parent}")
    return run


def _train_phase(plan: Plan, model: keras.Model, keeper: KeepRun, shown: list[keras.callbacks.Callback]) -> None:
    """Trains a phase from where it stands to its end, or until the training is told to stop."""
    for epoch, epochs, steps in fit_calls(keeper.phase_step, plan.total_steps, plan.steps_per_epoch):
        model.fit(
            plan.batches.dataset(keeper.phase_step, plan.total_steps),
            initial_epoch=epoch,
            epochs=epochs,
            steps_per_epoch=steps,
            callbacks=[*shown, keeper],
            shuffle=False,  # the order is ours
            verbose=0,
        )
        if model.stop_training:
            return


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


def _drop_later_rows(run: Run, progress: Progress) -> None:
    """Cuts the log to what the state knows: rows after it belong to steps that will be done again."""
    rows = files.read_rows(run.log)[0][: progress.rows]
    files.write_atomically(run.log, "".join(json.dumps(row) + "\n" for row in rows))


def _take_up(
    model: keras.Model, watchers: list[Watcher], plan: Plan, progress: Progress, arrays: dict[str, np.ndarray]
) -> None:
    """Gives a phase the variables to go on with: all of them in its middle, at its start the weights alone."""
    within = progress.step > plan.first_step
    for name, variable in keep.training_variables(model).items():
        if within or name.startswith("model/"):
            variable.assign(arrays[name])
    if within:
        for watcher, kept in zip(watchers, progress.watchers, strict=True):
            watcher.restore(kept)


def _introduce(run: Run, preset: Preset, plans: list[Plan], say: Callable[[str], None]) -> None:
    about = run.about
    say(f"run {run.folder}")
    say(f"{preset.title}: {describe_network(preset, plans[0].dataset.classes)}")
    say(f"images: {about['data']['title']}, from {about['data']['source']}")
    means = f"{about['device']} ({about['backend']}, {about['precision']})"
    phases = f" in {len(plans)} phases" if len(plans) > 1 else ""
    say(f"on {means}, seed {about['seed']}, {plans[-1].last_step:,} steps{phases}")


def first_images(plan: Plan) -> np.ndarray:
    """Returns the first augmented batch [batch, size, size, 3], for people to look at."""
    images, _ = next(iter(plan.batches.dataset(0, 1)))
    return images.numpy()


def _close(run: Run, preset: Preset, total_steps: int, model: keras.Model, keeper: KeepRun, runs: str | Path) -> None:
    """Says in run.json how the run stands and, when it is over, writes the last weights and its row in the ledger."""
    progress = keeper.progress
    if not keeper.diverged and progress.step < total_steps:
        run.update(status="stopped", step=progress.step)
        return
    rows = run.rows
    last = {key: value for key, value in (rows[-1] if rows else {}).items() if key != "timing"}
    status = "diverged" if keeper.diverged else "finished"
    if status == "finished":
        about = {key: last[key] for key in ("step", "epoch", "validation_top1") if key in last}
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
            "preset": preset.name,
            **{key: about[key] for key in (*keys, "backend", "precision", "versions")},
            **last,
            "best_validation_top1": progress.best_top1,
            **({"diverged": keeper.diverged} if keeper.diverged else {}),
        },
    )
    write_hparams(run, {key: last[key] for key in ("validation_top1", "validation_loss") if key in last})

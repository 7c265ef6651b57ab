"""May this run go on, and from what: the same recipe, the same images, a whole state, a log that fits it."""

import json
import shutil
from pathlib import Path

import numpy as np

from resnet_tf import files
from resnet_tf.datasets.splits import Dataset
from resnet_tf.errors import UserError
from resnet_tf.log import logger
from resnet_tf.presets import overrides, schema
from resnet_tf.presets.schema import Preset
from resnet_tf.runs import run_folder
from resnet_tf.runs.run_folder import Run
from resnet_tf.training.checkpoint import Progress
from resnet_tf.training.plan import Plan

# What may differ from the recipe that a run began with: its length, where that leaves every step done as it was.
# (`train.state_minutes` and what only describes a preset are no part of the recipe.)
MAY_GROW = schema.LENGTH


def find_run(preset: Preset, runs: str | Path, resume: bool | str, seed: int | None = None) -> Run:
    """Returns the run to go on with: the one named, or the preset's newest unfinished one.

    Args:
        seed: that the run must have; None: any.

    Raises:
        UserError: there is none.
    """
    run = _named(resume, runs) if isinstance(resume, str) else _newest(preset, runs)
    if seed not in (None, run.about["seed"]):
        raise UserError(
            f"a run goes on with the seed it began with. Received: seed {seed} for {run.name}; name another run with "
            "--resume RUN, or leave the seed out."
        )
    return run


def _named(name: str, runs: str | Path) -> Run:
    run = run_folder.find(name, runs)
    if run.shipped is not None:
        raise UserError(f"a run that comes with the project is not trained on. Received: {run.name}.")
    return run


def _newest(preset: Preset, runs: str | Path) -> Run:
    run = run_folder.latest(runs, preset.name, ("running", "stopped"))
    if run is None:
        raise UserError(
            "--resume needs an unfinished run; start one without --resume. Received: no such run of preset "
            f"{preset.name!r} in {runs}."
        )
    return run


def recipe_of(run: Run, preset: Preset) -> Preset:
    """Returns the recipe that a run goes on with: its own, with the overrides that `preset` was given, and no more.

    Where the preset itself is not what it was when the run began, a line says so.

    Raises:
        UserError: the run is of another preset, or an override does not fit its recipe.
    """
    own, named = run.preset, preset.original or preset
    if own.name not in (named.name, preset.name):
        raise UserError(
            f"a run goes on as the preset it began with, {own.name}. Received: {named.name} for {run.name}."
        )
    since = [key for key in schema.changes(own, named) if key not in (run.about.get("changed") or {})]
    if since:
        logger.info(
            f"{run.name} keeps the recipe it began with; preset {own.name} has since changed in {', '.join(since)}"
        )
    return overrides.apply(own, preset.overrides)


def check_recipe(run: Run, preset: Preset, plans: list[Plan], step: int) -> dict[str, list]:
    """Returns how a run's recipe has grown since it was last trained: {"train.epochs": [100, 120]}; mostly empty.

    A longer training is allowed where it makes the run just what it would be had it begun so: the steps done keep
    their rates, and no phase or last short epoch that is over becomes longer. So a schedule that stretches over the
    whole training (one cycle, a cosine without restarts) cannot grow once it has begun.

    Args:
        plans: of `preset`, which is to go on.
        step: updates done.

    Raises:
        UserError: the run is over, or the recipe differs in any other way; names old and new values.
    """
    before = run.preset
    grown = _differences(before, preset)
    told = ", ".join(f"{key}: {old} -> {new}" for key, (old, new) in grown.items())
    status = run.about["status"]
    if status == "diverged" or (status == "finished" and not grown):
        raise UserError(
            f"only an unfinished run can be resumed, or a finished one made longer (--set train.epochs=N). "
            f"Received: {run.name}, which is {status}."
        )
    if not all(key.endswith(MAY_GROW) for key in grown):
        raise UserError(
            f"a run is resumed with the recipe it began with; only {' and '.join(MAY_GROW)} may grow. "
            f"Received: {told} ({run.name})."
        )
    if grown:
        obstacle = _obstacle(before, plans, step)
        if obstacle:
            raise UserError(f"a run can grow only if all steps done stay as they were. Received: {told}; {obstacle}.")
    return grown


def check_data(run: Run, dataset: Dataset) -> None:
    """Raises UserError where the images are not those that a run began with."""
    before = run.about["data"]
    if before["fingerprint"] != dataset.fingerprint:
        raise UserError(
            f"a run is resumed on the images it began with: {before['title']} ({before['fingerprint'][:12]}). "
            f"Received: {dataset.title} ({dataset.fingerprint[:12]})."
        )


def restore_files(run: Run, progress: Progress, best: bytes | None) -> None:
    """Brings a run's log and best weights to where its state stands; what came after is done again."""
    rows, torn = files.read_rows(run.log)
    if torn:
        logger.info(f"{run.log}: {torn} torn row{'s' * (torn > 1)} left out")
    if torn or rows != progress.rows:
        kept = len(progress.rows)
        if rows[:kept] != progress.rows:
            logger.info(f"{run.log}: rows were missing or changed; the state's are put back")
        elif len(rows) > kept:
            logger.info(f"{run.log}: {len(rows) - kept} after the saved state left out, as those steps are done again")
        files.write_atomically(run.log, "".join(json.dumps(row) + "\n" for row in progress.rows))
    if best is None:
        run.best.unlink(missing_ok=True)
    elif not run.best.exists() or run.best.read_bytes() != best:
        files.write_atomically(run.best, best)


def say_what_changed(before: dict, now: dict) -> None:
    """Says where software or device are not those that the steps before were done with.

    Args:
        before, now: `State.made_with` of the steps before and of those to come.
    """
    changed = [f"{key} {before[key]} -> {now[key]}" for key in now if before[key] != now[key]]
    if changed:
        logger.info(f"the last bits may differ from an unbroken run's: {'; '.join(changed)}")


def take_recipe(run: Run, preset: Preset, grown: dict[str, list], step: int) -> None:
    """Writes into a run what its recipe has become, and says what has changed.

    Where it has grown, what its shorter self predicted is dropped.

    Args:
        grown: of `check_recipe`.
        step: updates done.
    """
    before = run.preset
    changed = _differences(before, preset, unhashed=True)
    if not changed:
        return
    logger.info(f"changed for {run.name}: {', '.join(f'{key}: {old} -> {new}' for key, (old, new) in changed.items())}")
    if grown:
        shutil.rmtree(run.predictions, ignore_errors=True)
        departs = dict(run.about.get("changed") or {})  # from the preset's file, as it was when the run began
        for key, (ours, old) in schema.changes(preset, before).items():
            departs[key] = [ours, departs[key][1] if key in departs else old]
        departs = {key: pair for key, pair in departs.items() if pair[0] != pair[1]}
        run.update(grown=[*run.about.get("grown", []), {"after_step": step, **grown}], changed=departs)
    run.write_preset(preset)


def _differences(before: Preset, now: Preset, unhashed: bool = False) -> dict[str, list]:
    """Returns where two recipes differ, phase by phase: {"train.epochs": [old, new]}."""
    if len(before.in_phases) != len(now.in_phases):
        return {"phases": [len(before.in_phases), len(now.in_phases)]}
    found = {}
    for number, (old, new) in enumerate(zip(before.in_phases, now.in_phases, strict=True), start=1):
        prefix = f"phases.{number}." if before.phases else ""
        found |= {prefix + key: [theirs, ours] for key, (ours, theirs) in schema.changes(new, old, unhashed).items()}
    return found


def _obstacle(before: Preset, plans: list[Plan], step: int) -> str | None:
    """Returns why a run of `before` cannot become the longer one that is planned; None where it can."""
    first = 0
    for plan, old in zip(plans, before.in_phases, strict=True):
        total = old.train.total_steps(plan.steps_per_epoch)
        done = min(step - first, total)
        if plan.total_steps < total:
            return "it would become shorter"
        if plan.total_steps > total and done > 0:
            if step > first + total:
                return "that phase is over"
            if done == total and total % plan.steps_per_epoch:
                return "its last epoch was a short one"
            rates = old.schedule.rates(old.optimizer.learning_rate, total, plan.steps_per_epoch)
            if not np.array_equal(rates[:done], plan.rates[:done]):
                return "the schedule stretches over the whole training"
        first += total
    return None

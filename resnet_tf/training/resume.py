"""Resuming a run: which run, whether it may go on, and what its files must hold then."""

import json
import os
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np

from resnet_tf import files
from resnet_tf.datasets.splits import Dataset
from resnet_tf.errors import UserError
from resnet_tf.format import plural
from resnet_tf.log import logger
from resnet_tf.presets import changes, overrides, schema
from resnet_tf.presets.schema import Preset
from resnet_tf.runs import choose
from resnet_tf.runs.run import Run
from resnet_tf.training.checkpoint import Progress, saved_states
from resnet_tf.training.plan import Plan

UNHASHED = tuple(f"{section}.{key}" for section, keys in schema.UNHASHED.items() for key in keys)


def run_to_resume(
    preset: Preset, runs: str | Path, resume: Literal[True] | str | PathLike | Run, seed: int | None = None
) -> Run:
    """Returns the run to go on with.

    Args:
        resume: True for the preset's newest unfinished run; or a run, or its name or folder.
        seed: that the run must have; None: any.

    Raises:
        UserError: there is none, or its state is gone.
    """
    if resume is not True:
        run = resume if isinstance(resume, Run) else choose.find_run(os.fspath(resume), runs)
        if run.pretrained:  # published without the state that a training continues from
            raise UserError(
                f"{run.name} is pretrained and has no state from which a training could go on. Start a new one from "
                f"its weights: --init {run.preset.name}.",
                "run-pretrained",
            )
    else:
        run = choose.latest_run(runs, preset.name, ("running", "stopped"))
        if run is None:
            raise UserError(
                f"Preset {preset.name!r} has no unfinished run in {runs}, which --resume needs. Start one without "
                "--resume.",
                "run-not-found",
            )
    if run.about["status"] in ("finished", "stopped") and not saved_states(run.state):
        raise UserError(
            f"{run.name} is {run.about['status']}, but the state from which it would go on was removed. Start a new run"
            + (f", from its weights with --init {run.as_argument}." if run.about["status"] == "finished" else "."),
            "run-state-removed",
        )
    if seed not in (None, run.about["seed"]):
        raise UserError(
            f"a run goes on with the seed it began with. Received: seed {seed} for {run.name}; name another run with "
            "--resume RUN, or leave the seed out.",
            "resume-other-seed",
        )
    return run


def recipe_of(run: Run, preset: Preset) -> Preset:
    """Returns the recipe to resume a run with: its own, with the overrides that were given to `preset` and no more.

    If the preset's file has changed since the run began, that is logged.

    Raises:
        UserError: the run is of another preset, or an override does not fit its recipe.
    """
    own, named = run.preset, preset.original or preset
    if own.name not in (named.name, preset.name):
        message = f"a run is resumed with the preset it began with, {own.name}. Received: {named.name} for {run.name}."
        raise UserError(message, "resume-other-preset")
    known = _stored_changes(run)
    since = [key for key in schema.changes(own, named) if key not in known]
    if since:
        logger.info(
            f"{run.name} keeps the recipe it began with; preset {own.name} has since changed in {', '.join(since)}"
        )
    return overrides.apply(own, preset.overrides)


def check_data(run: Run, dataset: Dataset) -> None:
    """Raises UserError where the images are not those that a run began with."""
    before = run.about["data"]
    if before["fingerprint"] != dataset.fingerprint:
        raise UserError(
            f"a run is resumed on the images it began with: {before['title']} ({before['fingerprint'][:12]}). "
            f"Received: {dataset.title} ({dataset.fingerprint[:12]}).",
            "resume-other-images",
        )


def take_recipe(run: Run, preset: Preset, plans: list[Plan], step: int) -> None:
    """Writes the recipe that a run goes on with into the run, and logs what changed.

    A run may become longer if that makes it what it would have been from the start: every step done keeps its learning
    rate, and no phase or short last epoch that is over becomes longer. So a schedule that depends on the length of the
    training (one cycle, a cosine without restarts) cannot grow once it has begun.

    Args:
        plans: of `preset`.
        step: updates done.

    Raises:
        UserError: the run is over, or the recipe differs in any other way; the message names old and new values.
    """
    _finish_growth(run)
    before = run.preset
    changed = _differences(before, preset)
    grown = {key: pair for key, pair in changed.items() if not key.endswith(UNHASHED)}
    message = ", ".join(f"{key}: {old} -> {new}" for key, (old, new) in changed.items())
    status = run.about["status"]
    if status == "diverged" or (status == "finished" and not grown):
        raise UserError(
            f"only an unfinished run can be resumed, or a finished one made longer (--set train.epochs=N). "
            f"Received: {run.name}, which is {status}.",
            f"run-{status}",
        )
    if not all(map(changes.is_length, grown)):
        raise UserError(
            f"a run is resumed with the recipe it began with; only {' and '.join(changes.LENGTH)} may grow. "
            f"Received: {message} ({run.name}).",
            "resume-other-recipe",
        )
    if grown and (obstacle := _obstacle(before, plans, step)):
        raise UserError(
            f"a run can grow only if all steps done stay as they were. Received: {message}; {obstacle}.",
            "resume-cannot-grow",
        )
    if not changed:
        return
    logger.info(f"changed for {run.name}: {message}")
    growth = {"growing": _growth(run, preset, step, grown)} if grown else {}
    # First, so that after a kill the run is unfinished, and does not pass for one of the longer recipe.
    run.update(status="running", step=None, **growth)
    run.write_preset(preset)
    _finish_growth(run)


def _growth(run: Run, preset: Preset, step: int, grown: dict[str, list]) -> dict:
    """Returns what run.json is to say of a run that becomes longer, and of which recipe it is true."""
    departures = _stored_changes(run)  # {key: [in the run, in the preset's file]}
    for key, (now, old) in schema.changes(preset, run.preset).items():
        _, in_file = departures.get(key, [None, old])
        departures[key] = [now, in_file]
    departures = {key: pair for key, pair in departures.items() if pair[0] != pair[1]}
    history = [*run.about.get("grown", []), {"after_step": step, **grown}]
    return {"recipe": preset.hash, "grown": history, "changed": departures}


def _finish_growth(run: Run) -> None:
    """Makes what `_growth` returned true of the run if it has the longer recipe; after a kill the next resume does."""
    if growing := run.about.get("growing"):
        growth = {key: value for key, value in growing.items() if key != "recipe"}
        run.update(growing=None, **(growth if run.preset.hash == growing["recipe"] else {}))


def _stored_changes(run: Run) -> dict[str, list]:
    """Returns where a run departs from its preset's file, {key: [value here, value there]}, as the run says."""
    changed = dict(run.about.get("changed") or {})
    ours, theirs = changed.get("phases", ([], []))
    if "phases" in changed and len(ours) == len(theirs):  # up to 0.5 a run held all phases where one key differed
        del changed["phases"]
        changed |= changes.of_phases(ours, theirs)
    return changed


def _differences(before: Preset, now: Preset) -> dict[str, list]:
    """Returns where two recipes differ, phase by phase: {"phases.1.train.epochs": [before, now]}."""
    if len(before.in_phases) != len(now.in_phases):
        return {"phases": [len(before.in_phases), len(now.in_phases)]}
    differences = {}
    for number, phases in enumerate(zip(before.in_phases, now.in_phases, strict=True), start=1):
        prefix = f"phases.{number}." if before.phases else ""
        differences |= {prefix + key: pair for key, pair in schema.changes(*phases, unhashed=True).items()}
    return differences


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
            learning_rates = old.schedule.rates(old.optimizer.learning_rate, total, plan.steps_per_epoch)
            if not np.array_equal(learning_rates[:done], plan.learning_rates[:done]):
                return "the schedule stretches over the whole training"
            if old.optimizer.lookahead is not None:
                return "Lookahead stretches over the whole training"
        first += total
    return None


def restore_files(run: Run, progress: Progress, best: bytes | None) -> None:
    """Writes a run's log and best weights again where they are not those of its saved state.

    Stored predictions are removed, since they are those of earlier weights.
    """
    run.forget_predictions()
    rows, torn = files.read_rows(run.log)
    if torn:
        logger.info(f"{run.log}: {plural(torn, 'torn row')} removed")
    if torn or rows != progress.rows:
        extra = len(rows) - len(progress.rows)
        if rows[: len(progress.rows)] != progress.rows:
            logger.info(f"{run.log}: rows were missing or changed; they are restored from the checkpoint")
        elif extra:
            logger.info(f"{run.log}: {plural(extra, 'row')} after the checkpoint removed; their steps are done again")
        files.write_atomically(run.log, "".join(json.dumps(row) + "\n" for row in progress.rows))
    if best is None:
        run.best.unlink(missing_ok=True)
    elif not run.best.exists() or run.best.read_bytes() != best:
        files.write_atomically(run.best, best)

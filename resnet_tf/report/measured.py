"""What was measured, gathered: the ledger's rows and the results that presets carry, each beside its reference."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from resnet_tf import files
from resnet_tf.log import logger
from resnet_tf.presets import preset_files
from resnet_tf.presets.schema import LENGTH, Preset
from resnet_tf.runs import ledger, run_folder
from resnet_tf.runs.ledger import Standing
from resnet_tf.runs.run_folder import Run

# What makes two evaluations one measurement, made again: the later row stands for both.
SAME = ("run", "split", "view", "weights", "resolution")
NEEDED = {*SAME, "preset", "seed", "date", "changed", "data", "top1", "top1_interval", "epochs", "count"}
NEEDED |= {"same_data_as_training", "steps", "steps_planned", "protocol"}  # what puts it beside a reference


@dataclass(frozen=True)
class Measured:
    """One measurement.

    Attributes:
        row: as in the ledger.
        preset: None where neither the package nor the run knows it any more.
        run: its folder; None where only the preset's file tells of it.
    """

    row: dict
    preset: Preset | None
    run: Run | None

    @property
    def standing(self) -> Standing:
        return Standing("no reference") if self.preset is None else ledger.standing(self.preset, self.row)


@dataclass(frozen=True)
class Group:
    """Measurements that differ in the seed alone; one a seed, the latest."""

    members: tuple[Measured, ...]

    @property
    def row(self) -> dict:
        return self.members[0].row

    @property
    def preset(self) -> Preset | None:
        return self.members[0].preset

    @property
    def seeds(self) -> list[int]:
        return sorted(member.row["seed"] for member in self.members)

    @property
    def mean(self) -> float:
        """Of top-1, in percent."""
        return statistics.fmean(member.row["top1"] for member in self.members)

    @property
    def spread(self) -> float | None:
        """Standard deviation of top-1 over the seeds, in points, by n - 1; None for a single seed."""
        return statistics.stdev(member.row["top1"] for member in self.members) if len(self.members) > 1 else None

    @property
    def interval(self) -> tuple[float, float]:
        """Of top-1, in percent: a single seed's 95 % interval; of more, the lowest and the highest seed."""
        top1 = [member.row["top1"] for member in self.members]
        return (min(top1), max(top1)) if len(top1) > 1 else tuple(self.row["top1_interval"])


def shipped_presets() -> dict[str, Preset]:
    """Returns the package's presets by name, in the order of the listing."""
    return {name: preset_files.load_preset(name) for name in preset_files.names()}


def gather(runs: str | Path, presets: dict[str, Preset]) -> list[Measured]:
    """Returns all measurements, a preset's after another's in the order of `presets`, each by date.

    A result that a preset's file carries is added where the overall log has not got it. Rows of an older form, without
    what a comparison needs, are left out.

    Args:
    """
    log = Path(runs) / ledger.EVALUATED
    rows, torn = files.read_rows(log)
    if torn:
        logger.info(f"{log}: {torn} torn row{'s' * (torn > 1)} passed over")
    rows += [from_recorded(preset, result) for preset in presets.values() for result in preset.results]
    rows = [row for row in rows if row.keys() >= NEEDED]
    latest: dict[tuple, dict] = {}
    for row in rows:
        key = (*(row[key] for key in SAME), row["data"]["fingerprint"])
        if key not in latest or row["date"] > latest[key]["date"]:
            latest[key] = row
    measured = {row["run"] for row in latest.values()}
    known = {run.name: run for run in run_folder.every(runs) if run.name in measured}
    recipes = {run.name: run.preset for run in run_folder.readable(list(known.values()), lambda run: run.preset)}
    found = []
    for row in latest.values():
        run, preset, recipe = known.get(row["run"]), presets.get(row["preset"]), recipes.get(row["run"])
        if preset is not None and recipe is not None:  # a recipe of the user's own may bear the preset's name
            row = {**row, "changed": ledger.training_changes(recipe, preset)}
        found.append(Measured(row, preset or recipe, run))
    order = [*presets, *(row["preset"] for row in rows)]
    return sorted(found, key=lambda one: (order.index(one.row["preset"]), one.row["split"], one.row["date"]))


def from_recorded(preset: Preset, result: dict) -> dict:
    """Returns what a preset's file keeps of a test result in the form of the ledger's row."""
    plain = {key.removeprefix("test_"): value for key, value in result.items()}
    if {"view", "weights", "images"} <= plain.keys():
        plain |= {"protocol": ledger.protocol(plain["view"], plain["weights"]), "count": plain["images"]}
    return {
        "steps": None,
        "steps_planned": None,
        "same_data_as_training": True,  # older files do not say
        **plain,
        "preset": preset.name,
        "split": "test",
    }


def groups(measured: Iterable[Measured]) -> list[Group]:
    """Puts measurements together that differ in the seed alone."""
    members: dict[str, dict[int, Measured]] = {}
    for one in measured:
        row = one.row
        length = row["steps_planned" if row["weights"].startswith("best") else "epochs"]  # the best epoch varies
        same = [length, *(row[key] for key in ("preset", "changed", *SAME[1:]))]
        members.setdefault(json.dumps([*same, row["data"]["fingerprint"]]), {})[row["seed"]] = one
    return [Group(tuple(seeds.values())) for seeds in members.values()]


def leading(found: Sequence[Group], preset: str) -> Group | None:
    """Returns the group that speaks for a preset: the longest training, then fewest changes, then most seeds.

    None that changed more than its length does.
    """
    own = [
        group
        for group in found
        if (group.row["preset"], group.row["split"]) == (preset, "test")
        and all(key.endswith(LENGTH) for key in group.row["changed"])
    ]
    return max(own, key=_weight, default=None)


def _weight(group: Group) -> tuple:
    return group.row["epochs"] or 0, -len(group.row["changed"]), len(group.members), group.row["weights"] == "last"

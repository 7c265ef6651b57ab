"""All measurements: the overall log and the results in the presets' files, each compared with its reference."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from resnet_tf.presets import preset_files
from resnet_tf.presets.changes import is_length
from resnet_tf.presets.schema import Preset
from resnet_tf.runs import choose, comparison, ledger, pretrained
from resnet_tf.runs.comparison import Comparison
from resnet_tf.runs.records import EvaluationRecord
from resnet_tf.runs.run import Run


@dataclass(frozen=True)
class Measured:
    """One measurement.

    Attributes:
        record: what was measured.
        preset: None where neither the package nor the run's folder has it any more.
        run: None where its folder does not exist here.
        own: whether the user measured it: it is in the overall log, and not what a pretrained run was published with.
    """

    record: EvaluationRecord
    preset: Preset | None
    run: Run | None
    own: bool = True

    @property
    def comparison(self) -> Comparison:
        return Comparison("no reference") if self.preset is None else comparison.compare(self.preset, self.record)

    @property
    def comparable(self) -> bool:
        """Whether a reference, where there is one, may stand beside it."""
        return self.preset is None or not comparison.obstacles(self.preset, self.record)


@dataclass(frozen=True)
class Group:
    """Measurements that differ in the seed alone; one a seed, the latest."""

    members: tuple[Measured, ...]

    @property
    def record(self) -> EvaluationRecord:
        """One of the measurements, for what they all share."""
        return self.members[0].record

    @property
    def top1(self) -> list[float]:
        """Percent, in the order of the members."""
        return [member.record.top1 for member in self.members]

    @property
    def seeds(self) -> list[int]:
        return sorted(member.record.seed for member in self.members)

    @property
    def mean(self) -> float:
        """Of top-1, in percent."""
        return statistics.fmean(self.top1)

    @property
    def spread(self) -> float | None:
        """Standard deviation of top-1 over the seeds, in points, by n - 1; None for a single seed."""
        return statistics.stdev(self.top1) if len(self.members) > 1 else None

    @property
    def interval(self) -> tuple[float, float]:
        """Of top-1, in percent: a single seed's 95 % interval; of more, the lowest and the highest seed."""
        return (min(self.top1), max(self.top1)) if len(self.members) > 1 else tuple(self.record.top1_interval)


def gather(runs: str | Path, presets: dict[str, Preset]) -> list[Measured]:
    """Returns all measurements: the user's own first, then by preset in the order of `presets`, by date.

    A result in a preset's file is added where the overall log has not got it. Of a measurement made several times the
    latest counts. Rows of an older form, without what a comparison needs, are left out.
    """
    records = ledger.evaluations(runs, log_torn=True)
    published = {run.name: run for run in choose.all_runs(pretrained.FOLDER)}
    results = [
        EvaluationRecord.from_result(name, result) for name, preset in presets.items() for result in preset.results
    ]
    recorded = list(filter(None, results))
    own = {record.measurement for record in records}
    own -= {record.measurement for record in recorded if record.run in published}
    records += recorded
    latest: dict[tuple, EvaluationRecord] = {}
    for record in records:
        if record.measurement not in latest or record.date > latest[record.measurement].date:
            latest[record.measurement] = record
    names = {record.run for record in latest.values()}
    known = {**published, **{run.name: run for run in choose.all_runs(runs) if run.name in names}}
    recipes = {run.name: run.preset for run in choose.readable_runs(list(known.values()), lambda run: run.preset)}
    measured = []
    for record in latest.values():
        preset, recipe = presets.get(record.preset), recipes.get(record.run)
        # A recipe of the user's own may have the preset's name; a run may have grown since it was evaluated.
        if preset is not None and recipe is not None and record.preset_hash in (None, recipe.hash):
            record = replace(record, changed=known[record.run].changes(preset))
        elif preset is not None and comparison.is_of_another_recipe(preset, record):
            record = replace(record, changed={"recipe": [record.preset_hash, preset.hash]})
        if record.device is None and record.run in published:  # a preset's file does not say it
            record = replace(record, device=published[record.run].about.get("device"))
        measured.append(Measured(record, preset or recipe, known.get(record.run), record.measurement in own))
    order = [*presets, *(record.preset for record in records)]
    return sorted(
        measured,
        key=lambda one: (not one.own, order.index(one.record.preset), one.record.split, one.record.date),
    )


def groups(measured: Iterable[Measured]) -> list[Group]:
    """Returns the measurements in groups that differ in the seed alone.

    Precisions and backends are groups apart, and validation images that were trained on from others.
    """
    members: dict[str, dict[int, Measured]] = {}
    shipped = set(preset_files.names())
    for one in measured:
        record = one.record
        # The best epoch varies from seed to seed.
        length = [record.steps_planned, record.trained] if record.weights.startswith("best") else record.epochs
        # `changed` is the difference to a shipped preset; a preset of the user's own may have been edited in between.
        recipe = [record.preset, record.changed, None if record.preset in shipped else record.preset_hash]
        trained = [length, *recipe, record.init, record.computed_in, record.computed_by]
        trained += [record.same_data_as_training, record.validation_seen]
        key = json.dumps([*trained, *record.measurement[2:]])
        of_seed = members.setdefault(key, {})
        if record.seed not in of_seed or record.date > of_seed[record.seed].record.date:
            of_seed[record.seed] = one
    return [Group(tuple(seeds.values())) for seeds in members.values()]


def leading(found: Sequence[Group], preset: str) -> Group | None:
    """Returns the group that speaks for a preset: on official images, the longest, least changed, of most seeds.

    Of equal ones it is that in float32.

    Only a training by the preset's recipe, but for its length, from random weights, scored as the preset says on the
    images that it was trained on, speaks for it; None where there is none.
    """

    def weight(group: Group) -> tuple:
        record = group.record
        official, length = record.data["official"], record.epochs or 0
        plain = "-" not in record.weights, record.computed_in == "float32"
        return official, length, -len(record.changed), len(group.members), *plain

    return max((group for group in found if _speaks_for(preset, group)), key=weight, default=None)


def _speaks_for(name: str, group: Group) -> bool:
    record, preset = group.record, group.members[0].preset
    protocol = record.view, record.weights.partition("-")[0]  # batch norm may have been measured again
    own = preset and (preset.last_phase.evaluation.view, preset.last_phase.evaluation.weights)
    return (
        (record.preset, record.split, record.frame, record.init) == (name, "test", None, None)
        and record.same_data_as_training
        and own in (None, protocol)
        and all(map(is_length, record.changed))
    )

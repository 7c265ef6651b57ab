"""The recipe check: is a preset sound, before time is spent on it? `train.py --check` prints what it finds.

`recipe_rules` holds the rules. A preset silences those that it breaks on purpose: {"silence": ["imagenet-stem"]}.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from resnet_tf.errors import unknown
from resnet_tf.lint.rules import RULES, Recipe, log_key
from resnet_tf.optim.plateau import PlateauWatcher
from resnet_tf.presets.catalogue import DATASETS
from resnet_tf.presets.schedule import Plateau
from resnet_tf.presets.schema import Preset
from resnet_tf.runs.run import Run

if TYPE_CHECKING:
    from resnet_tf.datasets.splits import Dataset


@dataclass(frozen=True)
class Finding:
    """What a rule found in a preset. An error cannot be carried out; a warning can."""

    severity: Literal["warning", "error"]
    rule: str
    reason: str
    remedy: str
    case: str

    def __str__(self):
        return f"{self.severity} ({self.rule}): {self.reason} {self.remedy}"


def check(
    preset: Preset,
    images: int | None = None,
    classes: int | None = None,
    history: Sequence[dict] = (),
    own_validation: int | None = None,
) -> list[Finding]:
    """Applies every rule that the preset does not silence to each of its phases; what finds errors is never silent.

    Args:
        images: of the training split, without validation; default: what is known of the data set.
        classes: default: likewise.
        history: rows of the log of an earlier run, whose noise is then measured instead of estimated.
        own_validation: images of the data set's own validation split; default: it has none.

    Raises:
        UserError: the preset silences a rule that there is not.
    """
    for name in preset.silence:
        if name not in RULES:
            raise unknown(f"rule in 'silence' of preset {preset.name}:", name, RULES)
    known = DATASETS[preset.data.dataset]
    if images is None and known.train_size is not None:
        images = max(0, known.train_size - preset.data.validation_size)
    phases, found = preset.in_phases, []
    for number, phase in enumerate(phases, start=1):
        recipe = Recipe(phase, images, classes or known.classes, history, own_validation)
        where = f"phase {number}: " if len(phases) > 1 else ""
        for name, rule in RULES.items():
            if rule.impossible or name not in preset.silence:
                severity = "error" if rule.impossible else "warning"
                for reason, remedy in rule.look(recipe):
                    found.append(Finding(severity, name, where + reason, remedy, rule.case))
    return found


def check_on(preset: Preset, dataset: "Dataset", history: Sequence[dict] = ()) -> list[Finding]:
    """Applies the rules as `check` does, to a preset and the images that it is to train on."""
    if dataset.validation is not None:
        return check(preset, len(dataset.train), dataset.classes, history, len(dataset.validation))
    return check(preset, max(0, len(dataset.train) - preset.data.validation_size), dataset.classes, history)


def print_check(preset: Preset, run: Run | None = None, data: str | None = None) -> int:
    """Says all that the check finds in a preset, and returns an exit code: 2 where something cannot be carried out.

    Args:
        run: a run whose log is replayed; its metrics also tell how noisy they are.
        data: where the images are, as `datasets.sources.load` takes it, whose number then counts; default: what is
            known of the data set. RESNET_DATA is not read, as it may hold another one.

    Raises:
        UserError: `data` does not hold the images.
    """
    rows = [] if run is None else run.rows
    if data is not None:
        from resnet_tf.datasets import sources  # NumPy and Pillow, which the check does without otherwise

        found = check_on(preset, sources.load(preset.data.dataset, data), rows)
    else:
        found = check(preset, history=rows)
    for finding in found:
        print(f"{finding}\n  case: {finding.case}")
    if run is not None:
        print(describe_replay(preset, rows, run.name))
    counts = {word: sum(finding.severity == word for finding in found) for word in ("error", "warning")}
    told = ", ".join(f"{count} {word}{'s' * (count > 1)}" for word, count in counts.items() if count)
    silenced = f"; silenced by the preset: {', '.join(preset.silence)}" if preset.silence else ""
    print(f"preset {preset.name}: {told or 'nothing found'} by {len(RULES)} rules{silenced}")
    return 2 if counts["error"] else 0


def replay(plateau: Plateau, learning_rate: float, rows: Sequence[dict]) -> list[int]:
    """Returns the epochs at whose end a plateau would have lowered the rate, given the metric of an earlier run."""
    watcher = PlateauWatcher(plateau, learning_rate)
    return [row["epoch"] for row in rows if watcher.update(row[log_key(plateau)])]


def describe_replay(preset: Preset, rows: Sequence[dict], name: str) -> str:
    """Returns a line on when the preset's plateau would have fired in the run called `name`, whose log is `rows`."""
    plateau = preset.schedule
    if not isinstance(plateau, Plateau) or plateau.every_steps is not None:
        return f"replay on {name}: this schedule waits for no metric that a log has every epoch"
    if not rows or any(log_key(plateau) not in row for row in rows):
        return f"replay on {name}: its log has no {plateau.metric}"
    fired = replay(plateau, preset.optimizer.learning_rate, rows)
    when = f"have fallen after epoch{'s' * (len(fired) > 1)} {', '.join(map(str, fired))}"
    return f"replay on {name}, {len(rows)} epochs: the rate would {when if fired else 'never have fallen'}"

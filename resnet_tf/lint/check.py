"""The recipe check: finds mistakes in a preset before time is spent on training it (`train.py --check`).

`rules.py` has the rules that warn, `impossible.py` those that refuse. A preset can silence warnings that it earns on
purpose: {"silence": ["imagenet-stem"]}.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from resnet_tf.errors import unknown
from resnet_tf.format import plural
from resnet_tf.lint import impossible, rules
from resnet_tf.lint.rule import PhaseFacts, Rule
from resnet_tf.optim.metric_rules import PlateauRule
from resnet_tf.presets.catalogue import DATASETS
from resnet_tf.presets.schedule import Plateau, log_key
from resnet_tf.presets.schema import Preset
from resnet_tf.runs.run import Run

if TYPE_CHECKING:
    from resnet_tf.datasets.splits import Dataset

RULES = {rule.name: rule for part in (impossible, rules) for rule in vars(part).values() if isinstance(rule, Rule)}


@dataclass(frozen=True)
class Finding:
    """What a rule found in a preset. An error cannot be trained; a warning can."""

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
    """Applies every rule to each phase of a preset, without those that it silences; errors cannot be silenced.

    Args:
        images: in the training split, with those held out for validation; default: as the data set's catalogue entry
            says.
        classes: default: likewise.
        history: rows of an earlier run's log, in which the noise of its metrics is measured.
        own_validation: images in the data set's own validation split; None: it has none.

    Raises:
        UserError: the preset silences a rule that does not exist.
    """
    for name in preset.silence:
        if name not in RULES:
            raise unknown(f"rule in 'silence' of preset {preset.name}:", name, RULES, "rule-unknown")
    known = DATASETS[preset.data.dataset]
    available = known.train_size if images is None else images
    if own_validation is not None:
        held_out, validation = 0, own_validation
    elif available is not None:
        held_out = validation = min(preset.data.validation_size, available)
    else:  # a folder that is not read yet, and may have a validation split
        held_out = preset.data.validation_size
        validation = held_out or None
    images = None if available is None else available - held_out
    phases, findings = preset.in_phases, []
    for number, phase in enumerate(phases, start=1):
        facts = PhaseFacts(phase, images, classes or known.classes, validation, held_out, history)
        where = f"phase {number}: " if len(phases) > 1 else ""
        for name, rule in RULES.items():
            if rule.impossible or name not in preset.silence:
                severity = "error" if rule.impossible else "warning"
                for reason, remedy in rule.find(facts):
                    findings.append(Finding(severity, name, where + reason, remedy, rule.case))
    return findings


def check_on(preset: Preset, dataset: "Dataset", history: Sequence[dict] = ()) -> list[Finding]:
    """Applies the rules as `check` does, to a preset and the images that it is to train on."""
    own_validation = None if dataset.validation is None else len(dataset.validation)
    return check(preset, len(dataset.train), dataset.classes, history, own_validation)


def print_check(preset: Preset, run: Run | None = None, data: str | None = None) -> int:
    """Prints all that the check finds in a preset; returns the exit code: 2 where it cannot be trained, else 0.

    Args:
        run: a run whose log is replayed; the noise of its metrics is measured too.
        data: where the images are, as `datasets.sources.load` takes it; default: their number is taken from the
            catalogue. RESNET_DATA is not read, as it may hold another data set.

    Raises:
        UserError: `data` does not hold the images.
    """
    rows = [] if run is None else run.rows
    if data is None:
        findings = check(preset, history=rows)
    else:
        from resnet_tf.datasets import sources  # imports NumPy and Pillow, which the check does not need otherwise

        findings = check_on(preset, sources.load(preset.data.dataset, data), rows)
    for finding in findings:
        print(f"{finding}\n  case: {finding.case}")
    if run is not None:
        print(describe_replay(preset, rows, run.name))
    counts = {word: sum(finding.severity == word for finding in findings) for word in ("error", "warning")}
    summary = ", ".join(plural(count, word) for word, count in counts.items() if count)
    silenced = f"; silenced by the preset: {', '.join(preset.silence)}" if preset.silence else ""
    print(f"preset {preset.name}: {summary or 'nothing found'} by {len(RULES)} rules{silenced}")
    return 2 if counts["error"] else 0


def replay(plateau: Plateau, learning_rate: float, rows: Sequence[dict]) -> list[int]:
    """Returns the epochs after which a plateau would have lowered the learning rate, by the log of an earlier run."""
    rule = PlateauRule(plateau, learning_rate)
    return [row["epoch"] for row in rows if rule.update(row[log_key(plateau.metric)])]


def describe_replay(preset: Preset, rows: Sequence[dict], name: str) -> str:
    """Returns a line on when the preset's plateau would have fired in the run called `name`, whose log is `rows`."""
    plateau = preset.schedule
    if len(preset.in_phases) > 1:
        return f"replay on {name}: preset {preset.name} has phases, each with a plateau of its own: not replayed"
    if not isinstance(plateau, Plateau) or plateau.every_steps is not None:
        return f"replay on {name}: this schedule waits for no metric that a log has every epoch"
    if not rows or any(log_key(plateau.metric) not in row for row in rows):
        return f"replay on {name}: its log has no {plateau.metric}"
    fired = replay(plateau, preset.optimizer.learning_rate, rows)
    when = f"have fallen after epoch{'s' * (len(fired) > 1)} {', '.join(map(str, fired))}"
    return f"replay on {name}, {len(rows)} epochs: the learning rate would {when if fired else 'never have fallen'}"

"""What a preset is: its sections, its phases, its hash, and how two presets differ.

Its sections are in `sections`, `network`, `optimizer` and `schedule`. `overrides` changes presets; `preset_files` reads
them.
"""

import dataclasses
import functools
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Annotated, Any

from resnet_tf.errors import UserError, shown, unknown
from resnet_tf.presets import parsing
from resnet_tf.presets.catalogue import DATASETS
from resnet_tf.presets.changes import of_phases
from resnet_tf.presets.network import Network
from resnet_tf.presets.optimizer import OPTIMIZERS, LossSpec, OptimizerSpec
from resnet_tf.presets.schedule import SCHEDULES, Schedule
from resnet_tf.presets.sections import Data, Evaluation, Reference, Train

SECTIONS = {"model": Network, "data": Data, "train": Train, "loss": LossSpec, "evaluation": Evaluation}
NAMED_SECTIONS = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}
# The sections that change a run's numbers; the rest of a preset only describes it.
RECIPE = ("model", "data", "train", "optimizer", "schedule", "loss", "evaluation")
# The sections that a phase can change.
PHASE = ("data", "train", "optimizer", "schedule", "loss", "evaluation")
# Keys of a section of which only one is given: a change to one removes the others.
ALTERNATIVES = (
    {"epochs", "steps"},
    {"num_residual_units", "stage_sizes"},
    {"boundaries_steps", "boundaries_epochs"},
    {"warmup", "warmup_until"},
)
UNHASHED = {"train": ("state_minutes",)}
# Keys that were added when runs with hashes existed: at its default such a key is not hashed, so that a recipe without
# it keeps its hash.
LATER = {
    "model": (
        "groups",
        "width_per_group",
        "norm_momentum",
        "norm_epsilon",
        "norm_scale",
        "head_bias",
        "logit_scale",
        "stochastic_depth",
        "stem_bias",
        "head_pooling",
    ),
    "train": ("repeats", "init", "mixup", "cutmix"),
    "optimizer": ("filters", "norms", "stem_bias", "head", "ema", "lookahead"),
}
Overrides = tuple[tuple[str, Any], ...]  # changes in order: (("train.epochs", 2), ("train", {"epochs": 2}))


@dataclass(frozen=True)
class Preset:
    """A recipe with its reference and recorded results. `from_dict` makes one; `to_dict` returns its plain values.

    Attributes:
        name: what users type, and the name of the folder of its runs.
        title: one line that describes it.
        model, data, train, optimizer, schedule, loss, evaluation: the recipe, a section each.
        phases: what each phase of the training changes in these sections, {"train": {"epochs": 6}}, one phase after
            another; empty: one phase, which changes nothing.
        reference: what others measured.
        notes: paragraphs for people.
        silence: names of rules of the recipe check (`lint`) that are broken on purpose.
        results: measured results, rows of plain values (`evaluation.recording`).
        original: the preset before `overrides`, where there are any. Not a key of a file.
        overrides: the changes that were made to `original`; a resumed run applies them to its own recipe
            (`training.resume.recipe_of`). Not a key of a file.
    """

    name: str
    title: str
    model: Network
    data: Data
    train: Train
    optimizer: Annotated[OptimizerSpec, OPTIMIZERS]
    schedule: Annotated[Schedule, SCHEDULES]
    loss: LossSpec = field(default_factory=LossSpec)
    evaluation: Evaluation = field(default_factory=Evaluation)
    phases: tuple[dict, ...] = ()
    reference: Reference = field(default_factory=Reference)
    notes: tuple[str, ...] = ()
    silence: tuple[str, ...] = ()
    results: tuple[dict, ...] = ()
    original: "Preset | None" = field(default=None, compare=False, repr=False)
    overrides: Overrides = field(default=(), compare=False, repr=False)

    @property
    def changed(self) -> dict[str, list]:
        """How it differs from its original, as `changes` returns it."""
        return {} if self.original is None else changes(self, self.original)

    @property
    def classes(self) -> int | None:
        """The number of classes of its data set; None where it depends on the images."""
        return DATASETS[self.data.dataset].classes

    @functools.cached_property
    def in_phases(self) -> tuple["Preset", ...]:
        """The recipe of each phase, at least one, each a preset without phases of its own."""
        if not self.phases:
            return (self,)
        return tuple(_phase(self, number, changes) for number, changes in enumerate(self.phases, start=1))

    @property
    def last_phase(self) -> "Preset":
        """The recipe of the last phase, which says how the network is tested."""
        return self.in_phases[-1]

    @functools.cached_property
    def hash(self) -> str:
        """Twelve hex digits of a SHA-256 over everything that changes a run's numbers."""
        values = recipe(self)
        for section, keys in LATER.items():
            defaults = {item.name: item.default for item in dataclasses.fields(getattr(self, section))}
            for key in keys:
                if key in defaults and values[section][key] == defaults[key]:
                    del values[section][key]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


_KEYS = tuple(item.name for item in dataclasses.fields(Preset) if item.compare)  # the keys of a preset file
_REQUIRED = ("model", "data", "train", "optimizer", "schedule")
_NAME = re.compile(r"[^\W_][\w .,+=()-]{0,99}")


def recipe_keys() -> list[str]:
    """Returns every key that the sections of a recipe can have: "train.epochs"."""
    keys = [f"{section}.{item.name}" for section, cls in SECTIONS.items() for item in dataclasses.fields(cls)]
    for section, classes in NAMED_SECTIONS.items():
        keys += [f"{section}.{item.name}" for cls in classes.values() for item in dataclasses.fields(cls)]
        keys.append(f"{section}.name")
    return list(dict.fromkeys(keys))


def recipe(preset: Preset) -> dict:
    """Returns the sections of a preset that change a run's numbers, as plain values with every default written out."""
    values = to_dict(preset)
    for sections in (values, *values["phases"]):
        for section, keys in UNHASHED.items():
            for key in keys:
                sections.get(section, {}).pop(key, None)
    phases = [{section: changes for section, changes in phase.items() if changes} for phase in values["phases"]]
    return {**{section: values[section] for section in RECIPE}, "phases": phases}


def changes(ours: Preset, theirs: Preset, unhashed: bool = False) -> dict[str, list]:
    """Returns where two recipes differ: {"train.epochs": [ours, theirs]}.

    Phases are compared key by key, "phases.1.train.epochs", where both recipes have as many; elsewhere "phases" has
    all of both.

    Args:
        unhashed: also compare keys that change no number, such as `train.state_minutes`.
    """
    our_values, their_values = map(to_dict if unhashed else recipe, (ours, theirs))
    differences = {}
    for section in RECIPE:
        for key in {**their_values[section], **our_values[section]}:
            pair = [our_values[section].get(key), their_values[section].get(key)]
            if pair[0] != pair[1]:
                differences[f"{section}.{key}"] = pair
    phases = [our_values["phases"], their_values["phases"]]
    if len(phases[0]) != len(phases[1]):
        return {**differences, "phases": phases}
    return differences | of_phases(*phases)


def merge(section: dict, changes: dict) -> dict:
    """Returns a section with changes. Another `name` replaces it; of `ALTERNATIVES` the new value stays."""
    if "name" in changes and changes["name"] != section.get("name"):
        return dict(changes)
    given = {key for key, value in changes.items() if value is not None}
    replaced = {key for group in ALTERNATIVES if group & given for key in group}
    return {**{key: value for key, value in section.items() if key not in replaced}, **changes}


def from_dict(values: dict, name: str | None = None) -> Preset:
    """Builds a preset from plain values.

    Args:
        name: the preset's name where the values have none.

    Raises:
        UserError: an unknown key (the message names the nearest known one), a wrong type or a broken rule.
    """
    if not isinstance(values, dict):
        message = f"a preset must be a table of keys and values. Received: {type(values).__name__}."
        raise UserError(message, "preset-wrong-type")
    values = {key: value for key, value in values.items() if value is not None or key not in _REQUIRED}
    name = values.setdefault("name", name)
    values.setdefault("title", name)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(
            "a preset's name, which is also the name of its runs' folder, must be a letter or digit and then up to 99 "
            f"letters, digits, spaces and _.,+=()-. Received: {shown(name)}.",
            "preset-wrong-name",
        )
    preset = parsing.build(Preset, values, f"preset {name}")
    _check_phases(preset)
    return preset


def to_dict(preset: Preset) -> dict:
    """Returns a preset as plain values (dict, list, str, numbers), with every default; `from_dict` reads it."""
    values = {key: getattr(preset, key) for key in _KEYS}
    for key, classes in NAMED_SECTIONS.items():
        (name,) = [name for name, cls in classes.items() if cls is type(values[key])]
        values[key] = {"name": name, **dataclasses.asdict(values[key])}
    return json.loads(json.dumps(values, default=dataclasses.asdict))  # tuples become lists


def _phase(preset: Preset, number: int, changes: dict) -> Preset:
    """Returns a preset with the changes of one of its phases; raises UserError for a change it cannot have."""
    values = {**to_dict(preset), "phases": []}
    for section, change in changes.items():
        if section not in PHASE:
            raise unknown(f"key in phase {number} of preset {preset.name}:", section, PHASE, "preset-unknown-key")
        if not isinstance(change, dict):
            where = f"{section!r} in phase {number} of preset {preset.name}"
            raise UserError(f"{where} must be a table. Received: {shown(change)}.", "preset-wrong-type")
        values[section] = merge(values[section], change)
    return from_dict(values)


def _check_phases(preset: Preset) -> None:
    """Raises UserError where the phases do not fit one another."""
    data = [phase.data for phase in preset.in_phases]
    if len({(p.data.dataset, p.data.validation_size, p.data.normalize, p.train.init) for p in preset.in_phases}) > 1:
        keys = "data.dataset, data.validation_size, data.normalize and train.init"
        raise UserError(f"all phases of preset {preset.name} must have the same {keys}.", "preset-phases-differ")
    sizes = sorted({phase.image_size for phase in data})
    if len(sizes) > 1 and any(phase.normalize == "per_pixel" for phase in data):
        raise UserError(
            f"data.normalize of preset {preset.name} must not be per_pixel, because the image size of its phases "
            f"differs. Received: {', '.join(map(str, sizes))} pixels.",
            "preset-phases-differ",
        )

"""What a preset is: frozen dataclasses, every key parsing. `preset_files` reads and writes them."""

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from resnet_tf.errors import UserError, shown, unknown
from resnet_tf.presets import augmentation, parsing
from resnet_tf.presets.catalogue import DATASETS
from resnet_tf.presets.network import Network
from resnet_tf.presets.optimizer import OPTIMIZERS, LossSpec
from resnet_tf.presets.schedule import SCHEDULES


@dataclass(frozen=True)
class Data:
    """`data` of a preset: which images, and how they are prepared.

    Attributes:
        validation_size: images held out of the training set, stratified by class, for selection; not applied to a
            folder that has a validation split of its own.
        augment: an expression such as "pad_crop(4) | flip_horizontal"; see `presets.augmentation`.
        normalize: "per_channel" (mean and deviation), "per_pixel" (mean image, as the paper) or "imagenet" (published).
        image_size: height and width in pixels at which the network is trained.
    """

    dataset: str = "cifar10"
    validation_size: int = 5000
    augment: str = ""
    normalize: Literal["per_channel", "per_pixel", "imagenet"] = "per_channel"
    image_size: int = 32

    def __post_init__(self):
        if self.dataset not in DATASETS:
            raise ValueError(str(unknown("dataset", self.dataset, DATASETS)))
        if self.validation_size < 0:
            raise ValueError(f"'validation_size' must be at least 0. Received: {self.validation_size}.")
        if self.image_size < 8:
            raise ValueError(f"'image_size' must be at least 8 pixels. Received: {self.image_size}.")
        augmentation.parse(self.augment)


@dataclass(frozen=True)
class Train:
    """`train` of a preset: how long and in what portions.

    Attributes:
        batch_size: images of one step.
        epochs: passes over the training split; give this or `steps`.
        steps: updates, as the paper counts.
        repeats: how often an epoch shows each training image, every time augmented anew. Whatever counts epochs, the
            schedule too, counts these longer ones.
        precision: "float32", or "mixed_bfloat16": convolutions in bfloat16, weights and batch norm in float32. For
            GPUs, and processors that have bfloat16 instructions; elsewhere it is slower.
        jit_compile: let XLA compile the step. For GPUs; on a processor it loses on the convolutions.
        state_minutes: the run's state is saved at every epoch's end and whenever this much time has passed.
    """

    batch_size: int = 128
    epochs: int | None = None
    steps: int | None = None
    repeats: int = 1
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    jit_compile: bool = False
    state_minutes: float = 10.0

    def __post_init__(self):
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give one of 'epochs' and 'steps'.")
        for key in ("batch_size", "epochs", "steps", "repeats", "state_minutes"):
            value = getattr(self, key)
            if value is not None and value <= 0:
                raise ValueError(f"'{key}' must be above 0. Received: {value}.")

    def total_steps(self, steps_per_epoch: int) -> int:
        return self.steps if self.steps is not None else self.epochs * steps_per_epoch


@dataclass(frozen=True)
class Evaluation:
    """`evaluation` of a preset: how the finished network is scored.

    Attributes:
        frame: what brings an image to one size before the crops, such as "resize(256) | center_crop(224)"; "" shows
            images as they are.
        view: "1-crop", or several whose softmax is averaged: "mirror", "mirror-shift", "10-crop" (`augment.views`).
        weights: "last" (the paper's way) or "best" (highest validation top-1).
    """

    frame: str = ""
    view: Literal["1-crop", "mirror", "mirror-shift", "10-crop"] = "1-crop"
    weights: Literal["last", "best"] = "last"

    def __post_init__(self):
        augmentation.parse_evaluation(self.frame, self.view, "evaluation.frame")


@dataclass(frozen=True)
class Reference:
    """`reference` of a preset: what its author or the paper measured, and how. Accuracies in percent."""

    test_top1: float | None = None
    test_top5: float | None = None
    validation_top1: float | None = None
    protocol: str = ""
    source: str = ""
    note: str = ""


SECTIONS = {"model": Network, "data": Data, "train": Train, "loss": LossSpec, "evaluation": Evaluation}
NAMED_SECTIONS = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}
# What changes a run's numbers; the rest of a preset only describes it.
RECIPE = ("model", "data", "train", "optimizer", "schedule", "loss", "evaluation")
LENGTH = ("train.epochs", "train.steps")  # how long it trains; all else makes another recipe
PHASE = ("data", "train", "optimizer", "schedule", "loss", "evaluation")
# Keys of a section that stand for one another: a change to one takes the others' place.
ALTERNATIVES = (
    {"epochs", "steps"},
    {"num_residual_units", "stage_sizes"},
    {"boundaries_steps", "boundaries_epochs"},
    {"warmup", "warmup_until"},
)
UNHASHED = {"train": ("state_minutes",)}
# Keys younger than the first hashes that runs keep: at its default such a key is not hashed, and a recipe that does
# without it has the hash that it had before.
LATER = {"model": ("groups", "width_per_group", "norm_momentum", "norm_epsilon"), "train": ("repeats",)}
Overrides = tuple[tuple[str, Any], ...]  # changes in their order: ("train.epochs", 2), ("train", {"epochs": 2})


@dataclass(frozen=True)
class Preset:
    """A recipe with its reference and recorded results. Made by `from_dict`; `to_dict` gives the plain values back.

    `phases` lists what each phase of the training changes in the sections before, one phase after another; empty: one
    phase, which changes nothing. `silence` names rules of the recipe check (`lint`) that are broken on purpose.
    `written` is the preset as in its file, of which this one is a variant; None: it is none. `overrides` are the
    changes that made the variant; a run that goes on takes these alone (`training.resume.recipe_of`). Neither is a
    key of a file.
    """

    name: str
    title: str
    model: Network
    data: Data
    train: Train
    optimizer: Any
    schedule: Any
    loss: LossSpec = field(default_factory=LossSpec)
    evaluation: Evaluation = field(default_factory=Evaluation)
    phases: tuple[dict, ...] = ()
    reference: Reference = field(default_factory=Reference)
    notes: tuple[str, ...] = ()
    silence: tuple[str, ...] = ()
    results: tuple[dict, ...] = ()
    written: "Preset | None" = field(default=None, compare=False, repr=False)
    overrides: Overrides = field(default=(), compare=False, repr=False)

    @property
    def changed(self) -> dict[str, list]:
        """Where it departs from what its file says, as `changes` gives it."""
        return {} if self.written is None else changes(self, self.written)

    @property
    def classes(self) -> int | None:
        """How many classes its data set has; None where only the images tell."""
        return DATASETS[self.data.dataset].classes

    @property
    def in_phases(self) -> tuple["Preset", ...]:
        """The recipe of each phase, at least one, each a preset without phases of its own."""
        return tuple(_phase(self, number, changes) for number, changes in enumerate(self.phases or ({},), start=1))

    @property
    def hash(self) -> str:
        """Twelve hex digits over all that changes a run's numbers."""
        values = recipe(self)
        for section, keys in LATER.items():
            defaults = {item.name: item.default for item in dataclasses.fields(SECTIONS[section])}
            for key in keys:
                if values[section][key] == defaults[key]:
                    del values[section][key]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def recipe_keys() -> list[str]:
    """Returns every key that the sections of a recipe can have, whatever their names: "train.epochs"."""
    named = [(section, cls) for section, table in NAMED_SECTIONS.items() for cls in table.values()]
    fields = [
        f"{section}.{item.name}" for section, cls in (*SECTIONS.items(), *named) for item in dataclasses.fields(cls)
    ]
    return list(dict.fromkeys((*fields, *(f"{section}.name" for section in NAMED_SECTIONS))))


def recipe(preset: Preset) -> dict:
    """Returns the sections of a preset that change a run's numbers, as plain values with every default written out."""
    values = to_dict(preset)
    sections = {section: dict(values[section]) for section in RECIPE}
    for section, keys in UNHASHED.items():
        for key in keys:
            del sections[section][key]
    return {**sections, "phases": values["phases"]}


def changes(ours: Preset, theirs: Preset, unhashed: bool = False) -> dict[str, list]:
    """Returns where two recipes differ: {"train.epochs": [ours, theirs]}.

    Args:
        unhashed: also in what changes no number, such as `train.state_minutes`.
    """
    mine, other = map(to_dict if unhashed else recipe, (ours, theirs))
    found = {}
    for section in RECIPE:
        for key in {**other[section], **mine[section]}:
            pair = [mine[section].get(key), other[section].get(key)]
            if pair[0] != pair[1]:
                found[f"{section}.{key}"] = pair
    if mine["phases"] != other["phases"]:
        found["phases"] = [mine["phases"], other["phases"]]
    return found


def merge(section: dict, changes: dict) -> dict:
    """Returns a section with changes. Another `name` starts afresh; of alternatives (steps, epochs) the newer wins."""
    if "name" in changes and changes["name"] != section.get("name"):
        return dict(changes)
    replaced = {key for group in ALTERNATIVES if group & set(changes) for key in group}
    return {**{key: value for key, value in section.items() if key not in replaced}, **changes}


def from_dict(values: dict, name: str | None = None) -> Preset:
    """Builds a preset out of plain values.

    Args:
        name: what the preset is called where the values do not say.

    Raises:
        UserError: an unknown key, a wrong type or a broken rule, in one line with the nearest right name.
    """
    if not isinstance(values, dict):
        raise UserError(f"a preset must be a table of keys and values. Received: {type(values).__name__}.")
    values = dict(values)
    name = values.setdefault("name", name)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(
            "a preset's name, which the folder of its runs bears too, must be a letter or digit and then up to 99 "
            f"letters, digits, spaces and _.,+=()-. Received: {shown(name)}."
        )
    title = f"preset {name}"
    for key in values:
        if key not in _KEYS:
            raise unknown(f"key in {title}:", key, _KEYS)
    for key in ("model", "data", "train", "optimizer", "schedule"):
        if values.get(key) is None:
            raise UserError(f"{title} needs the key {key!r}. Received: {', '.join(map(str, values))}.")
    for section, cls in {**SECTIONS, "reference": Reference}.items():
        if section in values:
            values[section] = parsing.build(cls, values[section], f"{section!r} of {title}")
    for section, table in NAMED_SECTIONS.items():
        values[section] = parsing.build_named(table, values[section], f"{section!r} of {title}")
    values.setdefault("title", name)
    texts, tables = tuple[str, ...], tuple[dict, ...]
    for key, hint in {"title": str, "notes": texts, "silence": texts, "phases": tables, "results": tables}.items():
        if key in values:
            values[key] = parsing.convert(values[key], hint, f"{key!r} of {title}")
    preset = Preset(**values)
    _check_phases(preset)
    return preset


def _phase(preset: Preset, number: int, changes: dict) -> Preset:
    """Returns a preset as one of its phases changes it; raises UserError for a change that cannot be."""
    values = {**to_dict(preset), "phases": []}
    for section, change in changes.items():
        if section not in PHASE:
            raise unknown(f"key in phase {number} of preset {preset.name}:", section, PHASE)
        if not isinstance(change, dict):
            where = f"{section!r} in phase {number} of preset {preset.name}"
            raise UserError(f"{where} must be a table. Received: {shown(change)}.")
        values[section] = merge(values[section], change)
    return from_dict(values)


def _check_phases(preset: Preset) -> None:
    if not preset.phases:
        return
    phases = preset.in_phases
    if len({phase.data.dataset for phase in phases}) > 1 or len({phase.data.validation_size for phase in phases}) > 1:
        raise UserError(f"all phases of preset {preset.name} must have the same data.dataset and data.validation_size.")
    sizes = sorted({phase.data.image_size for phase in phases})
    if len(sizes) > 1 and any(phase.data.normalize == "per_pixel" for phase in phases):
        raise UserError(
            f"data.normalize of preset {preset.name} must not be per_pixel, as its phases differ in size. "
            f"Received: {', '.join(map(str, sizes))} pixels."
        )


_KEYS = tuple(item.name for item in dataclasses.fields(Preset) if item.compare)  # not where a variant comes from
_NAME = re.compile(r"[^\W_][\w .,+=()-]{0,99}")


def to_dict(preset: Preset) -> dict:
    """Returns a preset as plain values (dict, list, str, numbers), every default written out; `from_dict` reads it."""
    values = {}
    for key in _KEYS:
        value = getattr(preset, key)
        if key in NAMED_SECTIONS:
            names = {cls: name for name, cls in NAMED_SECTIONS[key].items()}
            value = {"name": names[type(value)], **dataclasses.asdict(value)}
        elif dataclasses.is_dataclass(value):
            value = dataclasses.asdict(value)
        values[key] = value
    return json.loads(json.dumps(values))

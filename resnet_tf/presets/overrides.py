"""Changes to presets: the command line's `--set key=value` and Python's keywords; contradictory changes are refused."""

import copy
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from resnet_tf.errors import UserError, shown, unknown
from resnet_tf.presets import schema
from resnet_tf.presets.schema import Overrides, Preset


def override(preset: Preset, changes: dict) -> Preset:
    """Returns a preset with changes, {"train": {"epochs": 2}, "title": "..."}; without any, the preset itself.

    Raises:
        UserError: an unknown key, a wrong value, two keys of which only one can be given, or a change that does not
            reach every phase.
    """
    return _apply_together(preset, tuple(changes.items()))


def apply_settings(preset: Preset, settings: list[str]) -> Preset:
    """Applies command-line settings such as "train.epochs=2" or 'data.augment=""', in order, and checks the outcome.

    "phases.1.train.epochs=2" changes the first phase. A value that is JSON is read as JSON, any other as text. Since
    only the outcome is checked, "optimizer.name=adam" may be followed by the keys that adam needs.

    Raises:
        UserError: not of the form key=value, an unknown key, or as `override`.
    """
    overrides = []
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        section, dot, _ = key.partition(".")
        if not equals or not section:
            message = f"--set takes key=value, such as train.epochs=2. Received: {shown(setting)}."
            raise UserError(message, "set-wrong-form")
        if section not in schema.RECIPE and not (section == "phases" and dot):
            values = schema.to_dict(preset)
            known = [f"{section}.{inner}" for section in schema.RECIPE for inner in values[section]]
            raise unknown("key for --set:", key, known, "preset-unknown-key", "Keys look like train.epochs.")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        if key == "train.init" and isinstance(value, int | float):
            value = text  # a preset's name, such as 4
        overrides.append((key, value))
    return _apply_together(preset, tuple(overrides))


def apply(preset: Preset, overrides: Overrides) -> Preset:
    """Returns a preset with overrides, applied in order; only the outcome is checked.

    The new preset remembers them, so that they can be applied to another one: to the recipe of a run that is resumed.

    Raises:
        UserError: a wrong value, or a change that does not reach every phase.
    """
    if not overrides:
        return preset
    values = schema.to_dict(preset)
    names = {key: section.get("name") for key, section in values.items() if isinstance(section, dict)}
    for key, value in overrides:
        section, dot, inner = key.partition(".")
        if section == "phases" and dot:
            _set_in_phase(values, inner, value, names)
            continue
        change, old = {inner: value} if dot else value, values.get(section)
        can_merge = isinstance(old, dict) and isinstance(change, dict)
        values[section] = schema.merge(old, change) if can_merge else change
    changed = schema.from_dict(values)
    _check_every_phase_follows(changed, overrides)
    all_overrides = (*preset.overrides, *copy.deepcopy(overrides))
    return dataclasses.replace(changed, original=preset.original or preset, overrides=all_overrides)


def _apply_together(preset: Preset, overrides: Overrides) -> Preset:
    """Applies overrides that were given together, in whatever order: what replaces a section comes first.

    Raises:
        UserError: one would undo another.
    """
    given: dict[tuple[str, ...], str] = {}
    for key, value in _single_keys(overrides):
        prefix, _, name = key.rpartition(".")
        group = next((group for group in schema.ALTERNATIVES if name in group), ())
        slots = [(key,)]
        if group and value is not None:  # null undoes nothing
            slots.append((prefix, *sorted(group)))
        for slot in slots:
            if slot in given:
                both = f"{key} twice" if given[slot] == key else f"{given[slot]} and {key}, which exclude each other"
                raise UserError(f"a change must be made once. Received: {both}. Leave one out.", "set-conflict")
            given[slot] = key
    return apply(preset, tuple(sorted(overrides, key=_order)))


def _order(override: tuple[str, Any]) -> int:
    """Returns 0 for a whole section, 1 for its name, which replaces it too, and 2 for any other key."""
    key, value = override
    return 0 if isinstance(value, dict) and key in schema.RECIPE else 1 if key.endswith(".name") else 2


def _single_keys(overrides: Overrides) -> Iterator[tuple[str, Any]]:
    """Yields every key that overrides change, "train.epochs" where a whole section is given, with its value."""
    for key, value in overrides:
        if isinstance(value, dict) and key in schema.RECIPE:
            yield from ((f"{key}.{inner}", inner_value) for inner, inner_value in value.items())
        else:
            yield key, value


def _set_in_phase(values: dict, key: str, value: Any, names: dict[str, str | None]) -> None:
    """Sets "<number>.<section>.<key>" in the changes of one of a preset's phases, which are counted from 1.

    Args:
        names: of each section, such as "sgd" of the optimizer, before any override.
    """
    phases = values["phases"]
    number, _, rest = key.partition(".")
    section, _, inner = rest.partition(".")
    if not (number.isdecimal() and 1 <= int(number) <= len(phases) and inner):
        form = f"phases.N.section.key=value, N from 1 to {len(phases)}" if phases else "no phases: this preset has one"
        raise UserError(f"--set takes {form}. Received: {shown('phases.' + key)}.", "set-wrong-form")
    phase = phases[int(number) - 1]
    changes = phase.get(section, {})
    if inner == "name" and section in names:  # the name that is in force already replaces nothing
        changes = {"name": names[section], **changes}
    phase[section] = schema.merge(changes, {inner: value})


def _check_every_phase_follows(changed: Preset, overrides: Overrides) -> None:
    """Raises UserError where an override has no effect in a phase that has a value of its own."""
    values, phases = schema.to_dict(changed), [schema.to_dict(phase) for phase in changed.in_phases]
    given = {path for path, _ in overrides}
    for path, _ in _single_keys(overrides):
        section, _, key = path.partition(".")
        if section not in schema.PHASE:
            continue
        unaffected = [
            number
            for number, phase in enumerate(phases, 1)
            if phase[section].get(key) != values[section].get(key) and f"phases.{number}.{path}" not in given
        ]
        if unaffected:
            raise UserError(
                f"a change must reach every phase. Received: {path}, but phase "
                f"{' and phase '.join(map(str, unaffected))} of preset {changed.name} has a value of its own. "
                f"Set {', '.join(f'phases.{number}.{path}' for number in unaffected)}.",
                "set-misses-phase",
            )

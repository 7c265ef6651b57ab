"""Variants of a preset: what `--set key=value` and Python's keywords change in it."""

import copy
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from resnet_tf.errors import UserError, shown, unknown
from resnet_tf.presets import schema
from resnet_tf.presets.schema import Overrides, Preset


def override(preset: Preset, overrides: dict) -> Preset:
    """Returns a preset with changes, {"train": {"epochs": 2}, "title": "..."}; without any, the preset itself.

    Raises:
        UserError: a key that no preset has, a value that it cannot hold, two keys that stand for one another, or a
            change that a phase would not follow.
    """
    return _once(preset, tuple(overrides.items()))


def apply_settings(preset: Preset, settings: list[str]) -> Preset:
    """Applies command-line overrides such as "train.epochs=2" or 'data.augment=""', in order but checked together.

    "phases.1.train.epochs=2" changes the first phase. A value is read as JSON where it is JSON, otherwise as text. So
    "optimizer.name=adam" may be followed by the keys that adam needs.

    Raises:
        UserError: not of the form key=value, a key no preset has, or as `override` does.
    """
    found = []
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        section, dot, _ = key.partition(".")
        if not equals or not section:
            raise UserError(f"--set takes key=value, such as train.epochs=2. Received: {shown(setting)}.")
        if section not in schema.RECIPE and not (section == "phases" and dot):
            raise unknown("key for --set:", key, _known(preset), "Keys look like train.epochs.")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        found.append((key, value))
    return _once(preset, tuple(found))


def apply(preset: Preset, overrides: Overrides) -> Preset:
    """Returns a preset with overrides, applied in order but checked together; the variant remembers them.

    So they can be applied to another preset too: to the recipe of a run that goes on.

    Raises:
        UserError: a value that a key cannot hold, or a change that a phase would not follow.
    """
    if not overrides:
        return preset
    values = schema.to_dict(preset)
    for key, value in overrides:
        section, dot, inner = key.partition(".")
        if section == "phases" and dot:
            _set_in_phase(values["phases"], inner, value)
            continue
        change, old = {inner: value} if dot else value, values.get(section)
        merging = isinstance(old, dict) and isinstance(change, dict)
        values[section] = schema.merge(old, change) if merging else change
    variant = schema.from_dict(values)
    _check_phases_follow(variant, overrides)
    remembered = (*preset.overrides, *copy.deepcopy(overrides))
    return dataclasses.replace(variant, written=preset.written or preset, overrides=remembered)


def _once(preset: Preset, overrides: Overrides) -> Preset:
    """Applies overrides that were given together; raises UserError where one takes another's place."""
    seen: dict[tuple[str, ...], str] = {}
    for key, value in _single_keys(overrides):
        place, _, name = key.rpartition(".")
        group = next((group for group in schema.ALTERNATIVES if name in group), ())
        marks = [(key,)]
        if group and value is not None:  # null takes nothing's place
            marks.append((place, *sorted(group)))
        for mark in marks:
            if mark in seen:
                both = f"{key} twice" if seen[mark] == key else f"{seen[mark]} and {key}, which stand for one another"
                raise UserError(f"a change must be made once. Received: {both}. Leave one out.")
            seen[mark] = key
    return apply(preset, overrides)


def _single_keys(overrides: Overrides) -> Iterator[tuple[str, Any]]:
    """Yields every key that overrides change, "train.epochs" where a whole section is given, with its value."""
    for key, value in overrides:
        if isinstance(value, dict) and key in schema.RECIPE:
            yield from ((f"{key}.{inner}", inner_value) for inner, inner_value in value.items())
        else:
            yield key, value


def _set_in_phase(phases: list[dict], key: str, value: Any) -> None:
    """Sets "<number>.<section>.<key>" in what the phases change; they are counted from 1."""
    number, _, rest = key.partition(".")
    section, _, inner = rest.partition(".")
    if not (number.isdecimal() and 1 <= int(number) <= len(phases) and inner):
        form = f"phases.N.section.key=value, N from 1 to {len(phases)}" if phases else "no phases: this preset has one"
        raise UserError(f"--set takes {form}. Received: {shown('phases.' + key)}.")
    phase = phases[int(number) - 1]
    phase[section] = schema.merge(phase.get(section, {}), {inner: value})


def _check_phases_follow(variant: Preset, overrides: Overrides) -> None:
    """Raises UserError where an override is without effect in a phase that has a value of its own."""
    ours, phases = schema.to_dict(variant), [schema.to_dict(phase) for phase in variant.in_phases]
    for path, _ in _single_keys(overrides):
        section, _, key = path.partition(".")
        if section not in schema.PHASE:
            continue
        deaf = [number for number, phase in enumerate(phases, 1) if phase[section].get(key) != ours[section].get(key)]
        if deaf:
            own = ", ".join(f"phases.{number}.{path}" for number in deaf)
            raise UserError(
                f"a change must reach every phase. Received: {path}, which phase "
                f"{' and phase '.join(map(str, deaf))} of preset {variant.name} would not follow. Set {own}."
            )


def _known(preset: Preset) -> list[str]:
    """Returns every key that `--set` can change in a preset."""
    values = schema.to_dict(preset)
    return [f"{section}.{key}" for section in schema.RECIPE for key in values[section]]

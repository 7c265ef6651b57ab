"""Variants of a preset: what `--set key=value` and Python's keywords change in it."""

import dataclasses
import json
from typing import Any

from resnet_tf import presets
from resnet_tf.errors import UserError, shown, unknown
from resnet_tf.presets import Preset


def override(preset: Preset, overrides: dict) -> Preset:
    """Returns a preset with changes, {"train": {"epochs": 2}, "title": "..."}; without any, the preset itself.

    Raises:
        UserError: a key that no preset has, a value that it cannot hold, or a change that a phase would not follow.
    """
    return _variant(preset, _merge(presets.to_dict(preset), overrides), overrides) if overrides else preset


def apply_settings(preset: Preset, settings: list[str]) -> Preset:
    """Applies command-line overrides such as "train.epochs=2" or 'data.augment=""', in order but checked together.

    "phases.1.train.epochs=2" changes the first phase. A value is read as JSON where it is JSON, otherwise as text. So
    "optimizer.name=adam" may be followed by the keys that adam needs.

    Raises:
        UserError: not of the form key=value, or a key no preset has.
    """
    values, overrides = presets.to_dict(preset), {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        section, dot, inner = key.strip().partition(".")
        if not equals or not section:
            raise UserError(f"--set takes key=value, such as train.epochs=2. Received: {shown(setting)}.")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        if section == "phases" and dot:
            _set_in_phase(values["phases"], inner, value)
        elif section in presets.RECIPE:
            change = {inner: value} if dot else value
            values = _merge(values, {section: change})
            overrides = _merge({section: {}, **overrides}, {section: change})
        else:
            raise unknown("key for --set:", key, _known(preset), "Keys look like train.epochs.")
    return _variant(preset, values, overrides) if settings else preset


def _set_in_phase(phases: list[dict], key: str, value: Any) -> None:
    """Sets "<number>.<section>.<key>" in what the phases change; they are counted from 1."""
    number, _, rest = key.partition(".")
    section, _, inner = rest.partition(".")
    if not (number.isdecimal() and 1 <= int(number) <= len(phases) and inner):
        form = f"phases.N.section.key=value, N from 1 to {len(phases)}" if phases else "no phases: this preset has one"
        raise UserError(f"--set takes {form}. Received: {shown('phases.' + key)}.")
    phase = phases[int(number) - 1]
    phase[section] = presets.merge(phase.get(section, {}), {inner: value})


def _variant(preset: Preset, values: dict, overrides: dict) -> Preset:
    """Builds a preset of plain values, in which `overrides` have changed another one's.

    Raises:
        UserError: it cannot be, or an override is without effect in a phase that has a value of its own.
    """
    variant = presets.from_dict(values)
    phases = [presets.to_dict(phase) for phase in variant.in_phases]
    for section in set(overrides) & set(presets.PHASE):
        ours = presets.to_dict(variant)[section]
        for key in overrides[section] if isinstance(overrides[section], dict) else ours:
            deaf = [number for number, phase in enumerate(phases, 1) if phase[section].get(key) != ours.get(key)]
            if deaf:
                own = ", ".join(f"phases.{number}.{section}.{key}" for number in deaf)
                raise UserError(
                    f"a change must reach every phase. Received: {section}.{key}, which phase "
                    f"{' and phase '.join(map(str, deaf))} of preset {variant.name} would not follow. Set {own}."
                )
    return dataclasses.replace(variant, written=preset.written or preset)


def _merge(values: dict, overrides: dict) -> dict:
    """Returns a preset's plain values with changes: a table goes into the section, all else replaces it."""
    merged = dict(values)
    for section, value in overrides.items():
        old = values.get(section)
        merged[section] = presets.merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _known(preset: Preset) -> list[str]:
    """Returns every key that `--set` can change in a preset."""
    values = presets.to_dict(preset)
    return [f"{section}.{key}" for section in presets.RECIPE for key in values[section]]

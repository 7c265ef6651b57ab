"""Presets on disk: find, read (JSON, or a pickle of plain values), override, list, record results."""

import io
import json
import os
import pickle
from pathlib import Path
from typing import Any

from resnet_tf import files, presets
from resnet_tf.errors import UserError, unknown
from resnet_tf.presets import Preset

FOLDER = Path(__file__).resolve().parent.parent / "presets"
SUFFIXES = (".json", ".pickle", ".pkl")
MOST_BYTES = 4_000_000  # a preset with thousands of results is far smaller


def names(folder: Path = FOLDER) -> list[str]:
    """Returns the names of the presets in a folder: numbers first, in order."""
    found = {path.stem for path in folder.glob("*") if path.suffix in SUFFIXES}
    return sorted(found, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))


def find(name: str, folder: Path = FOLDER) -> Path:
    """Returns the file of a preset given by name or path.

    Raises:
        UserError: there is none; names the nearest.
    """
    for suffix in SUFFIXES:
        path = folder / f"{name}{suffix}"
        if path.parent == folder and path.is_file():
            return path
    if name.endswith(SUFFIXES) or os.sep in name:
        if Path(name).is_file():
            return Path(name)
        raise UserError(f"a preset file must exist. Received: {name!r}, which is no file.")
    raise unknown("preset", name, names(folder), "See them all: python train.py --list")


def load_preset(preset: str | os.PathLike | dict | Preset, **overrides: dict) -> Preset:
    """Loads a preset by name, path or plain dict, with overrides as keywords: `load_preset("4", train={"epochs": 2})`.

    Raises:
        UserError: not found, not readable, or a key that does not hold what it must.
    """
    if isinstance(preset, Preset):
        values = presets.to_dict(preset)
    elif isinstance(preset, dict):
        values = json.loads(json.dumps(preset))
    else:
        path = find(os.fspath(preset))
        values = {"name": path.stem, **read(path)}
    for section, value in overrides.items():
        if isinstance(value, dict) and isinstance(values.get(section), dict):
            value = merge(values[section], value)
        values[section] = value
    return presets.from_dict(values, name="from Python")


def merge(section: dict, changes: dict) -> dict:
    """Returns a section with changes. Another `name` starts afresh; of `steps` and `epochs` the newer wins."""
    if "name" in changes and changes["name"] != section.get("name"):
        return dict(changes)
    kept = dict(section)
    for pair in ({"epochs", "steps"}, {"num_residual_units", "stage_sizes"}):
        if pair & set(changes):
            kept = {key: value for key, value in kept.items() if key not in pair}
    return {**kept, **changes}


def apply_settings(preset: Preset, settings: list[str]) -> Preset:
    """Applies command-line overrides such as "train.epochs=2" or 'data.augment=""' in order.

    A value is read as JSON where it is JSON, otherwise as text.

    Raises:
        UserError: not of the form key=value, or a key no preset has.
    """
    for setting in settings:
        key, equals, text = setting.partition("=")
        section, dot, inner = key.strip().partition(".")
        if not equals or not section:
            raise UserError(f"--set takes key=value, such as train.epochs=2. Received: {setting!r}.")
        if section not in presets.RECIPE:
            raise unknown("key for --set:", key, known_settings(preset), "Keys look like train.epochs.")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        preset = load_preset(preset, **{section: {inner: value} if dot else value})
    return preset


def known_settings(preset: Preset) -> list[str]:
    """Returns every key that `--set` can change in a preset."""
    sections = presets.recipe(preset)
    return [f"{section}.{key}" for section, values in sections.items() for key in values]


def read(path: Path) -> dict:
    """Reads a preset file's plain values.

    Raises:
        UserError: not a JSON file, nor a pickle of nothing but plain values.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"a preset file must be readable. Received: {path}: {error.strerror}.") from error
    if len(content) > MOST_BYTES:
        raise UserError(f"a preset file has at most {MOST_BYTES:,} bytes. Received: {path}.")
    if path.suffix == ".json":
        return _read_json(content, path)
    return _read_pickle(content, path)


def _read_json(content: bytes, path: Path) -> dict:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"a preset file must be JSON. Received: {path}: {error}.") from error
    if not isinstance(values, dict):
        raise UserError(f"a preset file must hold one JSON object. Received: {path}: {type(values).__name__}.")
    return values


class _PlainUnpickler(pickle.Unpickler):
    """Builds dict, list, str, numbers and the like; refuses every name, so that nothing in a file can run."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, identifier: Any) -> Any:
        raise pickle.UnpicklingError("it asks for an object from outside")


def _read_pickle(content: bytes, path: Path) -> dict:
    try:
        values = _PlainUnpickler(io.BytesIO(content)).load()
        # Through JSON: what is not plain, or holds itself, ends here.
        values = json.loads(json.dumps(values))
    except MemoryError:
        raise UserError(f"a preset pickle must be small. Received: {path}, which asks for too much memory.") from None
    except Exception as error:  # pickle raises nearly any error on a broken file
        reason = str(error) or type(error).__name__
        raise UserError(
            f"a preset pickle may hold only dict, list, str and numbers. Received: {path}: {reason}."
        ) from error
    if not isinstance(values, dict):
        raise UserError(f"a preset pickle must hold one dict. Received: {path}: {type(values).__name__}.")
    return values


def record_result(path: Path, result: dict) -> None:
    """Adds a result to a preset file, atomically and under a lock: two evaluations at once both get in.

    A result of the same run, weights, view and resolution replaces the one before.
    """
    with files.locked(path.parent):
        values = read(path)
        same = ("run", "view", "weights", "resolution")
        kept = [row for row in values.get("results", []) if any(row.get(key) != result.get(key) for key in same)]
        values["results"] = [*kept, result]
        if path.suffix == ".json":
            content: bytes | str = format_json(values)
        else:
            content = pickle.dumps(values)
        files.write_atomically(path, content)


def format_json(values: dict) -> str:
    """Lays a preset out for people: a line a key, a line a short table."""

    def lay(value: Any, indent: int) -> str:
        flat = json.dumps(value, ensure_ascii=False)
        if not isinstance(value, dict | list) or (indent and len(flat) + indent <= 116):
            return flat
        pad = " " * (indent + 2)
        if isinstance(value, dict):
            lines = [f"{pad}{json.dumps(key)}: {lay(item, indent + 2)}" for key, item in value.items()]
        else:
            lines = [pad + lay(item, indent + 2) for item in value]
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        return f"{opening}\n" + ",\n".join(lines) + f"\n{' ' * indent}{closing}"

    return lay(values, 0) + "\n"

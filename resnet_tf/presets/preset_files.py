"""Preset files: find and list them, read them (JSON, or a pickle of plain values), write them."""

import io
import json
import os
import pickle
import pickletools
import re
from functools import cache
from pathlib import Path
from typing import Any

from resnet_tf import files, installation
from resnet_tf.errors import UserError, shown, unknown
from resnet_tf.log import logger
from resnet_tf.presets import json_text, overrides, schema
from resnet_tf.presets.schema import Preset

PRESETS_FOLDER = installation.FILES / "presets"
OWN_FOLDER = Path("presets")  # of the working directory: the user's own
SUFFIXES = (".json", ".pickle", ".pkl")
MAX_BYTES = 4_000_000  # a preset with thousands of results is far smaller
MAX_LEVELS = 20  # of tables and lists within one another; a preset has five


def names(folder: Path = PRESETS_FOLDER) -> list[str]:
    """Returns the names of the presets in a folder: numbers by value first, then texts ("9", "10", "demo")."""

    def sort_key(name: str) -> list[tuple[bool, int, str]]:
        parts = filter(None, re.split(r"(\d+)", name))
        return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]

    # Editors and file managers leave files whose names start with a dot.
    return sorted({path.stem for path in folder.glob("[!.]*") if path.suffix in SUFFIXES}, key=sort_key)


def readable(*folders: Path) -> dict[str, Preset]:
    """Returns the presets in some folders by name, in the order of `names`; logs each that cannot be read.

    A folder may hold a file of the user's that is no preset.
    """
    presets = {}
    for name in dict.fromkeys(name for folder in folders or (PRESETS_FOLDER,) for name in names(folder)):
        try:
            presets[name] = load_preset(find(name, *folders))
        except UserError as error:
            logger.warning(f"{error}")
    return presets


def find(name: str, *folders: Path) -> Path:
    """Returns the file of a preset given by name or path.

    Args:
        folders: where a name is looked up; default: the presets that come with the package, then the folder presets/ of
            the working directory.

    Raises:
        UserError: there is none; the message names the nearest preset.
    """
    folders = folders or (PRESETS_FOLDER, OWN_FOLDER)
    # A name such as "../x" leads out of the folder, so it is a path and no name.
    paths = [path for folder in folders for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").parent == folder]
    if found := [path for path in paths if os.path.isfile(path)]:
        if not os.path.samefile(found[0].parent, found[-1].parent):
            _warn_of_two(found[0], found[-1])
        return found[0]
    if name.endswith(SUFFIXES) or "/" in name or os.sep in name:
        if os.path.isfile(name):
            return Path(name)
        raise UserError(f"Preset file {shown(name)} does not exist.", "preset-not-found")
    known = dict.fromkeys(name for folder in folders for name in names(folder))
    raise unknown("preset", name, known, "preset-not-found", f"See them all: {installation.call('train')} --list")


@cache  # a command looks a name up more than once
def _warn_of_two(taken: Path, other: Path) -> None:
    logger.warning(f"preset {taken.stem} is {taken}; name the other one by its path, {other}")


def path_of(preset: str | os.PathLike) -> Path:
    """Returns the file of a preset: a text is its name or path, a `Path` the file itself; errors as `find`."""
    return Path(preset) if isinstance(preset, os.PathLike) else find(preset)


def load_preset(preset: str | os.PathLike | dict | Preset, **changes: dict) -> Preset:
    """Loads a preset by name, path or plain dict, with changes as keywords: `load_preset("4", train={"epochs": 2})`.

    A text is a name or a path, as on the command line; a `Path` is always the file itself. A preset with changes
    remembers its `original`, so that its results are not taken for the original's.

    Raises:
        UserError: not found, not readable, a key with a wrong value, or a change that does not reach all phases.
    """
    if isinstance(preset, dict):
        try:
            preset = schema.from_dict(plain(preset), name="from Python")
        except (TypeError, ValueError, RecursionError) as error:
            message = f"a preset holds only dict, list, str and numbers. Received: {error}."
            raise UserError(message, "preset-not-plain") from error
    elif not isinstance(preset, Preset):
        path = path_of(preset)
        preset = schema.from_dict({"name": path.stem, **read(path)})
    return overrides.override(preset, changes)


def read(path: Path) -> dict:
    """Returns the plain values in a preset file.

    Raises:
        UserError: neither a JSON file nor a pickle of plain values.
    """
    return _parse(path, _content(path))


def _content(path: Path) -> bytes:
    if path.suffix not in SUFFIXES:
        message = f"a preset file's name must end in {', '.join(SUFFIXES)}. Received: {shown(str(path))}."
        raise UserError(message, "preset-wrong-suffix")
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        message = f"a preset file must be readable. Received: {path}: {error.strerror}."
        raise UserError(message, "preset-unreadable") from error
    if len(content) > MAX_BYTES:
        message = f"a preset file has at most {MAX_BYTES:,} bytes. Received: {path}, which has more."
        raise UserError(message, "preset-too-large")
    return content


def _parse(path: Path, content: bytes) -> dict:
    is_json = path.suffix == ".json"
    try:
        values = json.loads(content, object_pairs_hook=_table) if is_json else _parse_pickle(content)
        if _levels(values) > MAX_LEVELS:
            raise ValueError(f"more than {MAX_LEVELS} levels")
        json.dumps(values, ensure_ascii=False).encode()  # half a surrogate pair could not be written back
    except Exception as error:  # pickle raises nearly any error on a broken file
        reason = str(error) or type(error).__name__
        form = "JSON" if is_json else "a pickle of only dict, list, str and numbers"
        raise UserError(f"a preset file must be {form}. Received: {path}: {reason}.", "preset-broken") from error
    if not isinstance(values, dict):
        message = f"a preset file must hold one table of keys. Received: {path}: {shown(values)}."
        raise UserError(message, "preset-wrong-type")
    return values


def _table(pairs: list[tuple[str, Any]]) -> dict:
    """Returns a JSON object's pairs as a dict; raises ValueError where a key comes twice."""
    table = {}
    for key, value in pairs:
        if key in table:
            raise ValueError(f"the key {shown(key)} comes twice")
        table[key] = value
    return table


class _PlainUnpickler(pickle.Unpickler):
    """Builds dict, list, str and numbers; refuses every other name, so that nothing in a file can run."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, identifier: Any) -> Any:
        raise pickle.UnpicklingError("it asks for a persistent object")  # the default message has two lines


def _parse_pickle(content: bytes) -> Any:
    # Before anything is built: `genops` raises where an instruction asks for more bytes than there are, and the memo,
    # a list as long as its highest index, must not be longer than the file.
    for instruction, argument, _ in pickletools.genops(content):
        if instruction.name.endswith("PUT") and argument > len(content):
            raise pickle.UnpicklingError("it asks for too much memory")
    return plain(_PlainUnpickler(io.BytesIO(content)).load())


def plain(values: Any) -> Any:
    """Returns a copy of plain values, made through JSON.

    Raises:
        TypeError, ValueError, RecursionError: not plain, containing itself, or more than `MAX_BYTES` when written out
            (a small pickle can contain one list a billion times).
    """
    pieces, size = [], 0
    for piece in json.JSONEncoder().iterencode(values):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes when written out")
    return json.loads("".join(pieces))


def _levels(values: Any) -> int:
    """Returns how many tables and lists lie within one another."""
    inner = values.values() if isinstance(values, dict) else values if isinstance(values, list) else ()
    return 1 + max(map(_levels, inner), default=0)


def record_result(path: Path, result: dict, again: bool = False) -> dict | None:
    """Adds a result to a preset file, atomically and under a lock: two evaluations at once both get in.

    In a JSON file nothing but the value of "results" changes. A result of the same run, length, weights, view,
    resolution and images is replaced. One that measures what another row has measured (see `same_measurement`) is not
    added.

    Args:
        result: a row of plain values, see `runs.records.EvaluationRecord.to_result`.
        again: replace the row of the same measurement instead of leaving it.

    Returns:
        The row of the same measurement, where it was left; None where the result was added.

    Raises:
        UserError: the file is no preset any more, or cannot be written.
    """
    try:
        path = path.resolve()  # a link stays one, and waits for whoever writes the file itself
        with files.locked(path.parent):
            content = _content(path)
            values = _parse(path, content)
            recipe = schema.from_dict(values, name=path.stem).hash
            rows = values.get("results", [])
            known = [row for row in rows if same_measurement(row, result, recipe)]
            if known and not again:
                return known[-1]
            same = ("run", "steps_planned", "view", "weights", "resolution", "data")
            kept = [row for row in rows if row not in known and any(row.get(key) != result.get(key) for key in same)]
            if path.suffix == ".json":
                content = json_text.with_lines(content, "results", [*kept, result])
            else:
                content = pickle.dumps({**values, "results": [*kept, result]})
            files.write_atomically(path, content)
    except OSError as error:
        raise UserError(
            f"a result needs a preset file that can be written. Received: {path}: {error.strerror}.",
            "preset-not-writable",
        ) from error
    return None


def same_measurement(row: dict, result: dict, recipe: str) -> bool:
    """Returns whether a recorded row measured the same as a result.

    Recipe, seed, initial weights, length, images and protocol are the same then. The run and its times may differ, and
    the last digits of the figures, on another processor.

    Args:
        recipe: the hash of the preset's recipe, which is taken for a row that holds neither a hash nor a change.
    """

    def identity(one: dict) -> tuple:
        data = one.get("data")
        fingerprint = data.get("fingerprint") if isinstance(data, dict) else None
        keys = ("seed", "init", "steps_planned", "view", "weights", "resolution", "same_data_as_training")
        return (fingerprint, one.get("trained") or one.get("steps"), *map(one.get, keys))

    known = row.get("preset_hash") or (None if row.get("changed") else recipe)
    return known == result.get("preset_hash") and identity(row) == identity(result)


def format_json(values: dict) -> str:
    """Returns a preset without results as JSON for people: one line for a key, one line for a short table."""

    def layout(value: Any, indent: int) -> str:
        flat = json.dumps(value, ensure_ascii=False)
        if not isinstance(value, dict | list) or (indent and len(flat) + indent <= 116):
            return flat
        pad = " " * (indent + 2)
        if isinstance(value, dict):
            lines = [f"{pad}{json.dumps(key)}: {layout(item, indent + 2)}" for key, item in value.items()]
        else:
            lines = [pad + layout(item, indent + 2) for item in value]
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        return f"{opening}\n" + ",\n".join(lines) + f"\n{' ' * indent}{closing}"

    return layout(values, 0) + "\n"

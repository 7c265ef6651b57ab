"""Turns plain values (from JSON, a pickle or the command line) into frozen dataclasses and checks every key."""

import dataclasses
import functools
import sys
import types
import typing
from typing import Any, TypeVar

from resnet_tf.errors import UserError, shown, unknown

Checked = TypeVar("Checked")

_type_hints = functools.cache(typing.get_type_hints)  # a third of the time it takes to read all presets
_TYPE_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", dict: "a table"}


def build(cls: type[Checked], values: dict, where: str) -> Checked:
    """Builds the dataclass `cls` from a dict of plain values.

    Understands int, float (an int is converted), str, bool, dict, `tuple[T, ...]` (from a list), `T | None`, `Literal`
    and nested dataclasses. A dataclass states further rules in `__post_init__` by raising `ValueError("rule")`.

    Args:
        where: what the values are, as the user knows it ("'train' of preset 4"); every message starts with it.

    Raises:
        UserError: an unknown key (with the nearest known one), a missing key, a value of the wrong type or out of
            range; the message names key and value.
    """
    if not isinstance(values, dict):
        raise UserError(f"{where} must be a table of keys and values. Received: {shown(values)}.", "preset-wrong-type")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for key in values:
        if key not in fields:
            raise unknown(f"key in {where}:", key, fields, code="preset-unknown-key")
    hints = _type_hints(cls)
    arguments = {key: convert(value, hints[key], f"{key!r} in {where}") for key, value in values.items()}
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in arguments:
            received = ", ".join(values) or "no keys"
            raise UserError(f"{where} needs the key {name!r}. Received: {received}.", "preset-missing-key")
    try:
        return cls(**arguments)
    except ValueError as error:
        raise UserError(f"{where}: {error}", "preset-wrong-value") from error


def build_named(classes: dict[str, type], values: dict, where: str) -> Any:
    """Builds the dataclass that `values["name"]` picks from `classes` out of the other keys.

    Raises:
        UserError: as `build`; also a missing or unknown name.
    """
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        names = ", ".join(classes)
        message = f"{where} must be a table with a 'name', one of: {names}. Received: {shown(values)}."
        raise UserError(message, "preset-wrong-type")
    name = values["name"]
    if name not in classes:
        raise unknown(f"name in {where}:", name, classes, code="preset-wrong-value")
    others = {key: value for key, value in values.items() if key != "name"}
    return build(classes[name], others, f"{where} ({name})")


def convert(value: Any, hint: Any, where: str) -> Any:
    """Returns `value` as the type `hint`; raises UserError where it is of another type."""
    origin, parameters = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in parameters:
            return None
        (inner,) = [parameter for parameter in parameters if parameter is not type(None)]
        return convert(value, inner, where)
    if origin is typing.Literal:
        if value not in parameters or type(value) is bool:
            raise unknown(f"value for {where}:", value, parameters, code="preset-wrong-value")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise UserError(f"{where} must be a list. Received: {shown(value)}.", "preset-wrong-type")
        return tuple(convert(item, parameters[0], f"item {i} of {where}") for i, item in enumerate(value))
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)
    if hint is float and type(value) in (int, float):
        if not abs(value) <= sys.float_info.max:  # nan, infinite, or a whole number beyond any float
            raise UserError(f"{where} must be a finite number. Received: {shown(value)}.", "preset-wrong-value")
        return float(value)
    if type(value) is not hint:
        raise UserError(f"{where} must be {_TYPE_WORDS[hint]}. Received: {shown(value)}.", "preset-wrong-type")
    return value

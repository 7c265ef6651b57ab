"""Turns plain values (from JSON, a pickle or the command line) into frozen dataclasses and checks every key.

The range of a number is part of its type, in interval notation: `Annotated[float, "(0, 1]"]` is above 0 and at most 1.
"""

import dataclasses
import functools
import sys
import types
import typing
from typing import Annotated, Any, TypeVar

from resnet_tf.errors import UserError, shown, unknown

Checked = TypeVar("Checked")
PositiveInt = Annotated[int, "[1, inf)"]
NonNegativeInt = Annotated[int, "[0, inf)"]
PositiveFloat = Annotated[float, "(0, inf)"]
Percent = Annotated[float, "[0, 100]"]
NonNegativeFloat = Annotated[float, "[0, inf)"]


@functools.cache  # a third of the time it takes to read all presets
def _type_hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


_TYPE_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", dict: "a table"}


def build(cls: type[Checked], values: dict, where: str) -> Checked:
    """Builds the dataclass `cls` from a dict of plain values.

    Understands int, float (an int is converted), str, bool, dict, `tuple[T, ...]` (from a list), `T | None`, `Literal`,
    nested dataclasses, and `Annotated` with a range or with the classes of a section by name. A dataclass states
    further rules in `__post_init__` by raising `ValueError("rule")`. A field that is not compared is no key.

    Args:
        where: what the values are, as the user knows it ("'train' of preset 4"); every message starts with it.

    Raises:
        UserError: an unknown or a missing key, a value of the wrong type or out of range; the message names it.
    """
    if not isinstance(values, dict):
        raise UserError(f"{where} must be a table of keys and values. Received: {shown(values)}.", "preset-wrong-type")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init and field.compare}
    for key in values:
        if key not in fields:
            raise unknown(f"key in {where}:", key, fields, "preset-unknown-key")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in values:
            received = ", ".join(values) or "no keys"
            raise UserError(f"{where} needs the key {name!r}. Received: {received}.", "preset-missing-key")
    hints = _type_hints(cls)
    arguments = {key: convert(value, hints[key], f"{key!r} in {where}") for key, value in values.items()}
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
        raise unknown(f"name in {where}:", name, classes, "preset-wrong-value")
    others = {key: value for key, value in values.items() if key != "name"}
    return build(classes[name], others, f"{where} ({name})")


def convert(value: Any, hint: Any, where: str) -> Any:
    """Returns `value` as the type `hint`; raises UserError where it is of another type or out of its range."""
    origin, parameters = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        inner, allowed = parameters
        if isinstance(allowed, dict):
            return build_named(allowed, value, where)
        converted = convert(value, inner, where)
        _check_range(converted, allowed, where)
        return converted
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in parameters:
            return None
        (inner,) = [parameter for parameter in parameters if parameter is not type(None)]
        return convert(value, inner, where)
    if origin is typing.Literal:
        if value not in parameters or type(value) is bool:
            raise unknown(f"value for {where}:", value, parameters, "preset-wrong-value")
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


def _check_range(number: float, interval: str, where: str) -> None:
    """Raises UserError where a number lies outside an interval such as "(0, 1]"."""
    low, high = map(float, interval[1:-1].split(","))
    least, most = interval[0] == "[", interval[-1] == "]"
    if not (low < number < high or (least and number == low) or (most and number == high)):
        rule = f"{'at least' if least else 'above'} {low:g}"
        if high < float("inf"):
            rule += f" and {'at most' if most else 'below'} {high:g}"
        raise UserError(f"{where} must be {rule}. Received: {shown(number)}.", "preset-wrong-value")

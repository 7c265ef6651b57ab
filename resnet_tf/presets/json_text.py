"""Changes one key of a JSON file and leaves every other byte of it as it was."""

import json
from typing import Any, NamedTuple

_SPACE = " \t\n\r"  # JSON's own
_DECODER = json.JSONDecoder()


class _Key(NamedTuple):
    """A key of the outermost table, by places in the text: its quote, and the two ends of its value."""

    name: str
    start: int
    value: int
    end: int


def with_lines(content: bytes, key: str, items: list[Any]) -> bytes:
    """Returns a JSON file in which a key of the outermost table holds a list, one compact line an item.

    The key is added behind the last one where there is none. Encoding, byte order mark, indentation and line ends stay.

    Args:
        content: a file that `json.loads` reads, with a table of at least one key outermost and no key twice.

    Raises:
        ValueError: it is no such file.
    """
    encoding = json.detect_encoding(content).removesuffix("-sig")
    if encoding in ("utf-16", "utf-32"):  # with a byte order mark; by these names Python would write one of its own
        encoding += "-le" if content.startswith(b"\xff\xfe") else "-be"
    text = content.decode(encoding)
    keys = _keys(text)
    if not keys:
        raise ValueError("a table of at least one key is needed")
    place = next((found for found in keys if found.name == key), None)
    last = place or keys[-1]
    pads = [_indentation(text, found.start) for found in keys if found.start <= last.start]
    pad = next((found for found in reversed(pads) if found is not None), None)
    newline = "\r\n" if "\r\n" in text else "\n"
    inner = (pad or "") + (pad or "  ")
    lines = f",{newline}".join(inner + json.dumps(item, ensure_ascii=False) for item in items)
    laid = f"[{newline}{lines}{newline}{pad or ''}]" if items else "[]"
    if place is not None:
        text = text[: place.value] + laid + text[place.end :]
    else:
        end = keys[-1].end
        between = " " if pad is None else newline + pad
        text = f"{text[:end]},{between}{json.dumps(key)}: {laid}{text[end:]}"
    return text.encode(encoding)


def _keys(text: str) -> list[_Key]:
    """Returns the keys of the outermost table, in order."""
    found, place = [], _past(text, 0, "\ufeff")
    place = _expect(text, place, "{")
    while text[place] != "}":
        start = place
        name, place = _DECODER.raw_decode(text, place)
        value = _expect(text, _past(text, place), ":")
        _, end = _DECODER.raw_decode(text, value)
        found.append(_Key(name, start, value, end))
        place = _past(text, end)
        if text[place] == ",":
            place = _past(text, place + 1)
    return found


def _past(text: str, place: int, more: str = "") -> int:
    """Returns the first place at or behind this one that holds no white space."""
    while text[place] in _SPACE + more:
        place += 1
    return place


def _expect(text: str, place: int, sign: str) -> int:
    """Returns the first place behind a sign and the white space that follows it."""
    if text[place] != sign:
        raise ValueError(f"{sign!r} is missing at {place}")
    return _past(text, place + 1)


def _indentation(text: str, place: int) -> str | None:
    """Returns the white space between a line's beginning and this place; None where something else stands there."""
    line = text[:place].rpartition("\n")[2] if "\n" in text[:place] else None
    return line if line is not None and not line.strip(_SPACE) else None

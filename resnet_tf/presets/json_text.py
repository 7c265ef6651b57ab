"""Changes one key of a JSON file and leaves every other byte as it is."""

import json
from typing import Any, NamedTuple

_SPACE = " \t\n\r"  # JSON's own
_DECODER = json.JSONDecoder()


class _Key(NamedTuple):
    """A key of the outermost table; positions in the text of its quote, and of the two ends of its value."""

    name: str
    start: int
    value: int
    end: int


def with_lines(content: bytes, key: str, items: list[Any]) -> bytes:
    """Returns a JSON file in which a key of the outermost table is a list, one compact line for each item.

    A missing key is added after the last one. Encoding, byte order mark, indentation and line ends stay.

    Args:
        content: a file that `json.loads` reads: a table of at least one key, and no key twice.

    Raises:
        ValueError: it is not such a file.
    """
    encoding = json.detect_encoding(content).removesuffix("-sig")
    if encoding in ("utf-16", "utf-32"):  # it has a byte order mark; by these names Python would write a second one
        encoding += "-le" if content.startswith(b"\xff\xfe") else "-be"
    text = content.decode(encoding)
    keys = _keys(text)
    if not keys:
        raise ValueError("a table of at least one key is needed")
    existing = next((candidate for candidate in keys if candidate.name == key), None)
    last = existing or keys[-1]
    pads = [_indentation(text, candidate.start) for candidate in keys if candidate.start <= last.start]
    pad = next((candidate for candidate in reversed(pads) if candidate is not None), None)
    newline = "\r\n" if "\r\n" in text else "\n"
    inner = (pad or "") + (pad or "  ")
    lines = f",{newline}".join(inner + json.dumps(item, ensure_ascii=False) for item in items)
    value = f"[{newline}{lines}{newline}{pad or ''}]" if items else "[]"
    if existing is not None:
        text = text[: existing.value] + value + text[existing.end :]
    else:
        end = keys[-1].end
        between = " " if pad is None else newline + pad
        text = f"{text[:end]},{between}{json.dumps(key)}: {value}{text[end:]}"
    return text.encode(encoding)


def _keys(text: str) -> list[_Key]:
    """Returns the keys of the outermost table, in order."""
    keys, place = [], _skip_space(text, 0, "\ufeff")
    place = _expect(text, place, "{")
    while text[place] != "}":
        start = place
        name, place = _DECODER.raw_decode(text, place)
        value = _expect(text, _skip_space(text, place), ":")
        _, end = _DECODER.raw_decode(text, value)
        keys.append(_Key(name, start, value, end))
        place = _skip_space(text, end)
        if text[place] == ",":
            place = _skip_space(text, place + 1)
    return keys


def _skip_space(text: str, place: int, more: str = "") -> int:
    """Returns the first position, from this one on, that is not white space."""
    while text[place] in _SPACE + more:
        place += 1
    return place


def _expect(text: str, place: int, character: str) -> int:
    """Returns the position after a character and the white space behind it."""
    if text[place] != character:
        raise ValueError(f"{character!r} is missing at {place}")
    return _skip_space(text, place + 1)


def _indentation(text: str, place: int) -> str | None:
    """Returns the white space between the start of the line and this position; None where there is anything else."""
    line = text[:place].rpartition("\n")[2] if "\n" in text[:place] else None
    return line if line is not None and not line.strip(_SPACE) else None

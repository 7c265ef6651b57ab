"""Changes one key of a JSON file and leaves every other byte as it is."""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

_DECODER = json.JSONDecoder()
_OPENING = re.compile(r"\ufeff?[ \t\n\r]*\{[ \t\n\r]*")
_COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_COMMA = re.compile(r"[ \t\n\r]*,?[ \t\n\r]*")
_LINE_START = re.compile(r"\n([ \t\r]*)\Z")


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
    """
    encoding = json.detect_encoding(content).removesuffix("-sig")
    if encoding in ("utf-16", "utf-32"):  # it has a byte order mark; by these names Python would write a second one
        encoding += "-le" if content.startswith(b"\xff\xfe") else "-be"
    text = content.decode(encoding)
    keys = list(_keys(text))
    existing = next((candidate for candidate in keys if candidate.name == key), None)
    end = (existing or keys[-1]).end
    # Indented as the last key, up to here, that begins a line.
    pads = [match[1] for one in keys if one.end <= end and (match := _LINE_START.search(text[: one.start]))]
    pad = pads[-1] if pads else ""
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = f",{newline}".join(pad + (pad or "  ") + json.dumps(item, ensure_ascii=False) for item in items)
    value = f"[{newline}{lines}{newline}{pad}]" if items else "[]"
    if existing is not None:
        return (text[: existing.value] + value + text[end:]).encode(encoding)
    between = newline + pad if pads else " "
    return f"{text[:end]},{between}{json.dumps(key)}: {value}{text[end:]}".encode(encoding)


def _keys(text: str) -> Iterator[_Key]:
    """Yields the keys of the outermost table, in order."""
    place = _OPENING.match(text).end()
    while text[place] != "}":
        name, name_end = _DECODER.raw_decode(text, place)
        value = _COLON.match(text, name_end).end()
        _, end = _DECODER.raw_decode(text, value)
        yield _Key(name, place, value, end)
        place = _COMMA.match(text, end).end()

"""Numbers, durations, dates, tables and text from elsewhere, as people read them."""

import io
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def duration(seconds: float) -> str:
    """Returns a time a person reads at a glance: "42 s", "7 min", "3 h 20 min", "2 d 4 h"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def iso_time(seconds: float | None = None) -> str:
    """Returns a time in UTC, "2026-01-01T12:00:00Z"; default: now."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def percent(value: float | None) -> str:
    """Returns "85.10 %", or "-" for None."""
    return "-" if value is None else f"{value:.2f} %"


def thousands(number: int) -> str:
    """Returns 32000 as "32k" and 500 as "500"."""
    return f"{number / 1000:g}k" if number >= 1000 else str(number)


def large(number: int) -> str:
    """Returns 40551040 as "40.55M" and 3664000000 as "3.66G"."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.2f}{letter}"
    return str(number)


def plural(count: int, noun: str) -> str:
    """Returns "1 run", "2 runs", "1,000 runs"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def first_line(error: BaseException) -> str:
    """Returns the first line of an error's message, at most 200 characters; the error's type where it has none."""
    return printable(str(error).strip().partition("\n")[0][:200]) or type(error).__name__


def printable(text: str) -> str:
    """Returns the text with every character that is neither visible nor a space written as an escape.

    So a name cannot steer a terminal (C0 and C1 controls), read backwards (bidi controls) or span two lines, and a byte
    that is not UTF-8 (a surrogate, in Python) is shown as \\xff.
    """
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # what os.fsdecode makes of the bytes 0x80 to 0xff
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    escaped = [[cell.replace("|", "\\|") for cell in cells] for cells in lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in escaped)


PROSE_WIDTH = 14  # characters below which a sentence is hard to read


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: Collection[str] = (), prose: Collection[str] = ()
) -> "Table":
    """Returns a table for a terminal, without a frame.

    Args:
        rows: cells of text; nothing in them is markup, and what is not printable is escaped.
        numbers: the headings whose columns are set to the right.
        prose: the headings whose cells are folded between words where there is too little room; others never are.
    """
    from rich.table import Table
    from rich.text import Text

    result = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for heading in headings:
        fold = {"overflow": "fold", "min_width": PROSE_WIDTH} if heading in prose else {"no_wrap": True}
        result.add_column(heading, justify="right" if heading in numbers else "left", **fold)
    for row in rows:
        result.add_row(*(Text(printable(cell)) for cell in row))
    return result


def as_text(content: "Table", width: int | None = None) -> str:
    """Returns what a terminal of `width` characters shows of a table; default: wide enough that no cell is folded."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width or 10_000, color_system=None)
    console.print(content)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def narrowest(content: "Table") -> int:
    """Returns how many characters wide a table is at least, if it breaks no word."""
    from rich.console import Console

    console = Console(width=10_000)
    return console.measure(content).minimum

"""Predictions as a table on the terminal, JSON and CSV, safe to look at whatever the photos' names are.

A row is a dict: "file" (str, as named), "error" (one line, or None), "width" and "height" (pixels, or None), and "top",
a list of {"class": str, "probability": 0 to 1}, the most likely first, empty where there is an error.

A file's name may hold anything. JSON keeps it exactly (`os.fsencode` of the value read back gives the name's bytes);
the terminal, the CSV file and the figure show it as `printable` gives it.
"""

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path

from resnet_tf import files
from resnet_tf.format import printable

UNSURE = 0.5  # a first class less probable than this is marked as a guess


def common_folder(rows: Sequence[dict]) -> str:
    """Returns the folder (with its slash) that holds all the rows' files, so that it need not be shown with each.

    Returns "" where that is the root or the working directory, or there are fewer than two rows.
    """
    if len(rows) < 2:
        return ""
    files = [Path(row["file"]) for row in rows]
    shared = (folder for folder in files[0].parents if all(folder in file.parents for file in files))
    folder = next(shared, Path())
    return "" if folder in (Path(), Path("/")) else f"{folder}/"


def as_json(rows: Sequence[dict]) -> str:
    """Returns the rows as a JSON array in printable ASCII, so that nothing in it steers a terminal."""
    return json.dumps(list(rows), indent=2, allow_nan=False)


def write_csv(rows: Sequence[dict], path: str | os.PathLike) -> None:
    """Writes file, error, width, height, class_1, probability_1, class_2 ... as UTF-8, a line a row.

    A text that a spreadsheet would take for a formula gets a ' in front.

    Raises:
        UserError: the file cannot be written.
    """
    places = range(max((len(row["top"]) for row in rows), default=0))
    names = ["file", "error", "width", "height"]
    names += [name for place in places for name in (f"class_{place + 1}", f"probability_{place + 1}")]
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        guesses = [value for guess in row["top"] for value in (_cell(guess["class"]), guess["probability"])]
        cells = [_cell(row["file"]), _cell(row["error"] or ""), row["width"], row["height"], *guesses]
        writer.writerow(cells + [None] * (len(names) - len(cells)))
    files.save(path, text.getvalue())


def _cell(text: str) -> str:
    """Returns a text that no spreadsheet calculates: it is one line and does not begin like a formula."""
    text = printable(text)
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")) else text


def print_table(rows: Sequence[dict], console=None) -> None:
    """Prints a line for each row: the photo, its most likely class, and the next ones or why it could not be read.

    Args:
        console: a `rich.console.Console`; standard output if None.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = console or Console()

    def cell(text: str, style: str = "") -> Text:
        shown = printable(text).encode(console.encoding, "backslashreplace").decode(console.encoding)
        return Text(shown, style)  # in a str, "[red]" would be markup

    folder = common_folder(rows)
    if folder:
        console.print(cell(f"in {folder}", "dim"))
    names = [cell(row["file"].removeprefix(folder)) for row in rows]
    longest = max((name.cell_len for name in names), default=0)
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("photo", overflow="fold", width=max(len("photo"), min(longest, console.width * 2 // 5)))
    table.add_column("class", overflow="fold")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("others", style="dim", overflow="fold")
    for name, row in zip(names, rows, strict=True):
        if row["error"] is not None:
            table.add_row(name, cell("-", "red"), "", cell(row["error"], "red"))
            continue
        best, *others = [(guess["class"], f"{guess['probability']:.1%}") for guess in row["top"]]
        is_guess = row["top"][0]["probability"] < UNSURE
        first = cell(f"{best[0]} ?", "yellow") if is_guess else cell(best[0], "bold")
        table.add_row(name, first, best[1], cell(", ".join(" ".join(other) for other in others)))
    console.print(table)
    unsure = sum(bool(row["top"]) and row["top"][0]["probability"] < UNSURE for row in rows)
    if unsure:
        note = f"? below {UNSURE:.0%} ({unsure:,} of {len(rows):,}): perhaps none of the classes"
        console.print(cell(note, "yellow"))

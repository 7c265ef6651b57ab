"""Predictions as a table on the terminal, JSON and CSV, safe to look at whatever the photos' names are.

A row is a dict: "file" (str, as named), "error" (one line, or None), "width" and "height" (pixels, or None), "top",
a list of {"class": str, "probability": 0 to 1}, the most likely first, empty where there is an error, "unsure" (whether
the first is a guess) and "truth" (the class after which the file's folder is called, or None).

A file's name may hold anything. JSON keeps it exactly (`os.fsencode` of the value read back gives the name's bytes);
the terminal, the CSV file and the figure show it as `printable` gives it.
"""

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path

from resnet_tf.format import printable
from resnet_tf.runs.significance import wilson_interval


def common_folder(rows: Sequence[dict]) -> Path | None:
    """Returns the folder that holds all the rows' files, so that it need not be shown with each.

    Returns None where that is a root or the working directory, or there are fewer than two rows.
    """
    if len(rows) < 2:
        return None
    paths = [Path(row["file"]) for row in rows]
    shared = (folder for folder in paths[0].parents if all(folder in path.parents for path in paths))
    folder = next(shared, Path())
    return None if folder == folder.parent else folder


def shown_name(row: dict, folder: Path | None) -> str:
    """Returns the name of a row's file, without the `common_folder` of all rows."""
    return row["file"] if folder is None else str(Path(row["file"]).relative_to(folder))


def is_right(row: dict) -> bool | None:
    """Returns whether the first class is the one that the folder names; None where it names none, or on an error."""
    return row["top"][0]["class"] == row["truth"] if row["top"] and row["truth"] is not None else None


def score(rows: Sequence[dict]) -> str:
    """Returns how many photos in folders called after a class were right: "24 of 34 right (71%, ...)"; "" if none."""
    known = [row for row in rows if is_right(row) is not None]
    if not known:
        return ""
    right = sum(map(is_right, known))
    low, high = wilson_interval(right, len(known))
    line = f"{right:,} of {len(known):,} right ({right / len(known):.0%}, 95 % interval {low:.0f} to {high:.0f} %)"
    if right < len(known):
        marked = sum(row["unsure"] for row in known if not is_right(row))
        line += f"; {marked:,} of the {len(known) - right:,} mistakes marked unsure"
    return line


def doubt(rows: Sequence[dict], folder: str | None) -> str:
    """Returns a caution where scored photos lie below the folder of the training's images; "" if none do.

    Those in its folder `test`, where it has one, were not trained on.

    Args:
        folder: that folder, or None where it is not known.
    """
    if folder is None:
        return ""
    trained = Path(os.path.realpath(folder))
    places = [Path(os.path.realpath(row["file"])) for row in rows if is_right(row) is not None]
    count = sum(place.is_relative_to(trained) and not place.is_relative_to(trained / "test") for place in places)
    if not count:
        return ""
    return f"some of the scored photos may be training images: {count:,} of them come from {printable(folder)}"


def as_json(rows: Sequence[dict]) -> str:
    """Returns the rows as a JSON array in printable ASCII, so that nothing in it steers a terminal."""
    return json.dumps(list(rows), indent=2, allow_nan=False)


def as_csv(rows: Sequence[dict]) -> str:
    """Returns the rows as CSV, a line each: file, error, width, height, unsure, truth, class_1, probability_1 ...

    "unsure" is "yes" or "no", and empty where there is an error; "truth" is empty where no folder says it. A text that
    a spreadsheet would take for a formula gets a ' in front.
    """
    places = range(max((len(row["top"]) for row in rows), default=0))
    names = ["file", "error", "width", "height", "unsure", "truth"]
    names += [name for place in places for name in (f"class_{place + 1}", f"probability_{place + 1}")]
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        guesses = [value for guess in row["top"] for value in (_cell(guess["class"]), guess["probability"])]
        unsure = ("yes" if row["unsure"] else "no") if row["top"] else ""
        cells = [_cell(row["file"]), _cell(row["error"] or ""), row["width"], row["height"]]
        cells += [unsure, _cell(row["truth"] or ""), *guesses]
        writer.writerow(cells + [None] * (len(names) - len(cells)))
    return text.getvalue()


def _cell(text: str) -> str:
    """Returns a text that no spreadsheet calculates: it is one line and does not begin like a formula."""
    text = printable(text)
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")) else text


def print_table(rows: Sequence[dict], rule: str = "", console=None) -> None:
    """Prints a line for each row: the photo, its most likely class, and the next ones or why it could not be read.

    Where folders are called after classes, a column says what is right, and a last line how many are.

    Args:
        rule: what is called unsure, see `Predictor.rule`.
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
        console.print(cell(f"in {os.path.join(folder, '')}", "dim"))
    names = [cell(shown_name(row, folder)) for row in rows]
    longest = max((name.cell_len for name in names), default=0)
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("photo", overflow="fold", width=max(len("photo"), min(longest, console.width * 2 // 5)))
    table.add_column("class", overflow="fold")
    table.add_column("", justify="right", no_wrap=True)
    scored = score(rows)
    if scored:
        table.add_column("by its folder", overflow="fold")
    table.add_column("others", style="dim", overflow="fold")
    for name, row in zip(names, rows, strict=True):
        if row["error"] is not None:
            table.add_row(name, cell("-", "red"), "", *[""] * bool(scored), cell(row["error"], "red"))
            continue
        best, *others = [(guess["class"], f"{guess['probability']:.1%}") for guess in row["top"]]
        first = cell(f"{best[0]} ?", "yellow") if row["unsure"] else cell(best[0], "bold")
        verdict = {None: cell(""), True: cell("right", "green"), False: cell(f"wrong, is {row['truth']}", "red")}
        shown = [verdict[is_right(row)]] * bool(scored)
        table.add_row(name, first, best[1], *shown, cell(", ".join(" ".join(other) for other in others)))
    console.print(table)
    if unsure := sum(row["unsure"] for row in rows):
        console.print(cell(f"? unsure ({unsure:,} of {len(rows):,}): {rule}", "yellow"))
    if scored:
        console.print(cell(scored, "bold"))

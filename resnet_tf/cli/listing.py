"""The list of presets that `train.py --list` prints; needs neither Keras nor TensorFlow."""

import os
import sys
import textwrap
from itertools import groupby, zip_longest

from resnet_tf.errors import UserError
from resnet_tf.format import printable
from resnet_tf.models.cost import describe_network, describe_stages, large, network_size
from resnet_tf.presets import preset_files
from resnet_tf.presets.schedule import thousands
from resnet_tf.presets.schema import Preset

DESCRIBED = ("preset", "network", "parameters", "mult-adds", "data", "schedule", "reference")
HEADINGS = (*DESCRIBED, "best recorded")
NUMBERS = ("parameters", "mult-adds", "reference")  # set to the right
PROSE = {"schedule": 19}  # characters below which a column is hard to read
SPARE = ("data", "mult-adds", "network", "parameters")  # left out in this order where there is too little room


def print_presets() -> None:
    """Prints one line a preset: name, network, cost, data, schedule, reference, best recorded result."""
    rows = [preset_line(preset_files.load_preset(name)) for name in preset_files.names()]
    try:
        room = os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        room = None  # a pipe or a file
    print("\n".join(table([list(HEADINGS), *rows], room)))


def print_summary(preset: Preset) -> None:
    """Prints a preset's network stage by stage, for each size in pixels at which its phases train it.

    Raises:
        UserError: only the images tell how many classes there are.
    """
    if preset.classes is None:
        raise UserError(
            f"--summary needs the number of classes, which for preset {preset.name} the images decide. Use --dry-run."
        )
    for size in dict.fromkeys(phase.data.image_size for phase in preset.in_phases):
        print(f"{describe_network(preset, preset.classes, size)}")
        print(describe_stages(network_size(preset.model, size, preset.classes)))


def table(rows: list[list[str]], room: int | None) -> list[str]:
    """Returns the lines of a table whose first row is its headings.

    To stay within `room`, long cells are folded between words, the first column apart, which people copy from. Where
    that is not enough, columns are left out.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    for heading in SPARE:
        if room and _needed(_least(rows)) > room and heading in rows[0]:
            place = rows[0].index(heading)
            rows = [[*row[:place], *row[place + 1 :]] for row in rows]
    widths = _widths(rows, room)
    lines = []
    for row in rows:
        folded = [textwrap.wrap(cell, width, break_on_hyphens=False) for cell, width in zip(row, widths, strict=True)]
        for parts in zip_longest(*folded, fillvalue=""):
            cells = [
                part.rjust(width) if heading in NUMBERS else part.ljust(width)
                for part, width, heading in zip(parts, widths, rows[0], strict=True)
            ]
            lines.append("  ".join(cells).rstrip())
    return lines


def _widths(rows: list[list[str]], room: int | None) -> list[int]:
    """Returns the width of each column: where there is too little room, as few cells as possible are folded."""
    columns = list(zip(*rows, strict=True))
    widths, least = [max(map(len, column)) for column in columns], _least(rows)
    while room and _needed(widths) > room and widths != least:
        able = [i for i, width in enumerate(widths) if width > least[i]]
        widths[min(able, key=lambda i: (sum(len(cell) >= widths[i] for cell in columns[i]), -widths[i]))] -= 1
    return widths


def _least(rows: list[list[str]]) -> list[int]:
    """Returns how narrow each column may become: no word is broken, and what is mostly prose stays readable."""
    least = []
    for column in zip(*rows, strict=True):
        whole = max(map(len, column))
        word = max(len(word) for cell in column for word in cell.split())
        least.append(max(word, min(whole, PROSE.get(column[0], 0))) if least else whole)
    return least


def _needed(widths: list[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def preset_line(preset: Preset) -> list[str]:
    """Returns the cells of a preset's line."""
    return [*described(preset), best_recorded(preset)]


def described(preset: Preset) -> list[str]:
    """Returns the cells of a preset under `DESCRIBED`."""
    size = network_size(preset.model, preset.data.image_size, preset.classes or 0)
    rates = dict.fromkeys(f"{phase.optimizer.learning_rate:g}" for phase in preset.in_phases)
    return [
        preset.name,
        f"ResNet-{preset.model.depth}",
        f"{size.parameters:,}{'' if preset.classes else ' + head'}",
        large(size.multiply_adds),
        preset.data.dataset,
        f"{' then '.join(rates)}, {preset.schedule.brief()}; {length(preset)}",
        reference(preset),
    ]


def length(preset: Preset) -> str:
    """Returns how long a preset trains: "64k steps", or "300 + 140 epochs of 20 copies at 70, 120 px" in phases."""
    phases = preset.in_phases
    sizes = [phase.data.image_size for phase in phases]
    at = f" at {', '.join(map(str, sizes))} px" if len(set(sizes)) > 1 else ""
    terms = []
    for unit, alike in groupby((phase.train for phase in phases), lambda train: "epochs" if train.epochs else "steps"):
        numbers = (str(train.epochs or thousands(train.steps)) for train in alike)
        terms.append(f"{' + '.join(numbers)} {unit}")
    repeats = list(dict.fromkeys(phase.train.repeats for phase in phases))
    copies = f" of {', '.join(map(str, repeats))} copies" if max(repeats) > 1 else ""
    return f"{' + '.join(terms)}{copies}{at}"


def reference(preset: Preset) -> str:
    """Returns the reference's top-1, and what sets it apart from one crop of the test split."""
    known = preset.reference
    if known.test_top1 is not None:
        return f"{known.test_top1:.2f} %{' 10-crop' if known.protocol.startswith('10-crop') else ''}"
    return "-" if known.validation_top1 is None else f"{known.validation_top1:.2f} % validation"


def best_recorded(preset: Preset) -> str:
    """Returns the best test result of a preset and what it was measured on; its own recipe and protocol come first."""
    measured = [row for row in preset.results if isinstance(row.get("test_top1"), int | float)]
    if not measured:
        return "-"
    own = (preset.in_phases[-1].evaluation.view, preset.in_phases[-1].evaluation.weights)

    def by_own_protocol(row: dict) -> bool:
        return (row.get("view"), row.get("weights")) == own

    best = max(measured, key=lambda row: (not row.get("changed"), by_own_protocol(row), row["test_top1"]))
    data = best.get("data")
    title = data.get("title", "") if isinstance(data, dict) else "data not said"
    # What sets this copy of the data apart, if anything does: "cifar10 (folder copy, not ...)".
    apart = title.removeprefix(preset.data.dataset).strip(" ()").partition(",")[0]
    how = "" if by_own_protocol(best) else f", {best.get('view', '?')}, {best.get('weights', '?')} weights"
    if best.get("changed"):
        how += f", another {', '.join(best['changed'])}"
    return f"{best['test_top1']:.2f} % ({best.get('epochs', '?')} epochs{how}{f', {apart}' if apart else ''})"

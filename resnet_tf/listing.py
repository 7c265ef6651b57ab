"""The list of presets that `train.py --list` prints; needs neither Keras nor TensorFlow."""

import os
import sys
import textwrap
from itertools import zip_longest

from resnet_tf import preset_files
from resnet_tf.cli import one_line
from resnet_tf.errors import UserError
from resnet_tf.models.size import describe_network, describe_stages, large, network_size
from resnet_tf.presets import Preset

HEADINGS = ("preset", "network", "parameters", "mult-adds", "data", "schedule", "reference", "best recorded")
NUMBERS = ("parameters", "mult-adds", "reference")


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
    """Returns the lines of a table whose first row is its headings; long cells are folded to stay within `room`."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    while room and sum(widths) + 2 * (len(widths) - 1) > room and max(widths) > 12:
        widths[widths.index(max(widths))] -= 1
    lines = []
    for row in rows:
        folded = [textwrap.wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
        for parts in zip_longest(*folded, fillvalue=""):
            cells = [
                part.rjust(width) if heading in NUMBERS else part.ljust(width)
                for part, width, heading in zip(parts, widths, rows[0], strict=True)
            ]
            lines.append("  ".join(cells).rstrip())
    return lines


def preset_line(preset: Preset) -> list[str]:
    """Returns the cells of a preset's line."""
    size = network_size(preset.model, preset.data.image_size, preset.classes or 0)
    length = f"{preset.train.epochs} epochs" if preset.train.epochs else f"{preset.train.steps:,} steps"
    return [
        preset.name,
        f"ResNet-{preset.model.depth}",
        f"{size.parameters:,}{'' if preset.classes else ' + head'}",
        large(size.multiply_adds),
        preset.data.dataset,
        f"{preset.optimizer.learning_rate:g}, {preset.schedule.describe()}; {length}",
        _percent(preset.reference.test_top1),
        best_recorded(preset),
    ]


def best_recorded(preset: Preset) -> str:
    """Returns the best test result of a preset in words that name what it was measured on."""
    measured = [row for row in preset.results if isinstance(row.get("test_top1"), int | float)]
    if not measured:
        return "-"
    best = max(measured, key=lambda row: row["test_top1"])
    data = best.get("data")
    title = data.get("title") if isinstance(data, dict) else None
    return f"{best['test_top1']:.2f} % ({best.get('epochs', '?')} epochs, {title or 'data not said'})"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} %"

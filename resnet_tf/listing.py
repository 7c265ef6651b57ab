"""The list of presets that `train.py --list` prints; needs neither Keras nor TensorFlow."""

from rich.console import Console
from rich.table import Table

from resnet_tf import preset_files
from resnet_tf.models.size import large, network_size
from resnet_tf.presets import Preset


def print_presets() -> None:
    """Prints one line a preset: name, network, cost, data, schedule, reference, best recorded result."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("preset", "network", "parameters", "mult-adds", "data", "schedule", "reference", "best recorded"):
        table.add_column(heading, justify="right" if heading in ("parameters", "mult-adds") else "left")
    for name in preset_files.names():
        table.add_row(*preset_line(preset_files.load_preset(name)))
    # A pipe has no width of its own: give every column what it needs.
    console = Console()
    Console(width=console.width if console.is_terminal else 200).print(table)


def preset_line(preset: Preset) -> list[str]:
    """Returns the cells of a preset's line."""
    size = network_size(preset.model, preset.data.image_size, preset.classes or 1000)
    length = f"{preset.train.epochs} epochs" if preset.train.epochs else f"{preset.train.steps:,} steps"
    return [
        preset.name,
        f"ResNet-{preset.model.depth}",
        f"{size.parameters:,}",
        large(size.multiply_adds),
        preset.data.dataset,
        f"{preset.optimizer.learning_rate:g}, {preset.schedule.describe()}; {length}",
        _percent(preset.reference.test_top1),
        best_recorded(preset),
    ]


def best_recorded(preset: Preset) -> str:
    """Returns the best test result of a preset in words that name what it was measured on."""
    if not preset.results:
        return "-"
    best = max(preset.results, key=lambda row: row["test_top1"])
    return f"{best['test_top1']:.2f} % ({best['epochs']:g} epochs, {best['data']['title']})"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} %"

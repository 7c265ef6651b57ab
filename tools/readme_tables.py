"""Makes the tables of README and docs from preset files and measurements.

    python -m tools.readme_tables README.md docs/presets.md docs/results.md docs/speed.md

Only results on official or built-in images are listed: no published figure may stand beside another.
"""

import json
import re
import sys
from pathlib import Path

from resnet_tf import files
from resnet_tf.format import duration, markdown_table, percent
from resnet_tf.listing import DESCRIBED, described
from resnet_tf.presets import preset_files
from resnet_tf.presets.schema import Preset
from resnet_tf.runs.comparison import display_name

RESULT_HEADINGS = (
    "preset",
    "test top-1",
    "95 % interval",
    "reference",
    "difference",
    "epochs",
    "training",
    "precision",
)
RESULT_HEADINGS += ("seed", "protocol", "images")
SPEED = Path(__file__).resolve().parent.parent / "benchmarks" / "speed.json"
WORK = (
    ("train", "training", "training_peak_mib"),
    ("infer", "inference behind training", None),
    ("evaluate", "evaluation alone", "evaluation_peak_mib"),
)
RIVALS = ("torch", "torch.compile", "keras")
SPEED_HEADINGS = (
    "",
    "images/s",
    *(f"times as fast as {name}" for name in RIVALS),
    "peak memory, MiB (torch's)",
    "convolutions' share",
)


def tables() -> dict[str, str]:
    """Returns the Markdown of each table by the name its markers bear."""
    presets = [preset_files.load_preset(name) for name in preset_files.names()]
    measured = [
        result_line(preset, result) for preset in presets for result in preset.results if result["data"]["official"]
    ]
    return {
        "presets": markdown_table(DESCRIBED, [described(preset) for preset in presets]),
        "results": markdown_table(RESULT_HEADINGS, measured),
        "speed": markdown_table(SPEED_HEADINGS, speed_lines(json.loads(SPEED.read_text()))),
    }


def speed_lines(results: dict) -> list[list[str]]:
    """Returns the cells of a row for each case and kind of work of what `benchmarks.speed` measured."""
    lines = []
    for case, result in results.items():
        for work, title, peaks in WORK:
            measured = result[work]
            ratios = []
            for name in RIVALS:
                found = measured[name]["ours_is_faster"]
                low, high = found["interval"]
                ratios.append(f"{found['median']:.2f} ({low:.2f} to {high:.2f})")
            peak = "{ours:,} ({torch:,})".format_map(result[peaks]) if peaks else "-"
            share = f"{100 * result['convolutions']['share']['ours']:.0f} %" if work == "train" else "-"
            lines.append([f"{case}, {title}", f"{measured['ours']['images_per_second']:,.0f}", *ratios, peak, share])
    return lines


def result_line(preset: Preset, result: dict) -> list[str]:
    """Returns the cells of a recorded test result."""
    low, high = result["test_top1_interval"]
    reference = preset.reference.test_top1
    return [
        display_name(preset.name, result["changed"]),
        percent(result["test_top1"]),
        f"{low:.2f} to {high:.2f}",
        percent(reference),
        "-" if reference is None else f"{result['test_top1'] - reference:+.2f}",
        str(result["epochs"]),
        "-" if result["training_seconds"] is None else duration(result["training_seconds"]),
        result.get("precision") or "float32",  # what early versions, which do not say, trained in
        str(result["seed"]),
        f"{result['view']}, {result['weights']} weights",
        result["data"]["title"],
    ]


def fill(text: str) -> str:
    """Returns a text whose tables, between <!-- name --> and <!-- end -->, are made again."""
    for name, table in tables().items():
        text = re.sub(rf"(<!-- {name} -->\n).*?(<!-- end -->)", rf"\g<1>{table}\n\g<2>", text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        files.write_atomically(path, fill(path.read_text()))

"""What `train.py --list` and `--summary` print; needs neither Keras nor TensorFlow."""

import json
import os
import sys
from collections.abc import Sequence
from itertools import groupby
from statistics import fmean

from resnet_tf import plots
from resnet_tf.errors import UserError
from resnet_tf.format import as_text, large, narrowest, plural, table, thousands
from resnet_tf.models.cost import describe_network, describe_stages, network_size
from resnet_tf.models.diagram import draw_network
from resnet_tf.presets import preset_files
from resnet_tf.presets.schema import Preset
from resnet_tf.runs.comparison import is_of_another_recipe
from resnet_tf.runs.records import EvaluationRecord

DESCRIBED = ("preset", "network", "parameters", "mult-adds", "data", "schedule", "reference")
HEADINGS = (*DESCRIBED, "recorded")
NUMBERS = ("parameters", "mult-adds", "reference")  # set to the right
PROSE = ("schedule", "reference", "recorded")  # folded between words where there is too little room
SPARE = ("data", "mult-adds", "network", "parameters")  # left out in this order where folding is not enough
# What recorded results must share to be seeds of one recipe.
ALIKE = ("changed", "preset_hash", "init", "precision", "data", "same_data_as_training")
ALIKE += ("view", "weights", "frame", "resolution")


def print_presets() -> None:
    """Prints one line a preset: name, network, cost, data, schedule, reference, recorded result.

    The presets of the working directory's folder presets/ come last.
    """
    try:
        width = os.get_terminal_size(sys.stdout.fileno()).columns
    except OSError:
        width = None  # a pipe or a file
    presets = preset_files.readable(preset_files.PRESETS_FOLDER, preset_files.OWN_FOLDER)
    print(preset_table([preset_line(preset) for preset in presets.values()], width))


def preset_table(rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Returns the lines of presets (see `preset_line`) as a table, at most `width` characters wide.

    Long cells are folded between words, names apart. Where that is not enough, columns are left out.
    """
    spare = iter(SPARE)
    headings = list(HEADINGS)
    while True:
        columns = [HEADINGS.index(heading) for heading in headings]
        content = table(headings, [[row[column] for column in columns] for row in rows], NUMBERS, PROSE)
        if width is None or narrowest(content) <= width or (heading := next(spare, None)) is None:
            return as_text(content, width and max(width, narrowest(content)))
        headings.remove(heading)


def print_summary(preset: Preset, figure: str | None = None) -> None:
    """Prints a preset's network stage by stage, for each image size in pixels at which its phases train it.

    Args:
        figure: a file in which the network is drawn, at the size of the last phase.

    Raises:
        UserError: the number of classes depends on the images, or the figure cannot be written.
    """
    if preset.classes is None:
        raise UserError(
            f"--summary needs the number of classes, which preset {preset.name} takes from the images. Use --dry-run.",
            "classes-unknown",
        )
    for size in dict.fromkeys(phase.data.image_size for phase in preset.in_phases):
        print(describe_network(preset, preset.classes, size))
        print(describe_stages(network_size(preset.model, size, preset.classes)))
    if figure:
        plots.save(draw_network(preset, preset.classes), figure)
        print(f"figure {figure}")


def preset_line(preset: Preset) -> list[str]:
    """Returns the cells of a preset's line."""
    return [*described(preset), recorded(preset)]


def described(preset: Preset) -> list[str]:
    """Returns the cells of a preset under `DESCRIBED`."""
    size = network_size(preset.model, preset.data.image_size, preset.classes or 0)
    rates = dict.fromkeys(f"{phase.optimizer.learning_rate:g}" for phase in preset.in_phases)
    schedules = dict.fromkeys(phase.schedule.brief() for phase in preset.in_phases)
    return [
        preset.name,
        f"ResNet-{preset.model.depth}",
        f"{size.parameters:,}{'' if preset.classes else ' + head'}",
        large(size.multiply_adds),
        preset.data.dataset,
        f"{' then '.join(rates)}, {' then '.join(schedules)}; {length(preset)}",
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


def recorded(preset: Preset) -> str:
    """Returns a preset's test result, and what it was measured on; of several seeds the mean.

    Results of the preset's own recipe and protocol come first, then those of the most seeds, in float32, the latest.
    """
    own = (preset.last_phase.evaluation.view, preset.last_phase.evaluation.weights, None)

    def by_own_protocol(row: dict) -> bool:
        return (row.get("view"), row.get("weights"), row.get("frame")) == own

    def by_own_recipe(row: dict) -> bool:
        result = EvaluationRecord.from_result(preset.name, row)
        return not row.get("changed") and (result is None or not is_of_another_recipe(preset, result))

    groups: dict[str, dict[int, dict]] = {}  # the latest row of each seed
    for row in preset.results:
        if isinstance(row.get("test_top1"), int | float):
            # The best epoch varies from seed to seed.
            length = ("steps_planned", "trained") if str(row.get("weights")).startswith("best") else ("epochs",)
            alike = json.dumps([row.get("backend", "tensorflow"), *(row.get(key) for key in (*ALIKE, *length))])
            groups.setdefault(alike, {})[row.get("seed")] = row
    if not groups:
        return "-"

    def mean(rows: Sequence[dict]) -> float:
        return fmean(row["test_top1"] for row in rows)

    def rank(rows: Sequence[dict]) -> tuple:
        float32 = (rows[0].get("precision") or "float32") == "float32"
        return by_own_recipe(rows[0]), by_own_protocol(rows[0]), len(rows), float32, preset.results.index(rows[-1])

    rows = max((list(seeds.values()) for seeds in groups.values()), key=rank)
    best = rows[0]
    data = best.get("data")
    title = data.get("title", "") if isinstance(data, dict) else "data not said"
    # What sets this copy of the data apart, if anything does: "cifar10 (folder copy, not ...)".
    apart = title.removeprefix(preset.data.dataset).strip(" ()").partition(",")[0]
    how = "" if by_own_protocol(best) else f", {best.get('view', '?')}, {best.get('weights', '?')} weights"
    how += f", {best.get('resolution', '?')} px" if best.get("frame") else ""
    if best.get("changed"):
        how += f", {plural(len(best['changed']), 'changed setting')}"  # which they are may take several lines
    elif not by_own_recipe(best):
        how += ", an earlier recipe"
    how += f", fine-tuned from {best['init']}" if best.get("init") else ""
    how += ", in bfloat16" if best.get("precision") == "mixed_bfloat16" else ""
    seeds = f"mean of {len(rows)} seeds, " if len(rows) > 1 else ""
    epochs = "best" if len({row.get("epochs") for row in rows}) > 1 else best.get("epochs", "?")
    return f"{mean(rows):.2f} % ({seeds}{epochs} epochs{how}{f', {apart}' if apart else ''})"

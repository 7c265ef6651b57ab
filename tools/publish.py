"""Publishes a run's weights with the project, as a pretrained run: `python -m tools.publish RUN`.

The published folder holds what predicting and scoring need (recipe, last weights, facts about the images) and the row
of the latest test of these weights, which `eval.py` compares with. It replaces the published run of the same preset.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from resnet_tf import files
from resnet_tf.cli import command
from resnet_tf.errors import UserError
from resnet_tf.runs import ledger, pretrained
from resnet_tf.runs.choose import find_run
from resnet_tf.runs.run import RUNS, Run

RUN_KEYS = ("seed", "status", "started", "finished", "data", "class_names", "changed", "preset_hash", "recalibrated")
RUN_KEYS += ("recalibrated_top1", "last", "steps_planned", "step", "seconds", "backend", "device", "precision")
RUN_KEYS += ("versions", "calibration", "init")


def publish(run: Run, runs: str | Path) -> Path:
    """Copies a run into the folder of pretrained ones; returns its new folder.

    Raises:
        UserError: its last weights have not been scored on the test split, or it is a pretrained run itself.
    """
    if run.pretrained:
        raise UserError(
            f"only a run of one's own is published. Received: {run.folder}, a pretrained run.", "run-pretrained"
        )
    wanted = run.name, "test", run.scored_as("last"), run.about["steps_planned"], True, None
    results = [
        row
        for row in ledger.evaluations(runs)
        if (row.run, row.split, row.weights, row.steps_planned, row.same_data_as_training, row.frame) == wanted
    ]
    if not results:
        raise UserError(
            f"a run is published with its test result. Received: {run.name}, whose last weights have none: "
            f"python eval.py --run {run.as_argument} --weights last.",
            "run-not-scored",
        )
    folder = pretrained.FOLDER / run.name
    pretrained.FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=pretrained.FOLDER) as aside:
        made = Path(aside) / run.name
        (made / "weights").mkdir(parents=True)
        shutil.copy(run.folder / "preset.json", made)
        shutil.copy(run.last, made / "weights")
        about = {key: value for key, value in run.about.items() if key in RUN_KEYS}
        for name, values in (("run.json", {**about, "pretrained": True}), ("result.json", results[-1].to_row())):
            # Where the images lay is of no use on another machine.
            data = {key: value for key, value in values["data"].items() if key != "source"}
            files.write_atomically(made / name, json.dumps({**values, "data": data}, indent=2) + "\n")
        if folder.parent.exists():  # until all is copied, the published run of before stays
            folder.parent.rename(Path(aside) / ".before")
        made.parent.rename(folder.parent)
    return folder


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a finished run's name or folder")
    parser.add_argument("--runs", default=RUNS, help=f"the folder of runs (default: {RUNS})")
    options = parser.parse_args(arguments)
    print(publish(find_run(options.run, options.runs), options.runs))


if __name__ == "__main__":
    sys.exit(command.run_command(main))

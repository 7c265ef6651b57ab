"""Puts a run's weights among those that come with the project: `python -m tools.publish RUN`.

Of the run goes along what predicting and scoring need (recipe, last weights, what is known of the images) and the
ledger row of its latest test, which `eval.py` measures again. What was shipped of that preset before is replaced.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from resnet_tf import files
from resnet_tf.cli import command
from resnet_tf.errors import UserError
from resnet_tf.runs import ledger, run_folder
from resnet_tf.runs.run_folder import SHIPPED, Run

KEPT = (
    "seed",
    "status",
    "started",
    "finished",
    "data",
    "class_names",
    "changed",
    "preset_hash",
    "recalibrated",
    "steps_planned",
    "step",
)
KEPT += ("seconds", "backend", "device", "precision", "versions")


def ship(run: Run, runs: str | Path, target: Path = SHIPPED) -> Path:
    """Copies a run into the folder of shipped ones; returns its new folder.

    Raises:
        UserError: its last weights have not been scored on the test split, or it is a shipped one itself.
    """
    if run.shipped is not None:
        raise UserError(f"a run is shipped from among one's own. Received: {run.folder}, which is shipped already.")
    rows, _ = files.read_rows(Path(runs) / ledger.EVALUATED)
    wanted = {"run": run.name, "split": "test", "weights": run.scored_as("last")}
    scored = [row for row in rows if wanted.items() <= row.items()]
    if not scored:
        raise UserError(
            f"a run is shipped with its test result. Received: {run.name}, which has none of its last weights: "
            f"python eval.py --run {run.name} --weights last."
        )
    folder = target / run.name
    shutil.rmtree(folder.parent, ignore_errors=True)
    (folder / "weights").mkdir(parents=True)
    shutil.copy(run.folder / "preset.json", folder)
    shutil.copy(run.last, folder / "weights")
    about = {key: value for key, value in run.about.items() if key in KEPT}
    for name, values in (("run.json", about), ("result.json", scored[-1])):
        # Where the images lay is of no use on another machine.
        data = {key: value for key, value in values["data"].items() if key != "source"}
        files.write_atomically(folder / name, json.dumps({**values, "data": data}, indent=2) + "\n")
    return folder


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a finished run's name or folder")
    parser.add_argument("--runs", default="runs", help="the folder of runs (default: runs)")
    options = parser.parse_args(arguments)
    print(ship(run_folder.find(options.run, options.runs), options.runs))


if __name__ == "__main__":
    sys.exit(command.run_command(main))

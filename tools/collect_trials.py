"""Copies the evaluations of a folder of runs into benchmarks/trials.json: `python -m tools.collect_trials --runs DIR`.

A trial is a training with a changed recipe, which no preset records. `tools.readme_tables` makes tables of these rows,
so that no figure of a trial is typed by hand. An evaluation that is there already is replaced by a later one. Those of
presets that are not shipped, or on other images than the official or built-in ones, have no place in a table.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from resnet_tf import files
from resnet_tf.cli import command
from resnet_tf.presets import preset_files
from resnet_tf.runs import ledger
from resnet_tf.runs.records import EvaluationRecord

TRIALS = Path(__file__).resolve().parent.parent / "benchmarks" / "trials.json"
# Figures of single classes and diagnoses would only make the file long; a path is of no use on another machine.
LEFT_OUT = ("per_class_top1", "diagnosis", "verdict", "protocol", "seconds")
DATA = ("name", "title", "fingerprint", "official")


def read(path: Path = TRIALS) -> list[EvaluationRecord]:
    """Returns the evaluations that were copied."""
    return list(map(EvaluationRecord.from_row, json.loads(path.read_text())))


def collected(known: Iterable[EvaluationRecord], found: Iterable[EvaluationRecord]) -> list[EvaluationRecord]:
    """Returns both together by preset, then in the order of the trainings; of a measurement made twice the later.

    Of those found, only those of shipped presets on official images are added.
    """
    shipped = preset_files.names()
    added = [record for record in found if record.preset in shipped and record.data["official"]]
    latest = {record.measurement: record for record in sorted([*known, *added], key=lambda record: record.date)}
    return sorted(latest.values(), key=lambda record: (record.preset, record.split, record.run))


def to_json(records: Iterable[EvaluationRecord]) -> str:
    """Returns the file's text, a line a trial."""
    rows = []
    for record in records:
        row = {key: value for key, value in record.to_row().items() if key not in LEFT_OUT}
        rows.append({**row, "data": {key: record.data[key] for key in DATA}})
    return "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n"


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", required=True, help="the folder of the trials' runs, evaluated with eval.py")
    options = parser.parse_args(arguments)
    files.write_atomically(TRIALS, to_json(collected(read(), ledger.evaluations(options.runs))))


if __name__ == "__main__":
    sys.exit(command.run_command(main))

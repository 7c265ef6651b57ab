"""A folder of runs with rows of results, the only ones that a report finds."""

from dataclasses import replace

import pytest
from ledger_rows import ROWS

from resnet_tf import files
from resnet_tf.presets import preset_files
from resnet_tf.presets.schema import Preset
from resnet_tf.report import measured
from resnet_tf.runs import ledger
from resnet_tf.runs.run import create_run


@pytest.fixture(scope="session")
def without_results() -> dict[str, Preset]:
    """The package's presets without the results that they carry."""
    return {name: replace(preset, results=()) for name, preset in preset_files.readable().items()}


@pytest.fixture(autouse=True)
def shipped(monkeypatch, without_results) -> dict[str, Preset]:
    """The presets that a report takes for the package's, so that it finds no other results than those of the test."""
    presets = dict(without_results)
    monkeypatch.setattr(preset_files, "readable", lambda: presets)
    return presets


@pytest.fixture
def runs(tmp_path, shipped):
    """A folder of runs: the ledger's rows, and two folders with logs."""
    for one in ROWS:
        ledger.append(tmp_path, ledger.EVALUATED, one)
    for name, seed in (("3", 0), ("4", 7)):
        run = create_run(shipped[name], seed, tmp_path, device="CPU <2 threads>")
        for epoch in range(1, 6):
            figures = {"loss": 2 / epoch, "top1": 10.0 * epoch, "learning_rate": 0.1 * 0.96**epoch}
            files.append_row(run.log, {"epoch": epoch, "step": 351 * epoch, **figures, "validation_top1": 9.0 * epoch})
    return tmp_path


@pytest.fixture
def found(runs, shipped):
    return measured.gather(runs, shipped)

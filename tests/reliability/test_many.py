"""Many processes at once: every row of the ledger is there, and a run has one trainer."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from trials import CONTEXT, PRESET, STEPS, Send, Trial, load_preset, outcome

from resnet_tf import files
from resnet_tf.runs.choose import all_runs
from resnet_tf.runs.run import create_run


def together(target, arguments: list[tuple]) -> list:
    """Starts processes that wait for one another, and returns them."""
    gate = CONTEXT.Barrier(len(arguments) + 1)
    processes = [CONTEXT.Process(target=target, args=(gate, *each)) for each in arguments]
    for process in processes:
        process.start()
    gate.wait(300)
    return processes


def append(gate, path: Path, writer: int, count: int) -> None:
    gate.wait(300)
    for number in range(count):
        files.append_row(path, {"writer": writer, "number": number, "text": "é" * (writer * 700 + number % 50)})


@pytest.mark.parametrize(
    ("count", "rounds"),
    [(60, 1), pytest.param(1000, int(os.environ.get("RESNET_LEDGERS", "5")), marks=pytest.mark.slow)],
)
def test_rows_of_eight_processes_two_of_them_killed(data, tmp_path, count, rounds):
    """RESNET_LEDGERS=N sets the rounds of the long form."""
    for attempt in range(rounds):
        path = tmp_path / f"{attempt}.jsonl"
        # Those to be killed would go on for long.
        processes = together(append, [(path, writer, count * (50 if writer < 2 else 1)) for writer in range(8)])
        for share, process in zip((0.3, 0.6), processes, strict=False):
            while not path.exists() or path.stat().st_size < share * count * 40_000:  # of all that they will write
                time.sleep(0.0005)
            process.kill()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes[2:]] == [0] * 6
        rows, torn = files.read_rows(path)
        assert torn <= 2
        found = {writer: [row["number"] for row in rows if row["writer"] == writer] for writer in range(8)}
        assert all(found[writer] == list(range(count)) for writer in range(2, 8))
        for writer, process in enumerate(processes[:2]):
            assert found[writer] == list(range(len(found[writer])))  # all up to the kill
            assert process.exitcode == -signal.SIGKILL
        killed = [len(found[writer]) for writer in range(2)]
        print(f"{len(rows):,} rows of 8 processes, {torn} torn; those killed had written {killed}")


def begin(gate, runs: Path, pipe) -> None:
    gate.wait(300)
    pipe.send(create_run(load_preset(PRESET), 0, runs).name)


def test_fifty_runs_begun_at_once_have_a_folder_each(data, tmp_path):
    reader, writer = CONTEXT.Pipe(duplex=False)
    processes = together(begin, [(tmp_path, writer)] * 50)
    names = {reader.recv() for _ in processes}
    for process in processes:
        process.join()
    assert len(names) == len(all_runs(tmp_path)) == 50


@pytest.mark.slow
def test_fifty_starts_on_one_run_have_one_winner(data, unbroken, tmp_path):
    count = 50
    assert Trial(data, tmp_path, act=Send(signal.SIGTERM, 50)).end() == 143
    (run,) = all_runs(tmp_path)
    trials = [Trial(data, tmp_path, resume=run.name) for _ in range(count)]
    codes = [trial.end() for trial in trials]
    assert sorted(codes) == [0] + [2] * (count - 1)
    for trial, code in zip(trials, codes, strict=True):
        if code:
            line = trial.output.splitlines()[-1]
            assert "is being trained already" in line or "which is finished" in line
    assert outcome(tmp_path) == unbroken[0]
    (row,) = (json.loads(line) for line in (tmp_path / "train_overall.jsonl").open())
    assert row["step"] == STEPS
    late = sum("which is finished" in trial.output for trial in trials)
    print(f"{count} starts on one run: 1 winner, {count - 1 - late} refused as it has one, {late} as it is finished")

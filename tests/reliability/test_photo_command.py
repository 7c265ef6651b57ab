"""Photos made to do harm, through predict.py: a row for each in order, its own, in bounded time and memory."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pictures import BLOCKS, BOMBS, MODES, TURNS, hostile_names, mutated, saved
from PIL import Image

from resnet_tf.cli import command
from resnet_tf.cli import predict as predict_command

ROOT = Path(__file__).parents[2]


def solid(level: int) -> bytes:
    return saved(np.full((24, 24, 3), level % 256, np.uint8), "PNG")


def predicted(capsys, runs: Path, *names: str) -> list[dict]:
    """Runs the command in this process; returns its rows, having seen that nothing printed steers a terminal."""
    capsys.readouterr()
    assert command.run_command(predict_command.main, ["--runs", str(runs), "--json", "--top", "10", *names]) == 0
    printed = capsys.readouterr()
    assert all(sign.isprintable() or sign == "\n" for sign in printed.out + printed.err)
    return json.loads(printed.out)


def test_orientations_bombs_and_names_through_the_command(finished_runs, tmp_path, capsys, monkeypatch):
    runs = finished_runs[0]
    expected = {}
    for orientation, turn in TURNS.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        expected[f"turned-{orientation}.png"] = saved(np.ascontiguousarray(turn(BLOCKS)), "PNG", exif=exif)
    expected |= {f"bomb-{number:02}.png": content for number, (_, content) in enumerate(BOMBS)}
    names = [os.fsdecode(name) for name in hostile_names()]
    expected |= {name: solid(number) for number, name in enumerate(names)}
    folder = tmp_path / "photos"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name, content in expected.items():
        with open(name, "wb") as file:
            file.write(content)
    rows = predicted(capsys, runs, "--", *expected)
    assert [row["file"] for row in rows] == list(expected)
    by_name = {row["file"]: row for row in rows}
    upright = [by_name[f"turned-{orientation}.png"]["top"] for orientation in TURNS]
    assert all(same_prediction(top, upright[0]) for top in upright)
    assert all(by_name[name]["error"] for name in expected if name.startswith("bomb"))
    assert all(by_name[name]["error"] is None for name in names)
    # Each has its own prediction: the very one that a plainly named file of the same pixels gets.
    for number in range(len(names)):
        (folder / f"plain-{number:03}.png").write_bytes(solid(number))
    for name, row in zip(names, predicted(capsys, runs, "plain-*.png"), strict=True):
        assert same_prediction(by_name[name]["top"], row["top"])
    print(f"8 orientations, {len(BOMBS)} bombs, {len(names)} hostile names: all as they should be")


def same_prediction(top: list[dict], other: list[dict]) -> bool:
    """Says whether two photos got the same classes: the place in a batch may change a probability's last bits."""
    classes, probabilities = ([each[key] for each in top] for key in ("class", "probability"))
    return classes == [each["class"] for each in other] and probabilities == pytest.approx(
        [each["probability"] for each in other], abs=1e-6
    )


def by_the_program(runs: Path, folder: Path, output: Path) -> tuple[list[dict], int]:
    """Runs predict.py in a process of its own; returns its rows and its peak memory in bytes."""
    command = [sys.executable, ROOT / "predict.py", "--runs", runs, "--json", "--csv", output / "rows.csv", folder]
    with open(output / "rows.json", "wb") as out, open(output / "said.txt", "wb") as said:
        process = subprocess.Popen([str(part) for part in command], cwd=ROOT, stdout=out, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, (output / "said.txt").read_text()
    return json.loads((output / "rows.json").read_bytes()), usage.ru_maxrss * 1024


@pytest.mark.slow
def test_ten_thousand_mutated_pictures_through_the_program(finished_runs, tmp_path):
    """RESNET_FUZZ=N sets the count."""
    count, rng = int(os.environ.get("RESNET_FUZZ", "10000")), np.random.default_rng(4)
    seeds = [content for _, content, _ in MODES]
    few, many = tmp_path / "few", tmp_path / "many"
    for folder in (few, many):
        folder.mkdir()
    for level in range(256):
        (few / f"{level:03}.png").write_bytes(solid(level))
    for number in range(count):
        # Every tenth is whole, and must get its own prediction among all those that are not.
        content = mutated(rng, seeds) if number % 10 else solid(number // 10)
        (many / f"{number:05}.png").write_bytes(content)
    wanted, start = by_the_program(finished_runs[0], few, tmp_path)
    began = time.monotonic()
    rows, peak = by_the_program(finished_runs[0], many, tmp_path)
    seconds = time.monotonic() - began
    assert [row["file"] for row in rows] == [str(many / f"{number:05}.png") for number in range(count)]
    for number in range(0, count, 10):
        assert rows[number]["top"] == wanted[number // 10 % 256]["top"]
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 1 + count
    assert peak < start + (1 << 30)
    refused = sum(row["error"] is not None for row in rows)
    slow, crashed = (sum(word in (row["error"] or "") for row in rows) for word in ("longer than", "decoder crashed"))
    print(
        f"{count:,} mutated pictures of {len(seeds)} seeds: {count:,} rows, {refused:,} refused ({slow} for the time "
        f"limit, {crashed} by a crash of their decoder), {seconds:.0f} s, peak memory {(peak - start) / 2**20:+.0f} MiB"
    )

"""Our training and evaluation beside stock Keras and torch, as whole processes: `python -m benchmarks.speed`.

First all contestants are checked against ours from the same weights: logits, gradients and running statistics of a
training step, and the logits of inference. Then they run one after the other, round after round, as a user's scripts
do: each starts, gets ready, is timed for some steps, and ends. A ratio compares the processes of one round, so that a
machine that slows down for some minutes slows all of them. Run it on an otherwise idle machine; it needs
requirements-torch.txt.

Every call adds measurements to the file of --out; `speed.json` has those of several days.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.contestants import CASES, CONTESTANTS

# Norm of a difference as a share of the value's. Among millions of activations some lie so near 0 that rounding decides
# whether a ReLU lets them pass, which gradients show and logits hardly: in the STL-10 network's 65 layers torch's are
# up to 2 % off ours, Keras's, whose batch norm rounds more, up to 6 % off either; the logits agree to 3e-5. bfloat16
# has 8 bits: there the gradients of the first layers are mostly rounding, so only logits and statistics are checked.
TOLERANCES = {"float32": {"gradient": 0.1, "other": 5e-4}, "bfloat16": {"gradient": np.inf, "other": 0.1}}
WORK = {"train": "training", "infer": "evaluation"}
GETTING_READY = 3  # steps


@dataclass(frozen=True)
class Timing:
    """How a process is timed.

    Attributes:
        work: one of `WORK`.
        weights: the file of weights that it starts from.
        steps, seconds: the process is timed for so many steps at most, and about so long.
    """

    work: str
    weights: Path
    steps: int
    seconds: float


class Contestant:
    """A process that does what it is told."""

    def __init__(self, name: str, case: str):
        self.name = name
        command = [sys.executable, "-m", "benchmarks.contestants", name, case]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def do(self, command: str, /, **arguments) -> dict:
        self.process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.name} died at {command!r}")
        return json.loads(answer)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=",".join(CASES), help=f"default: {','.join(CASES)}")
    parser.add_argument("--contestants", default=",".join(CONTESTANTS), help=f"default: {','.join(CONTESTANTS)}")
    parser.add_argument("--work", default=",".join(WORK), help=f"default: {','.join(WORK)}")
    parser.add_argument("--rounds", type=int, default=5, help="processes of each contestant (default: 5)")
    parser.add_argument("--steps", type=int, default=40, help="timed in a process at most (default: 40)")
    parser.add_argument("--seconds", type=float, default=15.0, help="timed in a process, about (default: 15)")
    parser.add_argument("--out", type=Path, help="add the measurements to this JSON file")
    options = parser.parse_args()
    names = ["ours", *(name for name in options.contestants.split(",") if name != "ours")]
    with tempfile.TemporaryDirectory() as folder:
        for case in options.cases.split(","):
            weights = Path(folder) / f"{case}.npz"
            device = give_weights(case, weights)
            check(case, names, weights)
            for work in options.work.split(","):
                timing = Timing(work, weights, options.steps, options.seconds)
                turns = take_turns(case, names, timing, options.rounds)
                result = {"date": time.strftime("%Y-%m-%d"), "device": device, "case": case, "work": work}
                result |= {"batch": CASES[case].batch, "turns": turns}
                if work == "train":
                    result["convolution_seconds"] = convolution_seconds(case)
                report(result)
                if options.out:
                    add(result, options.out)


def give_weights(case: str, weights: Path) -> str:
    """Writes weights of a network that has trained a little; returns the device that it ran on."""
    with started("ours", case) as ours:
        ours.do("train", times=3)  # batch norms that have nothing to do would be easy to fold
        return ours.do("give", path=str(weights))["device"]


def take_turns(case: str, names: list[str], timing: Timing, rounds: int) -> dict[str, list[dict]]:
    """Returns what was measured of each contestant's processes, a dictionary for each round."""
    turns: dict[str, list[dict]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in [*names[first:], *names[:first]]:  # none is always the first
            turns[name].append(take_turn(name, case, timing))
    return turns


def take_turn(name: str, case: str, timing: Timing) -> dict:
    """Returns what a process took: its first step, which traces or compiles, a later step, and memory."""
    with started(name, case) as contestant:
        contestant.do("take", path=str(timing.weights))
        first = contestant.do(timing.work, times=1)["seconds"]
        contestant.do(timing.work, times=GETTING_READY - 1)
        times = round(timing.seconds / contestant.do(timing.work, times=1)["seconds"])
        times = max(1, min(timing.steps, times))
        found = contestant.do(timing.work, times=times)
    return {
        "first_step_seconds": round(first, 2),
        "step_seconds": round(found["seconds"] / times, 4),
        "cpu_seconds": round(found["cpu_seconds"] / times, 4),
        "page_faults": round(found["page_faults"] / times),
        "peak_mib": round(found["peak_mib"]),
    }


@contextlib.contextmanager
def started(name: str, case: str) -> Iterator[Contestant]:
    """Starts a contestant, and ends it."""
    contestant = Contestant(name, case)
    try:
        yield contestant
    finally:
        contestant.close()


def check(case: str, names: list[str], weights: Path) -> None:
    """Ends the program where a contestant's training step or inference, from the weights in a file, is not ours."""
    expected = {}  # ours, which is the first
    for name in names:
        with tempfile.TemporaryDirectory() as folder, started(name, case) as contestant:
            path = Path(folder) / "arrays.npz"
            for what in ("training", "inference"):
                contestant.do("take", path=str(weights))
                contestant.do("check", what=what, path=str(path))
                arrays = dict(np.load(path))
                compare(name, arrays, expected.setdefault(what, arrays))


def compare(name: str, arrays: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Ends the program where a contestant's arrays are not those expected, within what rounding explains."""
    tolerances = TOLERANCES["bfloat16" if name.endswith("bfloat16") else "float32"]
    for key, ours in expected.items():
        if name == "keras" and key.endswith("running_variance"):
            continue  # Keras keeps the biased variance
        error = np.linalg.norm(ours - arrays[key]) / np.linalg.norm(ours)
        if not error < tolerances.get(key.split()[0], tolerances["other"]):
            raise SystemExit(f"{name} does not compute what we compute: {key} differs by {error:.2g}")


def convolution_seconds(case: str) -> float:
    """Returns the time of a float32 training step's convolutions alone."""
    command = [sys.executable, "-m", "benchmarks.convolutions", case]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return round(json.loads(done.stdout)["seconds"], 4)


def step_seconds(result: dict, name: str) -> np.ndarray:
    """Returns the seconds of a contestant's step, round by round."""
    return np.array([turn["step_seconds"] for turn in result["turns"][name]])


def report(result: dict) -> None:
    """Prints images a second, and how many times as fast ours is in the same precision: median and range."""
    print(f"{result['case']}, {WORK[result['work']]}, {result['device']}")
    for name in result["turns"]:
        seconds = step_seconds(result, name)
        ours = "ours-bfloat16" if name.endswith("bfloat16") and "ours-bfloat16" in result["turns"] else "ours"
        ratios = seconds / step_seconds(result, ours)
        rate = result["batch"] / np.median(seconds)
        shown = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
        print(f"  {name:24}{rate:8.0f} images/s   {ours} is {shown} times as fast", flush=True)


def add(result: dict, path: Path) -> None:
    """Appends a measurement to a JSON file."""
    results = json.loads(path.read_text()) if path.exists() else []
    path.write_text(json.dumps([*results, result], indent=1) + "\n")


if __name__ == "__main__":
    main()

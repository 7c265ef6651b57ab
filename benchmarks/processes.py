"""What a second process brings: `KERAS_BACKEND=jax python -m benchmarks.processes`.

Trains a preset on built-in images in turns: by one process on one core ("one"), by two on a core each, the same global
batch ("together"), and by two that know nothing of each other, at the same time ("apart"): what the machine would give
if talking cost nothing. What counts is the second epoch, when all is compiled. Run it on an otherwise idle machine with
two cores; it needs requirements-jax.txt.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from resnet_tf.runs.choose import all_runs
from resnet_tf.training.distributed import VARIABLES

ROOT = Path(__file__).parents[1]
STEPS_AN_EPOCH = 39  # of the built-in images in batches of 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="3", help="a preset for CIFAR-10 in batches of 128 (default: 3)")
    parser.add_argument("--steps", type=int, default=64, help="of a training (default: 64)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default: 3)")
    options = parser.parse_args()
    if options.steps < STEPS_AN_EPOCH + 8 or len(os.sched_getaffinity(0)) < 2:
        parser.error(f"two cores are needed, and more than {STEPS_AN_EPOCH + 8} steps")
    first, second = sorted(os.sched_getaffinity(0))[:2]
    kinds = {"one": [[first]], "together": [[first, second]], "apart": [[first], [second]]}
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(options.rounds):
        for kind, trainings in kinds.items():
            with ThreadPoolExecutor() as at_once:
                found = at_once.map(lambda cores: images_per_second(options.preset, options.steps, cores), trainings)
                rates[kind].append(sum(found))
    shares = {
        "together, of twice one": np.array(rates["together"]) / (2 * np.array(rates["one"])),
        "together, of apart": np.array(rates["together"]) / rates["apart"],
    }
    medians = {name: round(float(np.median(share)), 3) for name, share in shares.items()}
    print(json.dumps({"images_per_second": rates, "efficiency": medians}, indent=2))


def images_per_second(preset: str, steps: int, cores: list[int]) -> float:
    """Trains by a process a core, pinned to it, and returns the rate of the second epoch."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    settings = ("data.dataset=shapes10", "data.validation_size=0", f"train.steps={steps}")
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "train.py", "--preset", preset, "--distribute", "--runs", runs]
        command += [word for setting in settings for word in ("--set", setting)]
        with ExitStack() as all_of_them:
            started = []
            for number, core in enumerate(cores):
                named = dict(zip(VARIABLES, (address, str(len(cores)), str(number)), strict=True))
                pinned = ["taskset", "--cpu-list", str(core), *command]
                process = subprocess.Popen(pinned, cwd=ROOT, env={**os.environ, **named}, stdout=subprocess.DEVNULL)
                all_of_them.callback(process.kill)
                started.append(process)
            if any(process.wait() for process in started):
                raise SystemExit("a training failed; its message stands above")
        (run,) = all_runs(Path(runs))
        return run.rows[1]["timing"]["images_per_second"]


if __name__ == "__main__":
    main()

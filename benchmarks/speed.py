"""Our training and inference beside stock Keras, torch and torch.compile: `python -m benchmarks.speed`.

For every case all contestants are started, brought to the same weights and checked against ours (logits, gradients,
running statistics of a training step). Then they take turns, a block of steps each, round after round on the same
cores, and what is reported are ratios within a round: a machine that slows down for a minute slows all of them.
Inference is timed twice: behind training in the same processes, and in fresh ones that never train, as a script for
evaluation is, with a check of their logits. Run it on an otherwise idle machine; it needs requirements-torch.txt.
"""

import argparse
import contextlib
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.contestants import CASES, CONTESTANTS

# Norm of a difference as a share of the value's. Among millions of activations some lie so near 0 that rounding decides
# whether a ReLU lets them pass, which gradients show and logits hardly: in the STL-10 network's 65 layers torch's are
# up to 2 % off ours, Keras's, whose batch norm rounds more, up to 6 % off either; the logits agree to 3e-5.
TOLERANCES = {"gradient": 0.1, "other": 5e-4}
WORK = {"train": "training", "infer": "inference behind training", "evaluate": "evaluation alone"}
ROUNDS_SHOWN = 1000  # resamples of the rounds for the interval


class Contestant:
    """A process that waits for its turn."""

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
    parser.add_argument("--parts", default=",".join(PARTS), help=f"default: {','.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contestant (default: 7)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a turn, about (default: 3)")
    parser.add_argument("--out", help="take the results into this JSON file, beside those of other cases in it")
    parser.add_argument("--figure", help="draw all results of --out into this PNG file")
    options = parser.parse_args()
    names = ["ours", *(name for name in options.contestants.split(",") if name != "ours")]
    results = json.loads(Path(options.out).read_text()) if options.out and Path(options.out).exists() else {}
    for case in options.cases.split(","):
        for part in options.parts.split(","):
            found = PARTS[part](case, names, options.rounds, options.seconds)
            results[case] = results.get(case, {}) | found
        print(json.dumps({case: results[case]}, indent=2), flush=True)
        if options.out:
            Path(options.out).write_text(json.dumps(results, indent=2) + "\n")
    if options.figure:
        draw(results, options.figure)


def training(case: str, names: list[str], rounds: int, seconds: float) -> dict:
    """Returns what each contestant needs to train and then to infer, and how many times as fast as each ours is."""
    batch = CASES[case].batch
    result = {"machine": platform.processor() or platform.machine(), "batch": batch}
    with started(names, case) as contestants, tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.npz"
        contestants["ours"].do("give", path=str(weights))
        check(contestants, "training", weights)
        for work in ("train", "infer"):
            result[work] = take_turns(contestants, work, batch, rounds, seconds)
    result["training_peak_mib"] = {name: peak(name, case, "train") for name in names}
    limit = subprocess.run(
        [sys.executable, "-m", "benchmarks.convolutions", case], capture_output=True, text=True, check=True
    )
    convolutions = json.loads(limit.stdout)
    result["convolutions"] = {
        **{name: round(value, 4) for name, value in convolutions.items()},
        "share": {
            name: round(convolutions["seconds"] * measured["images_per_second"] / batch, 3)
            for name, measured in result["train"].items()
        },
    }
    return result


def evaluation(case: str, names: list[str], rounds: int, seconds: float) -> dict:
    """Returns what each contestant needs to infer in a process that does nothing else."""
    with tempfile.TemporaryDirectory() as folder, started(names, case) as contestants:
        weights = Path(folder) / "weights.npz"
        with started(["ours"], case) as trained:
            trained["ours"].do("train", times=3)  # batch norms that have nothing to do would be easy to fold
            trained["ours"].do("give", path=str(weights))
        bring_to(contestants, weights)
        found = take_turns(contestants, "infer", CASES[case].batch, rounds, seconds)
        check(contestants, "inference", weights)  # behind the turns, so that their first step is the first
    return {"evaluate": found, "evaluation_peak_mib": {name: peak(name, case, "infer") for name in names}}


PARTS = {"training": training, "evaluation": evaluation}


@contextlib.contextmanager
def started(names: list[str], case: str) -> Iterator[dict[str, Contestant]]:
    """Starts contestants by name, and ends them."""
    contestants = {name: Contestant(name, case) for name in names}
    try:
        yield contestants
    finally:
        for contestant in contestants.values():
            contestant.close()


def bring_to(contestants: dict[str, Contestant], weights: Path) -> None:
    """Gives all the weights in a file."""
    for contestant in contestants.values():
        contestant.do("take", path=str(weights))


def check(contestants: dict[str, Contestant], what: str, weights: Path) -> None:
    """Brings all to the weights in a file; ends the program where one's training step or inference differs from ours.

    Args:
        what: "training" or "inference".
    """
    found = {}
    bring_to(contestants, weights)
    with tempfile.TemporaryDirectory() as folder:
        for name, contestant in contestants.items():
            path = Path(folder) / f"{name}.npz"
            contestant.do("check", what=what, path=str(path))
            found[name] = dict(np.load(path))
    bring_to(contestants, weights)
    for name, arrays in found.items():
        for key, ours in found["ours"].items():
            if name == "keras" and key.endswith("running_variance"):
                continue  # Keras keeps the biased variance
            error = np.linalg.norm(ours - arrays[key]) / np.linalg.norm(ours)
            if not error < TOLERANCES.get(key.split()[0], TOLERANCES["other"]):
                raise SystemExit(f"{name} does not compute what we compute: {key} differs by {error:.2g}")


def take_turns(contestants: dict[str, Contestant], work: str, batch: int, rounds: int, seconds: float) -> dict:
    """Times all contestants round by round; the first step, which traces or compiles, apart."""
    first, times = {}, {}
    for name, contestant in contestants.items():
        first[name] = contestant.do(work, times=1)["seconds"]
        contestant.do(work, times=2)
        once = contestant.do(work, times=1)["seconds"]
        times[name] = max(1, round(seconds / once))
    turns = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            turns[name].append({**contestant.do(work, times=times[name]), "times": times[name]})

    def per_step(name: str, measure: str) -> np.ndarray:
        return np.array([turn[measure] / turn["times"] for turn in turns[name]])

    step = {name: per_step(name, "seconds") for name in contestants}
    return {
        name: {
            "first_step_seconds": round(first[name], 2),
            "step_seconds": round(float(np.median(step[name])), 4),
            "images_per_second": round(batch / float(np.median(step[name])), 1),
            "cpu_seconds_per_1000_images": round(1000 / batch * float(np.median(per_step(name, "cpu_seconds"))), 2),
            "page_faults_per_step": round(float(np.median(per_step(name, "page_faults")))),
            "ours_is_faster": ratio(step[name] / step["ours"]),
        }
        for name in contestants
    }


def peak(name: str, case: str, work: str) -> int:
    """Returns the MiB that a process takes at most which does only that work: the check before the turns takes more."""
    with started([name], case) as contestants:
        return round(contestants[name].do(work, times=4)["peak_mib"])


def ratio(ratios: np.ndarray) -> dict:
    """Returns the median of the rounds' ratios and the 95 % interval of that median, by resampling the rounds."""
    drawn = np.random.default_rng(0).choice(ratios, (ROUNDS_SHOWN, len(ratios)))
    low, high = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
    return {"median": round(float(np.median(ratios)), 3), "interval": [round(float(low), 3), round(float(high), 3)]}


def draw(results: dict, path: str) -> None:
    """Draws how many times as fast as each contestant ours is, a panel for each kind of work."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4), layout="constrained")
    for place, (work, title) in enumerate(WORK.items()):
        axes = figure.add_subplot(1, len(WORK), 1 + place, title=title)
        measured = {case: result[work] for case, result in results.items() if work in result}
        others = [name for name in next(iter(measured.values()), ()) if name != "ours"]
        for number, name in enumerate(others):
            found = [contestants[name]["ours_is_faster"] for contestants in measured.values()]
            medians = np.array([each["median"] for each in found])
            spread = np.abs(np.array([each["interval"] for each in found]).T - medians)
            height = 0.8 / len(others)
            places = np.arange(len(measured)) + (number - (len(others) - 1) / 2) * height
            axes.barh(places, medians, height=0.9 * height, xerr=spread, label=f"than {name}")
        axes.axvline(1.0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(measured)), measured)
        axes.invert_yaxis()
    figure.supxlabel("how many times as fast ours is", fontsize="medium")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize="small")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()

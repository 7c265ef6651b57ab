"""What saving its state costs a training, in percent of its time: `python -m benchmarks.state_overhead --preset 4`.

Times a few training steps of the preset, then many saves of the very state that such a training saves (arrays, best
weights and log rows of its last epoch, to the disk of --runs), and sets one against the other: a save at every
epoch's end and every `state_minutes`. Run it on an otherwise idle machine.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from resnet_tf.cli import command
from resnet_tf.presets.preset_files import load_preset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="4", help="a preset (default: 4)")
    parser.add_argument("--data", help="where its images are; default: noise of their number and size")
    parser.add_argument("--runs", default=".", help="a folder on the disk that takes the states (default: here)")
    parser.add_argument("--steps", type=int, default=10, help="training steps timed (default: 10)")
    parser.add_argument("--saves", type=int, default=50, help="saves timed (default: 50)")
    options = parser.parse_args()
    command.start_tensorflow()
    print(json.dumps(measure(options), indent=2))


def measure(options: argparse.Namespace) -> dict:
    """Returns seconds a step and a save (median, and the slowest), bytes a save, and the share of the time."""
    from resnet_tf.training.plan import make_plans

    preset = load_preset(options.preset)
    plan = make_plans(preset, _images(preset, options.data), seed=0)[0]
    trained = plan.build_step()
    steps = []
    for images, labels in plan.batches.dataset(0, 2 + options.steps):
        began = time.perf_counter()
        trained(images, labels)
        steps.append(time.perf_counter() - began)
    step = statistics.median(steps[2:])  # the first two trace and warm up
    with tempfile.TemporaryDirectory(dir=options.runs) as folder:
        saves, size = _timed_saves(trained, plan, Path(folder) / "state", options.saves)
    save = statistics.median(saves)
    epoch = plan.steps_per_epoch * step
    saves_an_epoch = 1 + epoch // (60 * preset.train.state_minutes)  # at its end, and whenever the minutes have passed
    share = 100 * saves_an_epoch / epoch
    return {
        "preset": preset.name,
        "step_seconds": round(step, 4),
        "save_seconds": {"median": round(save, 4), "slowest": round(max(saves), 4), "count": len(saves)},
        "save_megabytes": round(size / 1e6, 2),
        "epoch_seconds": round(epoch, 1),
        "saves_an_epoch": saves_an_epoch,
        "overhead_percent": {"median": round(share * save, 4), "slowest": round(share * max(saves), 4)},
    }


def _timed_saves(trained, plan, folder: Path, count: int) -> tuple[list[float], int]:
    """Returns the seconds of each save, all of what the training loop does for one included, and the bytes of one."""
    from resnet_tf import files
    from resnet_tf.models import weights
    from resnet_tf.training import checkpoint
    from resnet_tf.training.checkpoint import Progress, State

    row = {"epoch": 1, "step": 351, "loss": 1.2345678, "top1": 56.789, "validation_loss": 1.2, "validation_top1": 57.0}
    rows = [{**row, "learning_rate": 0.1, "timing": {"seconds": 1.0}}] * plan.epochs
    folder.mkdir()
    seconds = []
    for number in range(count):
        began = time.perf_counter()
        if checkpoint.not_finite(trained.variables):
            raise SystemExit("the weights are not finite")
        best = weights.pack(trained.network, {"step": 351})  # as in an epoch that is the best so far
        files.write_atomically(folder.with_name("best.npz"), best)
        files.append_row(folder.with_name("log.jsonl"), row)
        state = State(Progress(step=number, rows=rows), checkpoint.copy_of(trained.variables), best, {})
        saved = checkpoint.save(folder, state)
        seconds.append(time.perf_counter() - began)
    return seconds, sum(path.stat().st_size for path in saved.iterdir())


def _images(preset, data: str | None):
    from resnet_tf.datasets import sources
    from resnet_tf.datasets.splits import ArraySplit, Dataset

    about = sources.DATASETS[preset.data.dataset]
    if data is not None:
        return sources.load(preset.data.dataset, data)
    rng, side = np.random.default_rng(0), about.image_size or preset.data.image_size
    images = rng.integers(0, 256, (about.train_size, side, side, 3), dtype=np.uint8)
    split = ArraySplit(images, rng.permutation(np.arange(len(images), dtype=np.int32) % about.classes))
    names = tuple(map(str, range(about.classes)))
    return Dataset("noise", "noise", "made here", names, split, split.take(np.arange(100)), "", False)


if __name__ == "__main__":
    main()

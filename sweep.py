"""Trains many presets, seeds and settings: python sweep.py --presets 3 4 --seeds 0 1 2"""

import os
import sys

from resnet_tf import cli, sweeping
from resnet_tf.errors import UserError

EXAMPLES = """\
  python sweep.py --presets 1 2 3 4 5 --seeds 0 1 2 --data cifar10/
  python sweep.py --presets 3 --seeds 0 1 --set train.epochs=3 --vary "optimizer.learning_rate=[0.05, 0.1]" --workers 2
  python sweep.py --presets quick --seeds 0 1 2 --address auto    on the Ray cluster that this machine belongs to

The same command once more skips what is finished and goes on with the rest."""
HEADINGS = ("trial", "status", "epoch", "validation", "run")


def parser() -> cli.Parser:
    """Returns the options of this door."""
    options = cli.Parser("Train many presets, seeds and settings, each as an ordinary run.", EXAMPLES)
    what = options.add_argument_group("what to train: every combination of")
    what.add_argument("--presets", metavar="NAME|PATH", nargs="+", default=[], help="presets")
    what.add_argument("--seeds", metavar="N", nargs="+", type=int, default=[0], help="seeds (default: 0)")
    what.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="change a key, in all of them")
    what.add_argument("--vary", metavar="KEY=[..]", action="append", default=[], help="a key and its values, as JSON")
    how = options.add_argument_group("how (needs requirements-sweep.txt)")
    how.add_argument("--workers", type=int, default=1, metavar="N", help="trials at a time here (default: 1)")
    how.add_argument("--threads", type=int, metavar="N", help="processors a trial (default: all here / workers)")
    how.add_argument("--gpus", type=float, default=0, metavar="N", help="GPUs a trial, 0.5 for two on one (default: 0)")
    how.add_argument("--retries", type=int, default=1, metavar="N", help="starts after a failure (default: 1)")
    how.add_argument("--address", metavar="ADDRESS", help="a Ray cluster whose machines share --runs and --data")
    cli.add_data_option(options)
    cli.add_run_options(options)
    return options


def main(arguments: list[str]) -> int:
    """Carries out the command line; returns 1 where trials failed, 130 after Ctrl-C."""
    options = parser().parse_args(arguments)
    if not options.presets:
        raise UserError("choose what to train with --presets NAME NAME; see the names with train.py --list.")
    if options.workers < 1 or options.gpus < 0 or options.retries < 0 or (options.threads or 1) < 1:
        raise UserError("--workers and --threads must be at least 1, --gpus and --retries at least 0.")
    found = sweeping.trials(options.presets, options.seeds, options.set, options.vary)
    threads = options.threads or max(1, (os.cpu_count() or 1) // options.workers)
    sweep = sweeping.Sweep(
        [sweeping.Outcome(trial) for trial in found],
        options.runs,
        options.data,
        options.workers,
        threads,
        options.gpus,
        options.retries,
    )
    code = follow(sweep, options.address)
    print(sweeping.report(sweep))
    return code


def follow(sweep: sweeping.Sweep, address: str | None) -> int:
    """Shows a sweep until it is over or Ctrl-C stops it; returns the exit code."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    sweep.start(address)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        try:
            for _ in sweep.watch():
                if console.is_terminal:
                    live.update(table(sweep), refresh=True)
        except KeyboardInterrupt:
            live.console.print("stopping: every training saves its state")
            sweep.stop()
            return 130
    return int(any(outcome.status == "failed" for outcome in sweep.outcomes))


def table(sweep: sweeping.Sweep):
    """Returns the trials as they stand, a row each."""
    from rich.table import Table

    shown = Table(*HEADINGS)
    for outcome in sweep.outcomes:
        status, run, row = sweeping.look(outcome, sweep.runs)
        validation = f"{row['validation_top1']:.2f} %" if "validation_top1" in row else ""
        shown.add_row(str(outcome.trial), status, str(row.get("epoch", "")), validation, run or "")
    return shown


if __name__ == "__main__":
    sys.exit(cli.run_door(main))

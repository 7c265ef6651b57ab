"""Trains many presets, seeds and settings: python sweep.py --presets 3 4 --seeds 0 1 2"""

import signal
import sys

from resnet_tf import installation
from resnet_tf.cli import command
from resnet_tf.errors import UserError
from resnet_tf.format import plural, table
from resnet_tf.runs.run import runs_option

EXAMPLES = """\
  python sweep.py --presets 1 2 3 4 5 --seeds 0 1 2 --data cifar10/
  python sweep.py --presets 3 --seeds 0 1 --set train.epochs=3 --vary "optimizer.learning_rate=[0.05, 0.1]" --workers 2
  python sweep.py --presets quick --seeds 0 1 2 --address auto    on the Ray cluster of this machine

The same command again skips the trials that are finished and continues the others."""
HEADINGS = ("trial", "status", "epoch", "validation", "run")


def parser() -> command.Parser:
    """Returns the parser of this command's options."""
    options = command.Parser("sweep", "Train many presets, seeds and settings, each as an ordinary run.", EXAMPLES)
    what = options.add_argument_group("what to train (every combination)")
    what.add_argument("--presets", metavar="NAME|PATH", nargs="+", default=[], help="preset names or files")
    what.add_argument("--seeds", metavar="N", nargs="+", type=int, default=[0], help="random seeds (default: 0)")
    what.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="change a key in every trial (repeatable)"
    )
    what.add_argument(
        "--vary", metavar="KEY=[..]", action="append", default=[], help="values of a key, as JSON (repeatable)"
    )
    how = options.add_argument_group("how (needs the package ray)")
    how.add_argument(
        "--workers", type=int, metavar="N", help="trials at a time on this machine, if --gpus lets them (default: 1)"
    )
    how.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="processors per trial, and TensorFlow's threads; JAX takes all (default: all, divided among --workers)",
    )
    how.add_argument(
        "--gpus",
        type=float,
        metavar="N",
        help="GPU fraction per trial, 0.5 for two trials on one, 0 for none (default: 1 where there is a GPU)",
    )
    how.add_argument("--retries", type=int, default=1, metavar="N", help="restarts of a failed trial (default: 1)")
    how.add_argument("--address", help="Ray cluster to run on; its machines share this project, --runs and --data")
    command.add_data_option(options)
    command.add_run_options(options)
    return options


def main(arguments: list[str]) -> int:
    """Carries out the command line; returns 1 where a trial did not finish, 130 after Ctrl-C."""
    options = parser().parse_args(arguments)
    if not options.presets:
        see = f"see the names with {installation.call('train')} --list"
        raise UserError(f"choose what to train with --presets NAME NAME; {see}.", "no-preset")
    for name, least in (("workers", 1), ("threads", 1), ("gpus", 0), ("retries", 0)):
        value = getattr(options, name)
        if value is not None and not value >= least:  # which nan is not either
            raise UserError(f"--{name} must be at least {least}. Received: {value}.", "option-value")
    if options.gpus is not None and options.gpus > 1:
        raise UserError(
            f"--gpus must be at most 1: a trial trains on one GPU. Received: {options.gpus:g}.", "option-value"
        )
    if options.address and options.workers:
        raise UserError(
            "--workers is for a sweep on this machine. Received: --workers with --address.", "options-conflict"
        )
    from resnet_tf.sweeping import on_ray, trials

    all_trials = trials.trials(options.presets, options.seeds, options.set, options.vary)
    if options.data:
        trials.check_one_dataset(all_trials)
    on_ray.check_ray()  # before images are read or downloaded
    outcomes = trials.prepared(all_trials, options.data)
    for outcome in outcomes:
        outcome.update(options.runs)
    done = sum(outcome.status != "waiting" for outcome in outcomes)
    print(f"{plural(len(outcomes), 'trial')}, {done} of them already done; runs in {options.runs}")
    sweep = on_ray.Sweep(
        outcomes,
        options.runs,
        data=options.data,
        workers=options.workers or 1,
        threads=options.threads,
        gpus=options.gpus,
        retries=options.retries,
    )
    stopped = follow(sweep, options.address) if done < len(outcomes) else False
    print(trials.report(outcomes, options.runs))
    print(f"curves and tables: {installation.call('report')}{runs_option(options.runs)}")
    return 130 if stopped else int(any(outcome.status != "finished" for outcome in outcomes))


def follow(sweep, address: str | None) -> bool:
    """Shows a sweep until it ends; returns whether Ctrl-C or a TERM signal stopped it."""
    from rich.console import Console
    from rich.live import Live

    from resnet_tf.sweeping.trials import NewRuns

    console, new_runs = Console(stderr=True), NewRuns(sweep.runs)
    sweep.start(address)
    gpus = f"{sweep.gpus:g} GPU" if sweep.gpus else "no GPU"
    print(f"each trial: {plural(sweep.threads, 'processor')}, {gpus}; at most {sweep.at_a_time} at a time")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        try:
            for _ in sweep.watch(pause=2.0):
                if console.is_terminal:
                    new_runs.note(sweep.outcomes)
                    cells = [outcome.cells(sweep.runs) for outcome in sweep.outcomes]
                    live.update(table(HEADINGS, cells, prose=("trial", "run")), refresh=True)
        except KeyboardInterrupt:
            print("stopping: every training saves a checkpoint; press Ctrl-C again to leave at once", file=sys.stderr)
            sweep.stop()
            return True
    return False

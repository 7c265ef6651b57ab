"""Trains a preset: python train.py --preset 4"""

import argparse
import shlex
import sys
from pathlib import Path

from resnet_tf import plots
from resnet_tf.cli import command
from resnet_tf.cli.listing import print_presets, print_summary
from resnet_tf.errors import UserError
from resnet_tf.presets import storage, variants
from resnet_tf.presets.schema import Preset
from resnet_tf.runs import run_folder

EXAMPLES = """\
  python train.py --list                                  the presets, their sizes and results
  python train.py --preset demo                           a small network on built-in images, two minutes
  python train.py --preset 4 --data cifar10/              a preset on your copy of its images
  python train.py --preset 4 --resume                     go on after Ctrl-C or a crash, with the run's own recipe
  python train.py --resume 4/20260101T120000Z-s0 --set train.epochs=120       make a run longer
  python train.py --preset 3 --set train.epochs=3 --seed 1
  python train.py --preset 4 --check                      is the recipe sound?
  python train.py --preset 4 --summary                    the network, stage by stage
  python train.py --preset 4 --dry-run                    what it would do and cost"""


def parser() -> command.Parser:
    """Returns the options of this command."""
    options = command.Parser("Train a residual network as a preset says.", EXAMPLES)
    what = options.add_argument_group("what to train")
    what.add_argument("--preset", metavar="NAME|PATH", help="a preset by name, or a .json or .pickle file")
    what.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="change a key of the preset")
    what.add_argument("--seed", type=int, help="of weights, order and augmentation (default: 0)")
    what.add_argument(
        "--resume", metavar="RUN", nargs="?", const=True, help="go on with the newest unfinished run, as it began"
    )
    what.add_argument(
        "--distribute", action="store_true", help="over all devices, and the processes that KERAS_DISTRIBUTION_* names"
    )
    look = options.add_argument_group("look without training")
    look.add_argument("--list", action="store_true", help="all presets: network, cost, reference, best result")
    look.add_argument("--summary", action="store_true", help="stages, output shapes, parameters and multiply-adds")
    look.add_argument(
        "--check",
        metavar="RUN",
        nargs="?",
        const="",
        help="whether the recipe is sound; with a run: when a plateau would have lowered the rate in it",
    )
    look.add_argument("--dry-run", action="store_true", help="network, steps, learning rates and expected time")
    look.add_argument("--figure", metavar="FILE", help="with --dry-run: draw the learning rate (.png, .pdf, .svg)")
    command.add_data_option(options)
    command.add_run_options(options)
    return options


def main(arguments: list[str]) -> int | None:
    """Carries out the command line; returns an exit code where it is not 0."""
    options = parser().parse_args(arguments)
    if options.list:
        return print_presets()
    looks = {"--summary": options.summary, "--check": options.check is not None, "--dry-run": options.dry_run}
    for look in (look for look, wanted in looks.items() if wanted and options.resume is not None):
        raise UserError(f"{look} looks at a recipe without training, --resume trains. Received: both; leave one out.")
    preset, path = recipe(options)
    if options.figure and not options.dry_run:
        raise UserError("--figure draws what --dry-run tells. Received: --figure without --dry-run.")
    if options.figure:
        plots.check_place(options.figure)
    if options.summary:
        return print_summary(preset)
    if options.check is not None:
        from resnet_tf.lint import check

        run = run_folder.find(options.check, options.runs) if options.check else None
        return check.print_check(preset, run, options.data)
    if options.dry_run:
        if options.distribute:
            raise UserError("--dry-run times a single device. Received: --dry-run and --distribute.")
        command.start_tensorflow()
        from resnet_tf.training.dry_run import dry_run

        return dry_run(preset, options.data, options.seed or 0, options.figure)
    command.start_tensorflow()
    from resnet_tf.training import distributed
    from resnet_tf.training.train import train

    group = distributed.join() if options.distribute else distributed.single_process()
    run = train(
        preset,
        options.data,
        options.runs,
        options.seed,
        False if options.resume is None else options.resume,
        preset_file=path,
        group=group,
    )
    if group.rank == 0:
        given = {"--run": run.name, "--data": options.data, "--runs": options.runs}
        words = [word for pair in given.items() if pair[1] not in (None, run_folder.RUNS) for word in pair]
        print(f"next: python eval.py {shlex.join(words)}")


def recipe(options: argparse.Namespace) -> tuple[Preset, Path | None]:
    """Returns what to train and the file of its preset; a named run brings its own recipe and needs no preset file."""
    if options.preset is not None:
        path = storage.find(options.preset)
        return variants.apply_settings(storage.load_preset(path), options.set), path.resolve()
    if isinstance(options.resume, str):
        return variants.apply_settings(run_folder.find(options.resume, options.runs).preset, options.set), None
    if options.resume:
        raise UserError("say what to go on with: --preset NAME for its newest unfinished run, or --resume RUN.")
    raise UserError("choose what to train with --preset NAME; see the names with --list.")


if __name__ == "__main__":
    sys.exit(command.run_command(main))

"""Trains a preset: python train.py --preset 4"""

import argparse
import json
from pathlib import Path

from resnet_tf import installation, plots
from resnet_tf.cli import command
from resnet_tf.errors import UserError
from resnet_tf.listing import print_presets, print_summary
from resnet_tf.presets import overrides, preset_files
from resnet_tf.presets.schema import Preset
from resnet_tf.runs.choose import find_run

EXAMPLES = """\
  python train.py --list                                  list the presets with their sizes and results
  python train.py --preset demo                           train a small network on built-in images, in three minutes
  python train.py --preset 4 --data cifar10/              train preset 4 on your copy of its images
  python train.py --preset 4 --resume                     resume after Ctrl-C or a crash, with the run's own recipe
  python train.py --resume 4/20260101T120000Z-s0 --set train.epochs=120       make a run longer
  python train.py --preset 3 --set train.epochs=3 --seed 1
  python train.py --preset 4 --init 4 --set optimizer.learning_rate=0.005     start from the weights of its best run
  python train.py --preset 4 --check                      check the recipe for known mistakes
  python train.py --preset 4 --summary                    show the network, stage by stage
  python train.py --preset 4 --summary --figure network.png
  python train.py --preset 4 --dry-run                    show what a training would do and cost"""

TRAINING = "a training"
TAKES = {  # what is done: the options that change it
    "--list": (),
    "--summary": ("--preset", "--set", "--figure"),
    "--check": ("--preset", "--set", "--data"),
    "--dry-run": ("--preset", "--set", "--data", "--seed", "--figure"),
    TRAINING: ("--preset", "--set", "--data", "--seed", "--resume", "--discard-state", "--distribute"),
}
ALWAYS = ("--runs", "--debug")


def parser() -> command.Parser:
    """Returns the parser of this command's options."""
    options = command.Parser("train", "Train a residual network from a preset.", EXAMPLES)
    what = options.add_argument_group("what to train")
    what.add_argument("--preset", metavar="NAME|PATH", help="preset to train: a name, or a .json or .pickle file")
    what.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change a key of the recipe, such as train.epochs=3 (repeatable)",
    )
    what.add_argument(
        "--init",
        metavar="NAME|RUN",
        dest="set",
        action="append",
        type=lambda name: f"train.init={json.dumps(name)}",
        help="start from the weights of a run, or of a preset's best run; short for --set train.init=NAME",
    )
    what.add_argument("--seed", type=int, help="random seed (default: 0)")
    what.add_argument(
        "--resume", metavar="RUN", nargs="?", const=True, help="resume RUN, or the preset's newest unfinished run"
    )
    what.add_argument(
        "--discard-state",
        action="store_true",
        help="delete the last checkpoint when the training ends; the run can then not be made longer",
    )
    what.add_argument(
        "--distribute",
        action="store_true",
        help="train on all devices, and on the processes that KERAS_DISTRIBUTION_* names",
    )
    look = options.add_argument_group("inspect without training")
    look.add_argument("--list", action="store_true", help="list all presets: network, cost, reference, result")
    look.add_argument("--summary", action="store_true", help="show output shapes, parameters and multiply-adds")
    look.add_argument(
        "--check",
        metavar="RUN",
        nargs="?",
        const="",
        help="check the recipe for known mistakes; with RUN, also replay the preset's plateau rule on that run's log",
    )
    look.add_argument("--dry-run", action="store_true", help="show network, steps, learning rates and expected time")
    look.add_argument(
        "--figure",
        metavar="FILE",
        help="with --summary: draw the network; with --dry-run: plot the learning rate (.png, .pdf, .svg)",
    )
    command.add_data_option(options)
    command.add_run_options(options)
    return options


def main(arguments: list[str]) -> int | None:
    """Runs the command line; returns an exit code other than 0, or None."""
    options = parser().parse_args(arguments)
    check_together(options)
    if options.list:
        return print_presets()
    preset, path = recipe(options)
    if options.figure:
        plots.check_place(options.figure)
    if options.summary:
        return print_summary(preset, options.figure)
    if options.check is not None:
        from resnet_tf.lint import check

        run = find_run(options.check, options.runs) if options.check else None
        return check.print_check(preset, run, options.data)
    if options.dry_run:
        command.start_tensorflow()
        from resnet_tf.training.dry_run import compare_precisions, dry_run

        return compare_precisions(dry_run(preset, options.data, options.seed or 0, options.figure, options.runs))
    command.start_tensorflow()
    from resnet_tf.training import distributed
    from resnet_tf.training.train import train

    group = distributed.process_group(options.distribute)
    run = train(
        preset,
        options.data,
        options.runs,
        seed=options.seed,
        resume=False if options.resume is None else options.resume,
        preset_file=path,
        group=group,
        keep_state=not options.discard_state,
    )
    if group.rank == 0:
        print(f"next: {installation.call('eval')} --run {run.as_argument}")


def check_together(options: argparse.Namespace) -> None:
    """Raises UserError where one option would be ignored because of another."""
    options_given = {f"--{name.replace('_', '-')}": value for name, value in vars(options).items()}
    given = [option for option, value in options_given.items() if value not in (None, []) and value is not False]
    looks = [look for look in TAKES if look in given]
    if len(looks) > 1:
        raise UserError(f"{' and '.join(looks)} exclude one another. Leave one out.", "options-conflict")
    what = looks[0] if looks else TRAINING
    for option in given:
        if option not in (what, *TAKES[what], *ALWAYS):
            takers = ", ".join(taker for taker, taken in TAKES.items() if option in taken)
            option = "--set and no --init" if option == "--set" else option
            raise UserError(f"{what} takes no {option}, which is for {takers}. Leave one out.", "options-conflict")


def recipe(options: argparse.Namespace) -> tuple[Preset, Path | None]:
    """Returns what to train and the file of its preset; a named run brings its own recipe and needs no preset file."""
    if options.preset is not None:
        path = preset_files.find(options.preset)
        return overrides.apply_settings(preset_files.load_preset(path), options.set), path.resolve()
    if isinstance(options.resume, str):
        return overrides.apply_settings(find_run(options.resume, options.runs).preset, options.set), None
    if options.resume:
        raise UserError("choose what to resume: --preset NAME (its newest unfinished run) or --resume RUN.", "no-run")
    raise UserError("choose what to train with --preset NAME; see the names with --list.", "no-preset")

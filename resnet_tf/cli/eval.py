"""Scores a trained preset: python eval.py --preset 4"""

from resnet_tf.cli import command
from resnet_tf.errors import UserError, try_each
from resnet_tf.evaluation import recording
from resnet_tf.presets import preset_files
from resnet_tf.presets.augmentation import VIEWS
from resnet_tf.runs import pretrained
from resnet_tf.runs.choose import choose_run

EXAMPLES = """\
  python eval.py --preset 4                               evaluate the preset's best finished run on the test split
  python eval.py --run 4/20260101T120000Z-s0 --weights best
  python eval.py --preset 4 --split validation --figures"""


def parser() -> command.Parser:
    """Returns the parser of this command's options."""
    options = command.Parser(
        "eval", "Evaluate a trained run and compare the result with its preset's reference.", EXAMPLES
    )
    command.add_network_options(options)
    what = options.add_argument_group("evaluation")
    what.add_argument(
        "--split", choices=("test", "validation"), default="test", help="images to evaluate on (default: test)"
    )
    what.add_argument(
        "--view",
        choices=tuple(VIEWS),
        help="test-time augmentation (default: the preset's; for a pretrained network, that of its published result)",
    )
    what.add_argument(
        "--resolution",
        type=int,
        metavar="PIXELS",
        help="size that images are resized to (default: the preset's)",
    )
    what.add_argument(
        "--figures", action="store_true", help="also plot confusion matrix, calibration and most confident mistakes"
    )
    what.add_argument(
        "--recalibrate", action="store_true", help="first estimate batch norm's statistics again, on training images"
    )
    what.add_argument(
        "--record",
        action="store_true",
        help="record the result in the preset's file even if the recipe was changed or the result is recorded already",
    )
    command.add_data_option(options)
    command.add_run_options(options)
    return options


def main(arguments: list[str]) -> None:
    """Carries out the command line."""
    options = parser().parse_args(arguments)
    if options.preset is None and options.run is None:
        raise UserError(
            "choose what to score with --preset NAME or --run RUN; runs are in the folder --runs.", "nothing-to-score"
        )
    run = pretrained.writable(choose_run(options.preset, options.run, options.runs, "evaluate"), options.runs)
    preset_file = preset_files.find(options.preset) if options.preset else run.preset_file
    if options.record:
        recording.check_request(options.split, preset_file)
    command.start_tensorflow()
    from resnet_tf.evaluation.evaluate import evaluate, store
    from resnet_tf.evaluation.show import show, show_reproduction

    against = None if preset_file is None else preset_files.load_preset(preset_file)
    published = run.published
    view = options.view or (published.view if published else None)
    with command.counting("evaluating") as advance:
        result = evaluate(
            run,
            options.split,
            options.data,
            weights=options.weights,
            view=view,
            resolution=options.resolution,
            against=against,
            figures=options.figures,
            recalibrate=options.recalibrate,
            advance=advance,
        )
    show(result.record)
    if published:
        show_reproduction(result.record, published)
    try_each(
        (
            lambda: store(run, result, options.runs),
            lambda: print(recording.record_in_preset(run, result.record, preset_file, options.record)),
        )
    )
    if result.plots:
        print(f"figures in {run.figures}")

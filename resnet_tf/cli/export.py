"""Writes a trained network for other programs: python export.py --preset 4 --to onnx"""

from pathlib import Path

from resnet_tf.cli import command
from resnet_tf.errors import UserError
from resnet_tf.runs import pretrained
from resnet_tf.runs.choose import choose_run

EXAMPLES = """\
  python export.py --preset 4 --to saved_model            export the preset's best finished run, for TensorFlow Serving
  python export.py --preset 4 --to litert                 export it for phones and small boards
  python export.py --run 4/20260101T120000Z-s0 --to onnx --out ."""
FORMATS = ("saved_model", "litert", "onnx")


def parser() -> command.Parser:
    """Returns the parser of this command's options."""
    options = command.Parser(
        "export", "Export a trained network for other programs, normalisation and softmax included.", EXAMPLES
    )
    command.add_network_options(options)
    what = options.add_argument_group("output")
    what.add_argument("--to", choices=FORMATS, help="format; litert and onnx need more packages, which an error names")
    what.add_argument("--out", metavar="DIR", help="output folder (default: export/ in the run's folder)")
    command.add_run_options(options)
    return options


def main(arguments: list[str]) -> None:
    """Carries out the command line."""
    options = parser().parse_args(arguments)
    if options.to is None:
        raise UserError(f"choose a format with --to: {', '.join(FORMATS)}.", "no-format-named")
    run = choose_run(options.preset, options.run, options.runs, "export")
    command.start_tensorflow()
    from resnet_tf.export import export

    folder = Path(options.out) if options.out else pretrained.writable(run, options.runs).folder / "export"
    path = export(run, options.to, folder, options.weights, options.runs)
    print(f"{run.name} is in {path}; {path.name}.json says how to use it")

"""Serves a page that predicts the photo dropped on it: python serve.py"""

from resnet_tf.cli import command

EXAMPLES = """\
  python serve.py                                         open http://127.0.0.1:7860 in a browser
  python serve.py --preset 4 --port 8000
  python serve.py --host 0.0.0.0                          also for other machines: everyone there can upload"""


def parser() -> command.Parser:
    """Returns the parser of this command's options."""
    options = command.Parser("serve", "Serve a page that predicts the photo dropped on it.", EXAMPLES)
    group = options.add_argument_group("network")
    group.add_argument("--preset", metavar="NAME|PATH", help="show the best finished run of this preset first")
    group.add_argument("--run", metavar="RUN", help="show this run first, by its name or folder")
    group = options.add_argument_group("page")
    group.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine only)")
    group.add_argument("--port", type=int, default=7860, help="port to listen at (default: 7860)")
    command.add_run_options(options)
    return options


def main(arguments: list[str]) -> None:
    """Carries out the command line."""
    options = parser().parse_args(arguments)
    from resnet_tf.runs.choose import choose_run
    from resnet_tf.serving import page

    page.check_place(options.host, options.port)
    first = choose_run(options.preset, options.run, options.runs, "predict")
    page.serve(first, options.runs, options.host, options.port, command.start_tensorflow)

"""Predicts the classes of your photos: python predict.py photo.jpg"""

from resnet_tf import files, installation, log, plots
from resnet_tf.cli import command
from resnet_tf.errors import UserError, try_each
from resnet_tf.prediction.sandbox import FRAMES
from resnet_tf.runs.choose import choose_run, recorded_accuracy

EXAMPLES = """\
  python predict.py cat.jpg dog.png                       predict with your best run, or pretrained weights
  python predict.py --preset 4 holiday/ --figure sheet.png
  python predict.py --preset 4 "photos/*.jpg" --top 5 --csv classes.csv
  python predict.py --preset 4 --json photos/ > classes.json"""


def parser() -> command.Parser:
    """Returns the parser of this command's options."""
    options = command.Parser("predict", "Predict the classes of your own photos.", EXAMPLES)
    options.add_argument("photos", metavar="PHOTO", nargs="*", help="image file, folder or quoted pattern")
    command.add_network_options(options)
    options.add_argument_group("photos").add_argument(
        "--frame",
        choices=FRAMES,
        help="how a photo becomes a square: squeezed, cut to its middle, or padded (default: squash for CIFAR and "
        "STL-10, else crop)",
    )
    what = options.add_argument_group("output")
    what.add_argument("--top", type=int, metavar="K", help="number of classes per photo (default: 3, or both of two)")
    what.add_argument("--json", action="store_true", help="print JSON instead of a table")
    what.add_argument("--csv", metavar="FILE", help="also write a CSV file; - prints it instead of the table")
    what.add_argument("--figure", metavar="FILE", help="also plot a contact sheet (.png, .pdf, .svg)")
    command.add_run_options(options)
    return options


def main(arguments: list[str]) -> None:
    """Carries out the command line."""
    options = parser().parse_args(arguments)
    if not options.photos:
        call = installation.call("predict")
        raise UserError(f"name at least one photo, folder or pattern: {call} photo.jpg", "no-photo-named")
    printed = options.csv == "-"
    if printed and options.json:
        raise UserError("one format can be printed at a time. Received: --json and --csv -.", "options-conflict")
    if options.csv:
        files.check_folder(options.csv)
    if options.figure:
        plots.check_place(options.figure)
    from resnet_tf.prediction import photos

    paths = photos.find(options.photos)

    log.print_handler.to_stderr = options.json or printed
    run = choose_run(options.preset, options.run, options.runs, "predict")
    command.start_tensorflow()
    from resnet_tf.prediction import contact_sheet, table
    from resnet_tf.prediction.predict import Predictor

    predictor = Predictor(run, options.weights, options.frame)
    rows, shown = [], []
    with command.counting("predicting") as advance:
        for row, photo in predictor.predict(paths, options.top, advance):
            rows.append(row)
            if options.figure and len(shown) < contact_sheet.MAX_TILES:
                shown.append(photo)
    about = f"answered by {run.name}: {run.preset.title}, trained on {run.about['data']['title']}; "
    about += f"{recorded_accuracy(run, options.runs, options.weights)}; photos by {predictor.frame}, {predictor.view}"
    about = "; ".join(filter(None, (about, predictor.caution)))
    title = "; ".join(filter(None, (about, table.score(rows))))
    if options.json:
        print(table.as_json(rows))
    elif not printed:
        table.print_table(rows, predictor.rule)
    log.logger.info(about)
    if doubt := table.doubt(rows, run.about.get("data_option")):
        log.logger.warning(doubt)
    writes = [lambda: command.write(options.csv, table.as_csv(rows))] if options.csv else []
    if options.figure:
        writes.append(lambda: contact_sheet.draw(rows, shown, options.figure, title))
    try_each(writes)
    if all(row["error"] for row in rows):
        message = f"No photo could be read. {rows[0]['file']}: {rows[0]['error']}."
        raise UserError(message, "no-readable-photo")

"""Reports what was measured: python report.py --html report.html"""

import shutil
import sys
from pathlib import Path

from resnet_tf import files, log
from resnet_tf.cli import command
from resnet_tf.errors import UserError, try_each
from resnet_tf.presets import preset_files
from resnet_tf.report import compare, measured, page, tables
from resnet_tf.runs import choose

EXAMPLES = """\
  python report.py                                        write report.html: results, studies, costs, curves
  python report.py --markdown - --csv results.csv         print the results, write them for a spreadsheet
  python report.py --compare 4/20260101T120000Z-s0 4/20260102T120000Z-s1 --html two.html"""


def parser() -> command.Parser:
    """Returns the parser of this command's options."""
    options = command.Parser(
        "report", "Report what was measured and compare it with the presets' references.", EXAMPLES
    )
    what = options.add_argument_group("output")
    what.add_argument(
        "--html",
        metavar="FILE",
        help="self-contained HTML page (default: report.html, unless another output is asked for)",
    )
    what.add_argument("--markdown", metavar="FILE", help="results as Markdown tables; - prints them")
    what.add_argument("--csv", metavar="FILE", help="results for a spreadsheet; - prints them")
    what.add_argument("--compare", metavar="RUN", nargs=2, help="compare two runs, with a paired test")
    command.add_run_options(options)
    return options


def main(arguments: list[str]) -> None:
    """Runs the command line."""
    options = parser().parse_args(arguments)
    log.print_handler.to_stderr = True  # the report itself may go to standard output
    choose.check_runs_folder(options.runs)
    for path in filter(None, (options.html, options.markdown, options.csv)):
        files.check_folder(path)
    if options.compare:
        if options.markdown or options.csv:
            raise UserError(
                "--compare prints two runs or writes them to --html. Received: --markdown or --csv.", "options-conflict"
            )
        ours, theirs = (choose.find_run(name, options.runs) for name in options.compare)
        sections = compare.compare(ours, theirs, options.runs)
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print(compare.as_text(sections, ours, theirs, width))
        if options.html:
            command.write(options.html, page.comparison_page(ours, theirs, sections, Path(options.html)))
        return
    presets, runs = preset_files.readable(), choose.own_runs(options.runs)
    found = measured.gather(options.runs, presets)
    writes = []
    if options.markdown:
        writes.append(lambda: command.write(options.markdown, tables.markdown(found, measured.groups(found))))
    if options.csv:
        writes.append(lambda: command.write(options.csv, tables.as_csv(found)))
    if options.html or not writes:
        place = Path(options.html or "report.html")
        writes.append(lambda: command.write(str(place), page.report_page(presets, found, runs, place)))
    try_each(writes)

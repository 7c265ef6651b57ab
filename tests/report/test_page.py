"""The report as a page, which needs nothing but itself, and the command that writes it."""

import html.parser
import re
from dataclasses import replace

from assertions import user_error
from ledger_rows import COPY, ROWS, row

from resnet_tf.cli import command
from resnet_tf.cli import report as report_command
from resnet_tf.presets import changes
from resnet_tf.report import measured
from resnet_tf.runs import ledger, pretrained
from resnet_tf.runs.choose import all_runs
from resnet_tf.runs.records import EvaluationRecord
from resnet_tf.runs.run import create_run

VOID = {"meta", "link", "br"}


class Page(html.parser.HTMLParser):
    """Reads a page: its tables as text, its addresses, and whether every element is closed in its turn."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.tables, self.addresses, self.tags, self.ids = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        values = dict(attributes)
        self.addresses += [value for key, value in attributes if key in ("src", "href", "srcset", "action", "data")]
        self.ids += [values["id"]] if "id" in values else []
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data


def written(runs, *arguments) -> str:
    place = runs / "report.html"
    assert command.run_command(report_command.main, ["--runs", str(runs), "--html", str(place), *arguments]) == 0
    return place.read_text()


def test_page_holds_the_rows_of_the_ledger(runs):
    results = Page(written(runs)).tables[0]
    shown = [dict(zip(results[0], cells, strict=True)) for cells in results[1:]]
    assert len(shown) == len(ROWS)
    for one in ROWS:
        name = changes.display_name(one["preset"], one["changed"]).replace("->", "\N{RIGHTWARDS ARROW}")
        same = [cells for cells in shown if (cells["preset"], cells["seed"]) == (name, str(one["seed"]))]
        (cells,) = same
        assert cells["top-1"] == f"{one['top1']:.2f} %"
        assert cells["95 % interval"] == "{:.2f} to {:.2f}".format(*one["top1_interval"])
        assert cells["images"] == one["data"]["title"]
        assert cells["epochs"] == "100"


def test_verdicts_are_worked_out_by_hand(runs):
    results = Page(written(runs)).tables[0]
    shown = {(cells[0], cells[7]): dict(zip(results[0], cells, strict=True)) for cells in results[1:]}
    # Reported: 85.92, 85.64, 85.10, 86.59, none; the interval of 10,000 images is about 0.7 points each way.
    assert shown["1", "0"]["difference"] == "-0.12"
    assert shown["1", "0"]["verdict"].strip() == "within interval (view, epoch and images assumed)"
    assert shown["3", "0"]["verdict"].strip() == "above (view, epoch and images assumed)"
    assert shown["3", "2"]["verdict"].strip() == "within interval (view, epoch and images assumed)"
    assert shown["4", "0"]["verdict"] == f"not comparable data: {COPY}"
    changed = "2, data.augment pad_crop(4) | flip_horizontal \N{RIGHTWARDS ARROW} pad_crop(4)"
    assert "data.augment" in shown[changed, "0"]["verdict"]
    assert (shown["5", "0"]["reference"], shown["5", "0"]["verdict"].strip()) == ("-", "no reference")


def test_costs_say_where_a_figure_is_not_comparable_with_the_reference_beside_it(runs):
    headings, *rows = Page(written(runs)).tables[-1]
    shown = {cells[0]: dict(zip(headings, cells, strict=True)) for cells in rows}
    assert (shown["1"]["reference"], shown["1"]["measured"]) == ("85.92 %", "85.80 %")
    assert (shown["4"]["reference"], shown["4"]["measured"]) == ("86.59 %", "80.00 %, not comparable")
    assert (shown["5"]["reference"], shown["5"]["measured"]) == ("-", "86.50 %")


def test_page_asks_for_nothing_outside(runs):
    text = written(runs)
    read = Page(text)
    assert not {"script", "iframe", "img", "object", "embed"} & set(read.tags)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    for address in read.addresses:
        assert not address.startswith(("http:", "https:", "//", "file:"))
        if address.startswith("#"):
            assert address[1:] in read.ids
        elif address != "data:,":
            assert (runs / address).is_dir(), address  # a run's folder, from where the page lies
    assert read.tags.count("svg") == 2 + 3 * 2  # the two studies; loss, top-1 and rate of two presets
    assert "CPU &lt;2 threads&gt;" in text


def test_without_a_preset_of_the_studies_the_rest_is_reported(runs, shipped):
    whole = Page(written(runs))
    shipped["2"] = replace(shipped["2"], results=({"test_top1": 99.0}, {"test_top1": 99.0, "data": {"title": "mine"}}))
    del shipped["3"]
    read = Page(written(runs))
    assert read.tags.count("svg") == whole.tags.count("svg") - 2
    assert len(read.tables[0]) == len(whole.tables[0])


def test_an_empty_folder_gives_a_page(tmp_path, capsys):
    read = Page(written(tmp_path))
    assert read.tags.count("svg") == 2  # the author's own figures
    assert command.run_command(report_command.main, ["--runs", str(tmp_path), "--markdown", "-"]) == 0
    assert capsys.readouterr().out.startswith("| preset | top-1 |")


def test_two_runs_on_a_page(runs, capsys):
    names = [run.name for run in all_runs(runs)]
    read = Page(written(runs, "--compare", *names))
    recipe = read.tables[1]  # after the two runs
    assert {"3", "9"} == set(*[cells[1:3] for cells in recipe if cells[0] == "model.num_residual_units"])
    assert read.tags.count("svg") == 3
    assert "num_residual_units" in capsys.readouterr().out
    assert command.run_command(report_command.main, ["--runs", str(runs), "--compare", names[0], "3/nothing"]) == 2


def published(monkeypatch, folder, shipped) -> dict:
    """Makes a published run in a folder, and returns the row of its result."""
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    run = create_run(shipped["2"], 5, folder, pretrained=True, device="a published device")
    return row("2", seed=5, run=run.name)


def test_a_published_run_is_not_ones_own_and_says_what_it_was_trained_on(runs, tmp_path_factory, monkeypatch, shipped):
    theirs = published(monkeypatch, tmp_path_factory.mktemp("pretrained"), shipped)
    shipped["2"] = replace(shipped["2"], results=(EvaluationRecord.from_row(theirs).to_result(),))
    for _ in range(2):  # the second time also scored here
        found = measured.gather(runs, shipped)
        (one,) = [one for one in found if one.record.run == theirs["run"]]
        assert (one.own, found[-1]) == (False, one)
        own, others = [table for table in Page(written(runs)).tables if "verdict" in table[0]]
        assert len(own) == 1 + len(ROWS)
        (cells,) = others[1:]
        assert dict(zip(others[0], cells, strict=True))["trained on"] == "cifar10, a published device, 1 h 30 min"
        ledger.append(runs, ledger.EVALUATED, {**theirs, "date": "2026-02-01T00:00:00Z"})
    ledger.append(runs, ledger.EVALUATED, {**theirs, "view": "mirror"})  # nobody has published this figure
    assert [one.own for one in measured.gather(runs, shipped) if one.record.view == "mirror"] == [True]


def test_a_broken_run_and_torn_rows_are_named_and_the_rest_is_reported(runs, capsys):
    names = [run.name for run in all_runs(runs)]
    whole = Page(written(runs))
    (runs / names[0] / "run.json").write_text('{"seed": 0, "stat')
    damaged = Page(written(runs))
    assert str(runs / names[0] / "run.json") in capsys.readouterr().err
    assert len(damaged.tables[0]) == len(whole.tables[0])  # the results are the ledger's
    assert damaged.tags.count("svg") == whole.tags.count("svg") - 3  # of the run that is gone

    ledger.append(runs, ledger.EVALUATED, row("4", run=names[1], seed=7))
    (runs / names[1] / "preset.json").write_text("[]")
    with (runs / ledger.EVALUATED).open("a") as log:
        log.write('{"run": "3/2026\n')
    damaged = Page(written(runs))
    said = capsys.readouterr().err
    assert str(runs / names[1] / "preset.json") in said
    assert f"{runs / ledger.EVALUATED}: 1 torn row" in said
    assert len(damaged.tables[0]) == len(whole.tables[0]) + 1


def test_a_file_that_cannot_be_written_costs_no_other(runs, capsys):
    (runs / "taken.md").mkdir()
    places = ["--markdown", str(runs / "taken.md"), "--csv", str(runs / "results.csv")]
    assert command.run_command(report_command.main, ["--runs", str(runs), *places]) == 2
    assert "taken.md" in capsys.readouterr().err
    assert len((runs / "results.csv").read_text().splitlines()) == 1 + len(ROWS)


def test_a_comparison_is_no_table_of_results(runs):
    names = [run.name for run in all_runs(runs)]
    arguments = ["--runs", str(runs), "--compare", *names, "--csv", "x.csv"]
    assert user_error(report_command.main, arguments).code == "options-conflict"


def test_a_missing_folder_of_runs_is_named(runs, capsys):
    assert command.run_command(report_command.main, ["--runs", str(runs / "slip")]) == 2
    assert str(runs / "slip") in capsys.readouterr().err

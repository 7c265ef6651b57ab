"""The report: its tables are the ledger's rows, and its page needs nothing but itself."""

import csv
import html.parser
import io
import json
import re
import statistics
from dataclasses import replace

import pytest
from assertions import user_error

from resnet_tf import files
from resnet_tf.cli import command
from resnet_tf.cli import report as report_command
from resnet_tf.presets import schema
from resnet_tf.report import measured, studies, tables
from resnet_tf.runs import comparison, ledger, pretrained
from resnet_tf.runs.choose import all_runs
from resnet_tf.runs.records import Evaluation
from resnet_tf.runs.run import create_run

COPY = "cifar10 (folder copy, not the official bytes)"
VOID = {"meta", "link", "br"}


def row(preset="3", seed=0, correct=9039, **values) -> dict:
    low, high = comparison.wilson_interval(correct, 10_000)
    return {
        **{"date": "2026-01-01T00:00:00Z", "run": f"{preset}/20260101T000000Z-s{seed}", "preset": preset, "seed": seed},
        **{
            "changed": {},
            "steps": 35100,
            "trained": 35100,
            "steps_planned": 35100,
            "epochs": 100,
            "split": "test",
            "view": "1-crop",
        },
        **{"resolution": 32, "weights": "last", "protocol": "1-crop, last epoch", "same_data_as_training": True},
        "data": {"name": "cifar10", "title": "cifar10", "fingerprint": "f" * 64, "official": True},
        **{"count": 10_000, "correct": correct, "top1": correct / 100, "top5": 99.5, "loss": 0.4},
        "top1_interval": [round(low, 2), round(high, 2)],
        "training_seconds": 5400.0,
        "versions": {"resnet_tf": "0.3.0"},
        **values,
    }


ROWS = [
    row(seed=0, correct=9027),
    row(seed=1, correct=9062),
    row(seed=2, correct=8500),
    row("2", correct=8564, changed={"data.augment": ["pad_crop(4)", "pad_crop(4) | flip_horizontal"]}),
    row("4", correct=8000, data={"name": "cifar10", "title": COPY, "fingerprint": "c" * 64, "official": False}),
    row("5", correct=8650),
    row("1", correct=8580),
]


@pytest.fixture(autouse=True)
def only_these_rows(monkeypatch):
    """The package's presets without the results that they carry."""
    shipped = {name: replace(preset, results=()) for name, preset in measured.shipped_presets().items()}
    monkeypatch.setattr(measured, "shipped_presets", lambda: shipped)


@pytest.fixture
def runs(tmp_path):
    """A folder of runs: the ledger's rows, and two folders with logs."""
    for one in ROWS:
        ledger.append(tmp_path, ledger.EVALUATED, one)
    shipped = measured.shipped_presets()
    for name, seed in (("3", 0), ("4", 7)):
        run = create_run(shipped[name], seed, tmp_path, device="CPU <2 threads>")
        for epoch in range(1, 6):
            figures = {"loss": 2 / epoch, "top1": 10.0 * epoch, "learning_rate": 0.1 * 0.96**epoch}
            files.append_row(run.log, {"epoch": epoch, "step": 351 * epoch, **figures, "validation_top1": 9.0 * epoch})
    return tmp_path


@pytest.fixture
def found(runs):
    return measured.gather(runs, measured.shipped_presets())


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
        name = comparison.display_name(one["preset"], one["changed"]).replace("->", "\N{RIGHTWARDS ARROW}")
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
    assert shown["1", "0"]["gap"] == "-0.12"
    assert shown["1", "0"]["verdict"].strip() == "within noise"
    assert shown["3", "0"]["verdict"].strip() == "above"
    assert shown["3", "2"]["verdict"].strip() == "within noise"
    assert shown["4", "0"]["verdict"] == f"not comparable data: {COPY}"
    changed = "2, data.augment pad_crop(4) | flip_horizontal \N{RIGHTWARDS ARROW} pad_crop(4)"
    assert "data.augment" in shown[changed, "0"]["verdict"]
    assert (shown["5", "0"]["reference"], shown["5", "0"]["verdict"].strip()) == ("-", "no reference")


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


def test_seeds_are_grouped(found):
    (group,) = [group for group in measured.groups(found) if len(group.members) > 1]
    top1 = [one["top1"] for one in ROWS[:3]]
    assert group.seeds == [0, 1, 2]
    assert group.mean == pytest.approx(statistics.mean(top1))
    assert group.spread == pytest.approx(statistics.stdev(top1))
    assert tables.seed_cells(group)[2:5] == ["88.63 %", "+/- 3.15", "85.00 to 90.62"]
    assert dict(zip(tables.SEEDS, tables.seed_cells(group), strict=True))["protocol"] == "test, 1-crop, last weights"


def test_of_an_evaluation_made_twice_the_later_counts(runs):
    ledger.append(runs, ledger.EVALUATED, row(seed=0, correct=9100, date="2026-02-01T00:00:00Z"))
    found = measured.gather(runs, measured.shipped_presets())
    assert len(found) == len(ROWS)
    assert [one.record.top1 for one in found if (one.record.preset, one.record.seed) == ("3", 0)] == [91.0]


def test_rows_of_another_form_are_left_out(runs):
    ledger.append(runs, ledger.EVALUATED, {"run": "3/old", "top1": 12.0})
    shipped = measured.shipped_presets()
    shipped["3"] = replace(shipped["3"], results=({"test_top1": 90.0},))
    assert len(measured.gather(runs, shipped)) == len(ROWS)


def test_a_recipe_of_ones_own_that_bears_a_presets_name_is_not_put_beside_its_reference(runs):
    mine = schema.from_dict({**schema.to_dict(measured.shipped_presets()["4"]), "model": {"num_residual_units": 1}})
    run = create_run(mine, 8, runs)
    ledger.append(runs, ledger.EVALUATED, row("4", correct=9500, run=run.name, seed=8))
    found = measured.gather(runs, measured.shipped_presets())
    (one,) = [one for one in found if one.record.run == run.name]
    assert one.comparison.outcome == "not comparable"
    assert one.comparison.reasons == ("model.num_residual_units: 1, the preset's is 9",)
    assert measured.leading(measured.groups(found), "4").mean == 80.0  # the preset's own, though it is lower


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


def test_a_run_of_another_version_does_not_end_the_report(runs):
    (runs / "mine" / "20200101T000000Z-s0").mkdir(parents=True)
    (runs / "mine" / "20200101T000000Z-s0" / "run.json").write_text('{"seed": 0}')
    (runs / "mine" / "20200101T000000Z-s0" / "preset.json").write_text('{"model": {"no such key": 1}}')
    ledger.append(runs, ledger.EVALUATED, row("mine", run="mine/20200101T000000Z-s0"))
    found = measured.gather(runs, measured.shipped_presets())
    assert [one.preset for one in found if one.record.preset == "mine"] == [None]


def test_best_weights_of_several_seeds_are_one_group():
    best = {"weights": "best", "protocol": "1-crop, best validation epoch"}
    rows = [row(seed=seed, steps=351 * epoch, epochs=epoch, **best) for seed, epoch in ((0, 97), (1, 99), (2, 90))]
    (group,) = measured.groups([measured.Measured(Evaluation.from_row(one), None, None) for one in rows])
    assert group.seeds == [0, 1, 2]


def test_a_comparison_is_no_table_of_results(runs):
    names = [run.name for run in all_runs(runs)]
    arguments = ["--runs", str(runs), "--compare", *names, "--csv", "x.csv"]
    assert user_error(report_command.main, arguments).code == "options-conflict"


def test_a_missing_folder_of_runs_is_named(runs, capsys):
    assert command.run_command(report_command.main, ["--runs", str(runs / "slip")]) == 2
    assert str(runs / "slip") in capsys.readouterr().err


def test_a_recorded_result_stands_like_the_row_it_came_from(tmp_path):
    one = row(validation_top1=90.0, correct=8580, preset="1", preset_hash="0" * 12)
    shipped = measured.shipped_presets()["1"]
    carried = schema.from_dict({**schema.to_dict(shipped), "results": [Evaluation.from_row(one).to_result()]})
    (alone,) = measured.gather(tmp_path, {"1": carried})
    assert (alone.run, alone.own) == (None, False)
    assert tables.result_cells(alone) == tables.result_cells(measured.Measured(Evaluation.from_row(one), shipped, None))
    ledger.append(tmp_path, ledger.EVALUATED, one)
    (both,) = measured.gather(tmp_path, {"1": carried})  # the same measurement is not told twice
    assert both.own


def published(monkeypatch, folder) -> dict:
    """Makes a published run in a folder, and returns the row of its result."""
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    run = create_run(measured.shipped_presets()["2"], 5, folder, pretrained=True, device="a published device")
    return row("2", seed=5, run=run.name)


def test_a_published_run_is_not_ones_own_and_says_what_it_was_trained_on(runs, tmp_path_factory, monkeypatch):
    theirs = published(monkeypatch, tmp_path_factory.mktemp("pretrained"))
    shipped = measured.shipped_presets()
    shipped["2"] = replace(shipped["2"], results=(Evaluation.from_row(theirs).to_result(),))
    monkeypatch.setattr(measured, "shipped_presets", lambda: shipped)
    for _ in range(2):  # the second time also scored here
        found = measured.gather(runs, shipped)
        (one,) = [one for one in found if one.record.run == theirs["run"]]
        assert (one.own, found[-1]) == (False, one)
        own, others = [table for table in Page(written(runs)).tables if "verdict" in table[0]]
        assert len(own) == 1 + len(ROWS)
        (cells,) = others[1:]
        assert dict(zip(others[0], cells, strict=True))["trained on"] == "cifar10, a published device, 1 h 30 min"
        ledger.append(runs, ledger.EVALUATED, {**theirs, "date": "2026-02-01T00:00:00Z"})


def test_trainings_from_other_weights_are_no_seeds_of_each_other():
    rows = [row(seed=0), row(seed=1, init="quick/a"), row(seed=2, init="quick/b"), row(seed=3, init="quick/b")]
    records = [Evaluation.from_row(one) for one in rows]
    found = measured.groups([measured.Measured(record, None, None) for record in records])
    assert [group.seeds for group in found] == [[0], [1], [2, 3]]
    assert [tables.trained(record).rpartition(" ")[2] for record in records[1:3]] == ["quick/a", "quick/b"]
    one = Evaluation.from_row(row(init="quick/a", changed={"train.init": ["quick", None]}))
    assert tables.trained(one) == tables.trained(records[1])


def test_csv_is_the_ledger(found):
    read = list(csv.DictReader(io.StringIO(tables.as_csv(found))))
    assert len(read) == len(ROWS)
    for cells, one in zip(read, found, strict=True):
        assert float(cells["top1"]) == one.record.top1
        assert [float(cells["top1_low"]), float(cells["top1_high"])] == one.record.top1_interval
        assert json.loads(cells["changed"]) == one.record.changed
        assert cells["run"] == one.record.run
        assert (cells["official"] == "1") == one.record.data["official"]


def test_markdown_has_a_line_for_each_result_and_as_many_cells(found):
    text = tables.markdown(found, measured.groups(found))
    results, seeds = text.strip().split("\n\n")
    assert len(results.splitlines()) == 2 + len(ROWS)
    assert len(seeds.splitlines()) == 2 + 1
    assert {line.replace("\\|", "").count("|") for line in results.splitlines()} == {len(tables.RESULTS) + 1}
    assert "pad_crop(4) \\| flip_horizontal" in results


def test_studies_report_what_the_author_did():
    shipped = measured.shipped_presets()
    reported = {cells[0]: (cells[1], cells[3], cells[4]) for cells in studies.study_rows("12345", shipped, [])}
    assert reported == {
        "1": ("5", "1", "85.92 %"),
        "2": ("5", "0.96", "85.64 %"),
        "3": ("3", "0.96", "85.10 %"),
        "4": ("9", "0.96", "86.59 %"),
        "5": ("9", "0.9", "-"),
    }


def solid_lines(svg: str) -> int:
    """Returns how many solid lines of the first colour are not vertical, as intervals are, that is, join points."""
    paths = re.findall(r'<path d="M ([\d.]+) [\d.]+ \nL ([\d.]+) [^"]*" [^>]*style="([^"]*)"', svg)
    return sum("#0072b2" in style and "dash" not in style and start != end for start, end, style in paths)


def test_points_that_differ_in_more_than_the_study_are_not_joined(found):
    shipped = measured.shipped_presets()
    second = measured.Measured(Evaluation.from_row(row("2", seed=1)), shipped["2"], None)
    groups = measured.groups([*found, second])
    assert studies.differing(studies.DEPTH, groups) == ["images"]
    assert "images" in studies.caution(studies.DEPTH, groups)
    alike = [group for group in groups if group.record.preset != "4"]
    assert studies.differing(studies.DEPTH, alike) == []
    solid = [solid_lines(studies.depth_plot(shipped, which)) for which in (groups, alike)]
    assert solid == [0, 1]


def test_points_that_no_reported_one_may_stand_beside_are_hollow():
    shipped = measured.shipped_presets()

    def hollow(*rows) -> int:
        found = measured.groups([measured.Measured(Evaluation.from_row(one), shipped["3"], None) for one in rows])
        svg = studies.depth_plot(shipped, found)
        assert ("not comparable" in svg) == ("fill: #ffffff; stroke: #0072b2" in svg)
        return svg.count("fill: #ffffff; stroke: #0072b2")

    assert hollow(row()) == 0
    assert hollow(row(changed={"train.epochs": [3, 100]}, epochs=3)) == 2  # the point, and in the legend
    assert hollow(row(), row(seed=1, steps=100, trained=100)) == 2


def test_the_longest_training_speaks_for_a_preset(found):
    three_epochs = row("1", correct=9900, epochs=3, changed={"train.epochs": [3, 100]})
    short = measured.Measured(Evaluation.from_row(three_epochs), None, None)
    groups = measured.groups([*found, short])
    assert measured.leading(groups, "1").record.top1 == 85.8
    assert measured.leading(groups, "demo") is None


def test_a_preset_made_longer_still_speaks_for_itself_and_another_recipe_does_not():
    longer = {"phases.1.train.epochs": [9, 6], "phases.2.train.steps": [40, 30]}
    other = {**longer, "phases.2.optimizer.learning_rate": [0.1, 0.2]}
    rows = [row(epochs=10), row(epochs=14, seed=1, changed=longer), row(epochs=20, seed=2, changed=other)]
    groups = measured.groups([measured.Measured(Evaluation.from_row(one), None, None) for one in rows])
    assert measured.leading(groups, "3").seeds == [1]


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

"""Runs on disk: made, found, chosen, and told apart."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from messages import listen
from told import told

from resnet_tf import files
from resnet_tf.presets import preset_files, schema
from resnet_tf.runs import ledger, run_folder

VALUES = {
    "name": "mine",
    "model": {"num_residual_units": 3},
    "data": {},
    "train": {"epochs": 100},
    "optimizer": {"name": "sgd", "learning_rate": 0.1},
    "schedule": {"name": "constant"},
    "results": [{"test_top1": 80.0}],
}
PRESET = schema.from_dict(VALUES)


@pytest.fixture
def clock(monkeypatch):
    """Sets the time that new runs are given: seconds after 2026-01-01 12:00."""

    def set_to(seconds: int):
        moment = time.strptime(f"2026-01-01 12:{seconds // 60:02}:{seconds % 60:02}", "%Y-%m-%d %H:%M:%S")
        monkeypatch.setattr(time, "gmtime", lambda: moment)

    set_to(0)
    return set_to


def test_a_run_is_called_the_same_by_whatever_way_it_is_reached(tmp_path, monkeypatch):
    name = run_folder.create(PRESET, 0, tmp_path).name
    (tmp_path / "mine" / "beside").mkdir()
    monkeypatch.chdir(tmp_path / "mine" / "beside")
    assert run_folder.find(f"../{name.removeprefix('mine/')}", "runs").name == name


def test_a_run_holds_its_recipe_and_what_it_is_told(tmp_path, clock):
    run = run_folder.create(PRESET, 3, tmp_path, class_names=["a", "b"])
    assert run.name == "mine/20260101T120000Z-s3"
    assert run.folder == tmp_path / "mine" / "20260101T120000Z-s3"
    assert run.preset.hash == PRESET.hash
    assert run.preset.results == ()  # results belong to the preset's file
    assert run.about == {
        "seed": 3,
        "status": "running",
        "started": "2026-01-01T12:00:00Z",
        "class_names": ["a", "b"],
    }
    run.update(status="finished", step=5)
    assert run.about["status"] == "finished"
    assert run.about["seed"] == 3
    assert run.rows == []
    files.append_row(run.log, {"epoch": 1})
    assert run.rows == [{"epoch": 1}]
    assert run.last.parent.is_dir()


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path, clock):
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: run_folder.create(PRESET, 0, tmp_path), range(24)))
    assert len({run.folder for run in runs}) == 24
    assert len(run_folder.every(tmp_path)) == 24


def test_folder_that_cannot_be_made(tmp_path, clock):
    (tmp_path / "file").write_text("")
    line = told(run_folder.create, PRESET, 0, tmp_path / "file")
    assert line.startswith("a run needs a folder it can write to. Received: ")
    assert "Not a directory" in line


def test_runs_are_found_by_name_and_by_path(tmp_path, clock, monkeypatch):
    run = run_folder.create(PRESET, 0, tmp_path / "runs")
    for name in (run.name, str(run.folder)):
        assert run_folder.find(name, tmp_path / "runs").name == run.name
    monkeypatch.chdir(run.folder.parent)
    assert run_folder.find(run.folder.name, tmp_path / "elsewhere").name == run.name


@pytest.mark.parametrize("name", ["mine/20260101T120001Z-s0", "", "mine", "a" * 5000, "nul\0"])
def test_run_that_is_not_there(tmp_path, clock, name):
    assert "There are no runs there yet." in told(run_folder.find, name, tmp_path)
    run_folder.create(PRESET, 0, tmp_path)
    assert "Newest there: mine/20260101T120000Z-s0." in told(run_folder.find, name, tmp_path)


def test_newest_run_of_the_wanted_status_is_chosen(tmp_path, clock):
    for seconds, status in ((0, "finished"), (61, "finished"), (62, "stopped"), (63, "diverged")):
        clock(seconds)
        run_folder.create(PRESET, 0, tmp_path).update(status=status)
    other = schema.from_dict({**VALUES, "name": "mine-too"})
    clock(70)
    run_folder.create(other, 0, tmp_path).update(status="finished")
    assert run_folder.latest(tmp_path, "mine", ("finished",)).name == "mine/20260101T120101Z-s0"
    assert run_folder.latest(tmp_path, "mine", ("running", "stopped")).name == "mine/20260101T120102Z-s0"
    assert run_folder.latest(tmp_path, "mine", ("running",)) is None


def test_choice_without_runs_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "SHIPPED", tmp_path / "weights")
    line = told(run_folder.choose, "4", None, tmp_path, "evaluate")
    assert "to evaluate, a finished run is needed: train one with python train.py --preset 4." in line
    assert line.endswith(f"Received: no such run of preset '4' in {tmp_path}.")


def test_choice_without_runs_names_what_else_there_is(tmp_path, clock):
    line = told(run_folder.choose, "5", None, tmp_path, "evaluate")
    assert "--preset quick-long" in line
    run = run_folder.create(schema.from_dict({**VALUES, "name": "5"}), 0, tmp_path)
    run.update(status="stopped", step=14, steps_planned=30)
    (run.state / "000000014-0").mkdir(parents=True)
    line = told(run_folder.choose, "5", None, tmp_path, "evaluate")
    assert f"{run.name} (stopped, saved up to step 14 of 30): python train.py --resume {run.name}" in line


def test_an_edited_preset_is_not_referred_to_its_own_name(tmp_path):
    values = schema.to_dict(preset_files.load_preset("quick-long", optimizer={"weight_decay": 0.003}))
    edited = tmp_path / "quick-long.json"
    edited.write_text(json.dumps(values))
    assert "--preset quick-long" not in told(run_folder.choose, str(edited), None, tmp_path, "predict")


@pytest.mark.parametrize(
    ("status", "saved"), [("stopped", [14]), ("running", [7, 14]), ("running", []), ("diverged", [])]
)
def test_an_unfinished_run_says_so_where_its_weights_are_wanted(tmp_path, clock, status, saved):
    run = run_folder.create(PRESET, 0, tmp_path)
    run.update(status=status, steps_planned=30)
    for step in saved:
        (run.state / f"{step:09d}-0").mkdir(parents=True)
    line = told(run.weights, "last")
    assert f"{run.name}, {status}, saved up to step {max(saved, default=0)} of 30" in line
    assert (f"python train.py --resume {run.name}" in line) == (status != "diverged")
    assert "--weights best" not in line
    run.best.write_bytes(b"")
    assert "--weights best" in told(run.weights, "last")
    assert run.weights("best") == run.best
    run.update(status="finished")
    assert run.weights("last") == run.last


def test_what_comes_with_the_project_hides_no_slip(tmp_path, clock):
    """A folder of runs that is not there is said and not passed over."""
    assert run_folder.choose(None, None, tmp_path, "predict").shipped is not None
    absent = tmp_path / "rums"
    assert told(run_folder.choose, None, None, absent, "predict").startswith("a folder of runs must exist.")


@pytest.fixture
def finished(tmp_path, clock, monkeypatch):
    """Makes a finished run, a second newer each time; there is no pretrained one."""
    monkeypatch.setattr(run_folder, "SHIPPED", tmp_path / "weights")
    seconds = iter(range(100))

    def make(validation=None, preset=PRESET, changed=None, **about):
        clock(next(seconds))
        run = run_folder.create(preset, 0, tmp_path / "runs", changed=changed or {})
        last = {} if validation is None else {"last": {"validation_top1": validation}}
        run.update(status="finished", steps_planned=10, step=10, **last, **about)
        return run

    return make


def variant(name="mine", **sections):
    return schema.from_dict({**VALUES, "name": name, **sections})


def chosen(tmp_path, preset=None, run=None) -> tuple[run_folder.Run, str]:
    """Returns what answers, and the last line that is said of it."""
    said = listen()
    found = run_folder.choose(preset, run, tmp_path / "runs", "predict")
    assert found.name in said[-1]
    return found, said[-1]


def measured(run, **values) -> dict:
    """Returns a row on a run's test split, by the protocol of its preset where nothing else is said."""
    row = {"run": run.name, "split": "test", "view": "1-crop", "weights": "last", "steps_planned": 10}
    return {**row, "same_data_as_training": True, **values}


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(VALUES))
    return str(path)


def test_the_best_comparable_run_answers_not_the_newest(tmp_path, finished, mine):
    finished(80.0)
    best = finished(86.4)
    finished(85.0)
    finished(99.0, variant(train={"epochs": 1}), {"train.epochs": [1, 100]})  # a trial
    finished(99.0).update(status="stopped")
    for preset in (mine, None):
        found, line = chosen(tmp_path, preset)
        assert found.name == best.name
        assert "86.40 %" in line
        assert "leaving out 1" in line


def test_a_recipe_that_the_preset_has_no_more_is_a_trial(tmp_path, finished, mine):
    finished(98.0, variant(evaluation={"view": "mirror"}))  # the same training, tested otherwise
    finished(99.0, variant(optimizer={"name": "sgd", "learning_rate": 0.2}))
    assert chosen(tmp_path, mine)[0].about["last"]["validation_top1"] == 98.0


def test_of_equal_runs_and_of_runs_without_validation_the_newest_answers(tmp_path, finished, mine):
    first, second = finished(80.0), finished(80.0)
    assert chosen(tmp_path, mine)[0].name == second.name
    second.update(last={})
    assert chosen(tmp_path, mine)[0].name == first.name
    other = variant("bare")
    names = [finished(None, other).name for _ in range(3)]
    assert chosen(tmp_path)[0].name == names[-1]


def test_where_there_are_only_trials_the_best_answers_and_is_called_one(tmp_path, finished, mine):
    short = variant(train={"epochs": 1})
    best = finished(50.0, short, {"train.epochs": [1, 100]})
    finished(40.0, short, {"train.epochs": [1, 100]})
    found, line = chosen(tmp_path, mine)
    assert found.name == best.name
    assert "none with the preset's own recipe" in line
    assert "train.epochs" in line


def test_a_pretrained_run_goes_before_a_trial_of_its_preset(tmp_path, clock):
    quick = preset_files.load_preset("quick-long")
    short = preset_files.load_preset("quick-long", train={"epochs": 1}, phases=())
    run = run_folder.create(short, 0, tmp_path / "runs", changed={"phases": [[], list(quick.phases)]})
    run.update(status="finished", last={"validation_top1": 99.0})
    for preset in ("quick-long", None):
        found, line = chosen(tmp_path, preset)
        assert found.shipped is not None
        assert "90.59 %" in line
    assert chosen(tmp_path, run=run.name)[0].name == run.name


def test_a_network_on_built_in_images_answers_only_where_nothing_else_can(tmp_path, finished, monkeypatch):
    photos = finished(50.0)
    shapes = finished(97.0, variant("demo", data={"dataset": "shapes10"}))
    assert chosen(tmp_path)[0].name == photos.name
    photos.update(status="stopped")
    assert chosen(tmp_path)[0].name == shapes.name
    monkeypatch.undo()
    assert chosen(tmp_path)[0].shipped is not None


def test_the_newest_runs_preset_decides_where_none_is_named(tmp_path, finished):
    finished(99.0)
    best = finished(60.0, variant("mine-too"))
    finished(50.0, variant("mine-too"))
    assert chosen(tmp_path)[0].name == best.name


def test_the_test_figure_is_said_and_decides_nothing(tmp_path, finished, mine):
    best, other = finished(80.0), finished(70.0)
    for run, top1 in ((best, 71.25), (other, 99.0)):
        ledger.append(tmp_path / "runs", ledger.EVALUATED, measured(run, top1=top1))
    found, line = chosen(tmp_path, mine)
    assert found.name == best.name
    assert "80.00 %" in line
    assert "71.25 %" in line
    for other_row in ({"weights": "best"}, {"steps_planned": 5}, {"split": "validation"}):  # not the preset's way
        ledger.append(tmp_path / "runs", ledger.EVALUATED, measured(best, top1=1.0, **other_row))
    assert "71.25 %" in chosen(tmp_path, mine)[1]


def test_a_figure_of_other_images_or_another_protocol_is_not_the_runs_own(tmp_path, finished, mine):
    run, runs = finished(80.0), tmp_path / "runs"
    ledger.append(runs, ledger.EVALUATED, measured(run, top1=99.0, same_data_as_training=False))
    assert "99.00 %" not in chosen(tmp_path, mine)[1]
    ledger.append(runs, ledger.EVALUATED, measured(run, top1=72.5, view="mirror"))
    assert run_folder.test_row(run, runs) is None
    assert "72.50 % (mirror, last weights)" in chosen(tmp_path, mine)[1]  # better than none


def test_a_run_whose_statistics_were_mended_goes_by_the_figures_of_its_weights(tmp_path, finished, mine):
    finished(60.0)
    mended = finished(10.0, recalibrated=True, recalibrated_top1=70.0)
    for weights, top1 in (("last-recalibrated", 71.25), ("last", 12.0)):  # the latter of before it was resumed
        ledger.append(tmp_path / "runs", ledger.EVALUATED, measured(mended, weights=weights, top1=top1))
    found, line = chosen(tmp_path, mine)
    assert found.name == mended.name
    assert "validation 70.00 %" in line
    assert "71.25 %" in line
    grown = finished(65.0, recalibrated=False, recalibrated_top1=None)
    mended.update(status="stopped")
    assert chosen(tmp_path, mine)[0].name == grown.name


@pytest.mark.parametrize("file", ["run.json", "preset.json"])
def test_a_run_that_cannot_be_read_is_named_and_passed_over(tmp_path, finished, mine, file):
    good, broken = finished(50.0), finished(99.0)
    (broken.folder / file).write_text("{")
    for preset in (mine, None):
        said = listen()
        assert run_folder.choose(preset, None, tmp_path / "runs", "predict").name == good.name
        assert str(broken.folder / file) in said[0]


def test_run_and_preset_must_belong_together(tmp_path, clock):
    run = run_folder.create(PRESET, 0, tmp_path)
    assert run_folder.choose(None, run.name, tmp_path, "evaluate") == run
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(VALUES))
    assert run_folder.choose(str(path), run.name, tmp_path, "evaluate") == run
    line = told(run_folder.choose, "4", run.name, tmp_path, "evaluate")
    assert line == f"a run must be of the preset named with it, 4. Received: {run.name}."


def test_names_are_no_patterns(tmp_path, clock):
    for name in ("a", "ab"):
        run_folder.create(schema.from_dict({**VALUES, "name": name}), 0, tmp_path)
    assert [run.name[:2] for run in run_folder.every(tmp_path, "a")] == ["a/"]
    assert run_folder.every(tmp_path, "[a]") == run_folder.every(tmp_path, "a*") == []


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"null"])
def test_damaged_file_of_a_run_is_named(tmp_path, clock, content):
    run = run_folder.create(PRESET, 0, tmp_path)
    for name, read in (("run.json", lambda: run.about), ("preset.json", lambda: run.preset)):
        (run.folder / name).write_bytes(content)
        assert str(run.folder / name) in told(read)


def test_preset_file_is_known_as_long_as_it_is_there(tmp_path, clock):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(VALUES))
    run = run_folder.create(PRESET, 0, tmp_path / "runs", preset_file=str(path))
    assert run.preset_file == path
    path.unlink()
    assert run.preset_file is None
    assert run_folder.create(PRESET, 1, tmp_path / "runs", preset_file=None).preset_file is None

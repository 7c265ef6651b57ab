"""Finding a run by name, and which run is chosen where none is named."""

import json

import pytest
from assertions import user_error
from messages import listen
from plain import MINE

from resnet_tf.presets import preset_files, schema
from resnet_tf.runs import ledger, pretrained
from resnet_tf.runs.choose import all_runs, choose_run, find_run, latest_run, latest_test_result, recorded_accuracy
from resnet_tf.runs.run import Run, create_run

PRESET = schema.from_dict(MINE)
PUBLISHED = pretrained.FOLDER


def test_runs_are_found_by_name_and_by_path(tmp_path, clock, monkeypatch):
    run = create_run(PRESET, 0, tmp_path / "runs")
    for name in (run.name, str(run.folder)):
        assert find_run(name, tmp_path / "runs").name == run.name
    monkeypatch.chdir(run.folder.parent)
    assert find_run(run.folder.name, tmp_path / "elsewhere").name == run.name


def test_a_link_to_a_run_beside_it_is_that_run(tmp_path, clock):
    """Results under a name such as "latest" would stand for another run when the link is moved."""
    run, elsewhere = create_run(PRESET, 0, tmp_path / "runs"), create_run(PRESET, 1, tmp_path / "disk")
    links = run.folder.with_name("latest"), run.folder.with_name(elsewhere.folder.name)
    for link, target in zip(links, (run, elsewhere), strict=True):
        link.symlink_to(target.folder)
    assert [one.name for one in all_runs(tmp_path / "runs")] == [run.name, elsewhere.name]
    assert find_run("mine/latest", tmp_path / "runs").name == run.name
    assert find_run(str(links[1]), tmp_path / "runs").folder == links[1]  # a run that lies on another disk


@pytest.mark.parametrize("name", ["mine/20260101T120001Z-s0", "", "mine", "a" * 5000, "nul\0"])
def test_run_that_is_not_there(tmp_path, clock, name):
    assert user_error(find_run, name, tmp_path).code == "run-not-found"
    create_run(PRESET, 0, tmp_path)
    assert "mine/20260101T120000Z-s0" in str(user_error(find_run, name, tmp_path))


def test_newest_run_of_the_wanted_status_is_chosen(tmp_path, clock):
    for seconds, status in ((0, "finished"), (61, "finished"), (62, "stopped"), (63, "diverged")):
        clock(seconds)
        create_run(PRESET, 0, tmp_path).update(status=status)
    other = schema.from_dict({**MINE, "name": "mine-too"})
    clock(70)
    create_run(other, 0, tmp_path).update(status="finished")
    assert latest_run(tmp_path, "mine", ("finished",)).name == "mine/20260101T120101Z-s0"
    assert latest_run(tmp_path, "mine", ("running", "stopped")).name == "mine/20260101T120102Z-s0"
    assert latest_run(tmp_path, "mine", ("running",)) is None


def test_choice_without_runs_says_how_to_get_one(tmp_path, none_published):
    error = user_error(choose_run, "4", None, tmp_path, "evaluate")
    assert error.code == "no-finished-run"
    assert "python train.py --preset 4" in str(error)


def test_choice_without_runs_names_what_else_there_is(tmp_path, clock):
    line = str(user_error(choose_run, "5", None, tmp_path, "evaluate"))
    assert "--preset quick-long" in line
    run = create_run(schema.from_dict({**MINE, "name": "5"}), 0, tmp_path)
    run.update(status="stopped", step=14, steps_planned=30)
    (run.state / "000000014-0").mkdir(parents=True)
    line = str(user_error(choose_run, "5", None, tmp_path, "evaluate"))
    assert f"{run.name} (stopped, saved up to step 14 of 30): python train.py --resume {run.as_argument}" in line


def test_an_edited_preset_is_not_referred_to_its_own_name(tmp_path):
    values = schema.to_dict(preset_files.load_preset("quick-long", optimizer={"weight_decay": 0.003}))
    edited = tmp_path / "quick-long.json"
    edited.write_text(json.dumps(values))
    assert "--preset quick-long" not in str(user_error(choose_run, str(edited), None, tmp_path, "predict"))


def test_a_misspelt_folder_of_runs_is_an_error_though_a_pretrained_run_could_be_copied_there(published, tmp_path):
    absent = tmp_path / "rums"
    for name in (None, published.name):
        assert user_error(choose_run, None, name, absent, "predict").code == "runs-folder-not-found"
    assert not absent.exists()


def variant(name="mine", **sections):
    return schema.from_dict({**MINE, "name": name, **sections})


def chosen(tmp_path, preset=None, run=None) -> tuple[Run, str]:
    """Returns what answers, and the last line that is said of it."""
    said = listen()
    found = choose_run(preset, run, tmp_path / "runs", "predict")
    assert found.name in said[-1]
    return found, said[-1]


def measured(run, **values) -> dict:
    """Returns a row on a run's test split, by the protocol of its preset where nothing else is said."""
    row = {"run": run.name, "split": "test", "view": "1-crop", "weights": "last", "steps_planned": 10, "steps": 10}
    row |= {"date": "2026-01-01T00:00:00Z", "preset": "mine", "seed": 0, "changed": {}, "epochs": 1, "resolution": 32}
    row |= {
        "count": 100,
        "top1_interval": [0.0, 100.0],
        "data": {"title": "cifar10", "fingerprint": "f", "official": True},
    }
    return {**row, "same_data_as_training": True, **values}


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(MINE))
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
    first.update(status="stopped")
    second.update(status="stopped")
    other = variant("bare")
    names = [finished(None, other).name for _ in range(3)]
    assert chosen(tmp_path)[0].name == names[-1]


def test_runs_without_validation_images_do_not_compete(tmp_path, finished, mine):
    known = finished(60.0)
    finished(None)
    found, line = chosen(tmp_path, mine)
    assert found.name == known.name
    assert "the only finished run" in line
    assert "leaving out 1 without" in line


def test_of_few_validation_images_a_high_accuracy_says_less(tmp_path, finished, mine):
    many = finished(95.0, variant(data={"validation_size": 1000}))  # Wilson's interval: 93.5 to 96.2
    finished(100.0, variant(data={"validation_size": 8}))  # 67.6 to 100
    assert chosen(tmp_path)[0].name == many.name


def test_on_a_validation_split_the_figure_itself_decides(tmp_path, finished):
    """All runs have its images, whatever their presets would have held out."""
    finished(95.0, variant("large", data={"validation_size": 1000}), own_validation=True)
    better = finished(99.0, variant("small", data={"validation_size": 8}), own_validation=True)
    assert chosen(tmp_path)[0].name == better.name


def test_figures_of_another_view_or_of_images_trained_on_do_not_compete(tmp_path, finished, mine):
    known = finished(60.0)
    finished(99.0, init={"run": "other/a", "validation_seen": 5})
    assert chosen(tmp_path)[0].name == known.name
    by_six_views = finished(98.0, variant(evaluation={"view": "mirror-shift"}))
    found, line = chosen(tmp_path, mine)
    assert found.name == known.name
    assert "leaving out 2 without" in line
    assert chosen(tmp_path)[0].name == by_six_views.name  # each by its own view, in which it predicts


def test_of_one_presets_runs_those_on_the_newest_images_compete(tmp_path, finished, mine):
    finished(98.0, data={"fingerprint": "two classes"})
    newer = [finished(top1, data={"fingerprint": "three classes"}) for top1 in (90.0, 85.0)]
    assert chosen(tmp_path, mine)[0].name == newer[0].name


def test_a_trial_on_newer_images_does_not_hide_a_whole_run(tmp_path, finished, mine):
    whole = finished(93.0, data={"fingerprint": "official"})
    finished(95.0, data={"fingerprint": "an older copy"})
    finished(92.0, data={"fingerprint": "official"})
    finished(40.0, variant(train={"epochs": 1}), {"train.epochs": [1, 100]}, data={"fingerprint": "a copy"})
    found, line = chosen(tmp_path, mine)
    assert found.name == whole.name
    assert "the best of 2" in line
    assert "leaving out 2 on other images" in line


def test_of_pretrained_networks_the_validation_images_choose(tmp_path, none_published):
    """The one with the better test figure is worse on them."""
    (tmp_path / "runs").mkdir()
    for name, validation, test in (("one", 95.0, 93.0), ("two", 94.0, 96.0)):
        run = create_run(variant(name), 0, none_published)
        run.update(status="finished", pretrained=True, steps_planned=10, step=10, last={"validation_top1": validation})
        (run.folder / "result.json").write_text(json.dumps(measured(run, top1=test)))
    found, line = chosen(tmp_path)
    assert found.name.startswith("one/")
    assert "pretrained" in line


def test_where_the_best_weights_answer_their_validation_decides(tmp_path, finished):
    scored_at_its_best = variant(evaluation={"weights": "best"})
    runs = []
    for epochs in ((90.0, 50.0), (70.0, 60.0)):
        runs.append(finished(epochs[-1], scored_at_its_best))
        rows = ({"epoch": epoch, "validation_top1": top1} for epoch, top1 in enumerate(epochs, start=1))
        runs[-1].log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, line = chosen(tmp_path)
    assert found.name == runs[0].name
    assert "validation 90.00 %" in line
    assert "validation 50.00 %" in recorded_accuracy(found, tmp_path / "runs", "last")


def test_runs_compete_by_the_weights_that_the_preset_scores(tmp_path, finished, mine):
    steady = finished(80.0)
    lucky = finished(50.0, variant(evaluation={"weights": "best"}))  # the same training
    lucky.log.write_text(json.dumps({"epoch": 1, "validation_top1": 90.0}) + "\n")
    found, line = chosen(tmp_path, mine)
    assert found.name == steady.name
    assert "validation 80.00 %" in line


def test_where_there_are_only_trials_the_best_answers_and_is_called_one(tmp_path, finished, mine):
    short = variant(train={"epochs": 1})
    best = finished(50.0, short, {"train.epochs": [1, 100]})
    finished(40.0, short, {"train.epochs": [1, 100]})
    found, line = chosen(tmp_path, mine)
    assert found.name == best.name
    assert "none with the preset's own recipe" in line
    assert "train.epochs" in line


def test_a_pretrained_run_goes_before_a_trial_of_its_preset(published, tmp_path, clock):
    quick = preset_files.load_preset("quick-long")
    short = preset_files.load_preset("quick-long", train={"epochs": 1})
    run = create_run(short, 0, tmp_path / "runs", changed={"train.epochs": [1, quick.train.epochs]})
    run.update(status="finished", last={"validation_top1": 99.0}, data=published.about["data"])
    for preset in ("quick-long", None):
        found, line = chosen(tmp_path, preset)
        assert found.pretrained
        assert f"{found.published.top1:.2f} %" in line
    assert chosen(tmp_path, run=run.name)[0].name == run.name


def test_a_network_on_built_in_images_answers_only_where_nothing_else_can(tmp_path, finished, monkeypatch):
    photos = finished(50.0)
    shapes = finished(97.0, variant("demo", data={"dataset": "shapes10"}))
    assert chosen(tmp_path)[0].name == photos.name
    photos.update(status="stopped")
    assert chosen(tmp_path)[0].name == shapes.name
    monkeypatch.undo()
    assert chosen(tmp_path)[0].pretrained


def test_the_best_run_of_all_presets_answers_where_none_is_named(tmp_path, finished):
    best = finished(99.0)
    finished(60.0, variant("mine-too"))
    found, line = chosen(tmp_path)
    assert found.name == best.name
    assert "the best of" in line
    assert "mine, mine-too" in line
    newest = finished(50.0, variant("other", data={"dataset": "cifar100"}))  # its accuracy compares with none of them
    assert chosen(tmp_path)[0].name == newest.name


def test_a_weak_run_does_not_replace_the_pretrained_network(published, tmp_path, finished, monkeypatch):
    weak = finished(52.0, data=published.about["data"])
    monkeypatch.undo()
    found, line = chosen(tmp_path)
    assert found.folder == published.folder
    assert "the best of" in line
    weak.update(last={"validation_top1": 99.0})
    assert chosen(tmp_path)[0].name == weak.name


def test_the_test_figure_is_said_and_decides_nothing(tmp_path, finished, mine):
    best, other = finished(80.0), finished(70.0)
    for run, top1 in ((best, 71.25), (other, 99.0)):
        ledger.append(tmp_path / "runs", ledger.EVALUATED, measured(run, top1=top1))
    found, line = chosen(tmp_path, mine)
    assert found.name == best.name
    assert "80.00 %" in line
    assert "71.25 %" in line
    # Not the preset's way, of another length, and of when it was not yet finished.
    for other_row in ({"weights": "best"}, {"steps_planned": 5}, {"split": "validation"}, {"trained": 5}, {"steps": 5}):
        ledger.append(tmp_path / "runs", ledger.EVALUATED, measured(best, top1=1.0, **other_row))
    assert "71.25 %" in chosen(tmp_path, mine)[1]


def test_a_figure_of_other_images_or_another_protocol_is_not_the_runs_own(tmp_path, finished, mine):
    run, runs = finished(80.0), tmp_path / "runs"
    ledger.append(runs, ledger.EVALUATED, measured(run, top1=99.0, same_data_as_training=False))
    assert "99.00 %" not in chosen(tmp_path, mine)[1]
    ledger.append(runs, ledger.EVALUATED, measured(run, top1=72.5, view="mirror"))
    assert latest_test_result(run, runs) is None
    assert "72.50 % (mirror, last weights)" in chosen(tmp_path, mine)[1]  # better than none
    larger = measured(run, top1=73.5, resolution=48, frame="resize(48)")
    ledger.append(runs, ledger.EVALUATED, larger)
    assert latest_test_result(run, runs) is None
    assert "73.50 % (1-crop, last weights, 48 px)" in chosen(tmp_path, mine)[1]


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
        assert choose_run(preset, None, tmp_path / "runs", "predict").name == good.name
        assert str(broken.folder / file) in said[0]


def test_run_and_preset_must_belong_together(tmp_path, clock):
    run = create_run(PRESET, 0, tmp_path)
    assert choose_run(None, run.name, tmp_path, "evaluate") == run
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(MINE))
    assert choose_run(str(path), run.name, tmp_path, "evaluate") == run
    assert user_error(choose_run, "4", run.name, tmp_path, "evaluate").code == "run-of-another-preset"


def test_names_are_no_patterns(tmp_path, clock):
    for name in ("a", "ab"):
        create_run(schema.from_dict({**MINE, "name": name}), 0, tmp_path)
    assert [run.name[:2] for run in all_runs(tmp_path, "a")] == ["a/"]
    assert all_runs(tmp_path, "[a]") == all_runs(tmp_path, "a*") == []


def test_a_training_in_bfloat16_is_one_of_the_presets_own_recipe(tmp_path, finished, mine):
    """It answers for its preset, by name and without one; a shorter training with a better score is a trial."""
    precision = {"precision": "mixed_bfloat16"}
    finished(80.0, variant(train=MINE["train"] | precision), {"train.precision": ["mixed_bfloat16", "float32"]})
    finished(99.0, variant(train=MINE["train"] | {"epochs": 1}), {"train.epochs": [1, 100]})
    for preset in (mine, None):
        assert chosen(tmp_path, preset)[0].preset.train.precision == "mixed_bfloat16"

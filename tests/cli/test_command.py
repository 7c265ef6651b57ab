"""Exit codes and messages of what the commands have in common."""

import errno
import os
import signal
import subprocess
import sys

import pytest
from assertions import user_error

from resnet_tf.cli import command, export, predict, train
from resnet_tf.errors import Stopped, UserError


def run(capsys, error: BaseException | None, *arguments: str) -> tuple[int, str, str]:
    """Runs a command that raises an error, or none; returns its exit code, stdout and stderr."""

    def main(received):
        assert received == list(arguments)
        if error is not None:
            raise error

    code = command.run_command(main, list(arguments))
    return code, *capsys.readouterr()


def test_exit_code_is_0_or_what_main_returns(capsys):
    assert run(capsys, None) == (0, "", "")
    assert command.run_command(lambda arguments: 3, []) == 3


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("unknown preset 'x'.", "a-code"), 2, "error: unknown preset 'x'.\n"),
        (Stopped("stopped at step 5", signal.SIGINT), 130, "stopped at step 5\n"),
        (Stopped("stopped at step 5", signal.SIGTERM), 143, "stopped at step 5\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
        (
            UserError("a\nb\r\tc\x1b[31m\x07 \u202eé \udcff", "a-code"),
            2,
            "error: a\\nb\\r\\tc\\x1b[31m\\x07 \\u202eé \\xff\n",
        ),
        (OSError(errno.ENOSPC, "No space left on device", "runs"), 2, "error: [Errno 28] No space left on device: "),
    ],
)
def test_user_error_is_one_line_and_an_exit_code(capsys, error, code, line):
    exit_code, out, err = run(capsys, error)
    assert (exit_code, out) == (code, "")
    assert err.startswith(line)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("backend", "code", "datum"),
    [
        ("jaxx", "backend-unknown", "'jax'"),
        ("torch", "backend-unknown", "tensorflow, jax"),
        ("jax", "backend-not-installed", "requirements-jax.txt"),
    ],
)
def test_missing_backend(monkeypatch, backend, code, datum):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    error = user_error(command.start_tensorflow)
    assert error.code == code
    assert datum in str(error)


def test_tensorflow_starts_without_a_word_and_without_what_no_command_needs():
    code = """
import sys
from resnet_tf.cli import command
def main(arguments):
    command.start_tensorflow()
    assert not {"matplotlib", "pandas"} & set(sys.modules)
    import matplotlib.pyplot  # later it can be had
    print("a warning of the command's own", file=sys.stderr)
command.run_command(main, [])
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TF_CPP")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "a warning of the command's own\n")


@pytest.mark.parametrize(
    "error", [UserError("x", "a-code"), Stopped("x", signal.SIGINT), OSError(errno.ENOSPC, "No space left on device")]
)
def test_debug_shows_the_traceback(capsys, error):
    with pytest.raises(type(error)):
        run(capsys, error, "--preset", "4", "--debug")


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.ENOENT, "No such file"), OSError("no number")])
def test_a_bug_is_not_hidden(capsys, error):
    with pytest.raises(type(error)):
        run(capsys, error)


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_closed_pipe_is_no_error(lines):
    code = f"""
import sys
from resnet_tf.cli import command
def main(arguments):
    for _ in range({lines}):
        print("a line")
sys.exit(command.run_command(main, []))
"""
    read, write = os.pipe()
    os.close(read)
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    arguments = [sys.executable, "-c", code]
    try:
        done = subprocess.run(arguments, stdout=write, stderr=subprocess.PIPE, text=True, env=buffered)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def parser() -> command.Parser:
    options = command.Parser("train", "Does something.", "  python train.py --preset 4")
    options.add_argument("--preset")
    options.add_argument("--seed", type=int)
    options.add_argument("--split", choices=("test", "validation"))
    command.add_data_option(options)
    command.add_run_options(options)
    return options


def parser_with_set() -> command.Parser:
    options = parser()
    options.add_argument("--set", action="append")
    return options


def test_options_are_read():
    options = parser().parse_args(["--preset", "4", "--seed=3", "--data", "x", "--runs", "elsewhere"])
    assert (options.preset, options.seed, options.data, options.runs) == ("4", 3, "x", "elsewhere")
    defaults = parser().parse_args([])
    assert (defaults.data, defaults.runs, defaults.debug) == (None, "runs", False)


def test_photos_may_stand_on_both_sides_of_an_option():
    assert predict.parser().parse_args(["a.jpg", "--json", "b.jpg"]).photos == ["a.jpg", "b.jpg"]
    assert predict.parser().parse_args(["--json", "--", "a.jpg", "--top"]).photos == ["a.jpg", "--top"]


@pytest.mark.parametrize("options", [["--summary", "--dry-run"], ["--check", "--summary"], ["--dry-run", "--resume"]])
def test_only_one_thing_is_done_at_a_time(options):
    assert user_error(train.main, ["--preset", "demo", *options]).code == "options-conflict"


@pytest.mark.parametrize(
    ("arguments", "code", "datum"),
    [
        (["--prset", "4"], "option-unknown", "Did you mean '--preset'?"),
        (["--sed=4"], "option-unknown", "Did you mean '--seed'?"),
        (["--pres", "4"], "option-unknown", "Did you mean '--preset'?"),  # no abbreviations
        (["--epochs", "1"], "option-unknown", "'--epochs'"),  # without --set there is no way to change a key
        (["four"], "argument-without-option", "'four'"),
        (["demo"], "argument-without-option", "Did you mean --preset demo?"),
        (["--preset", "3", "demo"], "argument-without-option", "'demo'. See"),
        (["--preset"], "option-value", "--preset"),
        (["--seed", "x"], "option-value", "'x'"),
        (["--split", "train"], "option-value", "'train'"),
    ],
)
def test_mistaken_options_name_the_nearest(arguments, code, datum):
    error = user_error(parser().parse_args, arguments)
    assert error.code == code
    assert datum in str(error)
    assert str(error).endswith("See: python train.py --help")


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (["--epochs", "1"], "--set train.epochs=1"),
        (["--epochs=1"], "--set train.epochs=1"),
        (["--epoch", "1"], "--set train.epochs=1"),
        (["--batch-size", "64"], "--set train.batch_size=64"),
        (["--batch_size", "64"], "--set train.batch_size=64"),
        (["--learning-rate", "0.1"], "--set optimizer.learning_rate=0.1"),
        (["--lr=0.1"], "--set optimizer.learning_rate=0.1"),
        (["--lr"], "--set optimizer.learning_rate=VALUE"),
        (["--epoch", "--lr", "0.1"], "--set train.epochs=VALUE"),
        (["--momentum", "-1"], "--set optimizer.momentum=-1"),
        (["--augment", "pad_crop(4) | flip_horizontal"], "--set 'data.augment=pad_crop(4) | flip_horizontal'"),
        (["--name", "adam"], "--set optimizer.name=adam or --set schedule.name=adam"),
    ],
)
def test_a_key_of_the_recipe_as_an_option_is_answered_with_set(arguments, settings):
    error = user_error(parser_with_set().parse_args, arguments)
    assert error.code == "option-is-a-key"
    assert f"{settings}. See" in str(error)


@pytest.mark.parametrize("arguments", [["--verbose"], ["--prset", "4"], ["--sed", "4"]])
def test_a_misspelt_option_is_not_taken_for_a_key(arguments):
    error = user_error(parser_with_set().parse_args, arguments)
    assert error.code == "option-unknown"
    assert "--set " not in str(error)


@pytest.mark.parametrize("argument", ["--data", "--data=images"])
def test_a_data_set_where_none_is_needed(argument):
    error = user_error(export.parser().parse_args, ["--preset", "4", argument, "images"])
    assert error.code == "data-not-needed"
    assert "leave --data out" in str(error)


def test_preset_and_data_exchanged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "cifar.tar.gz").write_text("")
    (tmp_path / "mine.json").write_text("")
    for images, preset in (("images", "demo"), ("cifar.tar.gz", "4"), ("images", "./mine.json")):
        error = user_error(parser().parse_args, ["--preset", images, "--data", preset])
        assert error.code == "preset-and-data-exchanged"
        assert f"--preset {preset} --data {images}" in str(error)
        assert parser().parse_args(["--preset", preset, "--data", images]).preset == preset
    assert parser().parse_args(["--preset", "images", "--data", "elsewhere"]).data == "elsewhere"  # an error later on


def test_help_is_short_and_shows_examples(capsys):
    with pytest.raises(SystemExit) as ended:
        command.run_command(parser().parse_args, ["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "  python train.py --preset 4" in text
    assert len(text.splitlines()) < 40


def test_init_is_short_for_its_key_and_a_name_of_digits_stays_a_text():
    from resnet_tf.cli import train as train_command

    def recipe(*arguments):
        return train_command.recipe(train_command.parser().parse_args(["--preset", "demo", *arguments]))[0]

    assert recipe("--init", "4", "--set", "train.epochs=2").train.init == "4"
    assert recipe("--set", "train.epochs=2").train.init is None
    assert recipe("--init", "4").changed == {"train.init": ["4", None]}
    assert user_error(recipe, "--init", "4", "--set", "train.init=quick").code == "set-conflict"

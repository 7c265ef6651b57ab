"""Exit codes and messages of the commands' common part."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from resnet_tf.cli import command
from resnet_tf.errors import Stopped, UserError


def run(capsys, error: BaseException | None, *arguments: str) -> tuple[int, str, str]:
    """Runs a command that ends with an error, or well; returns its exit code, stdout and stderr."""

    def main(received):
        assert received == list(arguments)
        if error is not None:
            raise error

    code = command.run_command(main, list(arguments))
    return code, *capsys.readouterr()


def test_a_command_that_does_its_work_ends_with_0(capsys):
    assert run(capsys, None) == (0, "", "")
    assert command.run_command(lambda arguments: 3, []) == 3


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("unknown preset 'x'."), 2, "error: unknown preset 'x'.\n"),
        (Stopped("stopped at step 5", signal.SIGINT), 130, "stopped at step 5\n"),
        (Stopped("stopped at step 5", signal.SIGTERM), 143, "stopped at step 5\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
        (UserError("a\nb\r\tc\x1b[31m\x07 \u202eé \udcff"), 2, "error: a\\nb\\r\\tc\\x1b[31m\\x07 \\u202eé \\xff\n"),
        (OSError(errno.ENOSPC, "No space left on device", "runs"), 2, "error: [Errno 28] No space left on device: "),
    ],
)
def test_mistake_is_one_line_and_its_exit_code(capsys, error, code, line):
    found = run(capsys, error)
    assert found[:2] == (code, "")
    assert found[2].startswith(line)
    assert found[2].count("\n") == 1
    assert "Traceback" not in found[2]


@pytest.mark.parametrize(
    ("backend", "line"),
    [
        ("jaxx", "unknown backend in KERAS_BACKEND 'jaxx'. Did you mean 'jax'?"),
        ("torch", "unknown backend in KERAS_BACKEND 'torch'. Known: tensorflow, jax."),
        (
            "jax",
            "Received: KERAS_BACKEND=jax, without the package. Install it with pip install -r requirements-jax.txt.",
        ),
    ],
)
def test_a_backend_that_is_not_to_be_had_is_told(monkeypatch, backend, line):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        command.start_tensorflow()
    assert str(caught.value).endswith(line)


@pytest.mark.parametrize(
    "error", [UserError("x"), Stopped("x", signal.SIGINT), OSError(errno.ENOSPC, "No space left on device")]
)
def test_debug_shows_where_it_happened(capsys, error):
    with pytest.raises(type(error)):
        run(capsys, error, "--preset", "4", "--debug")


@pytest.mark.parametrize("error", [ValueError("a bug"), OSError(errno.ENOENT, "No such file"), OSError("no number")])
def test_what_is_no_mistake_of_the_users_is_not_hidden(capsys, error):
    with pytest.raises(type(error)):
        run(capsys, error)


@pytest.mark.parametrize("lines", [1, 100_000])
def test_reader_that_has_had_enough_is_no_error(lines):
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
    words = [sys.executable, "-c", code]
    try:
        done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, text=True, env=buffered)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def parser() -> command.Parser:
    options = command.Parser("Does something.", "  python command.py --preset 4")
    options.prog = "command.py"
    options.add_argument("--preset")
    options.add_argument("--seed", type=int)
    options.add_argument("--split", choices=("test", "validation"))
    command.add_data_option(options)
    command.add_run_options(options)
    return options


def test_options_are_read():
    options = parser().parse_args(["--preset", "4", "--seed=3", "--data", "x", "--runs", "elsewhere"])
    assert (options.preset, options.seed, options.data, options.runs) == ("4", 3, "x", "elsewhere")
    defaults = parser().parse_args([])
    assert (defaults.data, defaults.runs, defaults.debug) == (None, "runs", False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prset", "4"], "unknown option '--prset'. Did you mean '--preset'? See: command.py --help"),
        (["--sed=4"], "unknown option '--sed'. Did you mean '--seed'? See: command.py --help"),
        (["--pres", "4"], "unknown option '--pres'. Did you mean '--preset'?"),  # no abbreviations
        (["four"], "a word must belong to an option. Received: 'four'. See: command.py --help"),
        (["demo"], "a word must belong to an option. Received: 'demo'. Did you mean --preset demo? See:"),
        (["--preset", "3", "demo"], "a word must belong to an option. Received: 'demo'. See: command.py --help"),
        (["--epochs", "1"], "unknown option '--epochs'. Did you mean"),  # without --set there is nothing to point to
        (["--preset"], "argument --preset: expected one argument. See: command.py --help"),
        (["--seed", "x"], "argument --seed: invalid int value: 'x'. See: command.py --help"),
        (["--split", "train"], "argument --split: invalid choice: 'train'"),
    ],
)
def test_mistaken_options_are_told_with_the_nearest(arguments, message):
    with pytest.raises(UserError) as caught:
        parser().parse_args(arguments)
    assert str(caught.value).startswith(message)


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
def test_an_option_that_is_a_key_of_the_recipe_points_to_it(arguments, settings):
    options = parser()
    options.add_argument("--set", action="append")
    with pytest.raises(UserError) as caught:
        options.parse_args(arguments)
    assert f"changed with {settings}. See: command.py --help" in str(caught.value)


@pytest.mark.parametrize("arguments", [["--verbose"], ["--prset", "4"], ["--sed", "4"]])
def test_what_is_no_key_of_the_recipe_is_an_option_misspelt(arguments):
    options = parser()
    options.add_argument("--set", action="append")
    with pytest.raises(UserError) as caught:
        options.parse_args(arguments)
    assert "--set " not in str(caught.value)


def test_preset_and_data_exchanged_are_put_right(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "cifar.tar.gz").write_text("")
    (tmp_path / "mine.json").write_text("")
    for images, preset in (("pictures", "demo"), ("cifar.tar.gz", "4"), ("pictures", "./mine.json")):
        with pytest.raises(UserError) as caught:
            parser().parse_args(["--preset", images, "--data", preset])
        assert f"--preset {preset} --data {images}" in str(caught.value)
        assert parser().parse_args(["--preset", preset, "--data", images]).preset == preset
    assert parser().parse_args(["--preset", "pictures", "--data", "elsewhere"]).data == "elsewhere"  # told by others


def test_help_is_short_and_shows_examples(capsys):
    with pytest.raises(SystemExit) as ended:
        command.run_command(parser().parse_args, ["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "  python command.py --preset 4" in text
    assert len(text.splitlines()) < 40


def test_notices_of_tensorflow_are_told_from_its_errors():
    quiet = [
        "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
        "I0000 00:00:1700000000.123456    1 cpu_feature_guard.cc:210] This TensorFlow binary is optimized",
        "E0000 00:00:1700000000.123456    1 cuda_executor.cc:1] failed call to cuInit: UNKNOWN ERROR (303)",
    ]
    loud = ["E0000 00:00:1700000000.123456    1 op_kernel.cc:1] OOM when allocating tensor", "F0000 00:00 fatal"]
    assert all(command._NOTICE.match(line) for line in quiet)
    assert not any(command._NOTICE.match(line) for line in loud)

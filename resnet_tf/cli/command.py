"""What the commands have in common: options, and mistakes told in one line."""

import argparse
import difflib
import errno
import io
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from resnet_tf.errors import Stopped, UserError, shown, unknown
from resnet_tf.format import printable
from resnet_tf.log import print_handler
from resnet_tf.presets import schema, storage
from resnet_tf.runs.run_folder import RUNS


class Parser(argparse.ArgumentParser):
    """Parses a command's options; a mistake is one line and exit code 2."""

    def __init__(self, description: str, examples: str):
        super().__init__(
            description=description,
            epilog=f"examples:\n{examples}",
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=110),
            allow_abbrev=False,
        )

    def parse_args(self, args=None, namespace=None):
        options, unknown_words = self.parse_known_args(args, namespace)
        if unknown_words:
            raise self._unknown(options, *unknown_words)
        preset, data = getattr(options, "preset", None), getattr(options, "data", None)
        if preset and data and os.path.exists(preset) and not _is_preset(preset) and _is_preset(data):
            raise UserError(
                "--preset names a recipe, --data the place of its images. Received: the two exchanged. "
                f"Try --preset {data} --data {preset}"
            )
        return options

    def _unknown(self, options: argparse.Namespace, word: str, *others: str) -> UserError:
        """Returns the error for a word that no option takes, with what it may have been meant for."""
        known, see = self._option_string_actions, f"See: {self.prog} --help"
        if not word.startswith("-"):
            takers = [name for name in ("--preset", "--presets") if name in known and not getattr(options, name[2:])]
            meant = f" Did you mean {takers[0]} {word}?" if takers and _is_preset(word) else ""
            return UserError(f"a word must belong to an option. Received: {shown(word)}.{meant} {see}")
        option, equals, value = word.partition("=")
        keys = _keys_by_option() if "--set" in known else {}
        close = difflib.get_close_matches(option.replace("_", "-"), (*known, *keys), n=1, cutoff=0.7)
        if not close or close[0] in known:
            return unknown("option", option, known, see)
        following = next(iter(others), "--")
        value = value if equals else "VALUE" if following.startswith("--") else following
        settings = " or ".join(f"--set {shlex.quote(f'{key}={value}')}" for key in keys[close[0]])
        return UserError(f"unknown option {shown(option)}. A key of the recipe is changed with {settings}. {see}")

    def error(self, message: str) -> None:
        raise UserError(f"{message}. See: {self.prog} --help")


def _is_preset(name: str) -> bool:
    """Says whether a preset is called so, or lies there."""
    try:
        storage.find(name)
    except UserError:
        return False
    return True


def _keys_by_option() -> dict[str, list[str]]:
    """Returns the recipe's keys by the option that one might take for each: "--epochs": ["train.epochs"]."""
    found = {"--lr": ["optimizer.learning_rate"], "--optimizer": ["optimizer.name"], "--schedule": ["schedule.name"]}
    for key in schema.recipe_keys():
        found.setdefault("--" + key.partition(".")[2].replace("_", "-"), []).append(key)
    return found


def add_network_options(parser: Parser) -> None:
    """Adds the options that say whose weights to use."""
    group = parser.add_argument_group("which network")
    group.add_argument("--preset", metavar="NAME|PATH", help="the best finished run of this preset")
    group.add_argument("--run", metavar="RUN", help="a run's name or folder")
    group.add_argument("--weights", choices=("last", "best"), help="which of the run's weights (default: the preset's)")


def add_data_option(parser: Parser) -> None:
    """Adds the option that says where the images are."""
    parser.add_argument_group("where the images are").add_argument(
        "--data",
        metavar="PATH",
        help="a folder train/<class>/*, test/<class>/*, or an official archive (default: $RESNET_DATA, then a prepared "
        "tensorflow-datasets folder, then a download)",
    )


def add_run_options(parser: Parser) -> None:
    """Adds the options that every command has."""
    group = parser.add_argument_group("in general")
    group.add_argument("--runs", metavar="DIR", default=RUNS, help=f"the folder of all runs (default: {RUNS})")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")


def run_command(main: Callable[[list[str]], int | None], arguments: list[str] | None = None) -> int:
    """Runs a command's main function and returns its exit code: 2 for a mistake of the user's, told in one line.

    Args:
        arguments: the command line without the program's name; default: this process's.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    print_handler.to_stderr = False  # an earlier command of this process may have set it
    # TensorFlow's start-up notices are of no use to the user; its errors stay.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a sign that the terminal has not got must not end the work
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main(arguments) or 0
        sys.stdout.flush()  # here, where a broken pipe is caught, and not at the interpreter's end
        return code
    except (UserError, Stopped) as error:
        if "--debug" in arguments:
            raise
        print(f"{'error: ' if isinstance(error, UserError) else ''}{printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe (head, less) has had enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if "--debug" in arguments or error.errno not in _DISK_ERRORS:
            raise
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return UserError.exit_code


# A full or a protected disk is the user's to mend, wherever it is met.
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows a bar on a terminal while something is counted, with the time left; gives what moves it: (done, total)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def start_tensorflow() -> None:
    """Imports Keras and TensorFlow without their start-up notices; whatever else they say is passed on.

    The notices come from C++ before any setting can silence them, so the descriptor itself is turned aside meanwhile.

    Raises:
        UserError: KERAS_BACKEND, or Keras's own settings, name a backend that is not supported or not installed.
    """
    import importlib.util
    import tempfile

    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend not in BACKENDS:
        raise unknown("backend in KERAS_BACKEND", backend, BACKENDS)
    if importlib.util.find_spec(backend) is None:
        raise UserError(
            f"a backend must be installed. Received: KERAS_BACKEND={backend}, without the package. Install it with pip "
            f"install -r {BACKENDS[backend]}."
        )

    terminal = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            with _unavailable("matplotlib"):
                import keras
                import tensorflow as tf
            tf.config.list_physical_devices()  # looks for a GPU, and says so
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            aside.seek(0)
            for line in aside.read().decode(errors="replace").splitlines():
                if not _NOTICE.match(line):
                    print(line, file=sys.stderr)
    if keras.backend.backend() not in BACKENDS:
        raise unknown("backend in ~/.keras/keras.json", keras.backend.backend(), BACKENDS)


@contextmanager
def _unavailable(package: str) -> Iterator[None]:
    """Lets imports of a package fail that others try and can do without.

    Keras tries matplotlib, for galleries that no command shows: half a second of every start.
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None
    try:
        yield
    finally:
        del sys.modules[package]


BACKENDS = {"tensorflow": "requirements.txt", "jax": "requirements-jax.txt"}
_NOTICE = re.compile(
    r"WARNING: All log messages before absl|[IW]\d{4} |E\d{4} .*(cuInit|cuda|computation_placer|Unable to register)"
)

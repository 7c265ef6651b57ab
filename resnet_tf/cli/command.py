"""What the commands have in common: options, exit codes, and error messages of one line."""

import argparse
import difflib
import errno
import importlib.util
import io
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from resnet_tf import files, installation
from resnet_tf.errors import Stopped, UserError, shown, unknown
from resnet_tf.format import printable
from resnet_tf.imports import quick_import
from resnet_tf.log import logger, print_handler
from resnet_tf.presets import preset_files, schema
from resnet_tf.runs.run import RUNS


class Parser(argparse.ArgumentParser):
    """Parses a command's options; a mistake is a UserError.

    Args:
        name: of the command: "train".
        examples: lines, each a command line as in a clone: "  python train.py --preset 4".
    """

    def __init__(self, name: str, description: str, examples: str):
        call = installation.call(name)
        super().__init__(
            prog=call,
            description=description,
            epilog=f"examples:\n{examples.replace(f'python {name}.py', call)}",
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=110),
            allow_abbrev=False,
        )

    def parse_args(self, args=None, namespace=None):
        # Photos may stand on both sides of an option; after "--", though, intermixed parsing reads names as options.
        parse = self.parse_known_args if "--" in (args or ()) else self.parse_known_intermixed_args
        options, unknown_arguments = parse(args, namespace)
        if unknown_arguments:
            raise self._unknown(options, *unknown_arguments)
        preset, data = getattr(options, "preset", None), getattr(options, "data", None)
        if preset and data and os.path.exists(preset) and not _is_preset(preset) and _is_preset(data):
            raise UserError(
                "--preset takes a recipe, --data the folder or archive of its images. Received: the two exchanged. "
                f"Try --preset {shlex.quote(data)} --data {shlex.quote(preset)}",
                "preset-and-data-exchanged",
            )
        return options

    def _unknown(self, options: argparse.Namespace, argument: str, *others: str) -> UserError:
        """Returns the error for an argument that no option takes, with what was probably meant."""
        known, see = self._option_string_actions, f"See: {self.prog} --help"
        if not argument.startswith("-"):
            unset = [name for name in ("--preset", "--presets") if name in known and not getattr(options, name[2:])]
            hint = f" Did you mean {unset[0]} {argument}?" if unset and _is_preset(argument) else ""
            message = f"an argument must belong to an option. Received: {shown(argument)}.{hint} {see}"
            return UserError(message, "argument-without-option")
        option, equals, value = argument.partition("=")
        if option == "--data" and option not in known:  # a habit from train.py and eval.py
            return UserError(f"{self.prog} needs no data set: leave {option} out. {see}", "data-not-needed")
        keys = _keys_by_option() if "--set" in known else {}
        close = difflib.get_close_matches(option.replace("_", "-"), (*known, *keys), n=1, cutoff=0.7)
        if not close or close[0] in known:
            return unknown("option", option, known, "option-unknown", see)
        following = next(iter(others), "--")
        value = value if equals else "VALUE" if following.startswith("--") else following
        settings = " or ".join(f"--set {shlex.quote(f'{key}={value}')}" for key in keys[close[0]])
        message = f"unknown option {shown(option)}. A key of the recipe is changed with {settings}. {see}"
        return UserError(message, "option-is-a-key")

    def error(self, message: str) -> None:
        raise UserError(f"{message}. See: {self.prog} --help", "option-value")


def _is_preset(name: str) -> bool:
    """Returns whether a preset has this name or is in this file."""
    try:
        preset_files.find(name)
    except UserError:
        return False
    return True


def _keys_by_option() -> dict[str, list[str]]:
    """Returns the recipe's keys by the option that a user may expect for them: "--epochs": ["train.epochs"]."""
    keys = {"--lr": ["optimizer.learning_rate"], "--optimizer": ["optimizer.name"], "--schedule": ["schedule.name"]}
    for key in schema.recipe_keys():
        keys.setdefault("--" + key.partition(".")[2].replace("_", "-"), []).append(key)
    return keys


def add_network_options(parser: Parser) -> None:
    """Adds the options that choose a trained network."""
    group = parser.add_argument_group("network")
    group.add_argument("--preset", metavar="NAME|PATH", help="use the best finished run of this preset")
    group.add_argument("--run", metavar="RUN", help="use this run, by its name or folder")
    group.add_argument(
        "--weights",
        choices=("last", "best"),
        help="weights of the last step or of the best validation epoch (default: the preset's choice)",
    )


def add_data_option(parser: Parser) -> None:
    """Adds the option that says where the images are."""
    parser.add_argument_group("images").add_argument(
        "--data",
        metavar="PATH",
        help="an official archive, a folder with train/<class>/* and test/<class>/*, or, for your own images, one with "
        "<class>/* (default: $RESNET_DATA, then a prepared tensorflow-datasets folder, then a download)",
    )


def add_run_options(parser: Parser) -> None:
    """Adds the options that every command has."""
    group = parser.add_argument_group("general")
    group.add_argument("--runs", metavar="DIR", default=RUNS, help=f"folder of all runs (default: {RUNS})")
    group.add_argument("--debug", action="store_true", help="show the traceback of an error")


def run_command(main: Callable[[list[str]], int | None], arguments: list[str] | None = None) -> int:
    """Runs a command's main function and returns its exit code: 2 after a UserError, whose message is printed.

    Args:
        arguments: the command line without the program's name; default: this process's.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    print_handler.to_stderr = False  # an earlier command of this process may have set it
    # No notices and warnings from TensorFlow's C++, only errors; 0 shows all of them.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a character that the terminal lacks must not end the work
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
        # The reader of a pipe (head, less) has closed it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if "--debug" in arguments or error.errno not in _DISK_ERRORS:
            raise
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return UserError.exit_code


# A full or a protected disk is the user's to fix, wherever it is met.
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows a progress bar with the time left, on a terminal; yields the function that advances it: (done, total)."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(file=sys.stderr)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def write(name: str, content: str) -> None:
    """Writes a file and says so; "-" is standard output.

    Raises:
        UserError: it cannot be written.
    """
    if name == "-":
        print(content, end="")
        return
    files.save(name, content)
    logger.info(f"written: {name}")


BACKENDS = ("tensorflow", "jax")


def start_tensorflow() -> None:
    """Imports Keras and TensorFlow without their start-up notices.

    Raises:
        UserError: KERAS_BACKEND, or Keras's own settings, name a backend that is not supported or not installed.
    """
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend not in BACKENDS:
        raise unknown("backend in KERAS_BACKEND", backend, BACKENDS, "backend-unknown")
    if importlib.util.find_spec(backend) is None:
        raise UserError(
            f"a backend must be installed. Received: KERAS_BACKEND={backend}, without the package. Install it with "
            f"{installation.install('jax') if backend == 'jax' else 'pip install tensorflow'}.",
            "backend-not-installed",
        )
    # Some notices are written by C++ before any setting can silence them, so standard error goes into a file meanwhile.
    # It is shown if the import fails, and where TF_CPP_MIN_LOG_LEVEL=0 asks for it.
    terminal, wanted = os.dup(2), os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
    with tempfile.TemporaryFile() as notices:
        os.dup2(notices.fileno(), 2)
        try:
            without = ("matplotlib", "pandas")  # Keras takes up to a second for both, and no command needs them
            keras, tf = quick_import("keras", without), quick_import("tensorflow", without)
            tf.config.list_physical_devices()  # looks for a GPU, and reports it
        except BaseException:
            wanted = True
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            if wanted:
                notices.seek(0)
                sys.stderr.write(notices.read().decode(errors="replace"))
    if keras.backend.backend() not in BACKENDS:
        raise unknown("backend in ~/.keras/keras.json", keras.backend.backend(), BACKENDS, "backend-unknown")

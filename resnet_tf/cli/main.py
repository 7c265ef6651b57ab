"""The command `resnet-tf`: resnet-tf train --preset 4 does what python train.py --preset 4 does in a clone."""

import importlib

import resnet_tf
from resnet_tf import installation
from resnet_tf.cli import command
from resnet_tf.errors import UserError, unknown

# A command is the module of this name beside this one, imported only when it is used.
COMMANDS = {
    "train": "train a preset; list, check and explain presets",
    "eval": "evaluate a trained run and compare it with the preset's reference",
    "predict": "predict the classes of your own photos",
    "report": "report every result beside its reference, or compare two runs",
    "export": "export a trained network to SavedModel, ONNX or LiteRT",
    "serve": "serve a page that predicts the photo dropped on it",
    "sweep": "train many presets, seeds and settings",
}
HELP = """\
usage: {program} COMMAND [options]

ResNets whose numbers you can trust, for Keras 3 and TensorFlow.

commands:
{commands}

{program} COMMAND --help explains the options of a command, {program} --version prints the version."""


def main(arguments: list[str] | None = None) -> int:
    """Runs a command, named by the first argument, and returns its exit code.

    Args:
        arguments: the command line without the program's name; default: this process's.
    """
    return command.run_command(_main, arguments)


def _main(arguments: list[str]) -> int | None:
    name, program = arguments[0] if arguments else "", installation.program()
    if name in COMMANDS:
        return importlib.import_module(f"resnet_tf.cli.{name}").main(arguments[1:])
    if name in ("--help", "-h"):
        commands = "\n".join(f"  {name:<9}{does}" for name, does in COMMANDS.items())
        print(HELP.format(program=program, commands=commands))
    elif name == "--version":
        print(f"resnet-tf {resnet_tf.__version__}")
    elif name:
        raise unknown("command", name, COMMANDS, "command-unknown", f"See: {program} --help")
    else:
        raise UserError(f"choose a command: {', '.join(COMMANDS)}. See: {program} --help", "no-command")
    return None

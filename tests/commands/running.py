"""Runs a command as a shell does."""

from resnet_tf.cli import command


def run_command(module, *arguments, code: int) -> None:
    """Runs train.py, eval.py or another command, which must end with this exit code."""
    assert command.run_command(module.main, [str(argument) for argument in arguments]) == code


def mistake(capsys, module, *arguments) -> str:
    """Runs a command that must end with a mistake of the user's; returns its one line."""
    run_command(module, *arguments, code=2)
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith("error: ")
    assert "Traceback" not in captured.err
    return captured.err

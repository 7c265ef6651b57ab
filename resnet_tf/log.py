"""Messages for people: Python's logging, under the logger "resnet_tf", printed as plain lines.

A program that uses the package can ask for less, `logging.getLogger("resnet_tf").setLevel(logging.WARNING)`, or put
handlers of its own in the place of this one.
"""

import logging
import sys

logger = logging.getLogger("resnet_tf")


class PlainFormatter(logging.Formatter):
    """A message as it is; a warning is marked as one."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        return f"warning: {message}" if record.levelno == logging.WARNING else message


class PrintHandler(logging.Handler):
    """Prints messages to standard output, or to standard error where a command's result goes to standard output."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(PlainFormatter())
        self.to_stderr = False

    def emit(self, record: logging.LogRecord) -> None:
        # Looked up at each message: notebooks and tests replace these streams.
        print(self.format(record), file=sys.stderr if self.to_stderr else sys.stdout, flush=True)


print_handler = PrintHandler()


def start() -> None:
    """Prints the package's messages from now on."""
    logger.setLevel(logging.INFO)
    logger.propagate = False  # a program with a root handler would print each message twice
    logger.addHandler(print_handler)

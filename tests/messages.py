"""Hears the messages that the package logs."""

import contextlib
import logging
import os
import signal
from collections.abc import Iterator

from resnet_tf.log import PlainFormatter, logger


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(PlainFormatter())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def listen() -> list[str]:
    """Returns a list that every message from now on is added to, until the end of the test (see conftest.py)."""
    listener = _Listener()
    logger.addHandler(listener)
    return listener.lines


def stop_listening() -> None:
    for handler in [handler for handler in logger.handlers if isinstance(handler, _Listener)]:
        logger.removeHandler(handler)


@contextlib.contextmanager
def interrupting(beginning: str) -> Iterator[None]:
    """Sends this process an interrupt, as Ctrl-C does, at each message that begins so."""

    class Interrupter(_Listener):
        def emit(self, record: logging.LogRecord) -> None:
            if self.format(record).startswith(beginning):
                os.kill(os.getpid(), signal.SIGINT)

    interrupter = Interrupter()
    logger.addHandler(interrupter)
    try:
        yield
    finally:
        logger.removeHandler(interrupter)

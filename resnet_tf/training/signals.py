"""Ctrl-C and TERM while a training runs: the first stops it in good order, the second at once."""

import os
import signal
import sys
import threading
from contextlib import contextmanager

from resnet_tf.log import logger


class StopSignal:
    """A request to stop, honoured after the current step.

    A step may take a minute inside TensorFlow, where Python's own signal handlers wait until it returns. So signals
    are counted by a thread that reads them from the pipe of `signal.set_wakeup_fd`, and a second one leaves at once,
    as a kill would: the states saved before it are whole.

    Attributes:
        signal: number of the first signal; None as long as none came.
    """

    def __init__(self):
        self.signal: int | None = None

    @contextmanager
    def listening(self):
        """Handles the signals while a training runs; only a main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        before = {number: signal.signal(number, self._request) for number in (signal.SIGINT, signal.SIGTERM)}
        pipe_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        thread = threading.Thread(target=self._count, args=(reader,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(pipe_before)
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
            os.close(writer)
            thread.join()
            os.close(reader)

    def _request(self, number, frame=None):
        self.signal = self.signal or number

    def _count(self, reader: int) -> None:
        came = 0
        while byte := os.read(reader, 1):
            if byte[0] not in (signal.SIGINT, signal.SIGTERM):
                continue
            came += 1
            if came == 1:
                self._request(byte[0])
                logger.error("stopping after this step; press Ctrl-C again to stop at once")
            else:
                _exit_now(byte[0])


def _exit_now(number: int) -> None:
    """Ends the process without any more of Python, in which the main thread may be far from an exit."""
    if sys.stderr.isatty():
        os.write(2, b"\x1b[?25h\n")  # the progress bar hides the cursor
    os._exit(128 + number)

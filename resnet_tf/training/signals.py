"""Ctrl-C and TERM during a training: the first stops it after the step, the second at once."""

import os
import signal
import sys
import threading
from contextlib import contextmanager

from resnet_tf.log import logger


class StopSignal:
    """A request to stop after the current step.

    A step may take a minute inside TensorFlow, and Python's own signal handlers wait until it returns. So a thread
    reads the signals from the pipe of `signal.set_wakeup_fd`. It answers the first; the second ends the process at
    once, as a kill would, which cannot hurt the saved states.

    Attributes:
        signal: number of the first signal; None as long as none came.
    """

    def __init__(self):
        self.signal: int | None = None

    @contextmanager
    def listening(self):
        """Handles the signals while a training runs; in any but the main thread it does nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        reader, writer = os.pipe()
        if hasattr(os, "set_blocking"):  # Windows has it from Python 3.12 on, and does not ask for it
            os.set_blocking(writer, False)
        before = {number: signal.signal(number, self._request) for number in (signal.SIGINT, signal.SIGTERM)}
        pipe_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        thread = threading.Thread(target=self._read_signals, args=(reader,), daemon=True)
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

    def _read_signals(self, reader: int) -> None:
        count = 0
        while byte := os.read(reader, 1):
            number = byte[0]
            if number not in (signal.SIGINT, signal.SIGTERM):
                continue
            count += 1
            if count == 1:
                self._request(number)
                logger.error("stopping after this step; press Ctrl-C again to stop at once")
            else:
                if sys.stderr.isatty():
                    os.write(2, b"\x1b[?25h\n")  # shows the cursor, which the progress bar hides
                os._exit(128 + number)  # not sys.exit: the main thread may be deep inside TensorFlow

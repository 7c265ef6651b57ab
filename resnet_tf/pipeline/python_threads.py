"""Lets a program end while threads of tf.data are in Python code."""

import atexit
import contextlib
import threading
import time
from collections.abc import Iterator

_inside: set[int] = set()  # threads of tf.data that are in Python
_last_left = float("-inf")  # when one of them left it, in seconds of time.monotonic


@contextlib.contextmanager
def in_python() -> Iterator[None]:
    """Marks a thread of tf.data as being in Python; every `tf.numpy_function` of the package does its work within."""
    global _last_left
    _inside.add(threading.get_ident())
    try:
        yield
    finally:
        _last_left = time.monotonic()
        _inside.discard(threading.get_ident())


@atexit.register
def _wait_for_threads() -> None:
    """Waits until no thread of tf.data is in Python, where an iterator lives until the program's end.

    Python's end stops a thread that comes for the interpreter's lock, and TensorFlow would wait for it without end. As
    batches are prefetched in a small number, the threads soon have no more to do.
    """
    while _inside or time.monotonic() - _last_left < 0.1:
        time.sleep(0.01)

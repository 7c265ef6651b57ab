"""The networks behind the page, in a process of their own.

The page's process and this one start at the same time, one with Gradio and one with TensorFlow, each of which takes
seconds to import. Whatever ends the process of the networks, the page stays, and the next photo starts another.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from pathlib import Path

from resnet_tf.errors import UserError
from resnet_tf.runs.choose import find_run
from resnet_tf.runs.run import Run
from resnet_tf.serving import answers

_NETWORKS = 3  # in memory at a time


class Network:
    """The process of the networks; to be used in a `with` statement, whose end stops it."""

    def __init__(self, runs: str | Path, start_tensorflow: Callable[[], None]):
        self._runs, self._start_tensorflow = runs, start_tensorflow
        self._pool = self._new_pool()

    def __enter__(self) -> "Network":
        return self

    def __exit__(self, *_) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def load(self, run: str) -> Future:
        """Begins to load a run's network; the future raises UserError where it cannot be loaded."""
        return self._pool.submit(_load, *self._arguments(run))

    def describe(self, path: Path, run: str) -> str:
        """Returns HTML with the prediction of one photo, see `answers.describe`.

        Raises:
            UserError: the run's network cannot be loaded, or the process ended.
        """
        pool = self._pool
        try:
            return pool.submit(_describe, path, *self._arguments(run)).result()
        except BrokenProcessPool:
            if pool is self._pool:
                self._pool = self._new_pool()
            raise UserError("The process of the network ended. Try the photo again.", "network-ended") from None

    def _arguments(self, run: str) -> tuple:
        return run, self._runs, self._start_tensorflow

    def _new_pool(self) -> ProcessPoolExecutor:
        # "spawn", since a fork copies the locks of Gradio's threads.
        return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_begin)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the page's process to answer
    threading.Thread(target=_end_with_page, daemon=True).start()


def _end_with_page() -> None:
    """Ends this process when that of the page was killed, which otherwise nothing here would notice."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _predictor(name: str, runs: str | Path, start_tensorflow: Callable[[], None]):
    run = find_run(name, runs)
    files = [run.folder / "run.json", run.folder / "preset.json", run.last, run.best]
    # A run that was trained on or scored meanwhile has other weights, or another temperature.
    state = tuple((path.stat().st_mtime_ns, path.stat().st_size) for path in files if path.exists())
    return _loaded(run, state, start_tensorflow)


@lru_cache(_NETWORKS)
def _loaded(run: Run, state: tuple, start_tensorflow: Callable[[], None]):
    start_tensorflow()
    from resnet_tf.prediction.predict import Predictor

    return Predictor(run)


def _load(*arguments) -> None:
    _predictor(*arguments).compile()


def _describe(path: Path, run: str, runs: str | Path, start_tensorflow: Callable[[], None]) -> str:
    return answers.describe(path, _predictor(run, runs, start_tensorflow), runs)

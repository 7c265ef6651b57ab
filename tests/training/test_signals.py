"""Signals to a training: the first asks it to stop, the second ends it, even while TensorFlow is deep in a step."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from messages import listen

from resnet_tf.training.signals import StopSignal

ROOT = Path(__file__).parents[2]
# A step of a minute in C, where no Python handler of the main thread runs.
LONG_STEP = """
import hashlib, sys
from resnet_tf.training.signals import StopSignal
with StopSignal().listening():
    print("listening", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 200_000_000)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_kept_and_the_handlers_come_back(number):
    logged, before = listen(), {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    stop = StopSignal()
    with stop.listening():
        assert stop.signal is None
        os.kill(os.getpid(), number)
        assert stop.signal == number
        deadline = time.monotonic() + 10
        while not logged and time.monotonic() < deadline:
            time.sleep(0.001)
    assert logged == ["stopping after this step; press Ctrl-C again to stop at once"]
    assert {each: signal.getsignal(each) for each in before} == before
    assert signal.set_wakeup_fd(-1) == -1
    assert not any("_count" in thread.name for thread in threading.enumerate())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_ends_the_process_at_once_in_the_middle_of_a_step(number):
    command = [sys.executable, "-c", LONG_STEP]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "listening\n"
        process.send_signal(number)
        assert process.stdout.readline() == "stopping after this step; press Ctrl-C again to stop at once\n"
        process.send_signal(number)
        assert process.wait(30) == 128 + number


def test_in_a_thread_nothing_is_taken():
    def listen():
        with StopSignal().listening():
            found.append(signal.getsignal(signal.SIGINT))

    found, before = [], signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert found == [before]

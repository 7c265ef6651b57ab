"""The package does without what only Linux and macOS have: modules, signals, functions of `os`."""

import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

# What Windows lacks, by the documentation of Python. `filelock` stands in for `fcntl`, so it is tried before that goes.
HIDE = """
import logging, os, signal, subprocess, sys
import filelock
for name in ("fcntl", "resource", "grp", "pwd", "pty", "termios", "tty", "syslog"):
    sys.modules[name] = None
for name in ("SIGALRM", "SIGKILL", "SIGHUP", "SIGUSR1", "setitimer", "ITIMER_REAL", "pthread_sigmask"):
    delattr(signal, name)
for name in ("pread", "sched_getaffinity", "fork", "getuid", "geteuid"):
    delattr(os, name)
"""


def run(code: str, *arguments: str | Path, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", HIDE + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, **options)


def test_every_module_is_imported():
    code = """
import importlib, pkgutil
import resnet_tf
names = [module.name for module in pkgutil.walk_packages(resnet_tf.__path__, "resnet_tf.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""
    done = run(code)
    assert done.returncode == 0, done.stderr.decode()
    assert int(done.stdout) > 80


def test_rows_are_appended_and_locks_are_held(tmp_path):
    code = """
from resnet_tf import files
path = sys.argv[1]
for number in range(2):
    files.append_row(path, {"number": number})
with files.locked(path + ".lock", wait=False):
    try:
        with files.locked(path + ".lock", wait=False):
            print("not locked")
    except BlockingIOError:
        print("locked")
"""
    done = run(code, tmp_path / "rows.jsonl", text=True)
    assert (done.stdout, done.returncode) == ("locked\n", 0), done.stderr
    assert (tmp_path / "rows.jsonl").read_bytes() == b'{"number": 0}\n{"number": 1}\n'


def test_a_photo_is_decoded_and_a_training_can_be_stopped(tmp_path):
    Image.new("RGB", (40, 20), (200, 0, 0)).save(tmp_path / "red.png")
    code = """
from resnet_tf.prediction import sandbox
from resnet_tf.training.signals import StopSignal
logging.disable()
stop = StopSignal()
with stop.listening():
    signal.raise_signal(signal.SIGINT)
assert stop.signal == signal.SIGINT
sandbox.serve(8, 8, "crop", 1.0)
"""
    done = run(code, input=json.dumps(str(tmp_path / "red.png")).encode() + b"\n")
    assert done.returncode == 0, done.stderr.decode()
    header, _, pixels = done.stdout.partition(b"\n")
    preview = json.loads(header)["preview"]
    assert pixels[: 8 * 8 * 3] == bytes([200, 0, 0]) * 64
    assert len(pixels) == 8 * 8 * 3 + preview[0] * preview[1] * 3

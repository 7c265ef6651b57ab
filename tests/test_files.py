"""Files under crashes and many writers: every loss is simulated, not assumed."""

import errno
import io
import json
import os
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from assertions import user_error

from resnet_tf import files

OLD, NEW = "old content\n", "new content\n" * 1000


def start(code: str, *arguments) -> subprocess.Popen:
    """Starts a Python process that runs `code`."""
    command = [sys.executable, "-c", "import os, sys, time\nfrom resnet_tf import files\n" + code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


class HalfWritten:
    """A file whose write stops in the middle."""

    def __init__(self, file, error):
        self.file, self.error = file, error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, data):
        self.file.write(data[: len(data) // 2])
        raise self.error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_failed_write_leaves_the_old_content_and_nothing_else(tmp_path, monkeypatch, step, error):
    def fail(*_):
        raise error

    path = tmp_path / "file"
    files.write_atomically(path, OLD)
    with monkeypatch.context() as patch:
        if step == "write":
            patch.setattr(files, "open", lambda *a: HalfWritten(open(*a), error), raising=False)  # noqa: SIM115
        else:
            patch.setattr(os, step, fail)
        with pytest.raises(type(error)):
            files.write_atomically(path, NEW)
    assert path.read_text() == OLD
    assert os.listdir(tmp_path) == ["file"]
    files.write_atomically(path, NEW)
    assert path.read_text() == NEW


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_killed_writer_leaves_the_old_content(tmp_path, step):
    path = tmp_path / "file"
    path.write_text(OLD)
    code = f"os.{step} = lambda *_: os.kill(os.getpid(), 9)\nfiles.write_atomically(sys.argv[1], 'new')"
    with start(code, path) as process:
        assert process.wait() == -signal.SIGKILL
    assert path.read_text() == OLD


def test_content_is_on_disk_before_the_rename(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda *a: (calls.append("replace"), replace(*a)))
    files.write_atomically(tmp_path / "file", b"\x00\xff")
    assert calls == ["fsync", "replace", "fsync"]
    assert (tmp_path / "file").read_bytes() == b"\x00\xff"


def test_rows_of_many_processes_are_all_there(tmp_path):
    path, gate = tmp_path / "rows.jsonl", tmp_path / "gate"
    code = """
while not os.path.exists(sys.argv[2]):
    time.sleep(0.001)
for i in range(100):
    files.append_row(sys.argv[1], {"writer": sys.argv[3], "i": i, "text": sys.argv[3] * 3000})
"""
    processes = [start(code, path, gate, writer) for writer in range(4)]
    gate.touch()
    assert [process.wait() for process in processes] == [0] * 4
    for process in processes:
        process.stdout.close()
    rows, torn = files.read_rows(path)
    assert torn == 0
    assert sorted((row["writer"], row["i"]) for row in rows) == [(str(w), i) for w in range(4) for i in range(100)]
    assert all(row["text"] == row["writer"] * 3000 for row in rows)


@pytest.mark.parametrize("tail", [b'{"b": 2', b"\x00" * 40, b"[1, 2]", b'"text"', b"\xff\xfe{", b"[" * 100_000])
def test_torn_tail_costs_that_row_alone(tmp_path, tail):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n' + tail)
    files.append_row(path, {"c": "é\n"})
    files.append_row(path, {"d": 4})
    assert files.read_rows(path) == ([{"a": 1}, {"c": "é\n"}, {"d": 4}], 1)
    assert path.read_bytes().count(b"\n") == 4


def test_row_cut_short_by_a_full_disk_is_an_error_and_is_closed_by_the_next(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:5]))
        with pytest.raises(OSError, match="wrote 5 of"):
            files.append_row(path, {"a": 1})
    files.append_row(path, {"b": 2})
    assert files.read_rows(path) == ([{"b": 2}], 1)


def test_row_that_is_not_json_leaves_no_trace(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.append_row(tmp_path / "rows.jsonl", {"loss": float("nan")})
    assert files.read_rows(tmp_path / "rows.jsonl") == ([], 0)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_lock_excludes_others_and_ends_with_its_block(tmp_path, kind):
    path = tmp_path / "lock" if kind == "file" else tmp_path
    with files.locked(path, wait=False), pytest.raises(BlockingIOError), files.locked(path, wait=False):
        pass
    with files.locked(path, wait=False):
        pass


def test_lock_of_a_killed_process_is_free(tmp_path):
    path = tmp_path / "lock"
    code = "with files.locked(sys.argv[1]):\n    print('held', flush=True)\n    time.sleep(60)"
    with start(code, path) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError), files.locked(path, wait=False):
            pass
        process.kill()
        process.wait()
    with files.locked(path, wait=False):
        pass


def test_sha256_is_the_published_one(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert files.sha256_of_file(tmp_path / "abc") == expected


def test_arrays_come_back_to_the_bit_and_numpy_reads_them(tmp_path):
    arrays = {
        "model/kernel": np.random.default_rng(0).normal(size=(3, 3, 4)).astype(np.float32),
        "step": np.array(7),
        "text": np.array(json.dumps({"ä": 1})),
        "empty": np.zeros((0, 2), np.uint8),
        "nan": np.array([np.nan, -0.0, np.inf]),
    }
    path = tmp_path / "arrays.npz"
    path.write_bytes(files.pack_arrays(arrays))
    for read in (files.unpack_arrays(path.read_bytes()), dict(np.load(path))):
        assert list(read) == list(arrays)
        for name, array in arrays.items():
            assert read[name].dtype == array.dtype
            assert read[name].tobytes() == array.tobytes()
    with open(path, "rb") as file:
        assert files.array_headers(file) == {name: (array.shape, array.dtype) for name, array in arrays.items()}


def test_arrays_of_objects_are_refused(tmp_path):
    np.savez(tmp_path / "objects.npz", a=np.array([print], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        files.unpack_arrays((tmp_path / "objects.npz").read_bytes())


def test_headers_of_a_boastful_file_cost_no_memory():
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }".ljust(117) + b"\n"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("kernel.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    assert files.array_headers(content) == {"kernel": ((10**6, 10**6), np.float32)}


def test_what_the_user_wants_saved_and_cannot_be_is_a_user_error(tmp_path):
    for path, reason in [(tmp_path / "no" / "rows.csv", "No such file"), (tmp_path, "Is a directory")]:
        error = user_error(files.save, path, "text")
        assert error.code == "cannot-write"
        assert reason in str(error)


def test_a_link_or_pipe_is_written_into_and_not_replaced(tmp_path):
    (tmp_path / "link").symlink_to("target")
    files.save(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "text"
    reader, writer = os.pipe()
    files.save(f"/dev/fd/{writer}", "text")
    assert os.read(reader, 9) == b"text"

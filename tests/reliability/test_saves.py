"""A save cut off or refused by the disk at any of its operations: the old state loads or the new, never a mix."""

import contextlib
import errno
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from trials import CONTEXT, Fail, Send, watch_moments

from resnet_tf import files
from resnet_tf.training import checkpoint
from resnet_tf.training.checkpoint import Progress, State


def made(step: int) -> State:
    """A state in which every part tells its step."""
    kernel = np.full((50, 50), step, np.float32)
    return State(Progress(step=step), {"kernel": kernel}, b"%d" % step * 999, {"device": f"device {step}"})


def assert_whole(found: State, steps: tuple[int, ...]) -> None:
    assert found.progress.step in steps
    expected = made(found.progress.step)
    np.testing.assert_array_equal(found.arrays["kernel"], expected.arrays["kernel"])
    assert (found.progress, found.best) == (expected.progress, expected.best)
    assert found.made_with == expected.made_with


def save(folder: Path, act, pipe) -> None:
    """A process that saves one state."""
    moments, _ = watch_moments(folder, act)
    try:
        checkpoint.save(folder, made(30))
        pipe.send(moments)
    except OSError as error:
        pipe.send(error)


def saved_apart(folder: Path, act=None) -> tuple[int, list[str] | OSError | None]:
    """Saves a state in a process of its own; returns its exit code and what it did or how it failed."""
    reader, writer = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=save, args=(folder, act, writer))
    process.start()
    writer.close()
    try:
        result = reader.recv()
    except EOFError:
        result = None
    process.join()
    return process.exitcode, result


@pytest.fixture
def two_states(data, tmp_path):
    """Makes folders with the states of steps 10 and 20."""
    for step in (10, 20):
        checkpoint.save(tmp_path / "two", made(step))
    count = iter(range(10**6))
    return lambda: Path(shutil.copytree(tmp_path / "two", tmp_path / f"state-{next(count)}"))


def assert_goes_on(folder: Path, steps: tuple[int, ...]) -> None:
    """The folder gives one of these states without a word of damage, and takes the next."""
    assert_whole(checkpoint.load(folder), steps)
    checkpoint.save(folder, made(40))
    assert_whole(checkpoint.load(folder), (40,))
    assert len(os.listdir(folder)) == 2, "nothing of a save that failed stays"


def test_killed_at_every_operation_of_a_save(two_states):
    _, moments = saved_apart(two_states())
    assert {"mkdir", "open", "write", "fsync", "rename", "remove", "rmdir"} == set(moments)
    for moment in range(len(moments)):
        folder = two_states()
        assert saved_apart(folder, Send(signal.SIGKILL, moment))[0] == -signal.SIGKILL
        published = moments[:moment].count("rename") > 0
        assert_goes_on(folder, (30,) if published else (20,))
    print(f"{len(moments)} crash points of a save: {', '.join(moments)}")


def free(folder: Path, act, pipe) -> None:
    """A process that reduces a finished run's states."""
    moments, _ = watch_moments(folder, act)
    checkpoint.keep_newest(folder, folder.parent / "best.npz")
    pipe.send(moments)


def test_killed_at_every_operation_while_a_finished_run_frees_its_states(two_states, tmp_path):
    (tmp_path / "best.npz").write_bytes(made(20).best)
    code, moment, names = -signal.SIGKILL, 0, []
    while code == -signal.SIGKILL:
        folder = two_states()
        reader, writer = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=free, args=(folder, Send(signal.SIGKILL, moment), writer))
        process.start()
        writer.close()
        with contextlib.suppress(EOFError):
            names = reader.recv()
        process.join()
        code = process.exitcode
        assert_whole(checkpoint.load(folder), (20,))
        checkpoint.keep_newest(folder, tmp_path / "best.npz")
        assert len(os.listdir(folder)) == 1
        assert sorted(os.listdir(checkpoint.saved_states(folder)[0])) == ["arrays.npz", "best.npz", "state.json"]
        moment += 1
    assert code == 0
    assert set(names) == {"rename", "remove", "rmdir"}


@pytest.mark.parametrize(
    ("number", "lasting"),
    [(errno.ENOSPC, True), (errno.ENOSPC, False), (errno.EROFS, True), (errno.EACCES, True)],
)
def test_disk_trouble_at_every_operation_of_a_save(two_states, number, lasting):
    _, moments = saved_apart(two_states())
    for moment, name in enumerate(moments):
        folder = two_states()
        code, error = saved_apart(folder, Fail(number, moment, lasting))
        assert code == 0
        published = moments[:moment].count("rename") > 0
        if name in ("mkdir", "open", "write", "fsync") or (name == "rename" and not published):
            assert isinstance(error, files.WriteError)
            assert (error.errno, error.filename) == (number, str(folder))
            assert os.strerror(number) in str(error)
            assert ("MB needed" in str(error)) == (number == errno.ENOSPC)
        assert_goes_on(folder, (30,) if published else (20,))


def write_file(path: Path, act, row: bool) -> None:
    watch_moments(path.parent, act)
    if row:
        files.append_row(path, {"number": 1})
    else:
        files.write_atomically(path, "new" * 999)


@pytest.mark.parametrize("row", [False, True])
def test_killed_at_every_operation_of_a_write(data, tmp_path, row):
    moment, code = 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        path = tmp_path / str(moment) / "file"
        path.parent.mkdir()
        path.write_text('{"number": 0}\n')
        process = CONTEXT.Process(target=write_file, args=(path, Send(signal.SIGKILL, moment), row))
        process.start()
        process.join()
        code = process.exitcode
        if not row:
            assert path.read_text() in ('{"number": 0}\n', "new" * 999)
        elif code:
            files.append_row(path, {"number": 2})
            rows, torn = files.read_rows(path)
            assert [row["number"] for row in rows] in ([0, 2], [0, 1, 2])
            assert torn <= 1
        moment += 1
    assert code == 0
    assert moment > (2 if row else 4)

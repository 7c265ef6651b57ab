"""Saved states: whole or not there, whatever cuts a save off or spoils a file afterwards."""

import hashlib
import json
import os
import shutil

import numpy as np
import pytest
from assertions import user_error
from messages import listen

from resnet_tf import files
from resnet_tf.training import checkpoint
from resnet_tf.training.checkpoint import Progress, State


def made(step: int, best: bytes | None = b"best") -> State:
    """A state whose every part tells its step."""
    arrays = {"model/kernel": np.full((3, 5), step, np.float32), "optimizer/iteration": np.array(step)}
    progress = Progress(step=step, rows=[{"step": step}])
    return State(progress, arrays, best and best + str(step).encode(), {"device": f"device {step}"})


def assert_is(found: State, step: int) -> None:
    """The state is that of a step in every part, and not a mix of two."""
    expected = made(step)
    assert (found.progress, found.best, found.made_with) == (expected.progress, expected.best, expected.made_with)
    assert found.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        assert found.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[name], array)


def load(folder) -> tuple[State | None, list[str]]:
    logged = listen()
    return checkpoint.load(folder), logged


def test_newest_of_two_kept_states_wins(tmp_path):
    folder = tmp_path / "state"
    assert load(folder) == (None, [])
    for step in (3, 10, 100):
        checkpoint.save(folder, made(step))
    assert sorted(os.listdir(folder)) == ["000000010-0", "000000100-0"]
    found, logged = load(folder)
    assert_is(found, 100)
    assert logged == []


def test_without_best_weights(tmp_path):
    checkpoint.save(tmp_path / "state", made(3, best=None))
    assert load(tmp_path / "state")[0].best is None


def test_numpy_and_json_read_what_is_saved(tmp_path):
    """Nothing but an .npz without pickles and plain JSON."""
    saved = checkpoint.save(tmp_path / "state", made(7))
    assert sorted(os.listdir(saved)) == ["arrays.npz", "best.npz", "state.json"]
    with np.load(saved / "arrays.npz", allow_pickle=False) as arrays:
        assert arrays["optimizer/iteration"] == 7
    about = json.loads((saved / "state.json").read_text())["state"]
    assert about["step"] == 7
    assert about["files"]["arrays.npz"] == files.sha256_of_file(saved / "arrays.npz")
    assert (about["progress"]["step"], about["progress"]["rows"]) == (7, [{"step": 7}])


def test_a_state_of_version_0_2_gives_its_epochs_sums(tmp_path):
    """It had them as the variables of Keras's metrics: sum of the loss, images, correct images, images."""
    saved = checkpoint.save(tmp_path / "state", made(7))
    with np.load(saved / "arrays.npz") as arrays:
        sums = {f"metric/{i}": np.float32(value) for i, value in enumerate((46.5, 40, 12, 40))}
        (saved / "arrays.npz").write_bytes(files.pack_arrays({**arrays, **sums}))
    state = json.loads((saved / "state.json").read_text())["state"]
    state["files"]["arrays.npz"] = files.sha256_of_file(saved / "arrays.npz")
    for key in ("epoch_loss", "epoch_correct"):
        del state["progress"][key]
    digest = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
    (saved / "state.json").write_text(json.dumps({"sha256": digest, "state": state}))
    progress = load(tmp_path / "state")[0].progress
    assert (progress.step, progress.epoch_loss, progress.epoch_correct) == (7, 46.5, 12)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def zero(path):
    content = bytearray(path.read_bytes())
    content[10:30] = bytes(20)
    path.write_bytes(content)


def lengthen(path):
    path.write_bytes(path.read_bytes() + b"x")


def empty(path):
    path.write_bytes(b"")


def swap(path):
    """The file of the state before in its place, itself quite whole."""
    shutil.copy(sorted(path.parent.parent.glob("0*"))[0] / path.name, path)


DAMAGE = (cut, flip, zero, lengthen, empty, swap, os.remove)


@pytest.mark.parametrize("file", ["state.json", "arrays.npz", "best.npz"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_state_is_named_set_aside_and_the_one_before_taken(tmp_path, damage, file):
    folder = tmp_path / "state"
    checkpoint.save(folder, made(10))
    newest = checkpoint.save(folder, made(20))
    damage(newest / file)
    found, logged = load(folder)
    assert logged[0].startswith(f"warning: damaged checkpoint ignored: {newest} (")
    # A whole state.json in the place of another is a whole state, but not of these arrays.
    assert_is(found, 10)
    assert sorted(os.listdir(folder)) == ["000000010-0", "damaged-000000020-0"]
    for step in (20, 30):
        checkpoint.save(folder, made(step))
    assert sorted(os.listdir(folder)) == ["000000020-0", "000000030-0", "damaged-000000020-0"]
    assert_is(load(folder)[0], 30)


def test_all_damaged_is_refused_with_the_list_and_nothing_is_touched(tmp_path):
    folder = tmp_path / "state"
    for step in (10, 20):
        flip(checkpoint.save(folder, made(step)) / "arrays.npz")
    for _ in range(2):
        error = user_error(load, folder)
        assert error.code == "states-damaged"
        for name in ("000000010-0", "000000020-0"):
            assert f"{name} (arrays.npz does not match its checksum)" in str(error)
    assert sorted(os.listdir(folder)) == ["000000010-0", "000000020-0"]


@pytest.fixture
def finished(tmp_path):
    """The states of a finished run, and its best weights."""
    for step in (10, 20):
        checkpoint.save(tmp_path / "state", made(step))
    (tmp_path / "best.npz").write_bytes(made(20).best)
    return tmp_path / "state", tmp_path / "best.npz"


def test_a_finished_run_keeps_one_state_which_shares_its_best_weights(finished):
    folder, best = finished
    checkpoint.keep_newest(folder, best)
    (kept,) = folder.iterdir()
    assert os.path.samefile(kept / "best.npz", best)
    assert_is(load(folder)[0], 20)
    files.write_atomically(best, b"other")  # of the longer run that it may become
    assert_is(load(folder)[0], 20)
    checkpoint.save(folder, made(30))
    assert len(checkpoint.saved_states(folder)) == 2


def test_other_best_weights_and_file_systems_without_links_leave_the_state_its_own(finished, monkeypatch):
    folder, best = finished
    best.write_bytes(b"other")
    checkpoint.keep_newest(folder, best)
    assert_is(load(folder)[0], 20)
    best.write_bytes(made(20).best)
    monkeypatch.setattr(os, "link", lambda *paths: (_ for _ in ()).throw(PermissionError(1, "not permitted")))
    checkpoint.keep_newest(folder, best)
    (kept,) = folder.iterdir()
    assert not os.path.samefile(kept / "best.npz", best)
    assert_is(load(folder)[0], 20)


def test_nothing_is_removed_while_the_newest_state_is_damaged(finished):
    folder, best = finished
    (folder / "000000020-0" / "arrays.npz").write_bytes(b"")
    logged = listen()
    checkpoint.keep_newest(folder, best)
    assert sorted(os.listdir(folder)) == ["000000010-0", "000000020-0"]
    assert logged[0].startswith("warning: ")
    assert_is(load(folder)[0], 10)


def test_discarded_states_are_gone(finished):
    folder, best = finished
    checkpoint.discard(folder)
    checkpoint.discard(folder)
    assert list(folder.parent.iterdir()) == [best]


def test_memory_that_runs_out_is_not_taken_for_damage(tmp_path, monkeypatch):
    checkpoint.save(tmp_path / "state", made(10))
    monkeypatch.setattr(files, "unpack_arrays", lambda content: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        load(tmp_path / "state")


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="looks up what a descriptor belongs to")
def test_everything_is_flushed_before_the_rename_that_publishes_it(tmp_path, monkeypatch):
    folder, done = tmp_path / "state", []
    checkpoint.save(folder, made(10))
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(
        os, "fsync", lambda fd: (done.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))), fsync(fd))
    )
    monkeypatch.setattr(os, "rename", lambda *paths: (done.append("rename"), rename(*paths)))
    checkpoint.save(folder, made(20))
    assert done == ["arrays.npz", "best.npz", "state.json", ".000000020-0", "rename", "state"]

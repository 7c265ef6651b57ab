"""The cache: quick and equal the second time, safe among processes, and not needed where it cannot be written."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from assertions import user_error
from messages import listen

from resnet_tf.datasets import cache, sources, tfds


@pytest.fixture
def tree(tree):
    return tree[0]


def load(tree, **keywords):
    return sources.load("cifar10", str(tree), **keywords)


def entries(folder):
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def test_second_start_reads_no_image_and_gives_the_same(tree, tmp_path, monkeypatch):
    first = load(tree)
    monkeypatch.setattr(sources, "read_arrays", None)  # would fail if it were called
    lines = listen()
    second = load(tree)
    assert lines == []
    for name in ("name", "title", "source", "class_names", "fingerprint", "official"):
        assert getattr(second, name) == getattr(first, name)
    for split in ("train", "test"):
        np.testing.assert_array_equal(getattr(second, split).images, getattr(first, split).images)
        np.testing.assert_array_equal(getattr(second, split).labels, getattr(first, split).labels)
    assert isinstance(second.train.images.base, np.memmap)
    assert not second.train.images.flags.writeable


def test_cache_is_where_the_argument_the_variable_or_home_says(tree, tmp_path, monkeypatch):
    load(tree)
    assert len(entries(tmp_path / "cache")) == 1
    load(tree, cache=str(tmp_path / "given"))
    assert len(entries(tmp_path / "given")) == 1
    monkeypatch.delenv("RESNET_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.default_folder() == tmp_path / "home" / ".cache" / "resnet_tf"


def test_a_user_without_a_home_is_told_which_variable_to_set(monkeypatch):
    def homeless(path):
        raise RuntimeError("Could not determine home directory.")

    for name in ("RESNET_CACHE", "TFDS_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "expanduser", homeless)
    for ask, variable in ((cache.default_folder, "RESNET_CACHE"), (tfds.folder, "TFDS_DATA_DIR")):
        error = user_error(ask)
        assert error.code == "home-missing"
        assert variable in str(error)


def test_a_changed_added_or_removed_file_is_read_again(tree):
    fingerprints = [load(tree).fingerprint]
    victims = sorted((tree / "train" / "cat").iterdir())
    victims[0].write_bytes(victims[1].read_bytes())
    os.utime(victims[0], ns=(1, 1))
    fingerprints.append(load(tree).fingerprint)
    (tree / "train" / "cat" / "new.png").write_bytes(next((tree / "train" / "dog").iterdir()).read_bytes())
    fingerprints.append(load(tree).fingerprint)
    victims[0].unlink()
    fingerprints.append(load(tree).fingerprint)
    assert len(set(fingerprints)) == 4


@pytest.mark.parametrize("damage", ["cut the images", "empty the notes", "remove the labels"])
def test_a_damaged_entry_is_written_again(damage, tree, tmp_path):
    first = load(tree)
    (entry,) = entries(tmp_path / "cache")
    if damage == "cut the images":
        os.truncate(entry / "train_images.npy", 5_000)
    elif damage == "empty the notes":
        (entry / "about.json").write_text("")
    else:
        (entry / "test_labels.npy").unlink()
    lines = listen()
    assert load(tree).fingerprint == first.fingerprint
    assert len(lines) == 1
    lines.clear()
    assert load(tree).fingerprint == first.fingerprint
    assert lines == []


def test_what_a_killed_writer_left_is_cleared_away(tree, tmp_path):
    load(tree)
    (entry,) = entries(tmp_path / "cache")
    left = entry.with_name(f".{entry.name}.123-abc.tmp")
    entry.rename(left)
    load(tree)
    assert entry.exists()
    assert not left.exists()


def test_failed_write_leaves_nothing_and_the_data_set_is_still_given(tree, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache.np, "save", full)
    lines = listen()
    dataset = load(tree)
    assert len(dataset.train) == 40
    assert "could not be cached" in lines[-1]
    assert "No space left" in lines[-1]
    assert entries(tmp_path / "cache") == []
    assert not list((tmp_path / "cache").glob("*.tmp")) + list((tmp_path / "cache").glob(".*.tmp"))


def test_without_a_cache_the_data_set_is_read_with_a_message(tree, tmp_path):
    (tmp_path / "a file").write_text("")
    lines = listen()
    dataset = load(tree, cache=str(tmp_path / "a file" / "cache"))
    assert len(dataset.train) == 40
    assert "cannot be written" in lines[0]


def test_two_processes_at_once_build_once_and_agree(tree, tmp_path):
    program = (
        "import sys; from resnet_tf.datasets import sources; print('ready', flush=True); sys.stdin.readline();"
        f"print(sources.load('cifar10', {str(tree)!r}).fingerprint)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
        )
        for _ in range(3)
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate()[0].splitlines() for process in processes]
    assert len({lines[-1] for lines in outputs}) == 1
    assert sum("reading" in line for lines in outputs for line in lines) == 1
    assert len(entries(tmp_path / "cache")) == 1

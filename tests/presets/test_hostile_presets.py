"""Hostile and damaged pickles of presets are refused, without effect, time or memory."""

import builtins
import io
import os
import pickle
import random
import tracemalloc

import pytest
from assertions import user_error

from resnet_tf.errors import UserError
from resnet_tf.presets import preset_files

VALUES = {"name": "mine", "model": {"num_residual_units": 3}, "data": {}, "train": {"epochs": 100}, "results": []}


class Reduced:
    """Pickles as a call of any function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Pointing(pickle.Pickler):
    def persistent_id(self, value):
        return "from outside" if value == "persistent" else None


def persistent() -> bytes:
    buffer = io.BytesIO()
    Pointing(buffer).dump({"name": "persistent"})
    return buffer.getvalue()


def billion_laughs() -> bytes:
    """A pickle of a few hundred bytes that holds one list a billion times."""
    value = "ha"
    for _ in range(30):
        value = [value] * 10
    return pickle.dumps({"name": "x", "notes": value})


def circular() -> bytes:
    value = []
    value.append(value)
    return pickle.dumps({"name": "x", "notes": value})


def nested(levels: int) -> bytes:
    return b"\x80\x04" + b"]" * levels + b"a" * (levels - 1) + b"."


MARK = "a-hostile-pickle-ran"  # in the working folder
HOSTILE = {
    "os.system": (pickle.dumps(Reduced(os.system, f"touch {MARK}")), "it asks for posix.system"),
    "eval": (pickle.dumps(Reduced(builtins.eval, f"open({MARK!r}, 'w')")), "it asks for builtins.eval"),
    "old protocol": (pickle.dumps(Reduced(os.mkdir, MARK), 0), "it asks for posix.mkdir"),
    "nested": (pickle.dumps({"model": [{"filters": Reduced(os.mkdir, MARK)}]}), "it asks for posix.mkdir"),
    "inst": (b"(S'" + MARK.encode() + b"'\nios\nmkdir\n.", "it asks for os.mkdir"),
    "two steps": (pickle.dumps(Reduced(getattr, Reduced(__import__, "os"), "mkdir")), "it asks for builtins."),
    "persistent": (persistent(), "persistent"),
    "old persistent": (b"Pwhat\n.", "persistent"),
    "extension": (b"\x80\x02\x82\x01.", "unregistered extension code"),
    "class": (pickle.dumps({"name": Reduced}), "it asks for"),
    "set": (pickle.dumps({"name": {1, 2}}), "set is not JSON serializable"),
    "bytes": (pickle.dumps({"name": b"4"}), "bytes is not JSON serializable"),
    "memo": (b"\x80\x02]r\x00\x00\x00\x02.", "too much memory"),
    "memo as text": (b"(dp33000000\n.", "too much memory"),
    "bytes8": (b"\x80\x04\x8e\x00\x00\x00\x00\x00\x01\x00\x00.", "must be a pickle"),
    "bytearray8": (b"\x80\x05\x96\x00\x00\x00\x40\x00\x00\x00\x00.", "must be a pickle"),
    "unicode8": (b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.", "must be a pickle"),
    "frame": (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f}.", "must be a pickle"),
    "laughs": (billion_laughs(), "when written out"),
    "circular": (circular(), "Circular reference"),
    "levels": (nested(100), "levels"),
    "deep": (nested(100_000), "recursion"),
    "truncated": (pickle.dumps(VALUES)[:-20], "must be a pickle"),
    "empty": (b"", "must be a pickle"),
    "text": (b'{"name": "4"}', "must be a pickle"),
    "numbers": (b"I" + b"9" * 100_000 + b"\n.", "must be a pickle"),
    "build": (b"\x80\x02]}X\x01\x00\x00\x00aK\x01sb.", "must be a pickle"),
    "list": (pickle.dumps([VALUES]), "one table of keys"),
    "protocol": (b"\x80\xff}.", "must be a pickle"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pickle_is_refused_without_effect(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(preset_files, "MAX_BYTES", 400_000)
    content, reason = HOSTILE[case]
    path = tmp_path / "evil.pickle"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        error = user_error(preset_files.load_preset, path)
        most_memory = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert error.code == ("preset-wrong-type" if case == "list" else "preset-broken")
    assert reason in str(error)
    assert str(path) in str(error)
    assert most_memory < 100_000_000
    assert os.listdir(tmp_path) == ["evil.pickle"]


def test_damaged_pickles_never_end_in_a_traceback(tmp_path):
    draw = random.Random(0)
    good = pickle.dumps(VALUES)
    path = tmp_path / "damaged.pickle"
    refused = 0
    for _ in range(200):
        content = bytearray(good)
        for _ in range(draw.randint(1, 4)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content)
        try:
            preset_files.load_preset(path)
        except UserError:
            refused += 1
    assert refused > 150

"""Weight files, presets and archives made to do harm: each refused in one line, in little memory, without an effect."""

import io
import json
import os
import pickle
import resource
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from trials import CONTEXT

from resnet_tf.datasets import sources
from resnet_tf.errors import UserError
from resnet_tf.models import weights
from resnet_tf.models.resnet import resnet
from resnet_tf.presets.preset_files import load_preset

EFFECT = "an effect"


class Command:
    """Pickled, it asks whoever unpickles it to run a command."""

    def __reduce__(self):
        return os.system, (f"touch '{EFFECT}'",)


def npy(header: str, content: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def claim(descr: str, shape: str) -> bytes:
    return npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}")


def members(path: Path, good: Path, changed: dict[str, bytes]) -> None:
    """Writes a weight file as `good` but for some members."""
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**{name: source.read(name) for name in source.namelist()}, **changed}.items():
            archive.writestr(name, content)


def network():
    return resnet(num_residual_units=1, filters=(2, 3), image_size=8, classes=2)


def hostile_weights(folder: Path) -> None:
    good = folder.parent / "good.npz"
    weights.save(network(), good, {})
    (folder / "pickle.npz").write_bytes(pickle.dumps(Command()))
    objects = np.empty(2, object)
    objects[:] = Command()
    content = io.BytesIO()
    np.save(content, objects)
    members(folder / "object array.npz", good, {"stem_norm/scale.npy": content.getvalue()})
    members(folder / "object description.npz", good, {"__about__.npy": content.getvalue()})
    code = npy("{'descr': __import__('os').system('touch \"" + EFFECT + "\"'), 'fortran_order': False, 'shape': ()}")
    members(folder / "code in a header.npz", good, {"stem/kernel.npy": code})
    members(folder / "40 GB.npz", good, {"stem/kernel.npy": claim("'<f4'", "(3, 3, 3, 400000000)")})
    members(folder / "4 TB a number.npz", good, {"stem_norm/scale.npy": claim("'|V4000000000000'", "(2,)")})
    members(folder / "description of 4 GB.npz", good, {"__about__.npy": claim("'<U1000000000'", "()")})
    bomb = claim("'<f4'", "(268435456,)") + bytes(1 << 28)
    members(folder / "bomb.npz", good, {"surplus/kernel.npy": bomb})
    members(folder / "way out.npz", good, {"../../../evil.npy": claim("'<f4'", "()") + bytes(4)})
    members(folder / "two of one name.npz", good, {"stem/kernel": claim("'<f4'", "(10000000000,)")})
    with zipfile.ZipFile(folder / "keras lambda.npz", "w") as archive:
        layer = {
            "class_name": "Lambda",
            "config": {"function": {"class_name": "__lambda__", "config": {"code": "4w=="}}},
        }
        archive.writestr("config.json", json.dumps({"class_name": "Sequential", "config": {"layers": [layer]}}))
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(99))
    with zipfile.ZipFile(folder / "many.npz", "w") as archive:
        for number in range(30_000):
            archive.writestr(f"{number}.npy", b"")
    (folder / "endless.npz").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.npz")


def hostile_presets(folder: Path) -> None:
    """Files without an end; tests/presets/test_hostile_presets.py has hostile contents."""
    with open(folder / "sparse.json", "wb") as file:
        file.truncate(1 << 40)
    (folder / "endless.json").symlink_to("/dev/zero")


def hostile_archives(folder: Path) -> None:
    """Archives whose checksum is not published; tests/datasets has what lies in one with a published checksum."""
    content = pickle.dumps({"data": Command()})
    with tarfile.open(folder / "command.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("cifar-10-batches-py/data_batch_1")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    (folder / "pickle.tar.gz").write_bytes(content)


def refuse_all(kind: str, folder: Path, pipe) -> None:
    """The process that opens the files: sends each one's name and message, and its own peak memory."""
    read: dict[str, Callable] = {
        "weights": lambda path: weights.load(model, path),
        "presets": lambda path: load_preset(str(path)),
        "archives": lambda path: sources.load("cifar10", str(path), cache=str(folder.parent / "cache")),
    }
    os.chdir(folder)
    model = network() if kind == "weights" else None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in sorted(folder.iterdir()):
        try:
            message = f"read as {read[kind](path)!r}"
        except UserError as error:
            message = f"refused: {error}"
        except BaseException as error:
            message = f"{type(error).__name__}: {error}"
        pipe.send((path.name, message))
    pipe.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)


MAKE = {"weights": hostile_weights, "presets": hostile_presets, "archives": hostile_archives}


@pytest.mark.parametrize("kind", MAKE)
def test_hostile_files_are_refused_and_have_no_effect(data, tmp_path, kind):
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    MAKE[kind](folder)
    reader, writer = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=refuse_all, args=(kind, folder, writer))
    process.start()
    names = sorted(path.name for path in folder.iterdir())
    for name in names:
        assert reader.poll(30), f"{name} hangs"
        found, message = reader.recv()
        assert found == name
        assert message.startswith("refused: "), (name, message)
        assert "\n" not in message
    memory = reader.recv()
    process.join()
    assert memory < 300e6
    assert not list(tmp_path.rglob("*evil*"))
    assert not list(tmp_path.rglob(EFFECT))
    print(f"{len(names)} hostile {kind}: all refused, no effect, {memory / 1e6:.0f} MB at most")

"""Weight files: .npz archives without pickles, loaded completely or not at all."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np

from resnet_tf import files
from resnet_tf.errors import UserError, shown
from resnet_tf.format import first_line

METADATA = "__about__"  # the array that holds it, as JSON
HEAD = "head/"  # what the names of the last layer's arrays begin with
NORMALIZATION = "normalization/"  # and those of the input's statistics


def pack(model: keras.Model, metadata: dict) -> bytes:
    """Returns a model's weights and their metadata (step, validation_top1, ...) as the content of an .npz file."""
    arrays = {variable.path: np.asarray(variable) for variable in model.weights}
    return files.pack_arrays({**arrays, METADATA: np.array(json.dumps(metadata))})


def save(model: keras.Model, path: Path, metadata: dict) -> None:
    """Writes a model's weights and their metadata to an .npz file, atomically."""
    files.write_atomically(path, pack(model, metadata))


def load(model: keras.Model, path: Path, head: bool = True) -> dict:
    """Loads an .npz file's weights into a model and returns their metadata.

    Names, shapes and types must be the model's. They are compared before any array is read, so a file of another
    network takes no memory.

    Args:
        head: False leaves the last layer as it is; the file's may be of any number of classes.

    Raises:
        UserError: not a weight file, or one of another network. The message says what differs; nothing is loaded.
    """

    def is_loaded(name: str) -> bool:
        return head or not name.startswith(HEAD)

    variables = {variable.path: variable for variable in model.weights if is_loaded(variable.path)}
    wanted = {name: f"{variable.dtype} {tuple(variable.shape)}" for name, variable in variables.items()}
    try:
        if path.exists() and not path.is_file():
            raise ValueError("not an ordinary file")  # a pipe waits, a device never ends
        with open(path, "rb") as file:
            headers = files.array_headers(file)
            shape, dtype = headers.pop(METADATA, ((), np.dtype("U1")))
            if shape != () or dtype.kind != "U" or dtype.itemsize > 1e6:
                raise ValueError(f"{METADATA} is not one short text")
            stored = {name: f"{dtype} {shape}" for name, (shape, dtype) in headers.items() if is_loaded(name)}
            _check_arrays(path, stored, wanted)
            file.seek(0)
            arrays = files.unpack_arrays(file)
        metadata = json.loads(str(arrays.pop(METADATA, "{}")))
        if not isinstance(metadata, dict):
            raise ValueError(f"{METADATA} is not a JSON object")
    except UserError:
        raise
    except Exception as error:  # over a damaged file zipfile and numpy raise anything, tokenize.TokenError included
        reason = first_line(error)
        message = f"weights must be an .npz file of arrays. Received: {path}: {reason}."
        raise UserError(message, "weights-unreadable") from error
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return metadata


def _check_arrays(path: Path, stored: dict[str, str], wanted: dict[str, str]) -> None:
    """Raises UserError where the arrays, {name: "float32 (3, 3, 16, 16)"}, differ from those of the model."""
    missing = [name for name in wanted if name not in stored]
    surplus = [name for name in stored if name not in wanted]
    differing = [name for name in wanted if name in stored and stored[name] != wanted[name]]
    if not (missing or surplus or differing):
        return
    parts = []
    if _units(stored) != _units(wanted):
        parts.append(f"the stages have {_units(stored) or 'no'} residual units, not {_units(wanted)}")
    if missing:
        parts.append(f"{len(missing)} arrays are missing (first: {missing[0]})")
    if surplus:
        parts.append(f"{len(surplus)} are not of this network (first: {shown(surplus[0])})")
    if differing:
        name = differing[0]
        parts.append(f"{len(differing)} have another shape or type (first: {name}, {stored[name]} for {wanted[name]})")
    of_input = all(name.startswith(NORMALIZATION) for name in (*missing, *surplus, *differing))
    key = "`data.normalize`, and for per_pixel the image size," if of_input else "the section `model`"
    raise UserError(
        f"weights must be of the network that the preset builds. Received: {path}, in which {'; '.join(parts)}. "
        f"Nothing was loaded. Give the preset {key} of the network whose weights these are.",
        "weights-of-another-network",
    )


def _units(names: Iterable[str]) -> str:
    """Returns the number of residual units of each stage, from the names of their arrays: "3, 3, 3"."""
    units = {match.groups() for name in names if (match := re.match(r"stage(\d{1,3})_unit(\d{1,5})_", name))}
    stages = Counter(int(stage) for stage, _ in units)
    return ", ".join(str(stages[stage]) for stage in sorted(stages))

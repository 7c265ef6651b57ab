"""Weight files: arrays only, loaded into the network that the preset builds, or not at all."""

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

ABOUT = "__about__"


def pack(model: keras.Model, about: dict) -> bytes:
    """Returns a model's weights as the content of an .npz file, with a few plain values about them.

    Args:
        about: what the weights are (step, validation_top1, ...); `load` gives it back.
    """
    arrays = {variable.path: np.asarray(variable) for variable in model.variables}
    return files.pack_arrays({**arrays, ABOUT: np.array(json.dumps(about))})


def save(model: keras.Model, path: Path, about: dict) -> None:
    """Writes a model's weights to an .npz file, atomically; see `pack`."""
    files.write_atomically(path, pack(model, about))


def load(model: keras.Model, path: Path) -> dict:
    """Loads an .npz file's weights into a model of just these names, shapes and types; returns what is said of them.

    Names, shapes and types are read and compared first: a file of another network takes no memory.

    Raises:
        UserError: not a weight file, or one of another network (names what differs; nothing is loaded).
    """
    variables = {variable.path: variable for variable in model.variables}
    wanted = {name: f"{variable.dtype} {tuple(variable.shape)}" for name, variable in variables.items()}
    try:
        if path.exists() and not path.is_file():
            raise ValueError("not an ordinary file")  # a pipe waits, a device never ends
        with open(path, "rb") as file:
            headers = files.array_headers(file)
            _check_about(headers.pop(ABOUT, None))
            _check_arrays(path, {name: f"{dtype} {shape}" for name, (shape, dtype) in headers.items()}, wanted)
            file.seek(0)
            arrays = files.unpack_arrays(file)
        about = json.loads(str(arrays.pop(ABOUT, "{}")))
        if not isinstance(about, dict):
            raise ValueError(f"{ABOUT} is no table")
    except UserError:
        raise
    except Exception as error:  # over a damaged file zipfile and numpy raise anything, tokenize.TokenError included
        reason = first_line(error)
        raise UserError(f"weights must be an .npz file of arrays. Received: {path}: {reason}.") from error
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return about


def _check_about(header: tuple[tuple[int, ...], np.dtype] | None) -> None:
    if header is not None and (header[0] != () or header[1].kind != "U" or header[1].itemsize > 1e6):
        raise ValueError(f"{ABOUT} is not one short text")


def _check_arrays(path: Path, found: dict[str, str], wanted: dict[str, str]) -> None:
    """Raises UserError where two tables differ; a value is an array's type and shape: "float32 (3, 3, 16, 16)"."""
    missing = [name for name in wanted if name not in found]
    surplus = [name for name in found if name not in wanted]
    differing = [name for name in wanted if name in found and found[name] != wanted[name]]
    if not (missing or surplus or differing):
        return
    parts = []
    if _units(found) != _units(wanted):
        parts.append(f"the stages have {_units(found) or 'no'} residual units, not {_units(wanted)}")
    if missing:
        parts.append(f"{len(missing)} arrays are missing (first: {missing[0]})")
    if surplus:
        parts.append(f"{len(surplus)} are of no use here (first: {shown(surplus[0])})")
    if differing:
        name = differing[0]
        parts.append(f"{len(differing)} have another shape or type (first: {name}, {found[name]} for {wanted[name]})")
    raise UserError(
        f"weights must be of the network that the preset builds. Received: {path}, in which {'; '.join(parts)}. "
        "Nothing was loaded."
    )


def _units(names: Iterable[str]) -> str:
    """Returns the residual units of each stage, as the arrays' names tell: "3, 3, 3"."""
    found = {match.groups() for name in names if (match := re.match(r"stage(\d{1,3})_unit(\d{1,5})_", name))}
    stages = Counter(int(stage) for stage, _ in found)
    return ", ".join(str(stages[stage]) for stage in sorted(stages))

"""Weight files: arrays only, loaded into the network that the preset builds, or not at all."""

import json
from pathlib import Path

import keras
import numpy as np

from resnet_tf import files
from resnet_tf.errors import UserError

ABOUT = "__about__"


def save(model: keras.Model, path: Path, about: dict) -> None:
    """Writes a model's weights to an .npz file, atomically, with a few plain values about them.

    Args:
        about: what the weights are (step, validation_top1, ...); `load` gives it back.
    """
    arrays = {variable.path: np.asarray(variable) for variable in model.variables}
    files.write_atomically(path, files.pack_arrays({**arrays, ABOUT: np.array(json.dumps(about))}))


def load(model: keras.Model, path: Path) -> dict:
    """Loads an .npz file's weights into a model of just these names and shapes; returns what was saved about them.

    Raises:
        UserError: not a weight file, or one of another network (names what differs; nothing is loaded).
    """
    variables = {variable.path: variable for variable in model.variables}
    try:
        shapes = files.array_shapes(path)
        if shapes.pop(ABOUT, ()) != ():
            raise ValueError(f"{ABOUT} is not one text")
        _check_shapes(path, shapes, {name: tuple(variable.shape) for name, variable in variables.items()})
        arrays = files.unpack_arrays(path.read_bytes())
        about = json.loads(str(arrays.pop(ABOUT, "{}")))
        for name, variable in variables.items():
            if str(arrays[name].dtype) != variable.dtype:
                raise ValueError(f"{name} is {arrays[name].dtype}, not {variable.dtype}")
    except UserError:
        raise
    except Exception as error:  # over a damaged file zipfile and numpy raise anything, tokenize.TokenError included
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"weights must be an .npz file of arrays. Received: {path}: {reason}.") from error
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return about


def _check_shapes(path: Path, found: dict[str, tuple], wanted: dict[str, tuple]) -> None:
    missing = [name for name in wanted if name not in found]
    surplus = [name for name in found if name not in wanted]
    differing = [name for name in wanted if name in found and found[name] != wanted[name]]
    if not (missing or surplus or differing):
        return
    parts = []
    if missing:
        parts.append(f"{len(missing)} arrays are missing (first: {missing[0]})")
    if surplus:
        parts.append(f"{len(surplus)} are of no use here (first: {surplus[0]})")
    if differing:
        name = differing[0]
        parts.append(f"{len(differing)} have another shape (first: {name}, {found[name]} for {wanted[name]})")
    raise UserError(
        f"weights must be of the network that the preset builds. Received: {path}, in which {'; '.join(parts)}. "
        "Nothing was loaded."
    )

"""Figures in the form that their file's name says."""

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_tf.errors import UserError, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMS = (".png", ".pdf", ".svg")


def check_place(path: str | os.PathLike) -> None:
    """Raises UserError where a figure could not be written: another form, or into a folder that is not there."""
    form_of(path)
    if not Path(path).resolve().parent.is_dir():
        raise UserError(f"a file needs a folder that exists. Received: {os.fspath(path)!r}.")


def form_of(path: str | os.PathLike) -> str:
    """Returns which form a figure's file has, by its name: "png", "pdf" or "svg".

    Raises:
        UserError: the name ends otherwise.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMS:
        raise UserError(f"a figure's name must end in {', '.join(FORMS)}. Received: {shown(os.fspath(path))}.")
    return suffix[1:]


def drawn(figure: "Figure", path: str | os.PathLike) -> bytes:
    """Returns the content of the file at `path` that shows a figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form_of(path))
    return buffer.getvalue()

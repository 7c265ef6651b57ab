"""What an image file tells without being decoded: that it is a whole image, which way is up, what shows through."""

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from resnet_tf.errors import UserError
from resnet_tf.format import first_line

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP")  # Pillow's names of what TensorFlow decodes
_LAST_BYTES = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}  # TensorFlow insists on them
_ORIENTATION = 274  # the tag of TIFF and EXIF
_NOTES = (b"eXIf", b"Raw profile type exif", b"tiff:Orientation")  # in a PNG, where they may stand behind the pixels
_TAIL = 1 << 16  # bytes before a PNG's end in which they are looked for
_THREADS = 8  # hide the disk's latency
_PORTION = 100  # files a thread looks at before it takes the next
_NAMED = 3  # files that a message names


def read_orientations(paths: Sequence[str]) -> np.ndarray | None:
    """Returns how photos are stored, as `FileSplit` has it: uint8 [n], 1 to 8; None where all are stored as seen.

    The orientation is the one by which Pillow's `ImageOps.exif_transpose` turns: noted in EXIF, else in XMP.

    Raises:
        UserError: files that are no images, or cut short; the message names the first.
    """
    portions = [paths[start : start + _PORTION] for start in range(0, len(paths), _PORTION)]
    with warnings.catch_warnings(), ThreadPoolExecutor(_THREADS) as pool:
        warnings.simplefilter("ignore")  # Pillow's, over large photos and damaged EXIF
        looked = pool.map(lambda portion: [_look(path) for path in portion], portions)
        headers = [header for portion in looked for header in portion]
    check_none_broken([(path, header) for path, header in zip(paths, headers, strict=True) if isinstance(header, str)])
    if not any(header.transparent or header.orientation != 1 for header in headers):
        return None
    return np.array([header.orientation for header in headers], np.uint8)


def check_none_broken(broken: Sequence[tuple[str, str]]) -> None:
    """Checks that there are no files that cannot be read.

    Args:
        broken: their paths, each with the reason.

    Raises:
        UserError: there are; the message names the first few.
    """
    if broken:
        named = "; ".join(f"{path} ({reason})" for path, reason in broken[:_NAMED])
        more = f"; and {len(broken) - _NAMED:,} more" if len(broken) > _NAMED else ""
        raise UserError(
            f"image files must be whole JPEG, PNG, BMP or WebP pictures. Received: {named}{more}. Save them anew as "
            "JPEG, or move them out of the data set."
        )


class _Header(NamedTuple):
    orientation: int
    transparent: bool


def _look(path: str) -> _Header | str:
    """Returns what a picture's header says, or in a few words why the file is not a whole picture."""
    from PIL import Image, UnidentifiedImageError

    try:
        with open(path, "rb") as file, Image.open(file, formats=_FORMATS) as image:
            pixels = file.tell()  # so far Pillow has read
            file.seek(-min(_TAIL, os.fstat(file.fileno()).st_size), os.SEEK_END)
            tail = file.read()
            file.seek(pixels)
            if not _is_whole(image.format, tail, file):
                return "cut short"
            if image.format == "BMP" and image.mode in ("1", "P"):  # TensorFlow takes places in the palette for greys
                return "a BMP with a palette"
            if image.format == "WEBP" and image.is_animated:
                return "an animation"
            if image.format == "PNG" and any(note in tail for note in _NOTES):
                file.seek(pixels)
                image.load()  # reads on to what stands behind the pixels
            return _Header(_noted(image), image.has_transparency_data)
    except UnidentifiedImageError:
        return "none of these" if os.path.getsize(path) else "empty"
    except Exception as error:  # a damaged header raises almost anything
        return getattr(error, "strerror", None) or f"damaged: {first_line(error)}"


def _is_whole(kind: str, tail: bytes, file: BinaryIO) -> bool:
    """Tells whether a file goes on to its kind's last bytes. More may follow, such as a phone's short film.

    Args:
        tail: how the file ends.
        file: stands before the pixels, and hence behind a JPEG's preview, which has last bytes of its own.
    """
    last = _LAST_BYTES.get(kind, b"")
    return tail.endswith(last) or last in file.read()


def _noted(image: "Image.Image") -> int:
    """Returns the orientation that an opened image notes, 1 where it notes none."""
    from PIL import Image

    try:
        # Not PNG's own method, which decodes the pixels to look behind them.
        noted = Image.Image.getexif(image).get(_ORIENTATION)
    except Exception:  # the note may be damaged and the picture sound
        return 1
    return noted if noted in range(1, 9) else 1

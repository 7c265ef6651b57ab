"""Decodes one image file to RGB pixels with Pillow, for training, evaluation and photos alike (to a grey level).

Only Pillow, the two roundings of a centred crop and the conversion of pixel modes are imported, so that the process
that decodes a user's photo (`prediction/sandbox.py`) starts in a twentieth of a second.

Of an animation, a multi-page TIFF or an MPO the first image is read. Truncated files are refused, and so are images of
more than `MAX_PIXELS`, or `MAX_JPEG_PIXELS`.
"""

import contextlib
import math
import os
import re
import stat
import warnings
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from resnet_tf.datasets.pixel_modes import to_rgb
from resnet_tf.presets.rounding import centred, resized_side

FORMATS = {  # what a file starts with -> the one Pillow reader that may open it; an MPO (iPhone, stereo) is a JPEG
    rb"\xff\xd8\xff": "JPEG",
    rb"\x89PNG\r\n\x1a\n": "PNG",
    rb"GIF8[79]a": "GIF",
    rb"BM": "BMP",
    rb"RIFF....WEBP": "WEBP",
    rb"II[*+]\0|MM\0[*+]": "TIFF",
}
PHOTO_FORMATS = tuple(FORMATS.values())
DATASET_FORMATS = PHOTO_FORMATS[:-1]  # read inside the training process: without libtiff, the largest of the codecs
MAX_BYTES = 100_000_000
MAX_PIXELS = 100_000_000
MAX_JPEG_PIXELS = 178_000_000  # phones take photos of 108 million; just below the limit of Pillow's other readers
PREVIEW = 256  # pixels, the longest side of a preview

_SPARE = 16  # pixels that a reduced JPEG keeps for each output pixel, along both axes: two grey levels off at most
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}  # the last bytes of a whole file; more may follow them
_TAIL = 1 << 16  # bytes in which they are looked for first
_ORIENTATION = 274  # EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow warns of large images and damaged EXIF. Set once: warnings.catch_warnings does not work in several threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


class BadImage(Exception):
    """A file that cannot or must not be decoded; the message is the reason, in one line."""


class CropWindow(NamedTuple):
    """A window of an image and the size at which it is shown, for one image (scalars) or a batch (arrays [batch]).

    Attributes:
        top, left, height, width: of the window, in pixels of the source; it may reach beyond the source.
        rows, columns: the size at which the window is shown, in pixels.
    """

    top: float
    left: float
    height: float
    width: float
    rows: int
    columns: int


class ImageFile:
    """An opened image file; see `open_image`.

    Attributes:
        height, width: of the whole image, turned upright if that was asked for, in pixels.
    """

    def __init__(self, image: Image.Image, form: str, orientation: int, over_white: bool):
        self._image, self._form, self._turn, self._over_white = image, form, _TURNS.get(orientation), over_white
        self.width, self.height = image.size if orientation < 5 else image.size[::-1]

    def show(self, views: Sequence[Sequence[CropWindow]]) -> list[Image.Image]:
        """Decodes the file once and returns an RGB image for each view.

        Args:
            views: for each the windows that lead to it: the first is cut from the whole image and resampled, the next
                is cut from the result, and so on; none at all: the whole image. The first view says how finely a JPEG
                must be decoded.

        Raises:
            BadImage: the file cannot or must not be decoded.
        """
        with _reasons(self._form):
            scales = [max(first.rows / first.height, first.columns / first.width) for first in views[0][:1]]
            whole = self._decode(*scales)
            return [self._show(whole, windows) for windows in views]

    def middle(self, side: int, crop: int) -> CropWindow:
        """Returns the middle square of `crop` pixels after the shorter side is resized to `side`.

        These are the pixels of the evaluation's "resize(side) | center_crop(crop)".
        """
        shorter, starts, lengths = min(self.height, self.width), [], []
        for length in (self.height, self.width):
            resized = resized_side(length, shorter, side)
            pixel = length / resized  # of the image in one resized pixel
            starts.append(centred(resized - crop) * pixel)
            lengths.append(crop * pixel)
        return CropWindow(*starts, *lengths, crop, crop)

    def preview(self) -> CropWindow:
        """Returns the whole image with its longest side reduced to at most `PREVIEW` pixels; never enlarged."""
        scale = min(1.0, PREVIEW / max(self.height, self.width))
        rows, columns = (max(1, round(side * scale)) for side in (self.height, self.width))
        return CropWindow(0.0, 0.0, self.height, self.width, rows, columns)

    def _decode(self, scale: float = 1.0) -> Image.Image:
        """Returns the whole image in RGB; `scale`: output pixels for each of its pixels, which a JPEG may make use of.

        A JPEG decodes faster at 1/2, 1/4 or 1/8 of its size; its shorter side keeps at least `PREVIEW` pixels.
        """
        needed = max(PREVIEW, math.ceil(_SPARE * scale * min(self._image.size) - 0.01))
        self._image.draft(None, (needed, needed))  # other formats ignore it
        self._image.load()
        rgb = to_rgb(self._image, self._over_white)
        return rgb if self._turn is None else rgb.transpose(self._turn)

    def _show(self, image: Image.Image, windows: Sequence[CropWindow]) -> Image.Image:
        height, width = self.height, self.width
        for window in windows:
            image = _resample(image, window, height, width)
            height, width = image.height, image.width
        return image


@contextlib.contextmanager
def open_image(path: str, upright: bool = True, formats: Sequence[str] = DATASET_FORMATS) -> Iterator[ImageFile]:
    """Opens an image file; its pixels are decoded when they are asked for.

    Args:
        upright: show the image as it is meant to be seen: turned as its EXIF or XMP orientation says, transparency over
            white. Else as it is stored, as torchvision does: orientation ignored, opacity dropped.
        formats: the formats that may be opened, by Pillow's names.

    Raises:
        BadImage: the file cannot or must not be opened.
    """
    with _open_file(path) as file:
        form = _format(file, formats)
        with _reasons(form):
            image = _open(file, form)
            if form != "JPEG":  # whose notes all precede its pixels; in a PNG they may follow them
                image.load()
            orientation = _orientation(image) if upright else 1
        yield ImageFile(image, form, orientation, upright)


def problem(path: str) -> str | None:
    """Returns why a file is no whole image, or None.

    A JPEG or PNG is judged by its beginning and end, in a tenth of a millisecond; other formats, which have no mark at
    their end, are decoded.
    """
    try:
        with _open_file(path) as file:
            form = _format(file, DATASET_FORMATS)
            with _reasons(form), _open(file, form) as image:
                if form in _ENDS:
                    return None if _is_whole(file, _ENDS[form]) else "cut short"
                image.load()
                return None
    except BadImage as error:
        return str(error)


def _is_whole(file: BinaryIO, end: bytes) -> bool:
    """Returns whether the bytes `end` follow the present position in the file.

    Pillow leaves that behind a JPEG's embedded preview, which has an end mark of its own. More may follow the end, such
    as a phone's short film.
    """
    pixels = file.tell()
    for start in (max(pixels, os.fstat(file.fileno()).st_size - _TAIL), pixels):
        file.seek(start)
        if end in file.read():
            return True
    return False


def _open(file: BinaryIO, form: str) -> Image.Image:
    """Opens an image, whose pixels are not decoded yet, and checks the size that its header claims.

    Of an MPO, several JPEGs in one file, Pillow would look through all; only the first is needed, and the position in
    the file must be behind its header (see `_is_whole`).
    """
    image = JpegImageFile(file) if form == "JPEG" else Image.open(file, formats=(form,))
    limit = MAX_JPEG_PIXELS if form == "JPEG" else MAX_PIXELS
    if image.width * image.height > limit:
        raise BadImage(
            f"too large: {image.width} x {image.height} pixels; the limit of a {form} is {limit / 1e6:,.0f} million"
        )
    return image


def _open_file(path: str) -> BinaryIO:
    """Opens a regular file; a pipe or device would hang or never end, so it is not even opened."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            os.scandir(path).close()  # raises where the folder may not be read, which is then the better reason
            raise BadImage("a folder, and no image file was found in it")
        if not stat.S_ISREG(status.st_mode):
            raise BadImage("not an ordinary file (a pipe, socket or device)")
        if status.st_size > MAX_BYTES:
            raise BadImage(f"too large: {status.st_size / 1e6:,.0f} MB; the limit is {MAX_BYTES / 1e6:,.0f} MB")
        return open(path, "rb")
    except FileNotFoundError as error:
        raise BadImage("no such file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL or a lone surrogate in the name
        raise BadImage(getattr(error, "strerror", None) or _one_line(error)) from error


def _format(file: BinaryIO, formats: Sequence[str]) -> str:
    """Returns the format of a file by its first bytes; raises BadImage where it is none of `formats`."""
    with _reasons("image"):
        start = file.read(16)
        file.seek(0)
    form = next((form for pattern, form in FORMATS.items() if re.match(pattern, start, re.DOTALL)), None)
    if form in formats:
        return form
    if not start:
        raise BadImage("an empty file")
    if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis"):
        raise BadImage("HEIC and AVIF images are not supported: save the photo as JPEG or PNG")
    raise BadImage(f"not a {', '.join(formats[:-1])} or {formats[-1]} image")


@contextlib.contextmanager
def _reasons(form: str) -> Iterator[None]:
    """Turns whatever Pillow raises over a file into BadImage."""
    try:
        yield
    except BadImage:
        raise
    except Image.DecompressionBombError as error:
        raise BadImage(f"too large: the limit is {MAX_PIXELS / 1e6:,.0f} million pixels") from error
    except MemoryError as error:
        raise BadImage("decoding it needs too much memory") from error
    except Exception as error:  # a codec raises almost anything on a damaged file, and none of it is our caller's fault
        if isinstance(error, Image.UnidentifiedImageError):
            raise BadImage(f"unreadable {form} file: damaged, or of a pixel mode that Pillow does not read") from error
        raise BadImage(f"damaged {form} file: {_one_line(error)}") from error


def _resample(image: Image.Image, window: CropWindow, height: int, width: int) -> Image.Image:
    """Returns the window of an RGB image, `rows` x `columns` pixels.

    Linear interpolation, its kernel widened where the image shrinks (antialiased; the kernel may read beyond the
    window, not beyond the image). What lies outside the image is black.

    Args:
        height, width: of the image in the window's pixels; a reduced JPEG has fewer pixels of its own.
    """
    reduction = round(max(height, width) / max(image.size))
    box, places = [], []
    for start, length, shown, whole, side in zip(
        window[:2], window[2:4], window[4:], (height, width), (image.height, image.width), strict=True
    ):
        start, pixel = float(start), float(length) / float(shown)  # of the image in one shown pixel
        first, last = max(0, round(-start / pixel)), min(shown, round((whole - start) / pixel))
        places.append((first, last))
        # A reduced JPEG's last pixel may stand for fewer pixels than the others.
        box.append((max(0.0, start + first * pixel) / reduction, min((start + last * pixel) / reduction, side)))
    ((top, bottom), (left, right)), ((first_row, last_row), (first_column, last_column)) = box, places
    inside = last_column - first_column, last_row - first_row
    shown = image.resize(inside, Image.Resampling.BILINEAR, box=(left, top, right, bottom))
    if inside == (window.columns, window.rows):
        return shown
    black = Image.new("RGB", (window.columns, window.rows))
    black.paste(shown, (first_column, first_row))
    return black


def _orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1 to 8; 1 where it is damaged, and for TIFFs, which Pillow turns itself."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # a damaged block raises almost anything, and the image may be sound
        orientation = None
    return orientation if orientation in _TURNS else 1


def _one_line(error: BaseException) -> str:
    """Returns an exception's message as one short line."""
    return " ".join(str(error).split())[:200] or type(error).__name__

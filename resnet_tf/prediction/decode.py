"""One picture file to upright RGB pixels, whatever its format and pixel mode; runs apart from the main process.

`serve` is the decoder that `photos.load_all` starts and talks to: Pillow and the rule of centred crops are
all that it imports, so that it starts in a twentieth of a second, and a file that crashes or stalls a codec takes down
nothing but this process.

Colour profiles are not applied: numbers are taken as sRGB, as the training images were. Only the first picture of an
animation, a multi-page TIFF or an MPO is read.
"""

import contextlib
import json
import logging
import os
import re
import resource
import signal
import stat
import sys
import warnings
from io import BytesIO

from PIL import Image

from resnet_tf.format import first_line
from resnet_tf.presets.rounding import centred, resized_side

FORMATS = {  # what a file starts with -> the one Pillow reader that may open it; an MPO (iPhone, stereo) is a JPEG
    rb"\xff\xd8\xff": "JPEG",
    rb"\x89PNG\r\n\x1a\n": "PNG",
    rb"GIF8[79]a": "GIF",
    rb"BM": "BMP",
    rb"RIFF....WEBP": "WEBP",
    rb"II[*+]\0|MM\0[*+]": "TIFF",
}
MAX_BYTES = 100_000_000
MAX_PIXELS = 100_000_000  # as decoded; a JPEG, decoded at 1/8, may hold more, up to Pillow's own limit of 179 million
MAX_MEMORY = 1 << 30  # bytes of address space for the decoder's process: enough for MAX_PIXELS in RGBA
PREVIEW = 256  # pixels, the longest side of a preview

_ORIENTATION, _BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 274, 258, 262, 339  # EXIF and TIFF tags
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class BadPhoto(Exception):
    """A file that is not predicted; the message is one line for the user."""


def upright_rgb(path: str, shorter_side: int | None = None) -> tuple[Image.Image, tuple[int, int]]:
    """Decodes a picture file, turned as its EXIF or XMP orientation says, in RGB.

    - Transparency is laid over white. (Of a PNG's single transparent colour Pillow heeds only those in 1-, 8- and
      16-bit grey and in 8-bit RGB.)
    - 16-bit grey is rounded to 8 bits; 16-bit colour keeps its 8 high bits.
    - Grey of 32 bits, whole numbers or float (TIFF), has no agreed white: it is the smallest of 1, 255, 65535 and
      2**32 - 1 that is not below the largest value, or that value. What is below 0 is black.
    - CMYK goes to RGB by (1 - C)(1 - K); a CMYK JPEG is read with Adobe's polarity.

    Args:
        shorter_side: a JPEG may be decoded at 1/2, 1/4 or 1/8 as long as its shorter side keeps this many pixels.

    Returns:
        The picture, and the (width, height) in pixels of the whole upright photo before any such reduction.

    Raises:
        BadPhoto: the file cannot or must not be decoded, for the reason given.
    """
    content = _read(path)
    form = next((form for start, form in FORMATS.items() if re.match(start, content, re.DOTALL)), None)
    if form is None:
        raise BadPhoto(_not_a_picture(content))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(content), formats=(form,)) as image:
                return _decoded(image, shorter_side)
    except BadPhoto:
        raise
    except Image.DecompressionBombError as error:
        raise BadPhoto(f"too large: the limit is {MAX_PIXELS / 1e6:,.0f} million pixels") from error
    except MemoryError as error:
        raise BadPhoto("decoding it needs too much memory") from error
    except Exception as error:  # a codec raises almost anything on a damaged file, and none of it is our caller's fault
        reason = "unreadable header" if isinstance(error, Image.UnidentifiedImageError) else first_line(error)
        raise BadPhoto(f"damaged {form} file: {reason}") from error


def fit(image: Image.Image, side: int, crop: int, photo: tuple[int, int] | None = None) -> Image.Image:
    """Resizes the shorter side to `side` (bilinear, antialiased, up or down), then cuts the square in the middle.

    The same pixels as the evaluation's "resize(side) | center_crop(crop)" and, within two grey levels, the same values,
    but computed only for the pixels that are kept, however long the picture is.

    Args:
        image: RGB.
        side, crop: in pixels; `crop` is at most `side`.
        photo: (width, height) in pixels of the whole photo where `image` is a reduction of it, see `upright_rgb`;
            default: `image` is the whole photo.

    Returns:
        RGB, `crop` x `crop`.
    """
    photo = photo or image.size
    reduction = round(max(photo) / max(image.size))  # a JPEG's last pixel may stand for less than this many
    box = [0.0, 0.0, 0.0, 0.0]
    for axis, length in enumerate(photo):
        resized = resized_side(length, min(photo), side)
        start = centred(resized - crop)
        pixel = length / resized / reduction  # of `image` in a pixel of the resized photo
        box[axis], box[axis + 2] = start * pixel, min((start + crop) * pixel, image.size[axis])
    return image.resize((crop, crop), Image.Resampling.BILINEAR, box=tuple(box))


def preview(image: Image.Image) -> Image.Image:
    """Returns the picture with its longest side reduced to at most `PREVIEW` pixels; never enlarged."""
    scale = min(1.0, PREVIEW / max(image.size))
    return image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BILINEAR)


def _read(path: str) -> bytes:
    """Returns a regular file's bytes; a pipe or device would hang or never end, so it is not even opened."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            os.scandir(path).close()  # raises where the folder may not be read, which is then the better reason
            raise BadPhoto("a folder, and no picture file was found in it")
        if not stat.S_ISREG(status.st_mode):
            raise BadPhoto("not an ordinary file (a pipe, socket or device)")
        if status.st_size > MAX_BYTES:
            raise BadPhoto(f"too large: {status.st_size / 1e6:,.0f} MB; the limit is {MAX_BYTES / 1e6:,.0f} MB")
        with open(path, "rb") as file:
            return file.read(MAX_BYTES)
    except FileNotFoundError as error:
        raise BadPhoto("no such file, and none that matches it as a pattern") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL or a lone surrogate in the name
        raise BadPhoto(getattr(error, "strerror", None) or first_line(error)) from error


def _not_a_picture(content: bytes) -> str:
    """Says what the file is instead of a picture that is read."""
    if not content:
        return "an empty file"
    if content[4:8] == b"ftyp" and content[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif", b"avis"):
        return "HEIC and AVIF are not read: save the photo as JPEG or PNG"
    return "not a JPEG, PNG, GIF, BMP, WebP or TIFF picture"


def _decoded(image: Image.Image, shorter_side: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """Decodes an opened picture, first checking the size that its header claims."""
    width, height = image.size
    if shorter_side is not None:
        image.draft(None, (shorter_side, shorter_side))  # a JPEG's own fast reduction; other formats ignore it
    if image.width * image.height > MAX_PIXELS:
        raise BadPhoto(f"too large: {width} x {height} pixels; the limit is {MAX_PIXELS / 1e6:,.0f} million")
    image.load()
    orientation = _orientation(image)
    rgb = _to_rgb(image)
    if orientation in _TURNS:
        rgb = rgb.transpose(_TURNS[orientation])
    return rgb, (height, width) if orientation >= 5 else (width, height)


def _orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1 to 8; 1 where it is damaged, and for TIFFs, which Pillow turns itself."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # as above: a damaged block raises almost anything
        orientation = None
    return orientation if orientation in _TURNS else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Converts any of Pillow's modes to RGB, without its clipping of 16-bit and loss of transparency."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _grey(image).convert("RGB")
    if image.has_transparency_data:
        if image.mode == "La":
            image = image.convert("LA")
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    if image.mode == "LAB":
        from PIL import ImageCms  # here, not above: few files need it

        # What convert("RGB") does, but without the coarse tables that put dark colours off by up to seven levels.
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        flags = ImageCms.Flags.NOOPTIMIZE
        return ImageCms.buildTransform(lab, srgb, "LAB", "RGB", flags=flags).apply(image)
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy hundreds of megabytes


def _grey(image: Image.Image) -> Image.Image:
    """Scales grey of more than 8 bits to mode L, 0 (black) to 255 (white)."""
    import numpy as np  # here, not above: it would triple the decoder's start for a mode that few files have

    tags = getattr(image, "tag_v2", {})  # of a TIFF
    stored = np.asarray(image)
    if image.mode == "I" and tags.get(_SAMPLE_FORMAT, (1,)) == (1,):
        stored = stored.view(np.uint32)  # which Pillow has read as signed
    values = stored.astype(np.float32)
    if image.mode == "F":
        np.nan_to_num(values, copy=False, nan=0.0)
    if image.mode in ("I", "F"):
        largest = values.max()
        white = next((white for white in (1, 255, 65535, 2**32 - 1) if largest <= white), largest)
    else:
        white = 2 ** tags.get(_BITS_PER_SAMPLE, (16,))[0] - 1
    values *= 255 / white
    grey = (np.clip(values, 0, 255, out=values) + 0.5).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == 0:  # "white is zero", which Pillow heeds up to 8 bits only
        grey = 255 - grey
    transparent = image.info.get("transparency")
    if transparent is not None:
        grey[stored == transparent] = 255
    return Image.fromarray(grey)


def serve(side: int, crop: int, seconds: float) -> None:
    """Answers one line of JSON on standard input (a path) with one photo on standard output, until the input ends.

    An answer is a line of JSON, {"error"} or {"width", "height", "preview": [width, height]}, then for a good photo
    the RGB bytes of its `fit` and of its preview. No pickle: what comes from the process that read a stranger's file
    is data. The kernel's alarm ends the process, whatever code it is in, when one photo takes longer than `seconds`.
    """
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that nothing a library prints mixes with them
    logging.disable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # some systems have no such limit
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        header, pixels = _answer(json.loads(line), side, crop)
        signal.setitimer(signal.ITIMER_REAL, 0)
        replies.write(json.dumps(header).encode() + b"\n" + pixels)
        replies.flush()


def _answer(path: str, side: int, crop: int) -> tuple[dict, bytes]:
    """Returns the header and the pixels of one photo's answer."""
    try:
        # Four times the pixels that are needed leave the fit the same within two grey levels.
        image, photo = upright_rgb(path, shorter_side=max(4 * side, PREVIEW))
        small = preview(image)
        header = {"width": photo[0], "height": photo[1], "preview": small.size}
        return header, fit(image, side, crop, photo).tobytes() + small.tobytes()
    except BadPhoto as error:
        return {"error": str(error)}, b""
    except MemoryError:
        return {"error": "resizing it needs too much memory"}, b""

"""Decodes photos in a process of its own, so that a file that crashes or stalls a codec stops nothing but this process.

`photos.load_all` starts it and talks to it. Beside the standard library only `datasets/decode.py`, and what that needs,
is imported. Windows has neither the limits nor the alarm: there a crash is still contained, but a file that stalls a
codec is waited for.
"""

import contextlib
import json
import logging
import os
import signal
import sys

from PIL import Image

from resnet_tf.datasets import decode
from resnet_tf.presets.rounding import centred

try:
    import resource
except ImportError:  # Windows
    resource = None

FRAMES = ("squash", "crop", "pad")
MAX_MEMORY = 2 << 30  # bytes of address space: enough for decode.MAX_PIXELS in RGBA, and a turned copy
_PATIENCE = 8  # a busy machine takes so many times as long as the processor time


def serve(side: int, crop: int, frame: str, seconds: float) -> None:
    """Answers one line of JSON on standard input (a path) with one photo on standard output, until the input ends.

    An answer is a line of JSON, {"error"} or {"width", "height", "preview": [width, height]}, then for a good photo
    the RGB bytes of its square (`squared`) and of its preview. No pickle: what comes from the process that read a
    stranger's file is data. The kernel's alarm ends the process, whatever code it is in, when one photo takes more than
    `seconds` of processor time, or far longer by the clock.
    """
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that nothing a library prints mixes with them
    logging.disable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    if resource:
        for alarm in (signal.SIGALRM, signal.SIGPROF):
            signal.signal(alarm, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM, signal.SIGPROF})
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(ValueError, OSError):  # some systems have no such limit
            resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    for line in sys.stdin:
        _limit(seconds)
        header, pixels = answer(json.loads(line), side, crop, frame)
        _limit(0)
        replies.write(json.dumps(header).encode() + b"\n" + pixels)
        replies.flush()


def _limit(seconds: float) -> None:
    """Sets the alarms of one photo; 0: none."""
    if resource:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, _PATIENCE * seconds)


def answer(path: str, side: int, crop: int, frame: str) -> tuple[dict, bytes]:
    """Returns the header and the pixels of one photo's answer; see `serve`."""
    if not os.path.lexists(path):
        return {"error": "no such file, and none that matches it as a pattern"}, b""
    try:
        with decode.open_image(path, formats=decode.PHOTO_FORMATS) as photo:
            shown, small = photo.show([[squared(photo, side, crop, frame)], [photo.preview()]])
            header = {"width": photo.width, "height": photo.height, "preview": small.size}
            return header, padded(shown, crop).tobytes() + small.tobytes()
    except decode.BadImage as error:
        return {"error": str(error)}, b""
    except MemoryError:
        return {"error": "decoding it needs too much memory"}, b""


def squared(photo: decode.ImageFile, side: int, crop: int, frame: str) -> decode.CropWindow:
    """Returns what the network is shown of a photo: a square of `crop` pixels, or with "pad" no larger than that.

    "crop" resizes the shorter side to `side` and cuts out the middle, as evaluation does. "squash" resizes both sides
    to `side` first, so that nothing is lost at the ends of the longer one. "pad" shows the whole photo in its own
    proportions.
    """
    sides = photo.height, photo.width
    if frame == "crop":
        return photo.middle(side, crop)
    if frame == "squash":
        starts = [centred(side - crop) * length / side for length in sides]
        return decode.CropWindow(*starts, *(crop * length / side for length in sides), crop, crop)
    return decode.CropWindow(0.0, 0.0, *sides, *(max(1, round(crop * length / max(sides))) for length in sides))


def padded(image: Image.Image, side: int) -> Image.Image:
    """Returns an RGB image in the middle of a square, the rest filled with its mean colour."""
    if image.size == (side, side):
        return image
    square = Image.new("RGB", (side, side), image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)))
    square.paste(image, tuple((side - length) // 2 for length in image.size))
    return square

"""The contact sheet: each photo, what the network saw of it, where it looked, and the classes it predicted."""

import os
import textwrap
from collections.abc import Sequence
from math import ceil

import numpy as np

from resnet_tf import plots
from resnet_tf.format import printable
from resnet_tf.prediction.photos import Photo
from resnet_tf.prediction.table import common_folder, is_right, shown_name

MAX_TILES = 120
_MAX_BARS = 5
_TILE_WIDTH, _TILE_HEIGHT = 5.35, 1.5  # inches, as all lengths below
_MARGIN, _HEADER, _GAP = 0.25, 0.75, 0.1
_PHOTO_WIDTH, _SIDE, _BARS_WIDTH = 1.3, 1.0, 1.45
_ALARM, _RIGHT = "#b42318", "#067647"
_BEST, _OTHER, _TRACK = "#9cc2f5", "#dbe3ee", "#f5f6f8"  # bars: the first, the others, what is left of the whole


def draw(rows: Sequence[dict], photos: Sequence[Photo], path: str | os.PathLike, title: str) -> None:
    """Saves a figure with a tile for each of the first `MAX_TILES` photos, in order.

    A tile holds the file's name, the whole photo, the square that the network saw with its pixels enlarged, the same
    coloured where the evidence for the first class lies, and the five most likely classes with a bar as long as their
    probability; or the reason why the photo could not be read.

    Args:
        rows: see `table`; one for each of `photos`.
        path: ends in .png, .pdf or .svg, which is the file's format.
        title: which run and network predicted.

    Raises:
        UserError: the file cannot be written, or its name ends otherwise.
    """
    count = min(len(rows), MAX_TILES)
    columns = next((columns for columns, most in ((1, 1), (2, 6)) if count <= most), 3)
    width = columns * _TILE_WIDTH + _MARGIN
    title_lines = textwrap.wrap(printable(title), int(width * 8.5)) or [""]
    top = _MARGIN + _HEADER + 0.24 * (len(title_lines) - 1)
    height = top + ceil(count / columns) * _TILE_HEIGHT + _MARGIN / 2

    figure = plots.figure(width, height)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.set_axis_off()
    legend = "photo, what the network saw, evidence for the first class, most likely classes"
    if count < len(rows):
        legend += f" (the first {count} of {len(rows):,})"
    _write(axes, _MARGIN, _MARGIN, "\n".join(title_lines), size=13, weight="bold", va="top", linespacing=1.3)
    _write(axes, _MARGIN, top - 0.32, legend, size=9, color=plots.FAINT)
    folder = common_folder(rows)
    for i, (row, photo) in enumerate(zip(rows[:count], photos[:count], strict=True)):
        left, upper = _MARGIN + i % columns * _TILE_WIDTH, top + i // columns * _TILE_HEIGHT
        right, name = is_right(row), _tail(printable(shown_name(row, folder)), 40)
        verdict = {None: "", True: " - right", False: f" - wrong, is {printable(row['truth'] or '')}"}[right]
        colour = {None: plots.INK, True: _RIGHT, False: _ALARM}[right]
        _write(axes, left, upper, name + verdict, size=8, va="top", color=colour)
        _tile(axes, row, photo, left, upper + 0.2)
    plots.save(figure, path)


def _tile(axes, row: dict, photo: Photo, left: float, top: float) -> None:
    """Draws the tile of one photo, below its name, with its upper left corner at (left, top)."""
    _box(axes, (left, top, _PHOTO_WIDTH, _SIDE), _TRACK)
    if row["error"] is not None:
        reason = textwrap.fill(printable(row["error"]), 34, max_lines=4)
        _write(axes, left + _PHOTO_WIDTH / 2, top + _SIDE / 2, "not read", size=9, color=plots.FAINT, ha="center")
        _write(axes, left + _PHOTO_WIDTH + _GAP, top + _SIDE / 2, reason, size=9, color=_ALARM)
        return
    height, width, _ = photo.preview.shape
    scale = min(_PHOTO_WIDTH / width, _SIDE / height)
    space = (_PHOTO_WIDTH - width * scale) / 2, (_SIDE - height * scale) / 2
    _image(axes, photo.preview, (left + space[0], top + space[1], width * scale, height * scale), "antialiased")
    left += _PHOTO_WIDTH + _GAP
    _image(axes, photo.fitted, (left, top, _SIDE, _SIDE), "nearest")
    left += _SIDE + _GAP
    if photo.activation is not None:
        _image(axes, coloured(photo.fitted, photo.activation), (left, top, _SIDE, _SIDE), "nearest")
    left += _SIDE + _GAP
    guesses = row["top"][:_MAX_BARS]
    step = min(_SIDE / len(guesses), 0.25)
    for place, guess in enumerate(guesses):
        upper, middle = top + place * step, top + place * step + (step - 0.03) / 2
        _box(axes, (left, upper, _BARS_WIDTH, step - 0.03), _TRACK)
        _box(axes, (left, upper, _BARS_WIDTH * guess["probability"], step - 0.03), _OTHER if place else _BEST)
        style = {"size": 8, "color": plots.FAINT} if place else {"size": 8, "weight": "bold"}
        name = printable(guess["class"]) + " ?" * (place == 0 and row["unsure"])
        _write(axes, left + 0.05, middle, name if len(name) <= 16 else f"{name[:15]}…", **style)
        _write(axes, left + _BARS_WIDTH - 0.05, middle, f"{guess['probability']:.1%}", ha="right", **style)


def coloured(fitted: np.ndarray, activation: np.ndarray) -> np.ndarray:
    """Returns an image in grey, coloured where an activation is high: uint8 [size, size, 3]."""
    from matplotlib import colormaps
    from PIL import Image

    heat = Image.fromarray(activation).resize(fitted.shape[1::-1], Image.Resampling.BILINEAR)
    colours = 255 * colormaps["inferno"](np.asarray(heat))[..., :3]
    share = 0.65 * np.asarray(heat)[..., None]
    grey = np.tile(fitted.mean(axis=2, keepdims=True), 3)
    return (grey * (1 - share) + colours * share).astype(np.uint8)


def _write(axes, x: float, y: float, text: str, color: str = plots.INK, **style) -> None:
    axes.text(x, y, text, color=color, parse_math=False, **{"va": "center_baseline"} | style)  # a "$" starts no formula


def _box(axes, place: tuple[float, float, float, float], color: str) -> None:
    """Draws a filled rectangle; `place` is (left, top, width, height) in the units of the axes."""
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle(place[:2], *place[2:], facecolor=color, linewidth=0, zorder=0))


def _image(axes, pixels: np.ndarray, place: tuple[float, float, float, float], interpolation: str) -> None:
    """Draws an image with a thin frame; `place` is (left, top, width, height) in the units of the axes."""
    from matplotlib.patches import Rectangle

    left, top, width, height = place
    axes.imshow(pixels, extent=(left, left + width, top + height, top), aspect="auto", interpolation=interpolation)
    axes.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=plots.RULE, linewidth=0.6))


def _tail(text: str, length: int) -> str:
    """Returns the end of a text, the part of a path that differs, in at most `length` characters."""
    return text if len(text) <= length else "…" + text[1 - length :]

"""Draws the built-in data set `shapes10`: ten classes of shapes on textured backgrounds, which need no download.

Every image shows one shape of its class in a random colour, size, position and rotation, often with a line and small
marks behind it and a bar or a disc in front of it. Edges are anti-aliased (see `coverage`). Each class is its own
mirror image, so that a flip keeps the label.

Except for the sines and cosines of corners, whose effect is rounded to 1/256 pixel, only + - * / are applied to raw
random bits, element by element: the same seed returns the same bytes with every version of NumPy.
"""

import numpy as np

from resnet_tf.presets.catalogue import DATASETS

SIDE = DATASETS["shapes10"].image_size  # pixels
CLASS_NAMES = DATASETS["shapes10"].class_names

_BLOCK = 250  # images drawn together; a multiple of the ten classes that fits into the processor's cache
_SCANLINES = 4  # per pixel row
_STEPS = 256  # positions on a scanline are rounded to this fraction of a pixel


def draw(
    seed: int = 0, train_size: int = 5_000, test_size: int = 2_000
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draws the data set.

    An image depends only on the seed, its split and its index: a smaller set is the start of a larger one. Image i has
    class i % 10, so the classes are balanced.

    Args:
        seed: 0 or more.
        train_size: number of training images.
        test_size: number of test images, which have a random stream of their own.

    Returns:
        Training images, training labels, test images, test labels. Images: uint8 [n, 32, 32, 3], RGB, 0-255. Labels:
        int32 [n], indices into `CLASS_NAMES`.

    Raises:
        ValueError: a negative seed.
    """
    return (*_draw_split(seed, 0, train_size), *_draw_split(seed, 1, test_size))


def _draw_split(seed: int, split: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws whole blocks, each with its own random stream, and returns the first `size` images."""
    blocks = -(-size // _BLOCK)
    images = np.empty((blocks, _BLOCK, SIDE, SIDE, 3), np.uint8)
    for block in range(blocks):
        images[block] = _draw_block(np.random.Philox([seed, split, block]))
    labels = np.arange(size, dtype=np.int32) % len(CLASS_NAMES)
    return images.reshape(-1, SIDE, SIDE, 3)[:size], labels


def _draw_block(bits: np.random.Philox) -> np.ndarray:
    """Returns a block of images, uint8 [_BLOCK, 32, 32, 3], drawn from back to front."""
    hue, is_light = _uniform(bits), _chance(bits, 0.5)
    light, dark = _uniform(bits, 0.65, 1.0), _uniform(bits, 0.1, 0.4)
    background_hue = hue + _uniform(bits, 0.15, 0.85)
    background = _two_colours(bits, background_hue, 0.1, (0.1, 0.7), np.where(is_light, dark, light))
    shape = _two_colours(bits, hue, 0.05, (0.3, 0.9), np.where(is_light, light, dark))

    canvas = _mix(*background, _texture(bits))
    canvas = _mix(canvas, _any_colour(bits), coverage(_line(bits)))
    for _ in range(2):
        canvas = _mix(canvas, _any_colour(bits), coverage(_mark(bits)))

    radius = _uniform(bits, 8.0, 13.0)
    centre = _uniform(bits, radius, SIDE - radius, 2)
    canvas = _mix(canvas, _mix(*shape, _texture(bits)), _shape_coverage(bits, centre, radius))

    canvas = _mix(canvas, _any_colour(bits), coverage(_bar(bits, centre, radius)))
    canvas = _mix(canvas, _any_colour(bits), coverage(_blot(bits, centre, radius)))
    return _expose(bits, canvas)


def _shape_coverage(bits: np.random.Philox, centre: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Returns the coverage of each image's shape, float32 [n, 32, 32]: image i has class i % 10."""
    angle, stretch = _uniform(bits), _uniform(bits, 0.85, 1.0)
    covered = np.empty((_BLOCK, SIDE, SIDE), np.float32)
    for label, name in enumerate(CLASS_NAMES):
        images = slice(label, None, len(CLASS_NAMES))
        polygons = place(OUTLINES[name], centre[images], radius[images], angle[images], stretch[images])
        covered[images] = coverage(polygons)
    return covered


def _line(bits: np.random.Philox) -> np.ndarray:
    """Returns a thin line across the image, in half of the images."""
    width = _uniform(bits, 0.3, 0.8) * _chance(bits, 0.5)
    middle = _uniform(bits, 4.0, SIDE - 4.0, 2)
    return place(_SQUARE, middle, _uniform(bits, 10.0, 30.0), _uniform(bits), width / 15.0)


def _mark(bits: np.random.Philox) -> np.ndarray:
    """Returns a small triangle, square or disc anywhere, in half of the images."""
    kind = _kind(bits, len(_MARKS))
    radius = _uniform(bits, 1.0, 2.5) * _chance(bits, 0.5)
    return place(_MARKS[kind], _uniform(bits, 1.0, SIDE - 1.0, 2), radius, _uniform(bits))


def _bar(bits: np.random.Philox, centre: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Returns a narrow bar over the shape, in a quarter of the images."""
    width = _uniform(bits, 0.04, 0.09) * _chance(bits, 0.25)
    middle = centre + radius[:, None] * _uniform(bits, -0.6, 0.6, 2)
    return place(_SQUARE, middle, _uniform(bits, 8.0, 24.0), _uniform(bits), width)


def _blot(bits: np.random.Philox, centre: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Returns a disc, triangle or square that hides a part of the shape, in a quarter of the images."""
    kind = _kind(bits, len(_MARKS))
    size = radius * _uniform(bits, 0.15, 0.3) * _chance(bits, 0.25)
    middle = centre + radius[:, None] * _uniform(bits, -0.8, 0.8, 2)
    return place(_MARKS[kind], middle, size, _uniform(bits))


def _expose(bits: np.random.Philox, canvas: np.ndarray) -> np.ndarray:
    """Returns the images as a cheap camera would record them: darker towards one side, with noise, in 8 bits."""
    slope = _uniform(bits, -0.25, 0.25, 2)
    across = _pixel_centres() - np.float32(0.5)
    light = 1.0 + slope[:, 0, None, None] * across + slope[:, 1, None, None] * across[:, None]
    noise = bits.random_raw(canvas.size // 8).astype("<u8").view(np.uint8).reshape(canvas.shape)
    strength = _uniform(bits, 0.02, 0.10)[:, None, None, None]
    recorded = canvas * light[:, None] + strength * (noise.astype(np.float32) / 255.0 - 0.5)
    return np.rint(np.clip(recorded, 0.0, 1.0) * 255.0).astype(np.uint8).transpose(0, 2, 3, 1)


def _texture(bits: np.random.Philox) -> np.ndarray:
    """Returns textures of 0-1, float32 [n, 32, 32]: a quarter each of gradients, clouds, stripes and checks."""
    kind = _kind(bits, 4)
    direction = _uniform(bits, -1.0, 1.0, 2)
    direction = direction / np.abs(direction).max(axis=1, keepdims=True)
    waves, offset = _uniform(bits, 2.0, 6.0)[:, None, None], _uniform(bits, 0.0, 1.0, 2)[:, :, None, None]
    pixels = _pixel_centres()
    (ahead_x, ahead_y), (offset_u, offset_v) = direction.T[:, :, None, None], offset.swapaxes(0, 1)
    along = ahead_x * pixels + ahead_y * pixels[:, None]
    beside = ahead_x * pixels[:, None] - ahead_y * pixels
    stripes = _triangle_wave(waves * along + offset_u)
    checks = _steep(stripes) * _steep(_triangle_wave(waves * beside + offset_v))
    textures = np.stack([np.clip(along + 0.5, 0.0, 1.0), _clouds(bits), _steep(stripes), checks])
    return textures[kind, np.arange(_BLOCK)]


def _pixel_centres() -> np.ndarray:
    """Returns the positions of the pixels in a row as fractions of the image's side, float32 [32]."""
    return ((np.arange(SIDE) + 0.5) / SIDE).astype(np.float32)


def _clouds(bits: np.random.Philox, cells: int = 6) -> np.ndarray:
    """Returns value noise: random numbers on a coarse grid, interpolated linearly."""
    grid = _uniform(bits, 0.0, 1.0, cells + 1, cells + 1)
    at = (np.arange(SIDE) + 0.5) * cells / SIDE
    left = at.astype(int)
    weight = (at - left).astype(np.float32)
    rows = grid[:, left] * (1.0 - weight[:, None]) + grid[:, left + 1] * weight[:, None]
    return rows[:, :, left] * (1.0 - weight) + rows[:, :, left + 1] * weight


def _triangle_wave(phase: np.ndarray) -> np.ndarray:
    """Returns 1 at whole phases, 0 half-way between them, and straight lines in between."""
    return np.abs(2.0 * (phase - np.floor(phase)) - 1.0)


def _steep(wave: np.ndarray) -> np.ndarray:
    """Returns a wave of 0-1 with steeper slopes: bands with soft edges."""
    return np.clip(2.5 * wave - 0.75, 0.0, 1.0)


def _two_colours(
    bits: np.random.Philox, hue: np.ndarray, spread: float, saturation: tuple[float, float], value: np.ndarray
) -> list[np.ndarray]:
    """Returns two similar colours, for the two extremes of a texture."""
    return [
        _colour(hue + _uniform(bits, -spread, spread), _uniform(bits, *saturation), value + _uniform(bits, -0.1, 0.1))
        for _ in range(2)
    ]


def _any_colour(bits: np.random.Philox) -> np.ndarray:
    return _colour(_uniform(bits), _uniform(bits, 0.1, 1.0), _uniform(bits, 0.15, 1.0))


def _colour(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Returns RGB 0-1, float32 [n, 3, 1, 1], for hue (in turns), saturation and value, each [n]."""
    spokes = 6.0 * (hue[:, None] + np.array([0.0, 2.0, 1.0], np.float32) / 3.0)
    full = np.clip(np.abs(spokes - 6.0 * np.floor(spokes / 6.0) - 3.0) - 1.0, 0.0, 1.0)
    rgb = np.clip(value, 0.0, 1.0)[:, None] * (1.0 - saturation[:, None] * (1.0 - full))
    return rgb[:, :, None, None]


def _mix(under: np.ndarray, over: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Returns `over` drawn on `under`, both [n, 3, 32, 32] or [n, 3, 1, 1], with `opacity` 0-1 [n, 32, 32]."""
    return under + (over - under) * opacity[:, None]


def _chance(bits: np.random.Philox, probability: float) -> np.ndarray:
    """Returns for each image whether an event of this probability happens, bool [n]."""
    return _uniform(bits) < probability


def _kind(bits: np.random.Philox, kinds: int) -> np.ndarray:
    """Returns a number 0 to kinds - 1 for each image, all equally likely, int [n]."""
    return (_uniform(bits) * kinds).astype(int)


def _uniform(
    bits: np.random.Philox, low: float | np.ndarray = 0.0, high: float | np.ndarray = 1.0, *shape: int
) -> np.ndarray:
    """Returns uniform numbers, float32 [n, *shape], from raw bits, which are the same in every version of NumPy."""
    raw = bits.random_raw((_BLOCK, *shape)) >> np.uint64(40)  # 24 bits, the precision of float32
    unit = raw.astype(np.float32) * np.float32(2.0**-24)
    low, high = (np.asarray(end, np.float32).reshape(-1, *[1] * len(shape)) for end in (low, high))
    return low + (high - low) * unit


def place(
    outline: np.ndarray,
    centre: np.ndarray,
    radius: np.ndarray,
    angle: np.ndarray,
    stretch: np.ndarray | float = 1.0,
) -> np.ndarray:
    """Returns polygons in pixels, [n, corners, 2]: the outline stretched, rotated, scaled and moved.

    Args:
        outline: corners (x, y) inside the unit circle, [corners, 2] or [n, corners, 2].
        centre: (x, y) in pixels, [n, 2].
        radius: of the circle around the outline, in pixels, [n].
        angle: in turns, [n].
        stretch: factor on the outline's own y, [n].
    """
    x, y = outline[..., 0], outline[..., 1] * np.reshape(stretch, (-1, 1))
    turn = 2.0 * np.pi * angle[:, None].astype(np.float64)
    cosine, sine = np.cos(turn), np.sin(turn)
    turned = np.stack([x * cosine - y * sine, x * sine + y * cosine], axis=-1)
    return centre[:, None, :] + radius[:, None, None] * turned


def coverage(polygons: np.ndarray) -> np.ndarray:
    """Returns the fraction of every pixel that a polygon covers, 0-1, float32 [n, 32, 32].

    Each pixel row has several scanlines. An edge that crosses a scanline at x starts (or, in the other direction, ends)
    the inside there: its pixel gets the part right of x, the next pixel the rest, and a cumulative sum along the row
    fills all pixels after them. Parts outside the image are cut off.

    Args:
        polygons: corners (x, y) in pixels, [n, corners, 2], in either direction, without crossings. A hole is a path in
            the other direction, connected by an edge there and back.
    """
    ends = np.roll(polygons, -1, axis=1)
    downward = polygons[..., 1] < ends[..., 1]
    top, bottom = (np.where(downward[..., None], *pair) for pair in ((polygons, ends), (ends, polygons)))
    scanlines = (np.arange(SIDE * _SCANLINES) + 0.5) / _SCANLINES
    image, edge, line = np.nonzero((top[..., 1:] <= scanlines) & (scanlines < bottom[..., 1:]))
    (x, y), (x_end, y_end) = top[image, edge].T, bottom[image, edge].T
    crossing = x + (scanlines[line] - y) * (x_end - x) / (y_end - y)
    crossing = np.rint(np.clip(crossing, 0, SIDE) * _STEPS).astype(np.int64)
    pixel, rest = crossing // _STEPS, crossing % _STEPS
    cell = (image * SIDE + line // _SCANLINES) * (SIDE + 2) + pixel
    direction = np.where(downward[image, edge], 1, -1)
    size = len(polygons) * SIDE * (SIDE + 2)
    change = np.bincount(cell, direction * (_STEPS - rest), size)
    change += np.bincount(cell + 1, direction * rest, size)
    filled = np.abs(np.cumsum(change.reshape(-1, SIDE, SIDE + 2), axis=2)[..., :SIDE])
    return (filled / (_SCANLINES * _STEPS)).astype(np.float32)


def _regular(corners: int) -> np.ndarray:
    """Returns the corners of a regular polygon with a horizontal side."""
    turn = 2.0 * np.pi * (np.arange(corners) + 0.5) / corners + 0.5 * np.pi
    return np.stack([np.cos(turn), np.sin(turn)], axis=1)


def _cross(arm: float = 0.3) -> np.ndarray:
    right = np.array([[1.0, -arm], [1.0, arm], [arm, arm]])
    down = np.stack([-right[:, 1], right[:, 0]], axis=1)
    return np.concatenate([right, down, -right, -down]) / np.hypot(1.0, arm)


def _ring(hole: float = 0.55) -> np.ndarray:
    outer = _regular(28)
    return np.concatenate([outer, outer[:1], hole * outer[:1], hole * outer[::-1]])


def _crescent(opening: float = np.pi / 4, bite: float = 0.8) -> np.ndarray:
    """Returns the unit circle without a circle of radius `bite` through its points at angles +/- `opening`."""
    tip_x, tip_y = np.cos(opening), np.sin(opening)
    middle = tip_x - np.sqrt(bite**2 - tip_y**2)
    far = np.arctan2(tip_y, tip_x - middle)
    outer = np.linspace(opening, 2.0 * np.pi - opening, 25)
    inner = np.linspace(2.0 * np.pi - far, far, 21)[1:-1]
    x = np.concatenate([np.cos(outer), middle + bite * np.cos(inner)])
    y = np.concatenate([np.sin(outer), bite * np.sin(inner)])
    return np.stack([x, y], axis=1)


def _heart() -> np.ndarray:
    """Returns the heart curve of sines and cosines, moved and scaled into the unit circle."""
    turn = 2.0 * np.pi * np.arange(32) / 32
    x = 16.0 * np.sin(turn) ** 3
    y = 13.0 * np.cos(turn) - 5.0 * np.cos(2 * turn) - 2.0 * np.cos(3 * turn) - np.cos(4 * turn)
    return np.stack([x, y + 2.0], axis=1) / 17.9


OUTLINES = {
    "circle": _regular(32),
    "triangle": _regular(3),
    "square": _regular(4),
    "pentagon": _regular(5),
    "star": _regular(10) * np.where(np.arange(10) % 2, 0.45, 1.0)[:, None],
    "cross": _cross(),
    "ring": _ring(),
    "crescent": _crescent(),
    "arrow": np.array([[1, 0], [0.1, 0.75], [0.1, 0.25], [-0.95, 0.25], [-0.95, -0.25], [0.1, -0.25], [0.1, -0.75]]),
    "heart": _heart(),
}
_SQUARE = OUTLINES["square"]
_MARKS = np.stack([np.repeat(_regular(corners), 12 // corners, axis=0) for corners in (3, 4, 12)])

"""Windows against torchvision's rule in numpy, their pixels against Pillow, of arrays and of files."""

import io
import math

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from PIL import Image, ImageOps

from resnet_tf.datasets.decode import CropWindow
from resnet_tf.pipeline.augment import draws
from resnet_tf.pipeline.crops import resample, resample_batch, windows
from resnet_tf.pipeline.read import read_batch
from resnet_tf.presets.augmentation import parse

LIKELY = 1e-3  # least p-value taken for chance; seeds are fixed, so a test that passes goes on passing


def drawn(chain: tuple, rows: int, seed: int = 7, step: int = 1) -> list[np.ndarray]:
    return [numbers.numpy() for numbers in draws(chain, seed, tf.constant(step, tf.int64), rows)]


def frames(expression: str, height: int, width: int, rows: int) -> tuple[CropWindow, list[np.ndarray]]:
    """Returns the windows of `rows` images of one size, and the numbers they come from."""
    chain = parse(expression)
    numbers = drawn(chain, rows, seed=2, step=5)
    (window,) = windows(height, width, chain, numbers)
    return CropWindow(*(np.broadcast_to(field, [rows]) for field in window)), numbers


def window_by_torchvision(height, width, area, aspect, uniform, log_uniform, randint):
    """torchvision.transforms.RandomResizedCrop.get_params, from its documentation: (top, left, height, width)."""
    for attempt in range(10):
        target = height * width * uniform(attempt, *area)
        ratio = log_uniform(10 + attempt, *aspect)
        w, h = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < w <= width and 0 < h <= height:
            return randint(20, height - h), randint(21, width - w), h, w
    if width / height < aspect[0]:
        w, h = width, round(width / aspect[0])
    elif width / height > aspect[1]:
        w, h = round(height * aspect[1]), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


SIZES = [(375, 500, (0.08, 1.0)), (96, 96, (0.08, 1.0)), (100, 260, (0.5, 1.0)), (400, 90, (0.6, 1.0))]


@pytest.mark.parametrize(("height", "width", "area"), SIZES)
def test_random_resized_crop_is_torchvisions_rule_on_the_same_numbers(height, width, area):
    frame, (numbers,) = frames(f"random_resized_crop(64, area={area})", height, width, 500)
    windows = np.stack([frame.top, frame.left, frame.height, frame.width], axis=1)
    expected = [
        window_by_torchvision(
            height,
            width,
            area,
            (3 / 4, 4 / 3),
            lambda i, low, high, row=row: low + (high - low) * float(row[i]),
            lambda i, low, high, row=row: float(row[i]),
            lambda i, most, row=row: int(float(row[i]) * (most + 1)),
        )
        for row in numbers
    ]
    same = (windows == expected).all(axis=1)  # a float32 square root may round the other way, once in a great while
    assert same.mean() > 0.99
    assert (frame.rows == 64).all()
    assert (frame.columns == 64).all()


def test_a_resized_crops_window_does_not_follow_the_shape_at_which_it_is_shown():
    (square, _), (wide, _) = (frames(f"random_resized_crop({how})", 375, 500, 200) for how in ("256", "256, width=480"))
    for one, other in zip(square[:4], wide[:4], strict=True):
        np.testing.assert_array_equal(one, other)
    assert (wide.rows == 256).all()
    assert (wide.columns == 480).all()


def test_random_resized_crop_has_torchvisions_distributions():
    height, width, rows = 375, 500, 5000
    frame, _ = frames("random_resized_crop(224)", height, width, rows)
    rng = np.random.default_rng(11)
    independent = np.array(
        [
            window_by_torchvision(
                height,
                width,
                (0.08, 1.0),
                (3 / 4, 4 / 3),
                lambda _, low, high: rng.uniform(low, high),
                lambda _, low, high: math.exp(rng.uniform(math.log(low), math.log(high))),
                lambda _, most: rng.integers(0, most + 1),
            )
            for _ in range(rows)
        ]
    )
    ours = np.stack([frame.top, frame.left, frame.height, frame.width], axis=1)

    def measures(windows):
        top, left, h, w = windows.T
        place = (top + 0.5) / (height - h + 1)
        return {"area": h * w, "log aspect": np.log(w / h), "top": top, "left": left, "place": place}

    for name, values in measures(independent).items():
        assert scipy.stats.ks_2samp(values, measures(ours)[name]).pvalue > LIKELY, name


@pytest.mark.parametrize(
    ("height", "width", "window"),
    [(100, 2000, (0, 933, 100, 133)), (2000, 100, (933, 0, 133, 100)), (100, 100, (0, 0, 100, 100))],
)
def test_random_resized_crop_falls_back_on_the_middle(height, width, window):
    frame, _ = frames("random_resized_crop(50, area=(1, 1), aspect=(0.75, 1.3333333))", height, width, 30)
    found = np.stack([frame.top, frame.left, frame.height, frame.width], axis=1)
    if height != width:
        np.testing.assert_array_equal(found, [window] * 30)
    else:  # every try is as large as the image, and fits only where its aspect is 1
        assert (found == window).all(axis=1).all()


@pytest.mark.parametrize(("height", "width"), [(375, 500), (600, 300), (64, 64)])
def test_shorter_side_gives_every_length_equally_often_and_keeps_the_aspect(height, width):
    frame, _ = frames("shorter_side(40, 47)", height, width, 4000)
    lengths, counts = np.unique(np.minimum(frame.rows, frame.columns), return_counts=True)
    np.testing.assert_array_equal(lengths, range(40, 48))
    assert scipy.stats.chisquare(counts).pvalue > LIKELY
    longer = [int(length * max(height, width) / min(height, width)) for length in np.minimum(frame.rows, frame.columns)]
    np.testing.assert_array_equal(np.maximum(frame.rows, frame.columns), longer)
    assert set(zip(frame.top, frame.left, frame.height, frame.width, strict=True)) == {(0, 0, height, width)}


def test_random_crop_takes_every_place_equally_often():
    frame, _ = frames("random_crop(28)", 32, 30, 3000)
    places, counts = np.unique(frame.top * 100 + frame.left, return_counts=True)
    np.testing.assert_array_equal(places, [100 * top + left for top in range(5) for left in range(3)])
    assert scipy.stats.chisquare(counts).pvalue > LIKELY


def picture(height: int, width: int) -> np.ndarray:
    """A picture with edges, ramps and colour, as sharp as a photo."""
    rng = np.random.default_rng(height)
    y, x = np.mgrid[0:height, 0:width]
    waves = [128 + 100 * np.sin(x / period + y / (2 * period)) for period in (3, 7, 15)]
    squares = 40 * ((x // 9 + y // 13) % 2)[..., None]
    return np.uint8(np.clip(np.stack(waves, axis=-1) + squares + rng.normal(0, 6, (height, width, 3)), 0, 255))


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((0, 0, 90, 120), (45, 60)),
        ((3.25, 7.5, 80.5, 100.25), (32, 32)),
        ((20, 30, 8, 9), (40, 40)),
        ((10.4, 0, 70, 120), (70, 30)),
        ((5, 11, 40, 40), (40, 40)),
    ],
)
def test_a_window_is_resampled_as_pillow_does(box, size):
    image = picture(90, 120)
    window = CropWindow(*map(np.float32, box), *size)
    found = resample(tf.constant(image), window).numpy()
    edges = (box[1], box[0], box[1] + box[3], box[0] + box[2])
    expected = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR, box=edges))
    assert found.shape == expected.shape
    difference = found.astype(int) - expected
    assert np.abs(difference).max() <= 1
    assert abs(difference.mean()) < 0.2  # rounded, not cut, which would be 0.5 off


def test_what_lies_outside_the_image_is_black():
    image = np.full((6, 8, 3), 200, np.uint8)
    for expression, numbers in [("center_crop(12)", []), ("random_crop(12)", [0.9, 0.1])]:
        (window,) = windows(6, 8, parse(expression), [np.float32(numbers)])
        np.testing.assert_array_equal(resample(tf.constant(image), window), np.pad(image, [(3, 3), (2, 2), (0, 0)]))


def encoded(image: Image.Image, form: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


RGB = Image.fromarray(picture(75, 100))
FILES = {
    "4:2:0": encoded(RGB, "JPEG", quality=90, subsampling=2),
    "4:2:2": encoded(RGB, "JPEG", quality=90, subsampling=1),
    "4:4:4": encoded(RGB, "JPEG", quality=90, subsampling=0),
    "progressive": encoded(RGB, "JPEG", quality=90, progressive=True),
    "grey JPEG": encoded(RGB.convert("L"), "JPEG", quality=90),
    "PNG": encoded(RGB, "PNG"),
    "grey PNG": encoded(RGB.convert("L"), "PNG"),
    "palette PNG": encoded(RGB.convert("P"), "PNG"),
    "BMP": encoded(RGB, "BMP"),
    "GIF": encoded(RGB.convert("P"), "GIF"),
    "WebP": encoded(RGB, "WEBP", lossless=True),
}


@pytest.fixture(params=FILES)
def file(request, tmp_path) -> str:
    path = tmp_path / "a picture.JPEG"  # a name that may lie: the content tells the format
    path.write_bytes(FILES[request.param])
    return str(path)


EXPRESSIONS = [
    "random_crop(40)",
    "random_resized_crop(20)",
    "shorter_side(30, 60) | random_crop(24)",
    "shorter_side(90, 150) | random_resized_crop(32)",
    "resize(150) | random_crop(9)",
    "resize(9) | random_crop(5)",
    "center_crop(90)",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_files_and_arrays_show_the_same_windows(file, expression):
    chain, pixels = parse(expression), np.asarray(Image.open(file).convert("RGB"))
    numbers = drawn(chain, 8)
    found = read_batch(tf.constant([file] * 8), chain, numbers).numpy().astype(int)
    for row in range(8):
        (window,) = windows(75, 100, chain, [of_step[row] for of_step in numbers])
        expected = resample(tf.constant(pixels), CropWindow(*map(np.float32, window))).numpy()
        assert np.abs(found[row] - expected).max() <= 1  # Pillow also rounds between the two axes


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_turned_photo_is_cropped_as_it_is_seen(tmp_path, form, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    (tmp_path / "photo").write_bytes(encoded(RGB, form, exif=exif))
    with Image.open(tmp_path / "photo") as image:
        ImageOps.exif_transpose(image).save(tmp_path / "seen.png", exif=None)
    chain = parse("shorter_side(30, 60) | random_crop(24)")
    numbers = drawn(chain, 4)
    turned, seen = (
        read_batch(tf.constant([str(tmp_path / name)] * 4), chain, numbers, upright)
        for name, upright in (("photo", True), ("seen.png", False))
    )
    np.testing.assert_array_equal(turned, seen)


def test_the_usual_evaluation_is_pillows_resize_and_crop(file):
    found = read_batch(tf.constant([file]), parse("resize(40) | center_crop(35)")).numpy()[0]
    resized = Image.open(file).convert("RGB").resize((53, 40), Image.Resampling.BILINEAR)
    expected = np.asarray(resized.crop((9, 2, 44, 37)))  # 18 / 2 and 5 / 2, half to even
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_the_size_of_what_comes_out_is_known_while_tracing():
    dataset = tf.data.Dataset.from_tensors(["a path"])
    dataset = dataset.map(lambda paths: read_batch(paths, parse("resize(40) | center_crop(32)")))
    assert dataset.element_spec.shape.as_list() == [None, 32, 32, 3]


def test_a_batch_of_pixels_is_cropped_one_by_one():
    images = np.stack([picture(30, 40), picture(30, 40)[::-1]])
    chain = parse("shorter_side(40, 50) | random_resized_crop(16)")
    numbers = drawn(chain, 2)
    found = resample_batch(tf.constant(images), chain, numbers)
    for row in range(2):
        (window,) = windows(30, 40, chain, [of_step[row] for of_step in numbers])
        np.testing.assert_array_equal(found[row], resample(tf.constant(images[row]), window))


@pytest.mark.parametrize("then", ["", " | random_crop(224)"])
@pytest.mark.parametrize("form", ["array", "PNG", "4:2:0"])
def test_a_wide_resized_crop_is_pillows_resize_of_the_same_window(tmp_path, form, then):
    path, chain = tmp_path / "picture", parse("random_resized_crop(256, width=480)" + then)
    path.write_bytes(FILES["PNG" if form == "array" else form])
    image = Image.open(path).convert("RGB")
    numbers = drawn(chain, 4, seed=5, step=3)
    if form == "array":
        shown = resample_batch(tf.constant(np.repeat(np.asarray(image)[np.newaxis], 4, axis=0)), chain, numbers)
    else:
        shown = read_batch(tf.constant([str(path)] * 4), chain, numbers)
    (window,) = windows(75, 100, chain[:1], numbers[:1])
    for row in range(4):
        top, left, height, width = (float(field[row]) for field in window[:4])
        box = (left, top, left + width, top + height)
        expected = np.asarray(image.resize((480, 256), Image.Resampling.BILINEAR, box=box)).astype(int)
        if then:
            y, x = (int(float(numbers[1][row, axis]) * (side - 224 + 1)) for axis, side in enumerate((256, 480)))
            expected = expected[y : y + 224, x : x + 224]
        assert np.abs(shown[row].numpy() - expected).max() <= 2


TWICE = "shorter_side(90, 150) | resample | random_resized_crop(32)"


def resampled_twice(image: Image.Image, numbers: list[np.ndarray]) -> np.ndarray:
    """What TWICE is by Pillow: the whole image resized, then a window of that resized, by the numbers given."""
    chain, (height, width) = parse(TWICE), image.size[::-1]
    low, high, shorter = chain[0].low, chain[0].high, min(height, width)
    length = low + int(float(numbers[0][0]) * (high - low + 1))
    rows, columns = (length if side == shorter else int(length * side / shorter) for side in (height, width))
    resized = image.resize((columns, rows), Image.Resampling.BILINEAR)
    (window,) = windows(rows, columns, chain[2:], numbers[2:])
    top, left, tall, wide = (int(value) for value in window[:4])  # whole pixels of the resized image
    assert (top, left, tall, wide) == tuple(map(float, window[:4]))
    box = left, top, left + wide, top + tall
    return np.asarray(resized.resize((32, 32), Image.Resampling.BILINEAR, box=box)).astype(int)


def sharpness(pixels: np.ndarray) -> float:
    """The mean absolute Laplacian, in grey levels."""
    p = np.asarray(pixels, np.float64)
    around = p[:, :-2, 1:-1] + p[:, 2:, 1:-1] + p[:, 1:-1, :-2] + p[:, 1:-1, 2:]
    return float(np.abs(4 * p[:, 1:-1, 1:-1] - around).mean())


@pytest.mark.parametrize("form", ["array", "4:2:0", "PNG"])
def test_an_image_is_resampled_twice_where_the_chain_says_so(tmp_path, form):
    path, chain, once = tmp_path / "picture", parse(TWICE), parse(TWICE.replace("resample | ", ""))
    path.write_bytes(FILES["PNG" if form == "array" else form])
    image, numbers = Image.open(path).convert("RGB"), drawn(chain, 12)
    images = np.repeat(np.asarray(image)[np.newaxis], 12, axis=0) if form == "array" else [str(path)] * 12
    show = resample_batch if form == "array" else read_batch
    found = show(tf.constant(images), chain, numbers).numpy().astype(int)
    for row in range(12):
        expected = resampled_twice(image, [of_step[row] for of_step in numbers])
        assert np.abs(found[row] - expected).max() <= 2  # each of the two roundings may differ by a level
        assert np.abs(found[row] - expected).mean() < 0.3  # Pillow also rounds between the two axes
    assert sharpness(found) < 0.95 * sharpness(show(tf.constant(images), once, numbers[:1] + numbers[2:]))

"""Every pixel mode, orientation and format gives the pixels that plain numpy arithmetic on the stored numbers gives."""

import os
import time

import numpy as np
import pytest
from pictures import BLOCKS, BOMBS, MODES, NOISE, RNG, saved
from PIL import Image

from resnet_tf.prediction import decode


@pytest.mark.parametrize(("content", "expected"), [mode[1:] for mode in MODES], ids=[mode[0] for mode in MODES])
def test_every_pixel_mode_is_right_within_one_grey_level(tmp_path, content, expected):
    (tmp_path / "photo").write_bytes(content)
    image, size = decode.upright_rgb(str(tmp_path / "photo"))
    assert image.mode == "RGB"
    assert image.size == size == expected.shape[1::-1]
    difference = np.abs(np.asarray(image).astype(np.float64) - expected)
    assert difference.max() <= 1


TURNS = {  # EXIF 2.32, table 6: how the upright photo is stored for each orientation
    1: lambda photo: photo,
    2: lambda photo: photo[:, ::-1],
    3: lambda photo: photo[::-1, ::-1],
    4: lambda photo: photo[::-1],
    5: lambda photo: photo.transpose(1, 0, 2),
    6: lambda photo: np.rot90(photo, 1),
    7: lambda photo: photo[::-1, ::-1].transpose(1, 0, 2),
    8: lambda photo: np.rot90(photo, -1),
}


@pytest.mark.parametrize("form", ["JPEG", "MPO", "PNG", "WEBP", "TIFF"])
def test_the_eight_orientations_give_the_same_pixels(tmp_path, form):
    upright = []
    for orientation, turn in TURNS.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        image = Image.fromarray(np.ascontiguousarray(turn(BLOCKS)))
        options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(form, {})
        if form == "MPO":
            options = {"quality": 100, "subsampling": 0, "save_all": True, "append_images": [image.rotate(180)]}
        path = tmp_path / f"{orientation}"
        path.write_bytes(saved(image, form, exif=exif, **options))
        assert Image.open(path).format == form
        decoded, size = decode.upright_rgb(str(path))
        assert size == decoded.size == (BLOCKS.shape[1], BLOCKS.shape[0])
        upright.append(np.asarray(decoded).astype(int))
    for pixels in upright:
        assert np.abs(pixels - BLOCKS).max() <= 1


def test_damaged_exif_costs_the_orientation_not_the_photo(tmp_path):
    content = saved(NOISE, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xee" * 40)
    (tmp_path / "photo.jpg").write_bytes(content)
    assert decode.upright_rgb(str(tmp_path / "photo.jpg"))[1] == (40, 24)


def resized_then_cropped(pixels, side, crop):
    """Pillow's antialiased resize of the whole photo, then a central crop, by torchvision's Resize and CenterCrop."""
    height, width, _ = pixels.shape
    shorter, longer = min(height, width), max(height, width)
    rows, columns = (side if length == shorter else int(side * longer / shorter) for length in (height, width))
    whole = np.asarray(Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BILINEAR))
    top, left = round((rows - crop) / 2.0), round((columns - crop) / 2.0)
    return whole[top : top + crop, left : left + crop].astype(int)


NON_SQUARE = [(333, 500), (500, 333), (97, 98), (98, 97), (20, 31), (32, 32), (40, 900), (64, 81), (75, 100), (1, 7)]


@pytest.mark.parametrize(("side", "crop"), [(32, 32), (70, 70), (40, 35), (41, 32)])
@pytest.mark.parametrize(("height", "width"), NON_SQUARE)
def test_fit_is_torchvisions_resize_and_center_crop(height, width, side, crop):
    pixels = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    fitted = np.asarray(decode.fit(Image.fromarray(pixels), side, crop))
    assert fitted.shape == (crop, crop, 3)
    assert np.abs(fitted - resized_then_cropped(pixels, side, crop)).max() <= 2


def test_the_window_follows_the_whole_photo_where_a_jpeg_is_decoded_small():
    """1,001 x 1,599 pixels become 32 x 51; their reduction, 126 x 200, would by itself become 32 x 50."""
    ramp = np.broadcast_to(np.linspace(0, 255, 1599)[None, :, None], (1001, 1599, 3))
    photo = Image.fromarray(np.round(ramp).astype(np.uint8))
    small = photo.reduce(8)
    assert small.size == (200, 126)
    fitted = np.asarray(decode.fit(small, 32, 32, photo.size)).astype(int)
    assert np.abs(fitted - np.asarray(decode.fit(photo, 32, 32))).max() <= 1


def test_fit_of_an_endless_strip_takes_no_memory_and_shows_its_middle():
    strip = Image.new("RGB", (1_000_001, 1), "black")
    strip.putpixel((500_000, 0), (255, 0, 0))
    fitted = np.asarray(decode.fit(strip, 32, 32))
    assert fitted[:, 15].tolist() == fitted[:, 16].tolist() == [fitted[0, 15].tolist()] * 32
    assert fitted[0, 15, 0] > 200


def test_a_large_jpeg_is_decoded_small_and_fits_the_same(tmp_path):
    coarse = RNG.integers(0, 256, (45, 60, 3), dtype=np.uint8)
    texture = RNG.integers(-30, 31, (1800, 2400, 1))
    photo = np.asarray(Image.fromarray(coarse).resize((2400, 1800), Image.Resampling.BICUBIC)).astype(int) + texture
    path = str(tmp_path / "photo.jpg")
    Image.fromarray(np.clip(photo, 0, 255).astype(np.uint8)).save(path, quality=92)
    whole, size = decode.upright_rgb(path)
    reduced, size_of_reduced = decode.upright_rgb(path, shorter_side=256)
    assert (whole.size, reduced.size) == ((2400, 1800), (600, 450))
    assert size == size_of_reduced == (2400, 1800)
    difference = np.asarray(decode.fit(whole, 32, 32)).astype(int) - np.asarray(decode.fit(reduced, 32, 32, size))
    assert np.abs(difference).max() <= 2


def test_preview_keeps_the_shape_and_never_enlarges():
    assert decode.preview(Image.new("RGB", (1000, 500))).size == (256, 128)
    assert decode.preview(Image.new("RGB", (40, 24))).size == (40, 24)
    assert decode.preview(Image.new("RGB", (9000, 2))).size == (256, 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"Dear diary, this is no picture.\n", "not a JPEG"),
        (b"%PDF-1.7\n", "not a JPEG"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "not a JPEG"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "save the photo as JPEG or PNG"),
        (b"\0\0\0\x18ftypavif\0\0\0\0mif1heic", "save the photo as JPEG or PNG"),
        (b"P6 1 1 255 abc", "not a JPEG"),  # Pillow reads PPM (and PSD, EPS, ICO ...); this list does not
        (b"\x89PNG\r\n\x1a\n", "damaged PNG file: unreadable header"),
        (saved(NOISE, "JPEG")[:-200], "damaged JPEG file: "),
        (saved(NOISE, "PNG")[:-200], "damaged PNG file: "),
    ],
)
def test_what_is_no_picture_is_said_in_one_line(tmp_path, content, reason):
    (tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(decode.BadPhoto, match=reason) as caught:
        decode.upright_rgb(str(tmp_path / "photo.jpg"))
    assert "\n" not in str(caught.value)


def test_only_ordinary_files_of_bearable_size_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("nowhere")
    with open(tmp_path / "large.jpg", "wb") as file:
        file.truncate(decode.MAX_BYTES + 1)
    for name, reason in [
        ("pipe.jpg", "not an ordinary file"),
        ("/dev/zero", "not an ordinary file"),
        (".", "a folder"),
        ("link.jpg", "no such file"),
        ("nothing.jpg", "no such file"),
        ("large.jpg", "too large: 100 MB"),
        ("nul\0.jpg", "null"),
        ("x" * 300, "too long"),
    ]:
        with pytest.raises(decode.BadPhoto, match=reason):
            decode.upright_rgb(os.path.join(tmp_path, name))


@pytest.mark.parametrize(("name", "content"), BOMBS, ids=[name for name, _ in BOMBS])
def test_a_decompression_bomb_is_refused_at_once(tmp_path, name, content):
    (tmp_path / "bomb").write_bytes(content)
    start = time.perf_counter()
    reason = "damaged PNG file: Decompressed data too large" if "300 MB" in name else "too large: .*100 million"
    with pytest.raises(decode.BadPhoto, match=reason):
        decode.upright_rgb(str(tmp_path / "bomb"))
    assert time.perf_counter() - start < 1

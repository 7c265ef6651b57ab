"""Every pixel mode, orientation and format gives the pixels that plain numpy arithmetic on the stored numbers gives."""

import contextlib
import io
import os
import struct
import zlib

import numpy as np
import pytest
from pictures import BLOCKS, BOMBS, MODES, NOISE, RNG, TURNS, bmp_with_alpha, over_white, saved
from PIL import Image, ImageOps

from resnet_tf.datasets import decode
from resnet_tf.datasets.decode import BadImage, CropWindow, open_image


def whole(path) -> np.ndarray:
    """A whole photo, upright; checks that its size was known before it was decoded."""
    with open_image(str(path), formats=decode.PHOTO_FORMATS) as photo:
        (image,) = photo.show([[]])
        assert image.mode == "RGB"
        assert image.size == (photo.width, photo.height)
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("alpha", [0, 128])
def test_the_alpha_of_a_bmp_that_was_left_at_zero_makes_nothing_transparent(tmp_path, alpha):
    pixels = np.dstack([NOISE, np.full(NOISE.shape[:2], 0, np.uint8)])
    pixels[3, 4, 3] = alpha
    (tmp_path / "photo.bmp").write_bytes(bmp_with_alpha(pixels))
    with Image.open(tmp_path / "photo.bmp") as image:
        np.testing.assert_array_equal(image, pixels)
    expected = over_white(NOISE, pixels[..., 3]) if alpha else NOISE
    np.testing.assert_array_equal(whole(tmp_path / "photo.bmp"), expected)


def test_a_pixel_mode_that_pillow_does_not_read_is_named_as_a_cause(tmp_path):
    """A sound TIFF of 24 x 40 pixels, 32 bits of each of three colours."""
    content = saved(NOISE, "TIFF")
    bits = struct.pack("<HHH", 8, 8, 8)
    assert content.count(bits) == 1
    pixels = (NOISE.astype(np.uint32) << 24).tobytes()
    start = content.index(NOISE.tobytes())
    (tmp_path / "scan").write_bytes(content[:start].replace(bits, struct.pack("<HHH", 32, 32, 32)) + pixels)
    with pytest.raises(BadImage, match="or of a pixel mode that Pillow does not read"):
        whole(tmp_path / "scan")


def fitted(path, side: int, crop: int) -> np.ndarray:
    with open_image(str(path)) as photo:
        return np.asarray(photo.show([[photo.middle(side, crop)]])[0]).astype(int)


@pytest.mark.parametrize(("content", "expected"), [mode[1:] for mode in MODES], ids=[mode[0] for mode in MODES])
def test_every_pixel_mode_is_right_within_one_grey_level(tmp_path, content, expected):
    (tmp_path / "photo").write_bytes(content)
    pixels = whole(tmp_path / "photo")
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected.astype(np.float64)).max() <= 1


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
        upright.append(whole(path))
    for pixels in upright:
        assert np.abs(pixels - BLOCKS).max() <= 1


XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def with_chunk_behind(png: bytes, name: bytes, content: bytes) -> bytes:
    """Puts a chunk between a PNG's pixels and its end."""
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return png[:-12] + chunk + png[-12:]


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize(
    "content",
    [
        saved(NOISE, "JPEG", xmp=XMP),
        saved(NOISE, "WEBP", xmp=XMP, lossless=True),
        with_chunk_behind(saved(NOISE, "PNG"), b"eXIf", exif_of(6).tobytes()[6:]),
        with_chunk_behind(saved(NOISE, "PNG"), b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    ],
    ids=["JPEG, XMP", "WebP, XMP", "PNG, behind the pixels", "PNG, XMP behind the pixels"],
)
def test_an_orientation_is_found_where_pillow_finds_it(content, tmp_path):
    (tmp_path / "photo").write_bytes(content)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    assert expected.shape == (40, 24, 3)
    np.testing.assert_array_equal(whole(tmp_path / "photo"), expected)


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\xee" * 40, exif_of(0), exif_of(9)])
def test_a_bad_orientation_costs_the_orientation_not_the_photo(tmp_path, exif):
    (tmp_path / "photo.jpg").write_bytes(saved(NOISE, "JPEG", exif=exif))
    assert whole(tmp_path / "photo.jpg").shape == (24, 40, 3)


def test_an_image_shown_as_stored_is_neither_turned_nor_laid_over_white(tmp_path):
    see_through = np.dstack([NOISE, NOISE[..., :1]])
    (tmp_path / "image").write_bytes(saved(see_through, "PNG", exif=exif_of(6)))
    with open_image(str(tmp_path / "image"), upright=False) as image:
        assert (image.height, image.width) == (24, 40)
        np.testing.assert_array_equal(image.show([[]])[0], NOISE)


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
def test_the_middle_is_torchvisions_resize_and_center_crop(height, width, side, crop, tmp_path):
    pixels = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    (tmp_path / "photo").write_bytes(saved(pixels, "PNG"))
    middle = fitted(tmp_path / "photo", side, crop)
    assert middle.shape == (crop, crop, 3)
    assert np.abs(middle - resized_then_cropped(pixels, side, crop)).max() <= 2


@pytest.mark.parametrize("size", [(1001, 1599), (1800, 2400), (2000, 1533)])
def test_a_large_jpeg_is_decoded_small_and_shows_the_same(tmp_path, size):
    coarse = Image.fromarray(RNG.integers(0, 256, (45, 60, 3), dtype=np.uint8))
    photo = np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC)).astype(int)
    photo = Image.fromarray(np.clip(photo + RNG.integers(-30, 31, (*size, 1)), 0, 255).astype(np.uint8))
    photo.save(tmp_path / "photo.jpg", quality=92)
    Image.open(tmp_path / "photo.jpg").save(tmp_path / "photo.png")
    with open_image(str(tmp_path / "photo.jpg")) as image:
        (middle,) = image.show([[image.middle(16, 16)]])
        assert image._image.width <= size[1] // 2 + 1
    assert np.abs(np.asarray(middle).astype(int) - fitted(tmp_path / "photo.png", 16, 16)).max() <= 2


def test_the_middle_of_an_endless_strip_takes_no_memory(tmp_path):
    strip = Image.new("RGB", (1_000_001, 1), "black")
    strip.putpixel((500_000, 0), (255, 0, 0))
    strip.save(tmp_path / "strip.png")
    middle = fitted(tmp_path / "strip.png", 32, 32)
    assert middle[:, 15].tolist() == middle[:, 16].tolist() == [middle[0, 15].tolist()] * 32
    assert middle[0, 15, 0] > 200


def test_what_lies_outside_the_image_is_black(tmp_path):
    (tmp_path / "photo").write_bytes(saved(NOISE, "PNG"))
    with open_image(str(tmp_path / "photo")) as photo:
        same, half = photo.show(
            [
                [CropWindow(-3, -2, 30, 44, 30, 44)],
                [CropWindow(-4, 0, 32, 40, 16, 20), CropWindow(0, 0, 16, 20, 16, 20)],
            ]
        )
    np.testing.assert_array_equal(same, np.pad(NOISE, [(3, 3), (2, 2), (0, 0)]))
    resized = Image.fromarray(NOISE).resize((20, 12), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(half, np.pad(resized, [(2, 2), (0, 0), (0, 0)]))


@pytest.mark.parametrize(("size", "expected"), [((1000, 500), (256, 128)), ((40, 24), (40, 24)), ((9000, 2), (256, 1))])
def test_a_preview_keeps_the_shape_and_is_never_enlarged(tmp_path, size, expected):
    (tmp_path / "photo").write_bytes(saved(Image.new("RGB", size), "PNG"))
    with open_image(str(tmp_path / "photo")) as photo:
        assert photo.show([[photo.preview()]])[0].size == expected


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
        (b"\x89PNG\r\n\x1a\n", "unreadable PNG file: damaged, or of a pixel mode"),
        (saved(NOISE, "JPEG")[:-200], "damaged JPEG file: "),
        (saved(NOISE, "PNG")[:-200], "damaged PNG file: "),
    ],
)
def test_what_is_no_image_has_a_reason_of_one_line(tmp_path, content, reason):
    (tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(BadImage, match=reason) as caught:
        whole(tmp_path / "photo.jpg")
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
        with pytest.raises(BadImage, match=reason):
            whole(os.path.join(tmp_path, name))


@pytest.mark.parametrize(("name", "content"), BOMBS, ids=[name for name, _ in BOMBS])
def test_a_decompression_bomb_is_refused_before_its_pixels_are_decoded(tmp_path, monkeypatch, name, content):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)  # would fail if it were called
    (tmp_path / "bomb").write_bytes(content)
    limit = "178 million" if name == "JPEG" else "100 million"
    reason = "damaged PNG file: Decompressed data too large" if "300 MB" in name else f"too large: .*{limit}"
    with pytest.raises(BadImage, match=reason):
        whole(tmp_path / "bomb")


@pytest.mark.parametrize("reduced", [True, False])
@pytest.mark.parametrize(
    ("form", "size", "taken"),
    [("JPEG", (600, 300), True), ("JPEG", (600, 350), False), ("PNG", (400, 250), True), ("PNG", (600, 300), False)],
)
def test_the_check_and_the_decoding_agree_on_what_is_too_large(tmp_path, monkeypatch, form, size, taken, reduced):
    """Limits a thousandth as high, so that the test is quick. How finely a JPEG is decoded makes no difference."""
    monkeypatch.setattr(decode, "MAX_PIXELS", 100_000)
    monkeypatch.setattr(decode, "MAX_JPEG_PIXELS", 200_000)
    path = str(tmp_path / "photo")
    Image.new("RGB", size).save(path, form)
    refused = contextlib.nullcontext() if taken else pytest.raises(BadImage, match="too large")
    with refused, open_image(path) as image:
        image.show([[image.middle(1, 1)] if reduced else []])
    assert (decode.problem(path) is None) == taken


def photo_with_preview(form="JPEG", **options) -> bytes:
    """A JPEG whose EXIF holds a small JPEG, as a camera's does."""
    return saved(NOISE, form, exif=exif_of(6).tobytes() + saved(NOISE[:9, :9], "JPEG"), **options)


def first_of_an_mpo() -> bytes:
    """An MPO, several JPEGs in one file, up to the end of the first."""
    content = photo_with_preview("MPO", save_all=True, append_images=[Image.fromarray(255 - NOISE)])
    return content[: content.index(b"\xff\xd9\xff\xd8") + 2]


@pytest.mark.parametrize("cut", [1, 2, 3, 20, 300])
@pytest.mark.parametrize(
    "content", [photo_with_preview(), first_of_an_mpo(), saved(NOISE, "PNG")], ids=["JPEG", "MPO", "PNG"]
)
def test_a_file_cut_short_is_found_without_decoding_it(cut, content, tmp_path):
    path = tmp_path / "photo"
    path.write_bytes(content)
    assert decode.problem(str(path)) is None
    path.write_bytes(content[:-cut])
    assert decode.problem(str(path)) == "cut short"


@pytest.mark.parametrize("form", ["GIF", "BMP", "WEBP"])
def test_a_format_without_an_end_mark_is_decoded_to_find_one_cut_short(form, tmp_path):
    path, content = tmp_path / "photo", saved(NOISE, form)
    path.write_bytes(content)
    assert decode.problem(str(path)) is None
    path.write_bytes(content[: -len(content) // 3])
    assert f"damaged {form} file" in decode.problem(str(path))


@pytest.mark.parametrize(
    "content", [photo_with_preview(), first_of_an_mpo(), saved(NOISE, "PNG")], ids=["JPEG", "MPO", "PNG"]
)
@pytest.mark.parametrize("behind", [b"\0" * 10, bytes(range(250)) * 400], ids=["zeros", "a film"])
def test_what_a_phone_puts_behind_the_photo_is_no_damage(content, behind, tmp_path):
    (tmp_path / "photo").write_bytes(content + behind)
    assert decode.problem(str(tmp_path / "photo")) is None
    whole(tmp_path / "photo")


def test_a_problem_is_the_reason_that_decoding_would_give(tmp_path):
    Image.new("1", (10_100, 10_000)).save(tmp_path / "large.png")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "scan").write_bytes(saved(NOISE, "TIFF"))
    for name, reason in (
        ("empty", "an empty file"),
        ("scan", "not a JPEG"),
        ("large.png", "too large"),
        ("gone", "no such file"),
        (".", "a folder"),
    ):
        assert reason in decode.problem(str(tmp_path / name))
        with pytest.raises(BadImage, match=reason), open_image(str(tmp_path / name)):
            pass

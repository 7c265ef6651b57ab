"""Orientations of files as Pillow turns them, and damage as Pillow and TensorFlow meet it."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from resnet_tf.datasets.image_headers import read_orientations
from resnet_tf.errors import UserError

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'


def encoded(form: str, mode: str = "RGB", **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PICTURE).convert(mode).save(stream, form, **options)
    return stream.getvalue()


def exif_of(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def with_note_behind(png: bytes, name: bytes, content: bytes) -> bytes:
    """Puts a chunk between a PNG's pixels and its end."""
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return png[:-12] + chunk + png[-12:]


def xmp_chunk(orientation: int) -> bytes:
    return b"XML:com.adobe.xmp\0\0\0\0\0" + XMP % orientation


NOTED = {
    "JPEG": encoded("JPEG", exif=exif_of(6)),
    "JPEG by XMP": encoded("JPEG", xmp=XMP % 6),
    "JPEG with another behind it": encoded(
        "MPO", exif=exif_of(6), save_all=True, append_images=[Image.fromarray(PICTURE)]
    ),
    "PNG": encoded("PNG", exif=exif_of(6)),
    "PNG behind the pixels": with_note_behind(encoded("PNG"), b"eXIf", exif_of(6).tobytes()[6:]),
    "PNG by XMP behind the pixels": with_note_behind(encoded("PNG"), b"iTXt", xmp_chunk(6)),
    "WebP": encoded("WEBP", exif=exif_of(6)),
    "WebP by XMP": encoded("WEBP", xmp=XMP % 6),
}
UPRIGHT = {
    "JPEG": encoded("JPEG", exif=exif_of(1)),
    "JPEG without EXIF": encoded("JPEG"),
    "PNG": encoded("PNG"),
    "PNG by XMP": with_note_behind(encoded("PNG"), b"iTXt", xmp_chunk(1)),
    "BMP": encoded("BMP"),
    "grey BMP": encoded("BMP", mode="L"),
    "WebP": encoded("WEBP"),
    "out of range": encoded("JPEG", exif=exif_of(9)),
    "zero": encoded("JPEG", exif=exif_of(0)),
    "damaged EXIF": encoded("JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"),
}


@pytest.fixture
def write(tmp_path):
    def write(content: bytes) -> str:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.jpg"
        path.write_bytes(content)
        return str(path)

    return write


@pytest.mark.parametrize("name", NOTED)
def test_a_noted_orientation_is_found_where_pillow_finds_it(name, write):
    content = NOTED[name]
    with Image.open(io.BytesIO(content)) as image:
        assert ImageOps.exif_transpose(image).size == (40, 60)
    assert read_orientations([write(content)]).tolist() == [6]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("name", UPRIGHT)
def test_what_notes_no_turn_is_upright(name, write):
    content = UPRIGHT[name]
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == (60, 40)
    assert read_orientations([write(content)]) is None


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_counts_as_something_to_see(mode, write):
    options = {"transparency": 3} if mode == "P" else {}
    paths = [write(encoded("JPEG")), write(encoded("PNG", mode=mode, **options))]
    assert read_orientations(paths).tolist() == [1, 1]
    assert read_orientations(paths[:1]) is None


def test_many_files_keep_their_order(write):
    paths = [write(encoded("JPEG", exif=exif_of(orientation))) for orientation in range(1, 9)]
    order = np.random.default_rng(0).integers(0, 8, 1234)
    found = read_orientations([paths[i] for i in order])
    np.testing.assert_array_equal(found, order + 1)
    assert found.dtype == np.uint8


def photo_with_preview() -> bytes:
    """A JPEG whose EXIF holds a small JPEG, as a camera's does."""
    small = io.BytesIO()
    Image.fromarray(PICTURE).resize((16, 12)).save(small, "JPEG")
    exif = exif_of(6).tobytes()
    return encoded("JPEG", exif=exif + small.getvalue())


@pytest.mark.parametrize("cut", [1, 2, 3, 20, 300])
@pytest.mark.parametrize("form", ["JPEG", "preview", "PNG", "WEBP"])
def test_a_file_cut_short_is_found_and_tensorflow_refuses_it(cut, form, write):
    content = (photo_with_preview() if form == "preview" else encoded(form))[:-cut]
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.io.decode_image(content)
    path = write(content)
    with pytest.raises(UserError, match=rf"{path} \((cut short|none of these|damaged: .*)\)"):
        read_orientations([path])


@pytest.mark.parametrize("content", [photo_with_preview(), encoded("PNG")], ids=["JPEG", "PNG"])
@pytest.mark.parametrize("behind", [b"\0" * 10, bytes(range(250)) * 400], ids=["zeros", "a film"])
def test_what_a_phone_puts_behind_the_photo_is_no_damage(content, behind, write):
    tf.io.decode_image(content + behind)  # TensorFlow thinks so too
    read_orientations([write(content + behind)])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"not a picture", "none of these"),
        (encoded("TIFF"), "none of these"),
        (encoded("BMP", mode="P"), "a BMP with a palette"),
        (encoded("BMP", mode="1"), "a BMP with a palette"),
        (encoded("WEBP", save_all=True, append_images=[Image.new("RGB", (60, 40))]), "an animation"),
    ],
    ids=["empty", "text", "TIFF", "palette", "black and white", "animation"],
)
def test_what_tensorflow_cannot_read_is_refused(content, reason, write):
    path = write(content)
    with pytest.raises(UserError, match=rf"{path} \({reason}\)\. Save them anew as JPEG"):
        read_orientations([path])


def test_of_many_bad_files_the_first_are_named(write, tmp_path):
    good, bad = write(encoded("JPEG")), [write(b"bad") for _ in range(5)]
    with pytest.raises(UserError) as caught:
        read_orientations([good, *bad, str(tmp_path / "gone.jpg")])
    message = str(caught.value)
    assert all(path in message for path in bad[:3])
    assert not any(path in message for path in (good, *bad[3:]))
    assert "; and 3 more." in message
    assert "\n" not in message


def test_an_unreadable_file_gives_the_systems_reason(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    for path, reason in ((tmp_path / "gone.jpg", "No such file"), (tmp_path / "folder.jpg", "Is a directory")):
        with pytest.raises(UserError, match=reason):
            read_orientations([str(path)])

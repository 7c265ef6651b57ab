"""The contact sheet, read back as pixels."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from assertions import user_error
from PIL import Image

from resnet_tf.prediction import contact_sheet
from resnet_tf.prediction.photos import Photo

BLUE = (156, 194, 245)  # the first bar


def good(name="cat.jpg", probability=0.5, preview=(0, 130, 0), fitted=None):
    pixels = np.zeros((90, 120, 3), np.uint8) + np.uint8(preview)
    fitted = np.zeros((8, 8, 3), np.uint8) + 40 if fitted is None else fitted
    top = [{"class": "cat", "probability": probability}, {"class": "dog", "probability": 0.1}]
    row = {"file": name, "error": None, "width": 1200, "height": 900, "top": top, "unsure": False, "truth": None}
    return row, Photo(Path(name), None, 1200, 900, fitted, pixels)


def bad(name="notes.txt", error="not a JPEG picture"):
    row = {"file": name, "error": error, "width": None, "height": None, "top": [], "unsure": False, "truth": None}
    return row, Photo(Path(name), error)


def drawn(tiles, path, title="ResNet-20, preset 3, run 3/x"):
    rows, photos = zip(*tiles, strict=True)
    contact_sheet.draw(rows, photos, path, title)
    image = Image.open(path)
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"))


def extent(pixels, colour):
    """Width and height in pixels of all that has exactly this colour."""
    rows, columns = np.nonzero((pixels == colour).all(-1))
    return int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


def test_a_tile_shows_photo_network_view_and_bars_in_proportion(tmp_path):
    view = np.zeros((8, 8, 3), np.uint8) + np.uint8([200, 0, 0])
    view[4, 4] = [0, 0, 200]
    pixels = drawn([good(probability=0.75, fitted=view)], tmp_path / "x.png")
    one_inch = 120
    width, height = extent(pixels, (0, 130, 0))
    assert width / height == pytest.approx(120 / 90, rel=0.03)
    assert extent(pixels, (200, 0, 0)) == pytest.approx((one_inch, one_inch), abs=3)
    assert extent(pixels, (0, 0, 200)) == pytest.approx((one_inch / 8, one_inch / 8), abs=1)  # one pixel, enlarged
    assert extent(pixels, BLUE)[0] == pytest.approx(0.75 * 1.45 * one_inch, abs=2)


def test_the_place_of_the_evidence_is_lit(tmp_path):
    row, photo = good(fitted=np.zeros((8, 8, 3), np.uint8) + np.uint8([90, 90, 90]))
    dark = np.zeros((4, 4), np.float32)
    lit = dark.copy()
    lit[0, 0] = 1.0
    without = drawn([(row, replace(photo, activation=dark))], tmp_path / "x.png")
    with_light = drawn([(row, replace(photo, activation=lit))], tmp_path / "y.png")
    assert extent(without, (90, 90, 90))[0] > 200  # the view and, beside it, its grey copy
    changed = np.argwhere((without != with_light).any(-1))
    (top, left), (bottom, right) = changed.min(axis=0), changed.max(axis=0)
    assert (bottom - top, right - left) == pytest.approx((45, 45), abs=18)  # of 120 pixels, around a quarter's middle
    corner = with_light[top + 4, left + 4]  # 0.65 of inferno's last colour, (252, 255, 164), and the rest of the grey
    np.testing.assert_allclose(corner.astype(int), [195, 197, 138], atol=4)


def test_every_photo_has_its_own_place_in_order(tmp_path):
    tiles = [good(f"{i}.jpg", preview=(10 + 4 * i, 60, 90)) for i in range(38)]
    tiles[5] = bad()
    colours = drawn(tiles, tmp_path / "x.png") @ np.array([1 << 16, 1 << 8, 1])
    corners = []
    for i in range(38):
        found = np.argwhere(colours == (10 + 4 * i << 16) + (60 << 8) + 90)
        assert (len(found) > 0) == (i != 5)
        if i != 5:
            corners.append(tuple(found[0]))
    assert corners == sorted(corners)
    assert len({column for _, column in corners}) == 3


@pytest.mark.parametrize("count", [1, 2, 7, 60])
def test_the_page_holds_all_tiles_and_nothing_touches_its_edge(tmp_path, count):
    pixels = drawn(
        [good()] * (count - 1) + [bad(error="no picture " * 40)], tmp_path / "x.png", title="long title " * 30
    )
    edge = np.concatenate([pixels[:6].reshape(-1, 3), pixels[-6:].reshape(-1, 3), *pixels[:, :6], *pixels[:, -6:]])
    assert (edge == 255).all()
    assert pixels.shape[0] < 4000
    assert pixels.shape[1] < 2200


def test_a_long_list_is_cut_and_the_sheet_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(contact_sheet, "MAX_TILES", 3)
    tiles = [good(preview=(0, 130 + i, 0)) for i in range(5)]
    pixels = drawn(tiles, tmp_path / "x.png")
    present = [bool((pixels == (0, 130 + i, 0)).all(-1).any()) for i in range(5)]
    assert present == [True, True, True, False, False]
    whole = drawn(tiles[:3], tmp_path / "y.png")
    assert (pixels != whole).any()


def test_names_are_text_and_not_formulas(tmp_path, capfd, recwarn):
    names = ["$x_{1$.jpg", "日本語.jpg", "\x1b[31m\udcff\n.jpg", "a" * 300, r"\frac{1}{", "%s{0}"]
    drawn([good(name) for name in names] + [bad(name, name) for name in names], tmp_path / "x.png", title="$\\bad$ {x}")
    assert capfd.readouterr().err == ""
    assert not recwarn.list


@pytest.mark.parametrize("form", ["pdf", "svg"])
def test_a_sheet_is_what_its_name_says(tmp_path, capfd, recwarn, form):
    rows, photos = zip(good("日本語$x_{1$.jpg"), bad(), strict=True)
    contact_sheet.draw(rows, photos, tmp_path / f"x.{form}", "title")
    assert (tmp_path / f"x.{form}").read_bytes()[:5] == {"pdf": b"%PDF-", "svg": b"<?xml"}[form]
    assert capfd.readouterr().err == ""
    assert not recwarn.list


def test_no_window_system_is_touched(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # an import of it would now fail
    drawn([good()], tmp_path / "x.png")


def test_a_sheet_that_cannot_be_written_is_a_user_error(tmp_path):
    assert user_error(drawn, [good()], tmp_path / "no" / "x.png").code == "cannot-write"

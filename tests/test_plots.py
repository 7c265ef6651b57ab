"""A figure's file holds what its name says, is the same each time, and fits into a page."""

import xml.etree.ElementTree as ElementTree

import pytest
from assertions import user_error
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from messages import listen

from resnet_tf import plots


def line_figure():
    figure = plots.figure(3, 2, "a <title> $x\x1b")
    axes = figure.subplots()
    plots.tidy(axes)
    axes.plot([1, 2, 3], [3, 1, 2], "o-")
    return figure


@pytest.mark.parametrize(
    ("name", "beginning"), [("a.png", b"\x89PNG\r\n"), ("a.PDF", b"%PDF-"), ("a.b.svg", b"<?xml version")]
)
def test_the_suffix_decides_the_format(tmp_path, name, beginning):
    for _ in range(2):
        plots.save(line_figure(), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(beginning)


@pytest.mark.parametrize("form", ["png", "pdf", "svg"])
def test_equal_figures_give_equal_bytes(form):
    assert plots.encode(line_figure(), form) == plots.encode(line_figure(), form)


@pytest.mark.parametrize("name", ["a", "a.jpg", ".png", "a.png/b", "a.pdf.txt", "a." + "x" * 5000])
def test_any_other_suffix_is_refused(tmp_path, name):
    assert user_error(plots.check_place, tmp_path / name).code == "figure-suffix"
    assert user_error(plots.save, line_figure(), tmp_path / name).code == "figure-suffix"


def test_a_figure_needs_a_folder(tmp_path):
    assert user_error(plots.check_place, tmp_path / "no" / "a.svg").code == "folder-not-found"
    plots.check_place(tmp_path / "a.svg")


def test_svg_in_a_page_is_small_text_with_no_part_named_twice():
    element = plots.svg_element(line_figure(), 'a "label"')
    root = ElementTree.fromstring(element)
    assert (root.get("role"), root.get("aria-label")) == ("img", 'a "label"')
    assert "a <title> $x\\x1b" in [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    names = [part.get("id") for part in root.iter() if part.get("id")]
    assert len(names) == len(set(names))
    assert not any(name.startswith("figure") for name in names)
    assert len(element) < 15_000


def test_characters_that_no_font_has_are_named_in_one_line(tmp_path):
    said = listen()
    for text, lines in (("cat \u00e9", 0), ("\U000f0000 and \U000f0001", 1)):  # private use: no font draws these
        picture = plots.figure(2, 1)
        picture.text(0, 0, text)
        plots.save(picture, tmp_path / "x.png")
        assert len(said) == lines


def save_font(path, family: str, character: str) -> None:
    """Saves a font that has one character."""
    pen, names = TTGlyphPen(None), [".notdef", "shape"]
    pen.moveTo((0, 0))
    pen.lineTo((500, 700))
    pen.lineTo((500, 0))
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(character): "shape"})
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (600, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


@pytest.mark.parametrize("form", ["png", "pdf"])
def test_a_font_that_was_installed_after_matplotlib_listed_the_fonts_draws_what_dejavu_lacks(
    form, tmp_path, monkeypatch
):
    character = "\U000f0000"
    save_font(tmp_path / "new.ttf", "Noto Sans CJK SC", character)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(tmp_path / "new.ttf")])
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(font_manager.fontManager.ttflist))
    said, picture = listen(), plots.figure(2, 1)
    picture.subplots().barh([f"cat {character}"], [1])
    plots.save(picture, tmp_path / f"x.{form}")
    assert not said

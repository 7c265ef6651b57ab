"""A figure's file holds what its name says, or nothing is drawn."""

import pytest
from told import told

from resnet_tf import plots


@pytest.mark.parametrize(
    ("name", "beginning"), [("a.png", b"\x89PNG\r\n"), ("a.PDF", b"%PDF-"), ("a.b.svg", b"<?xml version")]
)
def test_the_name_decides_the_form(name, beginning):
    from matplotlib.figure import Figure

    assert plots.drawn(Figure(), name).startswith(beginning)


@pytest.mark.parametrize("name", ["a", "a.jpg", ".png", "a.png/b", "a.pdf.txt", "a." + "x" * 5000])
def test_any_other_name_is_refused_in_a_line(tmp_path, name):
    assert ".png, .pdf, .svg" in told(plots.check_place, tmp_path / name)
    assert "a folder that exists" in told(plots.check_place, tmp_path / "no" / "a.svg")
    plots.check_place(tmp_path / "a.svg")

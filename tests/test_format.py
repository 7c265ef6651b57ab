"""Numbers, durations and tables as people read them."""

import os

import pytest

from resnet_tf import format


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(41, "41 s"), (486, "8 min"), (8400, "2 h 20 min"), (90_000, "25 h 0 min"), (190_000, "2 d 4 h")],
)
def test_duration(seconds, expected):
    assert format.duration(seconds) == expected


def test_numbers():
    assert [format.percent(value) for value in (85.1, None)] == ["85.10 %", "-"]
    assert [format.thousands(number) for number in (500, 32_000)] == ["500", "32k"]
    assert [format.large(number) for number in (7, 1_500, 40_551_040, 3_664_000_000)] == [
        "7",
        "1.50k",
        "40.55M",
        "3.66G",
    ]
    assert [format.plural(count, "run") for count in (0, 1, 2_000)] == ["0 runs", "1 run", "2,000 runs"]
    assert format.iso_time(0) == "1970-01-01T00:00:00Z"


def test_first_line_of_an_error():
    assert format.first_line(ValueError("\n a\x1b\nb")) == "a\\x1b"
    assert format.first_line(EOFError()) == "EOFError"
    assert format.first_line(ValueError("x" * 1000)) == "x" * 200


def test_characters_that_could_steer_a_terminal_are_escaped():
    bidi = [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C]
    for code in [*range(0x20), *range(0x7F, 0xA0), *bidi]:
        text = format.printable(f"a{chr(code)}b")
        assert text.isascii()
        assert text[1] == "\\"
    assert format.printable("\x1b[31m\n\t") == r"\x1b[31m\n\t"
    assert format.printable("\u202e\u2028") == r"\u202e\u2028"
    assert format.printable(os.fsdecode(b"caf\xe9 \xff")) == r"caf\xe9 \xff"
    assert format.printable("Ünïcödé 日本語 🐈 [x] $y_1$") == "Ünïcödé 日本語 🐈 [x] $y_1$"


def test_a_markdown_cell_stays_one_cell():
    assert format.markdown_table(("a", "b"), [["1", "x | y"]]) == "| a | b |\n| --- | --- |\n| 1 | x \\| y |"


HEADINGS = {"headings": ("name", "note", "count"), "numbers": ("count",), "prose": ("note",)}
ROWS = [["resnet", "[red]no markup[/red] \x1b[2J", "7"], ["other", "word " * 30, "1,000"]]


def test_a_table_without_a_width_has_a_line_a_row():
    lines = format.as_text(format.table(rows=ROWS, **HEADINGS)).splitlines()
    assert [line.split()[0] for line in lines] == ["name", "resnet", "other"]
    assert "[red]no markup[/red] \\x1b[2J" in lines[1]
    assert len({len(line) for line in lines}) == 1  # the numbers end below each other


def test_a_narrow_table_folds_prose_and_nothing_else():
    table = format.table(rows=ROWS, **HEADINGS)
    lines = format.as_text(table, 40).splitlines()
    assert max(map(len, lines)) <= 40
    assert [line.split()[0] for line in lines if line[0] != " "] == ["name", "resnet", "other"]
    assert sum(line.split().count("word") for line in lines) == 30
    assert format.narrowest(table) == len("resnet") + 2 + format.PROSE_WIDTH + 2 + len("1,000")

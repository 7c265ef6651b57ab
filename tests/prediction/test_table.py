"""What people and programs read of the predictions, with names that were chosen to do harm."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path, PureWindowsPath

import pytest
from rich.console import Console

from resnet_tf.prediction import table


def row(file, *top, error=None, truth=None):
    size = (None, None) if error else (640, 480)
    guesses = [{"class": name, "probability": share} for name, share in top]
    unsure = bool(guesses) and guesses[0]["probability"] < 0.5
    about = {"file": file, "error": error, "width": size[0], "height": size[1], "top": guesses}
    return {**about, "unsure": unsure, "truth": truth}


ROWS = [
    row("photos/cat/tom.jpg", ("cat", 0.9), ("dog", 0.07), ("frog", 0.03)),
    row("photos/notes.txt", error="not a JPEG picture"),
    row("photos/rex.jpg", ("dog", 0.625)),
]
NASTY = [
    *(
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "＝1",
        "'=1",
        "a\nb",
        'quo"te',
        "com,ma",
        "semi;=1",
    ),
    *("\x1b[2J\x1b]0;me\x07", "\x9b31m", "a\u202egpj.exe", "\u2066x", "\u200b", "\ud800", "\x7f", "[red]x[/red]"),
    *(os.fsdecode(b"caf\xe9\xff.jpg"), "日本語 🐈.jpg", "back\\slash"),
]


def printed(rows, width=100):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    table.print_table(rows, console=console)
    return console.file.getvalue()


def test_json_gives_the_rows_back_and_any_name_to_the_byte():
    rows = ROWS + [row(name, ("cat", 1 / 3)) for name in NASTY]
    text = table.as_json(rows)
    assert json.loads(text) == rows
    assert all(0x20 <= ord(character) < 0x7F or character == "\n" for character in text)
    name = json.loads(table.as_json([row(os.fsdecode(b"\xff\xe9\x1b.jpg"))]))[0]["file"]
    assert os.fsencode(name) == b"\xff\xe9\x1b.jpg"


def test_csv_has_a_line_a_row_and_a_column_pair_a_class():
    assert table.as_csv(ROWS) == (
        '"file","error","width","height","unsure","truth",'
        '"class_1","probability_1","class_2","probability_2","class_3","probability_3"\n'
        '"photos/cat/tom.jpg","",640,480,"no","","cat",0.9,"dog",0.07,"frog",0.03\n'
        '"photos/notes.txt","not a JPEG picture","","","","","","","","","",""\n'
        '"photos/rex.jpg","",640,480,"no","","dog",0.625,"","","",""\n'
    )


def test_csv_says_what_is_unsure_and_what_the_folder_names():
    rows = [row("cat/a", ("cat", 0.4), truth="cat"), row("=1/b", ("cat", 0.9), truth="=1"), row("c", error="cut short")]
    read = list(csv.DictReader(io.StringIO(table.as_csv(rows))))
    assert [one["unsure"] for one in read] == ["yes", "no", ""]
    assert [one["truth"] for one in read] == ["cat", "'=1", ""]


def test_no_csv_cell_becomes_a_formula_or_a_second_line():
    content = table.as_csv([row(name, (name, 0.5)) for name in NASTY] + [row("x", error=name) for name in NASTY])
    assert content.count("\n") == 1 + 2 * len(NASTY)
    for cells in list(csv.reader(io.StringIO(content)))[1:]:
        assert len(cells) == 8
        for cell in cells:
            assert cell.strip()[:1] not in tuple("=+-@＝＋－＠\t\r\n") or not cell.strip()
            assert cell.isprintable()
    first = next(csv.DictReader(io.StringIO(content)))
    assert (first["file"], first["probability_1"]) == ("'=1+1", "0.5")


def test_what_is_printed_steers_no_terminal_and_is_not_markup():
    rows = [row(name, (name, 0.5), (name, 0.25)) for name in NASTY] + [row("x", error=name) for name in NASTY]
    text = printed(rows)
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "[red]x[/red]" in text
    assert r"caf\xe9\xff.jpg" in text


def test_the_table_says_the_shared_folder_once_and_keeps_every_row_in_order():
    lines = printed(ROWS).splitlines()
    assert lines[0].strip() == "in photos/"
    assert lines[2].split() == ["cat/tom.jpg", "cat", "90.0%", "dog", "7.0%,", "frog", "3.0%"]
    assert lines[3].split() == ["notes.txt", "-", "not", "a", "JPEG", "picture"]
    assert lines[4].split() == ["rex.jpg", "dog", "62.5%"]
    assert "in " not in printed([row("/a.jpg", ("cat", 1)), row("/b.jpg", ("cat", 1))]).splitlines()[0]
    assert printed(ROWS[:1]).splitlines()[1].startswith("photos/cat/tom.jpg")
    assert printed([]).startswith("photo")


def test_on_windows_too_the_shared_folder_is_said_once(monkeypatch):
    monkeypatch.setattr(table, "Path", PureWindowsPath)
    rows = [row("C:\\photos\\cat\\tom.jpg", ("cat", 0.9)), row("C:\\photos\\rex.jpg", ("dog", 0.6))]
    folder = table.common_folder(rows)
    assert folder == PureWindowsPath("C:/photos")
    assert [table.shown_name(one, folder) for one in rows] == ["cat\\tom.jpg", "rex.jpg"]
    assert table.common_folder([row("C:\\a.jpg", ("cat", 1)), row("C:\\b.jpg", ("cat", 1))]) is None
    assert table.common_folder([row("a.jpg", ("cat", 1)), row("D:\\b.jpg", ("cat", 1))]) is None


def test_scored_photos_from_the_folder_of_the_training_are_doubted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "mine too"):
        (tmp_path / name / "cat").mkdir(parents=True)
    (tmp_path / "link").symlink_to("mine")
    trained = [row("mine/cat/a.jpg", ("cat", 1), truth="cat"), row("link/cat/b.jpg", ("dog", 1), truth="cat")]
    others = [
        row("mine too/cat/a.jpg", ("cat", 1), truth="cat"),
        row("mine/cat/broken.jpg", error="cut short", truth="cat"),
        row("mine/c.jpg", ("cat", 1)),  # which is not scored
        row("mine/test/cat/a.jpg", ("cat", 1), truth="cat"),
    ]
    assert " 2 of" in table.doubt([*trained, *others], str(tmp_path / "mine"))
    assert table.doubt(others, str(tmp_path / "mine")) == ""
    assert table.doubt(trained, None) == ""


def test_a_guess_is_marked_as_one():
    unsure = [*ROWS, row("photos/fog.jpg", ("cat", 0.499), ("dog", 0.4))]
    lines = printed(unsure).splitlines()
    assert lines[5].split()[:4] == ["fog.jpg", "cat", "?", "49.9%"]
    assert lines[6].startswith("? unsure (1 of 4): ")
    assert "?" not in printed(ROWS)
    assert "?" not in printed([row("a.jpg", ("cat", 0.5))])


def test_folders_called_after_classes_score_the_photos():
    """Three of four right: Wilson's interval is 30.06 to 95.44 % by hand."""
    rows = [row(f"photos/cat/{i}.jpg", ("cat", 0.9), truth="cat") for i in range(3)]
    rows += [row("photos/dog/a.jpg", ("cat", 0.4), truth="dog"), row("photos/more/b.jpg", ("cat", 0.9))]
    rows.append(row("photos/dog/broken.jpg", error="cut short", truth="dog"))  # neither right nor wrong
    assert [table.is_right(one) for one in rows] == [True, True, True, False, None, None]
    line = table.score(rows)
    assert line == "3 of 4 right (75%, 95 % interval 30 to 95 %); 1 of the 1 mistakes marked unsure"
    lines = printed(rows).splitlines()
    assert line in lines[-1]
    assert "right" in lines[2]
    assert "wrong, is dog" in lines[5]
    assert "right" not in lines[6]
    assert table.score(ROWS) == ""
    assert "right" not in printed(ROWS)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_terminal_loses_nothing(width):
    text = printed([row("z" * 200, ("y" * 30, 0.5), ("x" * 99, 0.25))], width)
    assert {character: text.count(character) for character in "xyz"} == {"x": 99, "y": 30, "z": 200}
    assert "50.0%" in text


def test_a_terminal_without_unicode_gets_escapes():
    shown = "{'file': '\\u65e5', 'error': 'x', 'top': [], 'unsure': False, 'truth': None}"
    script = f"from resnet_tf.prediction.table import *; print_table([{shown}])"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    root = Path(table.__file__).parents[2]
    run = subprocess.run([sys.executable, "-c", script], cwd=root, env=environment, capture_output=True, check=True)
    assert rb"\u65e5" in run.stdout

"""README and docs name only files, headings, presets and options that exist."""

import argparse
import importlib
import itertools
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = ("train", "eval", "predict", "export", "report", "sweep", "serve")
PAGES = {
    str(path.relative_to(ROOT)): path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks" / "NOTES.md")
}
PRESETS = {path.stem for path in (ROOT / "presets").glob("*.json")}
PLACEHOLDERS = {"NAME", "RUN", "mine.json", "tune.json"}
FOLDERS = "resnet_tf|docs|examples|presets|pretrained|tests|benchmarks|tools"
OTHER_PROGRAMS = {"--logdir", "--upgrade"}  # options of tensorboard and pip

every_page = pytest.mark.parametrize("page", PAGES)


def text_of(page: str) -> str:
    return PAGES[page].read_text()


def code_spans(page: str) -> list[str]:
    """Returns the text of each piece of inline code."""
    prose = re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def shell_commands(page: str) -> list[list[str]]:
    """Returns the words of each command of the bash blocks and of the inline code that starts with `python`."""
    blocks = re.findall(r"^```bash\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", "").splitlines()]
    lines += [span for span in code_spans(page) if span.startswith(("python ", "KERAS_BACKEND="))]
    return [
        shlex.split(part, comments=True)
        for line in lines
        for part in line.split("&&")
        if part.strip() and not part.strip().startswith("#")
    ]


def options_of(program: str) -> set[str]:
    """Returns the long options of train.py, or of `-m benchmarks.speed`, which keeps its parser to itself."""
    if program.removesuffix(".py") in COMMANDS:
        parser: argparse.ArgumentParser = importlib.import_module(
            f"resnet_tf.cli.{program.removesuffix('.py')}"
        ).parser()
        return {option for option in parser._option_string_actions if option.startswith("--")}
    source = (ROOT / f"{program.replace('.', '/')}.py").read_text()
    return set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', source))


def uses(page: str) -> list[tuple[str, list[str]]]:
    """Returns each use of a program of this project on a page: ("train.py", words), ("benchmarks.speed", words)."""
    found = []
    for words in shell_commands(page):
        for place, word in enumerate(words):
            if word in {f"{command}.py" for command in COMMANDS} or word.startswith(("benchmarks.", "tools.")):
                found.append((word, words[place + 1 :]))
                break
    return found


def anchors(path: Path) -> set[str]:
    """Returns the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    missing = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (PAGES[page].parent / name).resolve() if name else PAGES[page]
        if not path.exists() or (anchor and anchor not in anchors(path)):
            missing.append(target)
    assert missing == []


@every_page
def test_every_path_in_inline_code_exists(page):
    named = [name for span in code_spans(page) for name in re.findall(rf"(?:^|\s)((?:{FOLDERS})/[\w./*-]*)", span)]
    named += [span for span in code_spans(page) if re.fullmatch(r"[\w-]+\.(py|txt|toml)", span)]
    assert [name for name in named if not list(ROOT.glob(name.rstrip("/")))] == []


@every_page
def test_every_preset_named_in_a_command_exists(page):
    named = []
    for _, words in uses(page):
        for place, word in enumerate(words):
            if word == "--preset":
                named.append(words[place + 1])
            elif word == "--presets":
                named += itertools.takewhile(lambda name: not name.startswith("--"), words[place + 1 :])
    assert set(named) - PRESETS - PLACEHOLDERS == set()


@every_page
def test_every_option_of_a_command_is_one_of_its_parser(page):
    unknown = [
        f"{program} {word}"
        for program, words in uses(page)
        for word in words
        if word.startswith("--") and word.partition("=")[0] not in options_of(program)
    ]
    assert unknown == []


@every_page
def test_every_option_in_prose_is_one_of_some_command(page):
    known = {option for command in COMMANDS for option in options_of(f"{command}.py")} | OTHER_PROGRAMS
    named = {re.match(r"--[\w-]+", span)[0] for span in code_spans(page) if re.match(r"--\w", span)}
    assert named - known == set()


def test_every_page_is_linked_from_the_readme():
    linked = set(re.findall(r"\]\((docs/[\w.]+\.md)\)", text_of("README.md")))
    assert linked == {page for page in PAGES if page.startswith("docs/")}

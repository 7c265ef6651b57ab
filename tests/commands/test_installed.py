"""The installed package: `resnet-tf` in a folder far from the repository, and what it finds where."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from assertions import user_error
from running import mistake

from resnet_tf import installation
from resnet_tf.cli import command, main, predict, train
from resnet_tf.presets import preset_files

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "resnet_tf"


@pytest.fixture(scope="module")
def site(tmp_path_factory, tiny_preset) -> Path:
    """A folder with the package as a wheel lays it out, and with the preset "tiny" among its own."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE, site / "resnet_tf", ignore=shutil.ignore_patterns("__pycache__"))
    included = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for source, target in included["force-include"].items():
        shutil.copytree(ROOT / source, site / target)
    (site / "resnet_tf" / "data" / "presets" / "tiny.json").write_text(json.dumps(tiny_preset))
    (site / "resnet-tf").write_text("import sys\nfrom resnet_tf.cli.main import main\nsys.exit(main())\n")
    return site


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def start(site: Path, folder: Path, *words: str | Path) -> subprocess.CompletedProcess:
    """Runs Python in a folder, with the package at `site` as if it was installed."""
    environment = os.environ | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, env=environment)


def test_everything_is_found_and_nothing_is_written_into_the_package(site, tmp_path, image_tree):
    before = contents(site)
    (tmp_path / "presets").mkdir()
    code = """
import sys
from resnet_tf.cli.main import main
images, photo = sys.argv[1:]
print("codes:", [
    main(["train", "--preset", "tiny", "--data", images]),
    main(["eval", "--preset", "tiny", "--data", images]),
    main(["eval", "--preset", "tiny", "--data", images, "--record"]),
    main(["predict", "--preset", "quick-long", photo]),
])
"""
    photo = next(image_tree.glob("test/*/*.png"))
    done = start(site, tmp_path, "-c", code, image_tree, photo)
    assert "codes: [0, 0, 2, 0]" in done.stdout, done.stderr
    assert done.stderr.count("error: ") == 1  # on --record
    assert "next: resnet-tf eval" in done.stdout
    assert len((tmp_path / "runs" / "eval_overall.jsonl").read_text().splitlines()) == 1
    assert sorted(os.listdir(tmp_path)) == ["presets", "runs"]
    assert contents(site) == before


def test_a_preset_of_the_working_directory_is_found_by_its_name(site, tmp_path, tiny_preset):
    (tmp_path / "presets").mkdir()
    for name in ("mine", "tiny"):
        values = {**tiny_preset, "name": name, "title": "of the working directory"}
        (tmp_path / "presets" / f"{name}.json").write_text(json.dumps(values))
    (tmp_path / "presets" / "of-another-program.json").write_text("{}")
    done = start(site, tmp_path, site / "resnet-tf", "train", "--list")
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert (done.returncode, names.count("mine"), names.count("tiny")) == (0, 1, 1)
    code = "import resnet_tf; print([resnet_tf.load_preset(name).title for name in ('mine', 'tiny')])"
    warning, titles = start(site, tmp_path, "-c", code).stdout.splitlines()
    assert titles == "['of the working directory', 'tiny']"
    assert "presets/tiny.json" in warning


def test_the_command_is_named_as_it_was_called(site, tmp_path):
    for words, name in (((site / "resnet-tf",), "resnet-tf"), (("-m", "resnet_tf"), "python -m resnet_tf")):
        done = start(site, tmp_path, *words, "trian")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert done.stderr.endswith(f"See: {name} --help\n")
        text = start(site, tmp_path, *words, "predict", "--help").stdout
        assert text.startswith(f"usage: {name} predict [-h]")
        assert f"  {name} predict cat.jpg" in text
        assert "predict.py" not in text


def test_in_a_clone_commands_are_scripts(monkeypatch, capsys):
    assert installation.call("train") == "python train.py"
    with pytest.raises(SystemExit):
        train.parser().parse_args(["--help"])
    assert capsys.readouterr().out.startswith("usage: python train.py [-h]")
    assert "python predict.py photo.jpg" in mistake(capsys, predict)
    for started, called in (
        ("train.py", "eval.py"),
        ("../a clone/train.py", "eval.py"),
        ("", "eval.py"),
        ("-c", "eval.py"),
    ):
        monkeypatch.setattr(sys, "argv", [started])
        assert installation.call("eval") == f"python {called}"
    monkeypatch.setattr(sys, "argv", [str(installation.FILES / "train.py")])
    assert installation.call("eval") == f"python {shlex.quote(str(installation.FILES / 'eval.py'))}"
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/resnet-tf"])
    assert installation.call("train") == "resnet-tf train"


def test_the_command_with_a_wrong_word_or_none(capsys):
    for words, code in ((["trian"], "command-unknown"), ([], "no-command"), (["--versoin"], "command-unknown")):
        assert user_error(main._main, words).code == code
    assert main.main(["--version"]) == 0
    assert re.fullmatch(r"resnet-tf \d+\.\d+\.\d+\n", capsys.readouterr().out)
    assert main.main(["--help"]) == 0
    assert set(main.COMMANDS) <= set(capsys.readouterr().out.split())


def test_every_command_has_a_module_a_script_and_an_entry():
    scripts = {path.stem for path in ROOT.glob("*.py")}
    modules = {path.stem for path in (PACKAGE / "cli").glob("*.py")} - {"__init__", "command", "main"}
    assert scripts == modules == set(main.COMMANDS)
    for name in scripts:
        done = start(ROOT, ROOT, f"{name}.py", "--no-such-option")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert f"See: python {name}.py --help" in done.stderr


def test_every_requirements_file_is_an_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    hook = project["tool"]["hatch"]["metadata"]["hooks"]["requirements_txt"]
    assert hook["files"] == ["requirements.txt"]
    extras = {name: set(files) for name, files in hook["optional-dependencies"].items()}
    # The plugin leaves out the lines `-r FILE`: an extra names these files itself.
    for path in ROOT.glob("requirements-*.txt"):
        named = set(re.findall(r"^-r (\S+)", path.read_text(), re.MULTILINE)) - {"requirements.txt"}
        assert extras.pop(path.stem.removeprefix("requirements-")) == {path.name} | named
    assert not extras
    assert set(project["project"]["dynamic"]) == {"version", "dependencies", "optional-dependencies"}


def test_no_message_names_what_an_installed_package_lacks():
    scripts = re.compile(rf"python ({'|'.join(main.COMMANDS)})\.py|requirements[\w-]*\.txt")
    found = []
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_bytes())
        spared = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
        spared |= {  # `command.Parser` rewrites them
            id(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXAMPLES"
        }
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) and id(node) not in spared else None
            if isinstance(text, str) and scripts.search(text):
                found.append(f"{path.relative_to(ROOT)}, line {node.lineno}")
    assert not found, "\n".join(found)


def test_a_name_is_looked_up_in_the_folders_in_turn(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, names in ((first, ("a",)), (second, ("a", "b"))):
        folder.mkdir()
        for name in names:
            (folder / f"{name}.json").touch()
    assert preset_files.find("a", first, second) == first / "a.json"
    assert preset_files.find("b", first, second) == second / "b.json"
    assert preset_files.find("b", second, second) == second / "b.json"
    assert "'b'" in str(user_error(preset_files.find, "B", first, second))


def test_examples_are_calls_of_their_command():
    for name in main.COMMANDS:
        module = __import__(f"resnet_tf.cli.{name}", fromlist=["EXAMPLES"])
        lines = [line for line in module.EXAMPLES.splitlines() if line.startswith("  ")]
        assert lines
        assert all(line.startswith(f"  python {name}.py") for line in lines)
        assert isinstance(module.parser(), command.Parser)

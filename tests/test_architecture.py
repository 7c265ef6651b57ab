"""The rules of the house, read from the source: who imports whom, what starts quickly, what is never called, sizes."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "resnet_tf"
COMMANDS = ("train", "eval", "predict", "export", "report", "sweep", "serve")

# The rooms from the ground up. A room imports rooms of lower floors only, so no two rooms can import each other.
FLOORS = [
    {"log", "errors", "format", "installation", "imports"},
    {"files"},
    {"plots"},
    {"presets"},
    {"models", "optim", "datasets"},
    {"pipeline"},
    {"scoring", "runs"},
    {"lint", "listing", "transfer"},
    {"tensorboard"},
    {"training"},
    {"evaluation"},
    {"prediction", "report", "sweeping", "export"},
    {"serving"},
    {"cli"},
    {"__main__"},
]
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# What a room must not bring in, however long the chain of imports.
NEVER_WITHIN_REACH = {
    "resnet_tf.presets": ("keras", "tensorflow"),
    "resnet_tf.models": ("tensorflow", "resnet_tf.datasets", "resnet_tf.presets.preset_files"),
    "resnet_tf.optim": ("tensorflow", "resnet_tf.datasets", "resnet_tf.presets.preset_files"),
    "resnet_tf.pipeline": ("resnet_tf.models",),
}
# These take a second and more to import: nothing that a listing or a message needs may want them.
HEAVY = {
    "tensorflow",
    "keras",
    "tensorflow_datasets",
    "tensorboard",
    "jax",
    "torch",
    "scipy",
    "matplotlib",
    "ray",
    "gradio",
}
QUICK = (
    "resnet_tf",
    "resnet_tf.errors",
    "resnet_tf.files",
    "resnet_tf.format",
    "resnet_tf.presets",
    "resnet_tf.datasets",
    "resnet_tf.runs",
    "resnet_tf.lint",
    "resnet_tf.cli",
    "resnet_tf.listing",
    "resnet_tf.__main__",
    "resnet_tf.report",
    "resnet_tf.sweeping",
    "resnet_tf.models.cost",
    "resnet_tf.prediction.photos",
    "resnet_tf.prediction.sandbox",
    *COMMANDS,
)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {name_of(path): path for path in (*PACKAGE.rglob("*.py"), *(ROOT / f"{command}.py" for command in COMMANDS))}
TREES = {name: ast.parse(path.read_bytes()) for name, path in SOURCES.items()}


def within(name: str, room: str) -> bool:
    return name == room or name.startswith(room + ".")


def room(name: str) -> str:
    """Returns the room of a module: "resnet_tf.models.cost" is in "models", "train" in "train.py"."""
    return name.split(".")[1] if name.startswith("resnet_tf.") else f"{name}.py"


def floor(name: str) -> int:
    """Returns the floor of a module; the package itself lies just above the ground."""
    return 1 if name == "resnet_tf" else FLOOR_OF.get(room(name), len(FLOORS))


def imported(node: ast.AST) -> list[str]:
    """Returns the modules that one statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are written in full"
        inner = [f"{node.module}.{alias.name}" for alias in node.names]
        return [name if name in SOURCES else node.module for name in inner]
    return []


def at_top(node: ast.AST) -> Iterator[ast.AST]:
    """Yields the statements that run when a module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from at_top(child)


def imports(name: str, top_only: bool = False) -> set[str]:
    nodes = at_top(TREES[name]) if top_only else ast.walk(TREES[name])
    return {target for node in nodes for target in imported(node)}


def wanted_at_import(name: str) -> set[str]:
    """Returns every module, ours and others', that importing one of ours brings in."""
    seen, waiting = set(), [name]
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += imports(module, top_only=True) if module in TREES else ()
    return seen


def test_every_room_has_a_floor():
    assert {room(name) for name in SOURCES if name.startswith("resnet_tf.")} == set(FLOOR_OF)


def test_rooms_import_lower_floors_only():
    upward = [
        f"{name} imports {target}"
        for name in SOURCES
        for target in (imports(name) - {name}) & set(SOURCES)
        if floor(target) >= floor(name) and room(target) != room(name)
    ]
    assert not upward, "\n".join(upward)


def test_rooms_do_without_what_they_must():
    found = [
        f"{name} brings in {module}"
        for above, unwanted in NEVER_WITHIN_REACH.items()
        for name in SOURCES
        if within(name, above)
        for module in sorted(wanted_at_import(name))
        if any(within(module, one) for one in unwanted)
    ]
    assert not found, "\n".join(found)


def test_imports_have_no_circle():
    graph = {name: imports(name, top_only=True) & set(SOURCES) for name in SOURCES}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(SOURCES)


def test_every_module_is_wanted_by_another():
    """A module that nobody imports does nothing for a user, however well its own tests pass."""
    import resnet_tf

    started = {*COMMANDS, "resnet_tf.__main__", *resnet_tf._HOMES.values()}
    wanted = started.union(*(imports(name) for name in SOURCES))
    packages = {name for name, path in SOURCES.items() if path.name == "__init__.py"}
    assert not set(SOURCES) - wanted - packages


def test_quick_modules_want_nothing_heavy():
    found = [
        f"{name} brings in {', '.join(sorted(heavy))}"
        for name in SOURCES
        if any(within(name, quick) for quick in QUICK if quick != "resnet_tf") or name == "resnet_tf"
        if (heavy := {module.split(".")[0] for module in wanted_at_import(name)} & HEAVY)
    ]
    assert not found, "\n".join(found)


def test_a_listing_loads_neither_keras_nor_tensorflow():
    code = f"""
import sys
import resnet_tf
from resnet_tf.cli import train
resnet_tf.load_preset("4")
train.main(["--list"])
loaded = {HEAVY | {"PIL"}!r} & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 6


def test_names_of_the_package_are_where_it_says():
    import resnet_tf

    for name, home in resnet_tf._HOMES.items():
        defined = {node.name for node in TREES[home].body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert name in defined, f"{home} has no {name}"


# The one function that unpickles: the official files of CIFAR, whose checksums are verified first.
UNPICKLES = ("resnet_tf.datasets.cifar", "_unpickle_verified")
RUNS_WHAT_IT_READS = ("pickle.load", "yaml.load", "os.system", "os.popen", "torch.load")


def forbidden(tree: ast.AST) -> list[str]:
    """Returns what a source does that could run what a file says."""
    found = []
    readers = set()  # `pickle.Unpickler` where it is the base of a class that decides about every name itself
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
            readers |= {id(base) for base in node.bases if "find_class" in methods}
    for node in ast.walk(tree):
        text = ast.unparse(node) if isinstance(node, ast.Attribute | ast.Name) else ""
        names = [text]
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found += [name for name in names if name.startswith(RUNS_WHAT_IT_READS)]
        if text == "pickle.Unpickler" and id(node) not in readers:
            found.append(text)
        if text.rpartition(".")[2] == "load_model":
            found.append(text)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found += [node.func.id] * (node.func.id in ("eval", "exec", "compile", "__import__"))
        if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "shell", "enable_unsafe_deserialization"):
            found += [node.arg] * (ast.unparse(node.value) != "False")
        found += [name for name in imported(node) if name.split(".")[0] in ("marshal", "shelve", "dill", "joblib")]
    return found


def test_nothing_runs_what_a_file_says():
    offenders = [
        f"{name}: {what}"
        for name, tree in TREES.items()
        for node in tree.body
        if (name, getattr(node, "name", None)) != UNPICKLES
        for what in forbidden(node)
    ]
    assert not offenders, "\n".join(offenders)


def test_only_one_function_unpickles():
    module, function = UNPICKLES
    (definition,) = [node for node in TREES[module].body if getattr(node, "name", None) == function]
    assert forbidden(definition) == ["pickle.loads"]


@pytest.mark.parametrize(
    "code",
    [
        "eval('1')",
        "exec(text)",
        "compile(text, '', 'exec')",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "keras.models.load_model(path)",
        "from keras.models import load_model\nload_model(path)",
        "yaml.load(file)",
        "subprocess.run('ls', shell=True)",
        "pickle.load(file)",
        "pickle.loads(content)",
        "from pickle import loads",
        "pickle.Unpickler(file).load()",
        "class Reader(pickle.Unpickler):\n    pass",
        "os.system('ls')",
        "import joblib",
    ],
)
def test_the_rule_above_can_fail(code):
    assert forbidden(ast.parse(code))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def required_parameters(function: ast.FunctionDef) -> list[str]:
    """Returns the parameters without a default, by name or by place; not `self` and `cls`."""
    arguments = function.args
    by_place = [*arguments.posonlyargs, *arguments.args]
    required = by_place[: len(by_place) - len(arguments.defaults)]
    required += [
        one for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default is None
    ]
    return [parameter.arg for parameter in required if parameter.arg not in ("self", "cls")]


def test_modules_and_functions_stay_readable():
    """Modules have at most 350 lines, the scripts of the commands 10, functions at most 75."""
    offenders = []
    for name, path in SOURCES.items():
        lines, most = len(path.read_text().splitlines()), 10 if name in COMMANDS else 350
        offenders += [f"{name} has {lines} lines"] * (lines > most)
        for function in functions(TREES[name]):
            length = function.end_lineno - function.lineno + 1
            offenders += [f"{name}.{function.name} has {length} lines"] * (length > 75)
    assert not offenders, "\n".join(offenders)


def test_functions_have_at_most_five_required_parameters():
    offenders = [
        f"{name}.{function.name}: {', '.join(parameters)}"
        for name, tree in TREES.items()
        for function in functions(tree)
        if len(parameters := required_parameters(function)) > 5
    ]
    assert not offenders, "\n".join(offenders)

"""Where the files that come with the code lie, and what the commands are called: in a clone, or installed by pip."""

import shlex
import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
# A wheel has presets/ and pretrained/ in this folder of the package; in a clone they lie beside the package.
INSTALLED = (_PACKAGE / "data").is_dir()
FILES = _PACKAGE / "data" if INSTALLED else _PACKAGE.parent


def program() -> str:
    """Returns how the user of this process calls the command that holds all others."""
    return "python -m resnet_tf" if _started_as_module() else "resnet-tf"


def call(command: str) -> str:
    """Returns how the user of this process calls a command: "python train.py", or "resnet-tf train" from anywhere.

    A clone's script is called where it lies: "python ~/resnet_tf/train.py".
    """
    started = Path(sys.argv[0])
    if INSTALLED or _started_as_module() or started.stem == "resnet-tf":
        return f"{program()} {command}"
    script = started.parent / f"{command}.py"
    known = started.suffix == ".py" and script.resolve() == FILES / script.name
    return f"python {shlex.quote(str(script)) if known else script.name}"


def _started_as_module() -> bool:
    return Path(sys.argv[0]) == _PACKAGE / "__main__.py"


def install(extra: str) -> str:
    """Returns the command that installs the packages of requirements-<extra>.txt."""
    return f'pip install "resnet_tf[{extra}]"' if INSTALLED else f"pip install -r requirements-{extra}.txt"


def read_only(path: Path) -> bool:
    """Returns whether a file belongs to an installed package, which is never written to."""
    return INSTALLED and FILES in path.resolve().parents

"""Where the files that come with the code lie, and what the commands are called: in a clone, or installed by pip."""

import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
# A wheel has presets/ and pretrained/ in this folder of the package; in a clone they lie beside the package.
INSTALLED = (_PACKAGE / "files").is_dir()
FILES = _PACKAGE / "files" if INSTALLED else _PACKAGE.parent


def call(command: str) -> str:
    """Returns how the user of this process calls a command: "python train.py", or "resnet-tf train" from anywhere."""
    if Path(sys.argv[0]) == _PACKAGE / "__main__.py":
        return f"python -m resnet_tf {command}"
    if INSTALLED or Path(sys.argv[0]).stem == "resnet-tf":
        return f"resnet-tf {command}"
    return f"python {command}.py"


def install(extra: str) -> str:
    """Returns the command that installs the packages of requirements-<extra>.txt."""
    return f'pip install "resnet_tf[{extra}]"' if INSTALLED else f"pip install -r requirements-{extra}.txt"


def read_only(path: Path) -> bool:
    """Returns whether a file belongs to an installed package, which is never written to."""
    return INSTALLED and FILES in path.resolve().parents

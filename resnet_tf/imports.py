"""Faster imports of large packages."""

import gc
import importlib
import sys
from types import ModuleType


def quick_import(package: str, without: tuple[str, ...] = ()) -> ModuleType:
    """Imports a package with Python's garbage collector paused.

    An import creates hundreds of thousands of objects that all stay. The collector would visit them again and again,
    which takes a sixth of the time of importing Keras and TensorFlow, or Gradio. Afterwards it never visits them.

    Args:
        package: name of the package; it is returned.
        without: packages whose imports fail meanwhile, as if they were not installed. Those already imported stay.
    """
    if package in sys.modules:
        return sys.modules[package]
    hidden = [name for name in without if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    enabled = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(package)
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
        for name in hidden:
            del sys.modules[name]

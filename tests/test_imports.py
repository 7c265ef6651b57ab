import gc
import sys

import pytest

from resnet_tf.imports import quick_import

LARGE = """
import gc
collected = gc.isenabled()
try:
    import wave
    found = True
except ImportError:
    found = False
"""


@pytest.fixture
def large(tmp_path, monkeypatch):
    """Writes a package that notes how it was imported; returns its name."""
    (tmp_path / "large_package.py").write_text(LARGE)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("large_package", "wave"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield "large_package"
    gc.unfreeze()
    gc.enable()


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_pauses_during_the_import_only(large, enabled):
    if not enabled:
        gc.disable()
    package = quick_import(large, without=("wave",))
    assert not package.collected
    assert not package.found
    assert gc.isenabled() == enabled
    import wave  # later it can be had

    assert quick_import(large) is package
    assert sys.modules["wave"] is wave


def test_what_is_imported_already_stays(large):
    import wave

    assert quick_import(large, without=("wave",)).found
    assert sys.modules["wave"] is wave


def test_a_failed_import_leaves_nothing_behind(large):
    with pytest.raises(ModuleNotFoundError):
        quick_import("no_such_package", without=("wave",))
    assert gc.isenabled()
    assert "wave" not in sys.modules

"""torch, for the tests that compare with it."""

import pytest


@pytest.fixture
def torch():
    """torch on one thread: on busy cores its threads, waiting for each other, made these tests 50 times as long."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(threads)

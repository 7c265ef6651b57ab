"""The page, without a browser and without Gradio; tests/test_serving_in_browser.py opens it in one."""

import importlib.util
import multiprocessing
import os
import re
import resource
import shutil
import socket
import sys
import urllib.request
from types import SimpleNamespace

import numpy as np
import pytest
from assertions import user_error
from pictures import MODES, NOISE, mutated, saved

from resnet_tf.cli import command, serve
from resnet_tf.errors import UserError
from resnet_tf.prediction.predict import Predictor
from resnet_tf.serving import answers, network_process, page
from resnet_tf.serving.network_process import Network


@pytest.fixture(scope="module")
def predictor(published) -> Predictor:
    return Predictor(published)


def test_a_photo_has_its_classes_its_views_and_the_run_that_answered(predictor, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(saved(NOISE, "PNG"))
    shown = answers.describe(path, predictor, tmp_path)
    ((row, _),) = predictor.predict([path], 5)
    assert re.findall(r"<span>(\w+)</span><div>", shown) == [guess["class"] for guess in row["top"]]
    widths = [float(width) for width in re.findall(r"width: ([\d.]+)%", shown)]
    assert widths == [round(100 * guess["probability"], 1) for guess in row["top"]]
    assert shown.count("data:image/png;base64,") == 3
    assert predictor.run.name in shown
    assert ("class='unsure'" in shown) == row["unsure"]


def test_what_is_no_picture_has_its_reason(predictor, tmp_path):
    text = tmp_path / "<b>photo.jpg"
    text.write_text("I am a text")
    shown = answers.describe(text, predictor, tmp_path)
    assert "class='error'" in shown
    assert "<b>" not in shown


def test_names_of_classes_are_text_and_no_markup(published, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(saved(NOISE, "PNG"))
    row = {"error": None, "unsure": True, "run": "a/b", "top": [{"class": "<script>'\u202e", "probability": 0.5}]}
    pixels = np.zeros((8, 8, 3), np.uint8)
    photo = SimpleNamespace(preview=pixels, fitted=pixels, activation=np.zeros((2, 2), np.float32))
    fake = SimpleNamespace(
        predict=lambda paths, top: [(row, photo)], classes=["a"], rule="", caution="few images", run=published
    )
    shown = answers.describe(path, fake, tmp_path)
    assert "<script>" not in shown
    assert "\u202e" not in shown
    assert "&lt;script&gt;&#x27;" in shown
    assert "Note: few images." in shown


def test_hostile_uploads_cost_an_answer_each_and_no_memory(predictor, tmp_path):
    rng, seeds = np.random.default_rng(5), [content for _, content, _ in MODES]
    given = []
    for number in range(40):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(mutated(rng, seeds))
        given.append(answers.describe(path, predictor, tmp_path))
        if number == 10:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert all(("class='error'" in shown) != ("<h2>" in shown) for shown in given)
    assert 4 < sum("<h2>" in shown for shown in given) < 36
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + (200 << 10)  # KiB on Linux


def test_the_introduction_names_the_classes_and_the_accuracy(published, tmp_path):
    shown = answers.introduce(published, tmp_path)
    assert all(name in shown for name in published.about["class_names"])
    assert f"{published.published.top1:.2f} %" in shown


def do_nothing() -> None:
    """Stands for `start_tensorflow`: these tests have started it, and the network's process imports what it needs."""


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    with Network(tmp_path_factory.mktemp("no runs"), do_nothing) as started:
        yield started


def test_the_process_of_the_networks_answers_as_this_one(network, predictor, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(saved(NOISE, "PNG"))
    expected = answers.describe(path, predictor, tmp_path)
    for run in (predictor.run.name, str(predictor.run.folder)):  # a run may lie outside the folder of runs
        assert network.describe(path, run) == expected
    assert user_error(network.describe, path, "3/20260101T000000Z-s0").code == "run-not-found"


def test_a_run_that_has_changed_meanwhile_answers_as_it_is_now(published, tmp_path):
    folder = shutil.copytree(published.folder, tmp_path / "runs" / published.name)
    first = network_process._predictor(str(folder), tmp_path / "runs", do_nothing)
    assert network_process._predictor(str(folder), tmp_path / "runs", do_nothing) is first
    os.utime(folder / "weights" / "last.npz", ns=(1, 1))
    assert network_process._predictor(str(folder), tmp_path / "runs", do_nothing) is not first


def test_after_the_process_of_the_networks_was_killed_another_answers(network, predictor, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(saved(NOISE, "PNG"))
    network.load(predictor.run.name).result()
    (killed,) = multiprocessing.active_children()
    killed.kill()
    killed.join()
    assert user_error(network.describe, path, predictor.run.name).code == "network-ended"
    assert "<h2>" in network.describe(path, predictor.run.name)


def test_only_uploads_are_read_and_each_is_deleted(tmp_path):
    def describe(path):
        if path.read_text() == "broken":
            raise UserError("no picture", "a-code")
        return path.read_text()

    uploads, outside = tmp_path / "uploads", tmp_path / "letter.txt"
    outside.write_text("private")
    for content, shown in (("a photo", "a photo"), ("broken", "no picture")):
        path = uploads / "0123" / "photo.png"
        path.parent.mkdir(parents=True)
        path.write_text(content)
        assert shown in page.answer_once(str(path), uploads, describe)
        assert not list(uploads.iterdir())
    (uploads / "link.png").symlink_to(outside)
    for path in (outside, uploads / "link.png", uploads / ".." / "letter.txt", uploads / "gone.png"):
        answer = page.answer_once(str(path), uploads, describe)
        assert "class='error'" in answer
        assert "private" not in answer
    assert outside.read_text() == "private"


def test_a_port_in_use_and_a_missing_gradio_are_the_users_errors(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert user_error(page.check_place, "127.0.0.1", port).code == "address-not-available"
    page.check_place("127.0.0.1", port)
    nowhere = [(host, port) for host in ("::1", "no such host.invalid", "a..b")]
    for host, number in (("127.0.0.1", 99999), ("127.0.0.1", 0), *nowhere):
        assert user_error(page.check_place, host, number).code == "address-not-available"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert user_error(page.check_place, "127.0.0.1", port).code == "gradio-not-installed"


@pytest.mark.parametrize(("system", "expected"), [("posix", 1), ("nt", 0)])
def test_a_port_is_tried_as_the_system_needs_it(monkeypatch, system, expected):
    """On Windows SO_REUSEADDR would bind a port that another program listens at."""
    options = []

    class Recording(socket.socket):
        def setsockopt(self, *arguments):
            options.append(arguments[1])

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(page, "os", SimpleNamespace(name=system))
    monkeypatch.setattr(socket, "socket", Recording)
    with Recording() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page.check_place("127.0.0.1", port)
    assert options.count(socket.SO_REUSEADDR) == expected


@pytest.fixture
def gradio(monkeypatch):
    """Stands for Gradio, and its web framework, where they are not installed."""
    themes = SimpleNamespace(Default=lambda **fonts: None)
    monkeypatch.setitem(sys.modules, "gradio", SimpleNamespace(themes=themes))
    monkeypatch.setitem(sys.modules, "starlette.middleware", SimpleNamespace(Middleware=lambda *arguments: None))


@pytest.mark.parametrize("names", [("NO_PROXY",), ("no_proxy",), ("NO_PROXY", "no_proxy")])
def test_the_page_is_asked_without_the_proxy(gradio, monkeypatch, tmp_path, names):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:8080")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")  # restored after the test
        monkeypatch.delenv(name)
    for name in names:
        monkeypatch.setenv(name, "intranet.example")

    def start(**options):
        for host in ("127.0.0.2", "localhost", "intranet.example"):
            assert urllib.request.proxy_bypass_environment(host)
        assert not urllib.request.proxy_bypass_environment("elsewhere.example")
        return None, "the address", None

    assert page.launch(SimpleNamespace(launch=start), "127.0.0.2", 7860, tmp_path) == "the address"


@pytest.mark.parametrize(
    "error", [Exception("Couldn't start the app\nbecause ..."), ValueError("no localhost"), OSError("no empty port")]
)
def test_what_gradio_raises_while_it_starts_is_the_users_error(gradio, monkeypatch, tmp_path, error):
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")

    def start(**options):
        raise error

    failed = user_error(page.launch, SimpleNamespace(launch=start), "127.0.0.1", 7860, tmp_path)
    assert failed.code == "address-not-available"


def test_where_the_page_cannot_be_served_the_command_ends_before_it_loads_tensorflow(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(command, "start_tensorflow", lambda: pytest.fail("TensorFlow was started"))
    assert user_error(serve.main, []).code == "gradio-not-installed"

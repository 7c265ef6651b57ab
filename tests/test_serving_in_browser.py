"""The page in a headless Chromium: pip install -r requirements-page.txt playwright, and Chromium on the PATH.

Fails, and is not skipped, where one of them is missing; run with `python -m pytest -m slow`.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from pictures import MODES, NOISE, mutated, saved

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]


@contextlib.contextmanager
def serving(temporary: Path):
    """Starts serve.py, yields its address and its process once it listens, and stops it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "serve.py", "--port", str(port), "--runs", str(temporary)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "TMPDIR": str(temporary)})
    try:
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline and process.poll() is None:
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        assert process.poll() is None
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert not list(temporary.glob("resnet-page-*"))  # nothing is left


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Starts serve.py; returns its address, its process and the folder of temporary files."""
    temporary = tmp_path_factory.mktemp("served")
    with serving(temporary) as (address, process):
        yield address, process, temporary


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "needs Chromium on the PATH"
    with sync_playwright() as playwright:
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", *camera])
        yield started
        started.close()


def opened(browser, address, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector("input[type=file]", state="attached", timeout=60_000)
    return page, asked


def children(process: subprocess.Popen) -> list[int]:
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


def uploads(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("resnet-page-*/**/*") if path.is_file()]


@pytest.mark.parametrize("width", [1280, 420])
def test_a_photo_is_answered_and_a_text_is_refused(served, browser, tmp_path, width):
    address, _, temporary = served
    page, asked = opened(browser, address, width)
    for name, content, answer in (
        ("photo.png", saved(NOISE, "PNG"), "#answer h2"),
        ("notes.jpg", b"I am a text", "#answer .error"),
        ("again.jpg", saved(NOISE, "JPEG"), "#answer h2"),
    ):
        (tmp_path / name).write_bytes(content)
        page.set_input_files("input[type=file]", tmp_path / name)
        page.wait_for_selector(answer, timeout=60_000)
        if answer.endswith("h2"):
            assert page.locator("#answer .bar").count() == 5
            page.wait_for_function("[...document.querySelectorAll('#answer img')].every(image => image.naturalWidth)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert {url.split("/")[2] for url in asked if url.startswith("http")} == {address.split("/")[2]}
    assert not uploads(temporary)
    page.close()


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({}, "http://example.com/photo.png", 400),  # Gradio would download it
        ({"Host": "evil.example"}, "photo.png", 421),
        ({"Origin": "http://evil.example"}, "photo.png", 403),
    ],
)
def test_what_the_page_would_not_ask_is_refused(served, headers, path, status):
    address, _, _ = served
    photo = {"path": path, "meta": {"_type": "gradio.FileData"}}
    body = json.dumps({"data": [photo, "a run"], "fn_index": 1, "session_hash": "x"}).encode()
    headers = {"Content-Type": "application/json", **headers}
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"{address}/gradio_api/queue/join", body, headers))
    assert refused.value.code == status


def test_a_photo_is_pasted_and_another_is_taken_by_the_camera(served, browser):
    address, _, temporary = served
    page, _ = opened(browser, address, 1280)
    page.context.grant_permissions(["clipboard-read", "clipboard-write", "camera"], origin=address)
    page.evaluate(
        """async () => {
            const canvas = new OffscreenCanvas(40, 30);
            canvas.getContext("2d").fillRect(0, 0, 20, 30);
            const image = await canvas.convertToBlob({type: "image/png"});
            await navigator.clipboard.write([new ClipboardItem({"image/png": image})]);
        }"""
    )
    page.get_by_label("Paste from clipboard").click()
    page.wait_for_selector("#answer h2", timeout=60_000)
    page.reload()
    page.get_by_label("Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.wait_for_function("document.querySelector('video')?.videoWidth")
    page.get_by_label("capture photo").click()
    page.wait_for_selector("#answer h2", timeout=60_000)
    assert not uploads(temporary)
    page.close()


def test_the_first_photo_is_answered_though_the_network_is_still_loading(browser, tmp_path):
    (tmp_path / "photo.png").write_bytes(saved(NOISE, "PNG"))
    (tmp_path / "served").mkdir()
    began = time.monotonic()
    with serving(tmp_path / "served") as (address, _):
        listening = time.monotonic() - began
        page, _ = opened(browser, address, 1280)
        page.set_input_files("input[type=file]", tmp_path / "photo.png")
        page.wait_for_selector("#answer h2", timeout=60_000)
        print(f"listens after {listening:.1f} s, first photo answered {time.monotonic() - began:.1f} s after the start")
        page.close()


def test_the_page_survives_a_process_of_the_networks_that_is_killed_while_it_loads(browser, tmp_path):
    (tmp_path / "photo.png").write_bytes(saved(NOISE, "PNG"))
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served") as (address, process):
        for child in children(process):
            os.kill(child, signal.SIGKILL)
        page, _ = opened(browser, address, 1280)
        for answer in ("#answer .error", "#answer h2"):
            page.set_input_files("input[type=file]", tmp_path / "photo.png")
            page.wait_for_selector(answer, timeout=60_000)
        assert process.poll() is None
        page.close()


def test_hostile_uploads_are_answered_and_memory_stays_bounded(served, browser, tmp_path):
    address, process, temporary = served
    page, _ = opened(browser, address, 1280)
    rng, seeds = np.random.default_rng(0), [content for _, content, _ in MODES]

    def memory() -> int:
        statuses = [Path(f"/proc/{pid}/status").read_text() for pid in (process.pid, *children(process))]
        return sum(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) for status in statuses)

    for number in range(int(os.environ.get("RESNET_UPLOADS", "500"))):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(mutated(rng, seeds) or b"x")
        page.set_input_files("input[type=file]", path)
        page.wait_for_selector(f"#answer :text('{path.name}')", timeout=60_000)
        if number == 50:
            before = memory()
    print(f"memory {before >> 10} MiB after 50 uploads, {memory() >> 10} MiB at the end")
    assert process.poll() is None
    assert memory() < before + (200 << 10)
    assert not uploads(temporary)

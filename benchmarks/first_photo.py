"""Seconds from `python serve.py` to the answer to a first photo in Chromium: `python -m benchmarks.first_photo PHOTO`.

Chromium runs already. The photo is uploaded as soon as the page shows, which is earlier than a person could do it.
Needs the packages of requirements-page.txt, playwright, and Chromium on the PATH.
"""

import argparse
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for _ in range(options.repeats):
            listens, answers = first_photo(browser, options.photo.resolve())
            print(f"listens after {listens:.1f} s, answers after {answers:.1f} s", flush=True)
        browser.close()


def first_photo(browser: Browser, photo: Path) -> tuple[float, float]:
    """Returns the seconds after which the page listens and after which the first photo is answered."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = browser.new_page()
    with tempfile.TemporaryDirectory() as runs:
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, "serve.py", "--port", str(port), "--runs", runs], cwd=ROOT)
        try:
            while not _listens(port):
                time.sleep(0.02)
            listening = time.perf_counter() - began
            page.goto(f"http://127.0.0.1:{port}")
            page.set_input_files("input[type=file]", photo)
            # Asks every 30 ms; wait_for_selector would ask every half second.
            page.wait_for_function("document.querySelector('#answer h2')", polling=30, timeout=60_000)
            return listening, time.perf_counter() - began
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
            page.close()


def _listens(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    main()

"""A page to drop a photo on: its classes, what the network saw of it, and where it looked. Gradio shows it.

Uploads are a stranger's files: they are limited in size, decoded in a process of their own (`prediction/sandbox.py`),
and deleted as soon as they are read. The answer is HTML with its pictures inside, so nothing else is written.
"""

import contextlib
import importlib.util
import inspect
import io
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from resnet_tf import installation
from resnet_tf.errors import UserError
from resnet_tf.format import first_line
from resnet_tf.imports import quick_import
from resnet_tf.log import logger
from resnet_tf.runs import pretrained
from resnet_tf.runs.choose import all_runs, find_run, readable_runs
from resnet_tf.runs.run import Run
from resnet_tf.serving import answers
from resnet_tf.serving.guard import MAX_UPLOAD, Guard
from resnet_tf.serving.network_process import Network

_STYLE = """
.answer {font-size: 16px; line-height: 1.45}
.answer h2 {font-size: 26px; margin: 0 0 4px}
.answer .unsure, .answer .error {color: #b42318; font-weight: 600}
.answer .views {display: grid; grid-template-columns: repeat(3, minmax(0, 240px)); gap: 12px; margin: 12px 0}
.answer figure {margin: 0}
.answer img {width: 100%; aspect-ratio: 1; object-fit: contain; background: #f5f6f8; border-radius: 6px}
.answer img.pixels {image-rendering: pixelated}
.answer figcaption, .answer p {overflow-wrap: anywhere}
.answer figcaption, .answer .faint {opacity: 0.7; font-size: 14px}
.answer .bar {display: grid; grid-template-columns: 8.5em 1fr 4em; gap: 10px; align-items: center; margin: 5px 0}
.answer .bar span:first-child {overflow-wrap: anywhere}
.answer .bar div {background: #e8edf4; border-radius: 4px; height: 18px; overflow: hidden}
.answer .bar div div {background: #3b7dd8}
.answer .bar span:last-child {text-align: right; font-variant-numeric: tabular-nums}
"""


def serve(first: Run, runs: str, host: str, port: int, start_tensorflow: Callable[[], None]) -> None:
    """Serves the page until Ctrl-C, at a place that `check_place` found free.

    Args:
        first: the run that is chosen at first.
        runs: the folder of runs; these and the pretrained ones can be chosen on the page.
        host: address to listen at: 127.0.0.1 is reached from this machine only.
        start_tensorflow: called in the network's process before it loads a network.

    Raises:
        UserError: Gradio could not start, or the first run's network cannot be loaded.
    """
    for name in ("SIGTERM", "SIGHUP"):  # they, too, must delete the folder of uploads; Windows has no SIGHUP
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    with (
        tempfile.TemporaryDirectory(prefix="resnet-page-") as uploads,
        Network(runs, start_tensorflow) as network,
    ):
        loading = network.load(str(first.folder))  # while this process imports Gradio
        os.environ["GRADIO_TEMP_DIR"] = uploads
        page = build(first, runs, Path(uploads), network.describe)
        page.queue(max_size=16)
        launch(page, host, port, Path(uploads))
        logger.info(f"The page is at http://{host}:{port} (Ctrl-C stops it).")
        with contextlib.suppress(BrokenProcessPool):  # the first photo says so, and starts another process
            loading.result()
        with contextlib.redirect_stdout(io.StringIO()):
            page.block_thread()


def check_place(host: str, port: int) -> None:
    """Raises UserError where the page cannot be served: no Gradio, or the port is taken."""
    if importlib.util.find_spec("gradio") is None:
        raise UserError(f"The page needs Gradio: {installation.install('page')}.", "gradio-not-installed")
    if not 1 <= port <= 65535:
        raise UserError(f"--port must be 1 to 65535. Received: {port}.", "address-not-available")
    try:
        # Gradio cannot serve IPv6 addresses.
        family = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as trial:
            if os.name != "nt":  # Windows would let a port be bound that is taken
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
    except (OSError, OverflowError, UnicodeError) as error:  # UnicodeError: an empty or too long part of a name
        reason = getattr(error, "strerror", None) or str(error)
        message = f"The page cannot be served at {host}:{port}: {reason}. Try another --port."
        raise UserError(message, "address-not-available") from None


def launch(page, host: str, port: int, uploads: Path) -> str:
    """Starts to serve a page, whose uploads come into a folder, in the background; returns its address.

    Raises:
        UserError: Gradio could not start.
    """
    import gradio
    from starlette.middleware import Middleware

    local = socket.gethostbyname(host).startswith("127.")
    hosts = {"127.0.0.1", "localhost", host.lower()} if local else None  # other machines may know it by any name
    theme = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    _ask_directly("localhost", "127.0.0.1", host)
    with _starting(f"{host}:{port}"), contextlib.redirect_stdout(io.StringIO()):
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            ssr_mode=False,
            run_history=False,
            footer_links=[],
            max_file_size=MAX_UPLOAD,
            state_session_capacity=16,
            app_kwargs={"middleware": [Middleware(Guard, hosts, uploads)]},
            theme=theme,
            css=_STYLE,
        )
    return address


def _ask_directly(*hosts: str) -> None:
    """Keeps this process from asking hosts through a proxy of its environment: Gradio asks whether the page is up."""
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")  # where both are set, the former counts
    if known != "*":  # every host
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(filter(None, (known, *hosts)))


@contextlib.contextmanager
def _starting(place: str) -> Iterator[None]:
    """Turns whatever Gradio raises while it starts into a UserError: a plain Exception, or one of its HTTP client."""
    try:
        yield
    except Exception as error:
        reason = first_line(error)
        raise UserError(f"The page cannot be served at {place}: {reason}", "address-not-available") from error


def build(first: Run, runs: str | Path, uploads: Path, describe: Callable[[Path, str], str]):
    """Returns the page, a `gradio.Blocks`.

    Args:
        first: the run that answers at first.
        uploads: the only folder from which a file is read; each is deleted then.
        describe: returns the answer, HTML, for a photo and a run's name.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    gradio = _import_gradio()

    # Gradio would decode an upload in this process. The class is changed, as Gradio makes new objects of it for each
    # browser and writes a stub file beside a class derived from it.
    gradio.Image.preprocess = lambda self, upload: None if upload is None else upload.path

    def answer(upload: str | None, name: str):
        if upload is None:  # it was cleared
            return gradio.skip(), gradio.skip()  # None would clear an upload that came meanwhile
        return None, answer_once(upload, uploads, lambda path: describe(path, place(name)))

    def place(name: str) -> str:
        return str(first.folder) if name == first.name else name  # the first run may lie elsewhere

    def introduction(name: str) -> str:
        try:
            return answers.introduce(find_run(place(name), runs), runs)
        except UserError as error:
            return answers.refusal(str(error))

    names = _names(first, runs)
    with gradio.Blocks(title="Predict a photo", analytics_enabled=False, delete_cache=(60, 600)) as page:
        gradio.Markdown("# What is in the photo?")
        with gradio.Row():
            with gradio.Column(scale=2, min_width=300):
                choice = gradio.Dropdown(names, value=first.name, label="Network")
                about = gradio.HTML(introduction(first.name))
                sources = ["upload", "clipboard", "webcam"]
                photo = gradio.Image(sources=sources, label="Drop, paste or take a photo", height=260, buttons=[])
            with gradio.Column(scale=3, min_width=300):
                shown = gradio.HTML(answers.EMPTY, elem_id="answer")
        choice.change(introduction, choice, about, api_visibility="private")
        photo.change(answer, [photo, choice], [photo, shown], api_visibility="private")
    return page


def answer_once(upload: str, uploads: Path, describe: Callable[[Path], str]) -> str:
    """Returns the answer to an upload, HTML, and deletes it. A file outside the folder of uploads is left alone."""
    path = Path(os.path.realpath(upload))
    if uploads.resolve() not in path.parents:
        return answers.refusal("the file is no upload")
    if not path.exists():  # Gradio calls uploads after their content
        return answers.refusal("another window showed the same photo and deleted it; drop it again")
    try:
        return describe(path)
    except UserError as error:
        return answers.refusal(str(error))
    finally:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def _import_gradio():
    """Imports Gradio without its type stubs for editors, which it would check again at every import for a second."""
    find = inspect.getfile

    def find_all_but_components(item) -> str:
        if type(item).__name__ == "ComponentMeta":
            raise OSError("Gradio writes no stub for a class without a file")
        return find(item)

    inspect.getfile = find_all_but_components
    try:
        return quick_import("gradio")
    finally:
        inspect.getfile = find


def _names(first: Run, runs: str | Path) -> list[str]:
    """Returns the names of the finished and the pretrained runs, the first chosen ahead, then the newest."""
    own = [run for run in readable_runs(all_runs(runs)) if run.about.get("status") == "finished"]
    known = [first, *reversed(own), *all_runs(pretrained.FOLDER)]
    return list(dict.fromkeys(run.name for run in known))

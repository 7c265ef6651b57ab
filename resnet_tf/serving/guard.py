"""What the page lets in: requests from its own page, of bounded size, that name no other server.

Gradio alone would answer a foreign website whose name leads to this machine (DNS rebinding), take any number of files
in one request, and download whatever address a request names as a photo.
"""

import contextlib
import json
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from resnet_tf.format import printable
from resnet_tf.log import logger

MAX_UPLOAD = 20_000_000  # bytes
MAX_WAITING = 10 * MAX_UPLOAD  # bytes of uploads that nobody has read yet
_FORM = 100_000  # bytes that a browser's form adds to a file, and more than any other request has
_ABANDONED = 600  # seconds after which an upload that was not read is deleted
# The browser may ask no other server: Gradio's page would load fonts and a script from elsewhere.
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'self'"
)


class Guard:
    """ASGI middleware that refuses what the page's own browser page would not send, and adds a security policy.

    Args:
        app: the application behind it.
        hosts: names under which the page may be asked; None: any, where it is served to other machines.
        uploads: the folder of uploads.
    """

    def __init__(self, app, hosts: Collection[str] | None, uploads: Path):
        self._app, self._hosts, self._uploads = app, hosts, uploads
        self._coming = 0  # bytes of the uploads that are being received
        self._said = False  # whether the log has the reason why another origin was refused

    async def __call__(self, scope, receive, send):
        async def with_policy(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", _POLICY.encode())]
            await send(message)

        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        posted, upload = scope.get("method") == "POST", scope["path"].endswith("/upload")
        refused = self._foreign(headers) or (self._too_large(headers, upload) if posted else None)
        if refused is None and posted and upload:
            size = int(headers[b"content-length"])
            self._coming += size
            try:
                return await self._app(scope, receive, with_policy)
            finally:
                self._coming -= size
        if refused is None and posted:
            body = await _read(receive)
            receive = _replay(body, receive)
            if _names_a_server(body):
                refused = 400
        if refused is None:
            return await self._app(scope, receive, with_policy)
        await send({"type": "http.response.start", "status": refused, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    def _foreign(self, headers: dict[bytes, str]) -> int | None:
        """Returns the HTTP status that refuses a request which another website sent; None: it is our page's."""
        host, origin = headers.get(b"host"), headers.get(b"origin")
        try:
            name, place = urlsplit(f"//{host}").hostname, urlsplit(origin or "").netloc
        except ValueError:
            return 400
        if self._hosts is not None and name not in self._hosts:
            return 421  # misdirected
        if origin is None or place == host:
            return None
        if not self._said:  # once: a website could fill the log
            self._said = True
            named = f"its Origin, {printable(origin[:100])}, is not its Host, {printable(str(host)[:100])}"
            logger.warning(f"a request was refused, as {named}; if a proxy is in between, it must pass the Host on")
        return 403

    def _too_large(self, headers: dict[bytes, str], upload: bool) -> int | None:
        """Returns the HTTP status that refuses a POST for the size it declares; None: it may come."""
        length = headers.get(b"content-length", "")
        if not length.isdecimal() or b"transfer-encoding" in headers:  # which the server would follow, not the length
            return 411  # how much would come is not said
        if not upload:
            return 413 if int(length) > _FORM else None
        if int(length) > MAX_UPLOAD + _FORM:
            return 413
        return 503 if self._waiting() + self._coming + int(length) > MAX_WAITING else None

    def _waiting(self) -> int:
        """Returns the bytes of the uploads that nobody has read yet, and deletes those whose browser has gone."""
        total = 0
        for path in self._uploads.rglob("*"):
            with contextlib.suppress(OSError):  # it was read and deleted meanwhile
                status = path.stat()
                if not path.is_file():
                    continue
                if time.time() - status.st_mtime > _ABANDONED:
                    path.unlink()
                else:
                    total += status.st_size
        return total


async def _read(receive) -> bytes:
    """Returns the whole body of a request."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def _replay(body: bytes, receive):
    """Returns a `receive` that gives a body that was read already, and then what follows it."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again():
        return waiting.pop() if waiting else await receive()

    return again


def _names_a_server(body: bytes) -> bool:
    """Returns whether JSON has a file, {"path": ...}, that would be fetched from a server."""
    try:
        return _has_remote_path(json.loads(body))
    except RecursionError:
        return True  # no request of the page is nested so deep
    except ValueError:
        return False  # not JSON


def _has_remote_path(value: Any) -> bool:
    if isinstance(value, dict):
        path = value.get("path")
        if isinstance(path, str) and path.strip().lower().startswith(("http:", "https:")):
            return True
        value = list(value.values())
    return isinstance(value, list) and any(map(_has_remote_path, value))

"""What the page refuses before Gradio sees it."""

import asyncio
import json
import os
import time

import pytest
from messages import listen

from resnet_tf.serving.guard import MAX_UPLOAD, MAX_WAITING, Guard

OWN = {"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:7860"}


async def application(scope, receive, send):
    """Answers with the body that it was sent."""
    body = (await receive())["body"] if scope["method"] == "POST" else b""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def asked(uploads, path="/", body=None, hosts=frozenset({"127.0.0.1", "localhost"}), guard=None, **headers):
    """Returns the status, the headers and the body of the answer to a request; with a body it is a POST."""
    guard = guard or Guard(application, hosts, uploads)
    if body is not None:
        headers.setdefault("content-length", str(len(body)))
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items() if value is not None]
    scope = {"type": "http", "method": "GET" if body is None else "POST", "path": path, "headers": raw}
    parts = [body[:5], body[5:]] if body else [b""]
    sent = []

    async def receive():
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message):
        sent.append(message)

    asyncio.run(guard(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_the_pages_own_requests_pass_whole(tmp_path):
    status, headers, _ = asked(tmp_path, **OWN)
    assert status == 200
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    body = json.dumps({"data": [{"path": "/tmp/photo.png", "url": "http://127.0.0.1:7860/file=photo.png"}]}).encode()
    assert asked(tmp_path, "/queue/join", body, **OWN)[::2] == (200, body)
    assert asked(tmp_path, "/queue/join", b"no JSON", **OWN)[0] == 200
    assert asked(tmp_path, host="localhost:7860")[0] == 200  # typed into the address bar: no origin


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example:7860"}, 421),  # its name leads to this machine
        ({"host": "evil.example:7860", "origin": "http://evil.example:7860"}, 421),
        ({**OWN, "origin": "http://evil.example"}, 403),
        ({**OWN, "origin": "null"}, 403),
        ({}, 421),
        ({"host": "[::1"}, 400),  # no address at all
        ({**OWN, "origin": "http://[x]:7860"}, 400),
    ],
)
def test_other_websites_are_refused(tmp_path, headers, status):
    for body in (None, b"{}"):
        assert asked(tmp_path, "/queue/join", body, **headers)[0] == status
    assert asked(tmp_path, "/upload", b"photo", **headers)[0] == status


def test_served_to_other_machines_it_may_have_any_name_but_no_foreign_origin(tmp_path):
    assert asked(tmp_path, hosts=None, host="desk.example:7860", origin="http://desk.example:7860")[0] == 200
    assert asked(tmp_path, hosts=None, host="desk.example:7860", origin="http://evil.example")[0] == 403


def test_behind_a_proxy_that_rewrites_the_host_the_log_says_once_why_uploads_fail(tmp_path):
    lines = listen()
    guard = Guard(application, None, tmp_path)
    for _ in range(2):
        assert asked(tmp_path, guard=guard, host="127.0.0.1:7860", origin="https://photos.example\x1b")[0] == 403
    (line,) = lines
    assert "https://photos.example" in line
    assert "127.0.0.1:7860" in line
    assert line.isprintable()


@pytest.mark.parametrize("path", ["http://example.com/photo.png", " HTTPS://example.com/photo.png"])
def test_a_photo_on_another_server_is_refused(tmp_path, path):
    for payload in ({"data": [{"path": path}, "run"]}, [[{"a": {"path": path}}]]):
        assert asked(tmp_path, "/queue/join", json.dumps(payload).encode(), **OWN)[0] == 400


@pytest.mark.parametrize("before", ['{"path": "//["}', "[" * 900 + "]" * 900, "[" * 20_000 + "]" * 20_000])
def test_nothing_before_it_hides_a_photo_on_another_server(tmp_path, before):
    body = f'[{before}, {{"path": "http://example.com/photo.png"}}]'.encode()
    assert asked(tmp_path, "/queue/join", body, **OWN)[0] == 400


def test_requests_are_bounded(tmp_path):
    assert asked(tmp_path, "/upload", b"photo", **OWN, **{"content-length": str(MAX_UPLOAD)})[0] == 200
    assert asked(tmp_path, "/upload", b"photo", **OWN, **{"content-length": str(2 * MAX_UPLOAD)})[0] == 413
    assert asked(tmp_path, "/queue/join", b"{}", **OWN, **{"content-length": str(MAX_UPLOAD)})[0] == 413
    chunked = {"content-length": "5", "transfer-encoding": "chunked"}  # a server follows the second and ends nowhere
    assert asked(tmp_path, "/upload", b"photo", **OWN, **chunked)[0] == 411
    for length in (None, "-1", "many"):
        assert asked(tmp_path, "/upload", b"photo", **OWN, **{"content-length": length})[0] == 411


def test_uploads_at_the_same_time_are_bounded_together(tmp_path):
    statuses = []

    async def receive():
        await asyncio.sleep(0)  # lets the others begin
        return {"type": "http.request", "body": b"photo", "more_body": False}

    async def send(message):
        statuses.extend([message["status"]] if "status" in message else [])

    async def all_at_once(guard, count):
        headers = [(b"host", OWN["host"].encode()), (b"content-length", str(MAX_UPLOAD).encode())]
        scope = {"type": "http", "method": "POST", "path": "/upload", "headers": headers}
        await asyncio.gather(*(guard(scope, receive, send) for _ in range(count)))

    guard = Guard(application, {"127.0.0.1"}, tmp_path)
    asyncio.run(all_at_once(guard, 30))
    assert sorted(statuses) == [200] * (MAX_WAITING // MAX_UPLOAD) + [503] * (30 - MAX_WAITING // MAX_UPLOAD)
    statuses.clear()
    asyncio.run(all_at_once(guard, 1))  # the room is free again
    assert statuses == [200]


def test_uploads_that_nobody_reads_fill_no_disk(tmp_path):
    waiting = tmp_path / "0123" / "photo.png"
    waiting.parent.mkdir()
    with waiting.open("wb") as file:
        file.truncate(MAX_WAITING + 1)  # without its bytes on the disk
    assert asked(tmp_path, "/upload", b"photo", **OWN)[0] == 503
    os.utime(waiting, times=(time.time() - 3600,) * 2)  # its browser has gone
    assert asked(tmp_path, "/upload", b"photo", **OWN)[0] == 200
    assert not waiting.exists()

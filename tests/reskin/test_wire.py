"""An answer that trickles, or never ends, is left, wherever in it that is; one that is slow and comes on is read."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reskin.comfy import client, wire
from reskin.comfy.client import ComfyServer, ServerFile
from reskin.comfy.errors import ServerUnreachable

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
DRIPS = {
    "status": b"",
    "header": HEAD + b"X-A: ",
    "body": HEAD + b"Content-Length: 60000000\r\n\r\n",
    "body without a length": HEAD + b"Connection: close\r\n\r\n",
    "chunk's length": HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
    "chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n",
    "trailer": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-A: ",
    "error page": b"HTTP/1.1 500 No\r\nContent-Length: 1000\r\n\r\n",
}
FLOODS = {
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "trailers": (DRIPS["chunk's length"] + b"2\r\n{}\r\n0\r\n", b"X-A: b\r\n" * 1000),
}


@contextlib.contextmanager
def pouring(pieces: Callable[[], Iterator[bytes]]) -> Iterator[str]:
    """HOST:PORT of a server that answers any request with these pieces, as they come."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def pour(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                connection.recv(1 << 16)
                for piece in pieces():
                    connection.sendall(piece)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=pour, args=(listener.accept()[0],), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "GRACE_S", 0.4)
    monkeypatch.setattr(client, "RETRY_PAUSE_S", 0.0)


@pytest.mark.parametrize("place", DRIPS)
def test_an_answer_that_trickles_is_left(place: str, tmp_path: Path) -> None:
    def drip() -> Iterator[bytes]:
        yield DRIPS[place]
        while True:
            time.sleep(0.05)
            yield b"1"

    began = time.monotonic()
    with pouring(drip) as address:
        with pytest.raises(ServerUnreachable, match=r"trickles|500"):
            ComfyServer(address).version()
        if place in ("body", "chunk"):
            with pytest.raises(client.Torn, match="trickles"):
                ComfyServer(address).fetch(ServerFile("a.png", "", "output"), tmp_path / "a.png", 10**9)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("kind", FLOODS)
def test_what_http_skips_for_as_long_as_it_comes_has_an_end(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    head, flood = FLOODS[kind]
    monkeypatch.setattr(wire, "GRACE_S", 60.0)
    monkeypatch.setattr(client, "_MOST_BYTES", 1 << 20)
    with (
        pouring(lambda: itertools.chain([head], itertools.repeat(flood))) as address,
        pytest.raises(ServerUnreachable, match="it has no end"),
    ):
        client.Http(address).ask("GET", "/queue", most_bytes=1 << 20)


def test_an_answer_that_comes_on_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "SLOWEST", 1000)
    body = b'{"system": {"comfyui_version": "%s"}}' % (b"1" * 4000)

    def slow() -> Iterator[bytes]:
        yield HEAD + b"Content-Length: %d\r\n\r\n" % len(body)
        for at in range(0, len(body), 400):
            time.sleep(0.1)
            yield body[at : at + 400]

    with pouring(slow) as address:
        assert ComfyServer(address).version().startswith("111")

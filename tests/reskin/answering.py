"""Small real servers on the loopback that say what a test wants: over HTTP, and over a WebSocket."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request as it arrived. sha256: of its body, which is kept only where it is small."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes
    sha256: str


@dataclass(frozen=True)
class Say:
    """An answer. length: of Content-Length, where that is another than the body's. raw: this instead, to the byte."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    raw: bytes | None = None


CUT = Say(raw=b"")
"""The connection is closed without an answer."""

Answer = Callable[[Asked], Say]


def says(value: Any, status: int = 200) -> Say:
    """A value as JSON."""
    return Say(status, json.dumps(value).encode())


def _handler(answer: Answer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or each answer waits for the client's acknowledgement, 40 ms

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            place = urlsplit(self.path)
            params = {name: values[0] for name, values in parse_qs(place.query).items()}
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                body, digest = self._body()
                headers = {name.lower(): value for name, value in self.headers.items()}
                self._say(answer(Asked(self.command, unquote(place.path), params, headers, body, digest)))

        do_POST = do_GET

        def _body(self) -> tuple[bytes, str]:
            left, kept, digest = int(self.headers.get("Content-Length", "0")), b"", hashlib.sha256()
            while left > 0 and (piece := self.rfile.read(min(left, 1 << 16))):
                left -= len(piece)
                digest.update(piece)
                kept = kept + piece if len(kept) < 1 << 16 else kept
            return kept, digest.hexdigest()

        def _say(self, say: Say) -> None:
            if say.raw is not None:
                self.wfile.write(say.raw)
                self.close_connection = True
                return
            self.send_response(say.status)
            self.send_header("Content-Length", str(len(say.body) if say.length is None else say.length))
            for name, value in say.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(say.body)
            self.close_connection = say.length is not None

    return Handler


@contextlib.contextmanager
def answering(answer: Answer, host: str = "127.0.0.1") -> Iterator[str]:
    """HOST:PORT of a server that answers every request as `answer` says, each in a thread of its own."""

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that left is none of the server's business."""

    with Server((host, 0), _handler(answer)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield f"{f'[{host}]' if ':' in host else host}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


def frame(payload: bytes, kind: int = TEXT, *, end: bool = True, length: int | None = None) -> bytes:
    """A WebSocket frame of a server (RFC 6455, 5.2). length: what it says its length is, where that is a lie."""
    size = len(payload) if length is None else length
    head = bytes([(0x80 if end else 0) | kind])
    if size < 126:
        return head + bytes([size]) + payload
    return head + (struct.pack("!BH", 126, size) if size < 1 << 16 else struct.pack("!BQ", 127, size)) + payload


@contextlib.contextmanager
def socket_server(talk: Callable[[socket.socket, int], None], host: str = "127.0.0.1") -> Iterator[str]:
    """HOST:PORT of a WebSocket server; `talk` gets each connection after its handshake, and its number from 0 on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener, contextlib.ExitStack() as stack:

        def serve() -> None:
            number = 0
            with contextlib.suppress(OSError):
                while True:
                    connection = stack.enter_context(listener.accept()[0])
                    threading.Thread(target=greet, args=(connection, number), daemon=True).start()
                    number += 1

        def greet(connection: socket.socket, number: int) -> None:
            with contextlib.suppress(OSError):
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    head += connection.recv(1)
                headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if ": " in line)
                guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
                digest = hashlib.sha1(f"{headers['Sec-WebSocket-Key']}{guid}".encode()).digest()
                connection.sendall(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
                )
                talk(connection, number)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        name = f"[{host}]" if ":" in host else host
        try:
            yield f"{name}:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()

"""A real HTTP server on the loopback that serves one model file, with the faults of real servers on demand."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from handoff.weights.download import Patience

CONTENT = random.Random(7).randbytes(3_000_000)
PATIENT = Patience(stall_s=60.0, tries=4, pause_s=0.01)
"""Tries again at once, but never takes a machine that is busy for a server that is silent."""
HASTY = Patience(stall_s=2.0, tries=4, pause_s=0.01)
"""For servers that are silent on purpose."""
Get = Callable[[], None]


def left(target: Path) -> list[str]:
    """The names beside the target, without the lock file."""
    return sorted(path.name for path in target.parent.iterdir() if not path.name.startswith("."))


@dataclass(frozen=True)
class Fault:
    """What one answer does wrong.

    status: answered instead of the file. location: redirect there. cut_after, stall_after, trickle_after, hold_after:
    bytes of the body before the connection is closed, falls silent, sends one byte at a time, waits for `release`.
    ignore_range: 200 with all of it. range_shift: a 206 that begins so many bytes late. chunked: no Content-Length.
    headers: more of them.
    """

    status: int | None = None
    location: str | None = None
    retry_after: str | None = None
    cut_after: int | None = None
    stall_after: int | None = None
    trickle_after: int | None = None
    hold_after: int | None = None
    ignore_range: bool = False
    ignore_if_range: bool = False
    range_shift: int = 0
    chunked: bool = False
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class FileServer:
    """content: the file. faults: one for each answer to come, in order; then all is well. requests: what came.

    secure: where it is set, the server speaks https.
    """

    content: bytes
    etag: str | None = '"1"'
    always: Fault = Fault()
    faults: list[Fault] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    sent: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    secure: ssl.SSLContext | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/model.bin"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def ranges(self) -> list[str | None]:
        """The Range header of each request so far."""
        return [each.get("Range") for each in self.requests]


def _handler(state: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            state.requests.append(dict(self.headers.items()))
            fault = state.faults.pop(0) if state.faults else state.always
            if fault.status or fault.location:
                self._refuse(fault)
                return
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._serve(fault)

        def _refuse(self, fault: Fault) -> None:
            self.send_response(fault.status or 302)
            if fault.location:
                self.send_header("Location", fault.location)
            if fault.retry_after:
                self.send_header("Retry-After", fault.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _serve(self, fault: Fault) -> None:
            content, start = state.content, 0
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            condition = self.headers.get("If-Range")
            same = fault.ignore_if_range or condition in (None, state.etag)
            if asked and same and not fault.ignore_range:
                start = int(asked[1]) + fault.range_shift
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            if state.etag:
                self.send_header("ETag", state.etag)
            for name, value in fault.headers.items():
                self.send_header(name, value)
            body = content[start:]
            if not fault.chunked:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self._send(body, fault)

        def _send(self, body: bytes, fault: Fault) -> None:
            limits = (fault.cut_after, fault.stall_after, fault.trickle_after, fault.hold_after)
            first = next((limit for limit in limits if limit is not None), len(body))
            self.wfile.write(body[:first])
            self.wfile.flush()
            state.sent.set()
            if fault.stall_after is not None:
                state.closing.wait()
            elif fault.trickle_after is not None:
                for index in range(first, len(body)):
                    self.wfile.write(body[index : index + 1])
                    if state.closing.wait(0.02):
                        return
            elif fault.hold_after is not None:
                state.release.wait()
                self.wfile.write(body[first:])
            self.close_connection = True

    return Handler


@contextlib.contextmanager
def serve(content: bytes) -> Iterator[FileServer]:
    """Serve `content` on a free port until the block ends."""
    state = FileServer(content)

    class Server(ThreadingHTTPServer):
        def finish_request(self, request: socket.socket, client_address: object) -> None:
            if state.secure is not None:
                try:
                    request = state.secure.wrap_socket(request, server_side=True)
                except OSError:
                    return  # the client trusts it not
            super().finish_request(request, client_address)

    server = Server(("127.0.0.1", 0), _handler(state))
    server.daemon_threads = True
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.closing.set()
        state.release.set()
        server.shutdown()
        server.server_close()
        thread.join()

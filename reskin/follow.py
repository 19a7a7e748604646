"""Follow one job to its end: the WebSocket for the progress bar, HTTP for the truth.

What ComfyUI 0.30 does (measured on a running server): a socket can stay silent while the server
works, the history can lag behind execution_success but never behind `executing: null`, and an unknown id, a
lost job and a running one all have an empty history. So the queue is asked first and the history after: a job
leaves the one in the same moment as it enters the other, and what is in neither is lost.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from reskin.errors import JobLost, JobTimeout
from reskin.server import ComfyServer
from reskin.workflow import Graph, title_of

POLL_S = 1.0
_LISTEN_S = 0.25
_RECONNECT_S = 3.0
_MAX_MESSAGE_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Progress:
    """Where the job is: the node at work, its steps done of its steps in all (both 0 when it counts none)."""

    node: str
    step: int
    steps: int


Listener = Callable[[Progress], None]


class ProgressSocket:
    """The server's messages to one client id. It may fail or fall silent at any time without harm."""

    def __init__(self, server: ComfyServer, client_id: str) -> None:
        self._url = f"ws://{server.address}/ws?clientId={client_id}"
        self._connection: ClientConnection | None = None
        self._stack = contextlib.ExitStack()
        self._next_try = 0.0

    def open(self) -> None:
        """Connect, unless connected or tried a moment ago."""
        if self._connection is None and time.monotonic() >= self._next_try:
            self._next_try = time.monotonic() + _RECONNECT_S
            with contextlib.suppress(OSError, WebSocketException):
                # no proxy from the environment: nothing but the named server is contacted
                socket = connect(self._url, proxy=None, open_timeout=5, close_timeout=1, max_size=_MAX_MESSAGE_BYTES)
                self._connection = self._stack.enter_context(socket)

    def close(self) -> None:
        """Close the connection."""
        self._connection = None
        self._stack.close()

    def messages(self, seconds: float) -> Iterator[dict[str, Any]]:
        """Yield the messages of the next `seconds`; binary ones (previews) and strangers' are left out."""
        deadline = time.monotonic() + seconds
        self.open()
        while (left := deadline - time.monotonic()) > 0:
            if self._connection is None:
                time.sleep(left)
                return
            try:
                message = json.loads(self._connection.recv(timeout=left))
            except TimeoutError:
                return
            except (OSError, WebSocketException):
                self.close()
                continue
            except ValueError:
                continue
            if isinstance(message, dict) and isinstance(message.get("data"), dict):
                yield message


def follow(
    server: ComfyServer, socket: ProgressSocket, graph: Graph, prompt_id: str, listener: Listener, timeout_s: float
) -> dict[str, Any]:
    """Wait until the job has ended and return its history record.

    Raises JobTimeout after `timeout_s` seconds, JobLost when the server no longer knows the job.
    """
    deadline = time.monotonic() + timeout_s
    next_poll = 0.0
    while True:
        ended = _listen(socket, graph, prompt_id, listener)
        if ended or time.monotonic() >= next_poll:
            record = poll(server, prompt_id)
            if record is not None:
                return record
            next_poll = time.monotonic() + POLL_S
        if time.monotonic() >= deadline:
            raise JobTimeout(
                f"the job was not done after {timeout_s:g} s and was stopped; give it longer with --timeout."
            )


def poll(server: ComfyServer, prompt_id: str) -> dict[str, Any] | None:
    """Return the history record of a job that has ended, None while it waits or runs; raise JobLost otherwise."""
    waiting = server.queued(prompt_id)
    record = server.history(prompt_id)
    if record is None and not waiting:
        raise JobLost(
            f"the server at {server.address} no longer knows the job {prompt_id} (was it restarted?); run it again."
        )
    return record


def _listen(socket: ProgressSocket, graph: Graph, prompt_id: str, listener: Listener) -> bool:
    """Pass on the job's progress for a moment; return True as soon as the server says that it has ended."""
    for message in socket.messages(_LISTEN_S):
        kind, data = message.get("type"), message["data"]
        if data.get("prompt_id") != prompt_id:
            continue
        if kind == "executing" and data.get("node") is None:
            return True
        if kind in ("execution_error", "execution_interrupted"):
            return True
        if kind == "executing":
            listener(Progress(title_of(graph, str(data["node"])), 0, 0))
        elif kind == "progress":
            listener(Progress(title_of(graph, str(data.get("node"))), int(data["value"]), int(data["max"])))
    return False

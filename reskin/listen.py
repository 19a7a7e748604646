"""The WebSocket of one server: how far a job is, for the progress bar. What it says is a hint, HTTP has the truth."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from socket import create_connection
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from reskin.server import ComfyServer
from reskin.workflow import Graph, title_of

_LISTEN_S = 0.25
_OPEN_S = 5.0
_RECONNECT_S = 3.0
_MAX_MESSAGE_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Progress:
    """Where the job is: the node at work, its steps done of its steps in all (both 0 when it counts none)."""

    node: str
    step: int
    steps: int

    def __str__(self) -> str:
        return f"{self.node} {self.step}/{self.steps}" if self.steps else self.node


Listener = Callable[[Progress], None]


class ProgressSocket:
    """The server's messages to one client id. It may fail or fall silent at any time without harm."""

    def __init__(self, server: ComfyServer, client_id: str) -> None:
        host, _, port = server.address.rpartition(":")
        self._place = (host.strip("[]"), int(port))
        self._url = f"ws://{server.address}/ws?clientId={client_id}"
        self._connection: ClientConnection | None = None
        self._stack = contextlib.ExitStack()
        self._next_try = 0.0
        self._breaks = 0

    def open(self) -> None:
        """Connect, unless connected or tried a moment ago."""
        if self._connection is None and time.monotonic() >= self._next_try:
            self._next_try = time.monotonic() + _RECONNECT_S
            try:
                # over a connection of our own, websockets takes no proxy and follows no redirect (it is a ValueError)
                made = create_connection(self._place, timeout=_OPEN_S)
                made.settimeout(None)
                self._connection = self._stack.enter_context(
                    connect(
                        self._url,
                        sock=made,
                        proxy=None,
                        open_timeout=_OPEN_S,
                        close_timeout=1,
                        max_size=_MAX_MESSAGE_BYTES,
                    )
                )
            except (OSError, WebSocketException, ValueError):
                self._breaks += 1

    def mark(self) -> int | None:
        """Return a number that stays while the connection does, and so the server process; None without one."""
        return None if self._connection is None else self._breaks

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
                self._breaks += 1
                self.close()
                continue
            except ValueError:
                continue
            if isinstance(message, dict) and isinstance(message.get("data"), dict):
                yield message


def listen(socket: ProgressSocket, graph: Graph, prompt_id: str, listener: Listener) -> bool:
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

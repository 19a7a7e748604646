"""The WebSocket of one server: how far a job is, for the progress bar. What it says is a hint, HTTP has the truth.

Follow one job to its end: the WebSocket for the progress bar, HTTP for the truth.

What ComfyUI 0.30 does (measured on a running server): a socket can stay silent while the server
works, the history can lag behind execution_success but never behind `executing: null`, and an unknown id, a
lost job and a running one all have an empty history. So the queue is asked first and the history after: a job
leaves the one in the same moment as it enters the other, and what is in neither is lost.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from socket import create_connection
from typing import Any, TypeVar

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from reskin.comfy.client import ComfyServer
from reskin.comfy.errors import (
    BadResult,
    JobInterrupted,
    JobLost,
    JobTimeout,
    ServerFails,
    ServerUnreachable,
    ServerWedged,
)
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


POLL_S = 1.0

Result = TypeVar("Result")


@dataclass
class Limits:
    """How long to wait, in seconds: for a job in all, for a server that went away, for one that works on nothing."""

    timeout_s: float
    patience_s: float
    wedged_s: float = 30.0


class Follower:
    """Waits for one job on one server.

    `stop`, when set by another thread, ends the wait; so does the deadline, `limits.timeout_s` from now.
    """

    def __init__(self, server: ComfyServer, socket: ProgressSocket, limits: Limits, stop: threading.Event) -> None:
        self._server = server
        self._socket = socket
        self._limits = limits
        self._stop = stop
        self._deadline = time.monotonic() + limits.timeout_s

    def check(self) -> None:
        """Raise JobInterrupted when told to stop, JobTimeout after the deadline."""
        if self._stop.is_set():
            raise JobInterrupted("the command was stopped; run it again to go on.")
        if time.monotonic() >= self._deadline:
            raise JobTimeout(
                f"the job was not done after {self._limits.timeout_s:g} s and was stopped; give it longer with "
                "--timeout SECONDS, or less to do with --size or --window."
            )

    def patiently(self, action: Callable[[], Result]) -> Result:
        """Return what `action` returns, trying again while the server is away; ServerUnreachable after `patience_s`.

        A server that takes requests and answers none is away since the first of them. One that answers with errors of
        its own is waited for as long, it may be starting again; then its answer is the error (ServerFails).
        """
        gone_since: float | None = None
        while True:
            began = time.monotonic()
            try:
                return action()
            except ServerUnreachable as error:
                gone_since = gone_since or began
                if time.monotonic() - gone_since >= self._limits.patience_s:
                    if isinstance(error, ServerFails):
                        raise
                    raise ServerUnreachable(
                        f"the server at {self._server.address} went away in mid-job and did not come back within "
                        f"{self._limits.patience_s:g} s (--patience); start it and run the same command again."
                    ) from error
            self.pause()

    def pause(self) -> None:
        """Wait a moment before something is tried again; raise what `check` raises."""
        self.check()
        self._stop.wait(POLL_S)

    def wait(self, graph: Graph, prompt_id: str, listener: Listener, mark: int | None) -> dict[str, Any]:
        """Wait until the job has ended and return its history record. mark: the socket's before the job was sent.

        Raises JobLost when the server no longer knows the job, JobInterrupted when somebody took it out of the queue,
        BadResult when somebody deleted its record, ServerWedged when it is not begun because the server works on
        nothing, and what `check` and `patiently` raise.
        """
        next_poll, idle_since = 0.0, None
        while True:
            self.check()
            ended = listen(self._socket, graph, prompt_id, listener)
            if not ended and time.monotonic() < next_poll:
                continue
            state = self.patiently(lambda: self._server.state(prompt_id))
            if state == "ended":
                record = self.patiently(lambda: self._server.history(prompt_id))
                if record is not None:
                    return record
            elif state == "unknown":
                listen(self._socket, graph, prompt_id, listener)  # has it broken off meanwhile?
                unbroken = mark is not None and self._socket.mark() == mark
                raise self._gone(prompt_id, known_to_have_ended=ended, unbroken=unbroken)
            idle = state == "waiting" and self.patiently(self._server.is_idle_with_work)
            idle_since = (idle_since or time.monotonic()) if idle else None
            if idle_since is not None and time.monotonic() - idle_since >= self._limits.wedged_s:
                raise ServerWedged(
                    f"the server at {self._server.address} has jobs waiting and has worked on none for "
                    f"{self._limits.wedged_s:g} s; its worker has stopped (see its log): restart it."
                )
            next_poll = time.monotonic() + POLL_S

    def _gone(self, prompt_id: str, known_to_have_ended: bool, unbroken: bool) -> Exception:
        """Say why the server knows nothing of a job: only a restart can be mended by running it again."""
        if not unbroken:
            return JobLost(
                f"the server at {self._server.address} no longer knows the job {prompt_id}: it was restarted; "
                "run the same command again."
            )
        if known_to_have_ended:
            return BadResult(
                f"the job {prompt_id} ended on {self._server.address}, and its record was deleted from the history "
                "before it was read; run the same command again."
            )
        return JobInterrupted(
            f"somebody took the job {prompt_id} out of the queue of {self._server.address}; "
            "run the same command to queue it again."
        )

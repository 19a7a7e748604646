"""Follow one job to its end: the WebSocket for the progress bar, HTTP for the truth.

`ProgressSocket` is the WebSocket of one server; what it says is a hint, it may break or fall silent without harm.
`listen` passes a job's progress on, and `Follower` waits for the job.

What ComfyUI 0.30 does (measured on a running server): a socket can stay silent while the server
works, the history can lag behind execution_success but never behind `executing: null`, and an unknown id, a
lost job and a running one all have an empty history. So the queue is asked first and the history after: a job
leaves the one in the same moment as it enters the other, and what is in neither is lost.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from websocket import ABNF, WebSocket, WebSocketException, WebSocketTimeoutException, create_connection

from handoff.jsonfile import JsonError, parse_json
from reskin.comfy.client import ComfyServer, finite_number
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

POLL_S = 1.0
_LISTEN_S = 0.25
_OPEN_S = 5.0
_CLOSE_S = 1.0
_RECONNECT_S = 3.0
_MAX_MESSAGE_BYTES = 16 * 2**20
_MAX_TEXT_BYTES = 2**20
"""Of a message that is read: what says how far a job is has less; pictures, which are not read, have more."""
_KEEPALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
"""In seconds and times: a machine that went without a word is found out by the kernel."""


@dataclass(frozen=True)
class Progress:
    """Where the job is: the node at work, its steps done of its steps in all (both 0 when it counts none)."""

    node: str
    step: int
    steps: int

    def __str__(self) -> str:
        return f"{self.node} {self.step}/{self.steps}" if self.steps else self.node


Listener = Callable[[Progress], None]
Result = TypeVar("Result")


class _Wire(socket.socket):
    """A connection that gives up at a moment of our choosing, whatever trickles in, and takes no message too large.

    websocket-client has a time-out for each read and no limit to a message's length.
    """

    def __init__(self, place: tuple[str, int]) -> None:
        super().__init__(fileno=socket.create_connection(place, timeout=_OPEN_S).detach())
        self.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                self.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self.begin(_OPEN_S)

    def begin(self, seconds: float) -> None:
        """Read for so long, from the beginning of a message."""
        self.allow(seconds)
        self._left_bytes = _MAX_MESSAGE_BYTES

    def allow(self, seconds: float) -> None:
        """Read for so long, perhaps the rest of a message that did not come whole."""
        self._deadline = time.monotonic() + seconds
        self.settimeout(max(seconds, 0.001))  # what is sent has as long

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """As a socket's; raise TimeoutError at the deadline, WebSocketException beyond the largest message."""
        if self._left_bytes <= 0:
            raise WebSocketException(f"a message of more than {_MAX_MESSAGE_BYTES} bytes")
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.settimeout(left)
        data = super().recv(bufsize, flags)
        self._left_bytes -= len(data)
        return data


class ProgressSocket:
    """The server's messages to one client id. It may fail or fall silent at any time without harm."""

    def __init__(self, server: ComfyServer, client_id: str) -> None:
        host, _, port = server.address.rpartition(":")
        self._place = (host.strip("[]"), int(port))
        self._url = f"ws://{server.address}/ws?clientId={client_id}"
        self._connection: tuple[WebSocket, _Wire] | None = None
        self._next_try = 0.0
        self._breaks = 0

    def open(self) -> None:
        """Connect, unless connected or tried a moment ago."""
        if self._connection is None and time.monotonic() >= self._next_try:
            self._next_try = time.monotonic() + _RECONNECT_S
            try:
                # over a connection of our own, websocket-client looks for no proxy
                wire = _Wire(self._place)
                made = create_connection(self._url, socket=wire, redirect_limit=0, suppress_origin=True)
                self._connection = (made, wire)
            except (OSError, WebSocketException, ValueError):
                self._breaks += 1

    def mark(self) -> int | None:
        """Return a number that stays while the connection does, and so the server process; None without one."""
        return None if self._connection is None else self._breaks

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            made, wire = self._connection
            self._connection = None
            if made.connected:
                wire.begin(_CLOSE_S)
                made.close(timeout=_CLOSE_S)
            wire.close()  # websocket-client leaves it open after the server's goodbye

    def messages(self, seconds: float) -> Iterator[dict[str, Any]]:
        """Yield the messages of the next `seconds`; binary ones (previews) and strangers' are left out."""
        deadline = time.monotonic() + seconds
        self.open()
        while (left := deadline - time.monotonic()) > 0:
            if self._connection is None:
                time.sleep(left)
                return
            made, wire = self._connection
            wire.allow(left)
            try:
                kind, data = made.recv_data()
                wire.begin(left)
                if kind == ABNF.OPCODE_CLOSE:
                    raise WebSocketException("the server says goodbye")
                message = _read(data) if kind == ABNF.OPCODE_TEXT else None
            except WebSocketTimeoutException:
                return
            except (OSError, WebSocketException):
                self._breaks += 1
                self.close()
                continue
            if isinstance(message, dict) and isinstance(message.get("data"), dict):
                yield message


def _read(data: bytes) -> Any:
    """Return a message, None where it is none: a bad one costs the progress bar only."""
    try:
        return parse_json(data, "the message", advice="it is left out", largest=_MAX_TEXT_BYTES, finite=False)
    except JsonError:
        return None


def _steps(data: dict[str, Any]) -> tuple[int, int]:
    """Return steps done and steps in all, both 0 where the message has no such pair of numbers."""
    done, steps = finite_number(data.get("value")), finite_number(data.get("max"))
    return (0, 0) if done is None or steps is None or not 0 <= done <= steps else (int(done), int(steps))


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
            listener(Progress(title_of(graph, str(data.get("node"))), *_steps(data)))
    return False


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
        BadResult when its record is deleted or cannot be read, ServerWedged when it is not begun because the server
        works on nothing, and what `check` and `patiently` raise.
        """
        next_poll, idle_since, unread_since = 0.0, None, None
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
                unread_since = unread_since or time.monotonic()
                if time.monotonic() - unread_since >= self._limits.wedged_s:
                    raise BadResult(
                        f"the job {prompt_id} ended on {self._server.address}, and its history has had no record of it "
                        f"for {self._limits.wedged_s:g} s; see the server's log, and run the same command again."
                    )
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

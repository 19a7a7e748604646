"""HTTP connections on which an answer has to come on, and to an end: no server holds anybody for ever.

A time-out of requests is for each read. A byte within each of them, in a header, a chunk's length or a body, would hold
a command for weeks, past its own --timeout. And http.client skips "100 Continue" and trailers for as long as they come.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import requests.adapters
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection
from urllib3.response import HTTPResponse

GRACE_S = 120.0
SLOWEST = 10_000
"""An answer may take so many seconds, and one more for each so many bytes that have come of it."""
_AROUND = 1 << 20
"""Bytes that stand around a body: heads, lengths of chunks, trailers."""
_most: ContextVar[int] = ContextVar("most bytes of an answer", default=1 << 26)


@contextlib.contextmanager
def at_most(size: int) -> Iterator[None]:
    """Have the answers to what is asked in this block be no longer than so many bytes."""
    before = _most.set(size)
    try:
        yield
    finally:
        _most.reset(before)


class AnswerWire(socket.socket):
    """A connection whose reads end in OSError once an answer has taken longer than its bytes allow, or has too many."""

    def __init__(self, plain: socket.socket) -> None:
        wait = plain.gettimeout()
        super().__init__(fileno=plain.detach())
        self.settimeout(wait)
        self.begin()

    def begin(self) -> None:
        """From now on it is the next answer's time."""
        self._began, self._received, self._left = time.monotonic(), 0, _most.get() + _AROUND

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """As a socket's, which http.client reads by."""
        left = self._began + GRACE_S + self._received / SLOWEST - time.monotonic()
        if self._left <= 0:
            raise OSError(f"it has no end: {self._received} bytes")
        wait = self.gettimeout()
        own = wait is None or left < wait
        if own:
            self.settimeout(max(left, 0.001))
        try:
            count = super().recv_into(buffer, nbytes, flags)
        except TimeoutError as error:
            if own:
                raise TimeoutError(f"it trickles, {self._received} bytes so far") from error
            raise
        finally:
            self.settimeout(wait)
        self._received += count
        self._left -= count
        return count


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return AnswerWire(super()._new_conn())

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 itself has it
        if isinstance(self.sock, AnswerWire):
            self.sock.begin()
        return super().getresponse()


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class SteadyAdapter(requests.adapters.HTTPAdapter):
    """Has requests use such connections."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make the pools of connections."""
        super().init_poolmanager(*arguments, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool}

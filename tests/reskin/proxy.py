"""A proxy between us and a real ComfyUI server that loses, delays and breaks what passes through it, as it is told."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

_BROKEN = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\nConnection: close\r\n\r\noops"
_MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 14\r\nConnection: close\r\n\r\n404: Not Found"


@dataclass
class Fault:
    """What happens to requests of this method whose path begins so, `times` times."""

    method: str
    path: str
    times: int = 1
    broken: bool = False  # answered with 500, and never handed on
    missing: bool = False  # answered with 404 as by a server without such a route, and never handed on
    deaf: bool = False  # handed on, and the answer is lost
    delay_s: float = 0.0  # handed on late
    before: Callable[[], None] | None = None  # called before it is handed on or answered
    after: Callable[[], None] | None = None  # called before the answer is handed back
    torn_at: int | None = None  # bytes of the answer that come through
    renames: tuple[bytes, bytes] = (b"", b"")  # of one length: what the answer says, and what it says instead


@dataclass
class Proxy:
    """Listens on `address` and hands on to `upstream`, which may change at any time (a server that was restarted)."""

    upstream: str
    address: str = ""
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)  # those that were handed on
    prompts: list[bytes] = field(default_factory=list)  # the bodies of POST /prompt among them
    mute_sockets: bool = False  # WebSockets stay open, and nothing comes through to the client
    sockets: int = 0  # WebSockets opened so far
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop | None = None
    _server: asyncio.Server | None = None

    def count(self, method: str, path: str) -> int:
        return sum(1 for each in self.requests if each[0] == method and each[1].startswith(path))

    def cut_sockets(self) -> None:
        """Break every WebSocket off."""
        if self._loop:
            self._loop.call_soon_threadsafe(self._cut)

    def leave(self) -> None:
        """Break everything off and listen no more, like a server that was killed."""
        if self._loop:
            asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result(10)

    def come_back(self) -> None:
        """Listen again at the same address."""
        if self._loop:
            asyncio.run_coroutine_threadsafe(self._listen(int(self.address.split(":")[1])), self._loop).result(10)

    async def _listen(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.address = "127.0.0.1:{1}".format(*self._server.sockets[0].getsockname())

    async def _leave(self) -> None:
        if self._server:
            self._server.close()
        self._cut()

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def _fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and fault.method == method and path.startswith(fault.path):
                fault.times -= 1
                return fault
        return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._handle(reader, writer)
        with contextlib.suppress(OSError):
            writer.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path = first.split(" ")[:2]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        fault = self._fault(method, path) or Fault("", "")
        await asyncio.sleep(fault.delay_s)
        if fault.before:
            await asyncio.get_running_loop().run_in_executor(None, fault.before)
        if fault.broken or fault.missing:
            writer.write(_BROKEN if fault.broken else _MISSING)
            await writer.drain()
            return
        host, port = self.upstream.split(":")
        there, back = await asyncio.open_connection(host, int(port))
        try:
            self.requests.append((method, path))
            self.prompts += [body] if (method, path) == ("POST", "/prompt") else []
            socket = headers.get("upgrade", "").lower() == "websocket"
            kept = [line for line in lines if socket or not line.lower().startswith("connection:")]
            # one request a connection, so that its answer ends where the connection does
            closing = [] if socket else ["Connection: close"]
            back.write("\r\n".join([first, *closing, *kept]).encode("latin-1") + body)
            await back.drain()
            if socket:
                await self._tunnel(reader, writer, there, back)
                return
            answer = await there.read()
            if fault.after:
                await asyncio.get_running_loop().run_in_executor(None, fault.after)
            if fault.renames[0]:
                answer = answer.replace(*fault.renames)
            writer.write(b"" if fault.deaf else answer[: fault.torn_at])
            await writer.drain()
        finally:
            back.close()

    async def _tunnel(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        self.sockets += 1
        self._writers.add(writer)
        writer.write(await there.readuntil(b"\r\n\r\n"))

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter, to_client: bool) -> None:
            while data := await source.read(65536):
                if not (to_client and self.mute_sockets):
                    target.write(data)
                    await target.drain()

        pumps = [asyncio.create_task(pump(there, writer, True)), asyncio.create_task(pump(reader, back, False))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for each in pumps:
            each.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        self._writers.discard(writer)


@contextlib.contextmanager
def proxy_to(upstream: str) -> Iterator[Proxy]:
    """Run a proxy in a thread of its own for as long as the block lasts."""
    proxy, ready, end = Proxy(upstream), threading.Event(), asyncio.Event()

    async def main() -> None:
        proxy._loop = asyncio.get_running_loop()
        await proxy._listen()
        ready.set()
        await end.wait()
        await proxy._leave()

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield proxy
    finally:
        if proxy._loop:
            proxy._loop.call_soon_threadsafe(end.set)
        thread.join(10)

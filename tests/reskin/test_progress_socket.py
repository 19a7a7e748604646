"""The WebSocket is a hint: whatever it sends, it costs no more than the progress bar, and it is opened again."""

from __future__ import annotations

import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from reskin.comfy.client import ComfyServer
from reskin.comfy.progress import Progress, ProgressSocket, listen
from tests.helpers import until
from tests.reskin.answering import BINARY, CLOSE, PING, Asked, Say, answering, frame, says, socket_server

GRAPH = {"7": {"class_type": "KSampler", "inputs": {}, "_meta": {"title": "paint"}}}
Talk = Callable[[socket.socket, int], None]
Connect = Callable[[Talk], ProgressSocket]


def message(number: int) -> bytes:
    return json.dumps({"type": "progress", "data": {"value": number}}).encode()


def next_value(progress: ProgressSocket, within_s: float = 0.1) -> int:
    """The value of the next message, listened for in turns of `within_s`."""
    heard: list[int] = []

    def one() -> bool:
        heard.extend(each["data"]["value"] for each in progress.messages(within_s))
        return bool(heard)

    until("a message", one)
    return heard[0]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """Start a real WebSocket server that talks as it is told; return our socket to it."""
    monkeypatch.setattr("reskin.comfy.progress._RECONNECT_S", 0.0)
    with ExitStack() as stack:

        def start(talk: Talk) -> ProgressSocket:
            progress = ProgressSocket(ComfyServer(stack.enter_context(socket_server(talk))), "me")
            stack.callback(progress.close)
            return progress

        yield start


def test_what_is_no_message_of_the_servers_is_left_out(connect: Connect) -> None:
    def talk(connection: socket.socket, number: int) -> None:
        for each in (b"[]", b'{"data": 1}', b"nonsense", b"[" * 100_000, b""):
            connection.sendall(frame(each))
        connection.sendall(frame(message(1), BINARY) + frame(b"ping", PING))
        connection.sendall(frame(message(2)[:9], end=False) + frame(message(2)[9:], 0))

    progress = connect(talk)
    assert next_value(progress) == 2
    assert progress.mark() == 0, "none of it broke the connection"


def test_a_message_that_trickles_in_holds_nothing_up_and_arrives_whole(connect: Connect) -> None:
    def talk(connection: socket.socket, number: int) -> None:
        for each in frame(message(7)):
            connection.sendall(bytes([each]))
            time.sleep(0.02)

    progress = connect(talk)
    progress.open()
    began = time.monotonic()
    assert list(progress.messages(0.1)) == []
    assert time.monotonic() - began < 0.6, "it takes a second or more to arrive"
    assert next_value(progress) == 7


@pytest.mark.parametrize("fragments", [False, True])
def test_a_message_without_end_is_not_held_and_the_socket_is_opened_again(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, fragments: bool
) -> None:
    monkeypatch.setattr("reskin.comfy.progress._MAX_MESSAGE_BYTES", 1 << 20)

    def talk(connection: socket.socket, number: int) -> None:
        if number:
            connection.sendall(frame(message(number)))
            return
        with suppress(OSError):
            connection.sendall(frame(b"", end=False) if fragments else frame(b"", length=1 << 40))
            while True:
                connection.sendall(frame(bytes(1 << 16), 0, end=False) if fragments else bytes(1 << 16))

    progress = connect(talk)
    tracemalloc.start()
    try:
        assert next_value(progress) == 1
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert progress.mark() == 1, "a break, and another connection"


@pytest.mark.parametrize("end", [frame(b"\x03\xe8", CLOSE), b"", frame(b"x", 3), frame(b"\xff\xfe")])
def test_a_connection_that_ends_is_a_break_and_is_opened_again(connect: Connect, end: bytes) -> None:
    """Said goodbye, closed without a word, a frame that there is none of, text that is no text."""

    def talk(connection: socket.socket, number: int) -> None:
        connection.sendall(frame(message(number)))
        if number == 0:
            connection.sendall(end)
            if not end:
                connection.close()

    progress = connect(talk)
    assert [next_value(progress), next_value(progress)] == [0, 1]
    assert progress.mark() == 1


def test_a_silent_connection_is_no_break(connect: Connect) -> None:
    progress = connect(lambda connection, number: None)
    assert list(progress.messages(0.2)) == [] and progress.mark() == 0
    assert list(progress.messages(0.2)) == [] and progress.mark() == 0


def test_a_machine_that_went_without_a_word_is_found_out_by_the_kernel(connect: Connect) -> None:
    progress = connect(lambda connection, number: None)
    progress.open()
    assert progress._connection is not None
    wire = progress._connection[1]
    assert wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 20


def test_nobody_there_is_a_break_and_is_not_tried_at_every_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    progress = ProgressSocket(ComfyServer("127.0.0.1:9"), "me")
    assert list(progress.messages(0.05)) == [] and progress.mark() is None
    monkeypatch.setattr("reskin.comfy.progress._Wire", lambda place: pytest.fail("tried again at once"))
    assert list(progress.messages(0.05)) == []


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 101 Fine\r\n\r\n", b"", b"HTTP/1.1 101 F\r\nA"]
)
def test_a_handshake_that_is_none_is_given_up(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    monkeypatch.setattr("reskin.comfy.progress._OPEN_S", 0.3)
    with answering(lambda asked: Say(raw=answer)) as address:
        progress = ProgressSocket(ComfyServer(address), "me")
        progress.open()
        assert progress.mark() is None


def test_a_handshake_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reskin.comfy.progress._OPEN_S", 0.3)
    over = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            while not over.wait(0.05):
                connection.sendall(b"H")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        progress, began = ProgressSocket(ComfyServer(f"127.0.0.1:{listener.getsockname()[1]}"), "me"), time.monotonic()
        progress.open()
        assert progress.mark() is None and time.monotonic() - began < 5
        over.set()
        thread.join()


def test_a_redirect_of_the_socket_is_not_followed() -> None:
    heard: list[Asked] = []
    with (
        answering(lambda asked: heard.append(asked) or Say(404)) as elsewhere,
        answering(lambda asked: Say(302, b"", {"Location": f"ws://{elsewhere}/ws"})) as address,
    ):
        progress = ProgressSocket(ComfyServer(address), "me")
        progress.open()
        assert progress.mark() is None
    assert heard == []


def test_a_proxy_of_the_environment_never_sees_the_socket(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    proxied: list[Asked] = []
    with answering(lambda asked: proxied.append(asked) or says({})) as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://{proxy}")
            monkeypatch.setenv(name.upper(), f"http://{proxy}")
        for bypass in (None, "", "elsewhere.example"):
            for name in ("no_proxy", "NO_PROXY"):
                monkeypatch.delenv(name, raising=False)
                if bypass is not None:
                    monkeypatch.setenv(name, bypass)
            progress = connect(lambda connection, number: connection.sendall(frame(message(3))))
            assert next_value(progress) == 3 and progress.mark() == 0
    assert proxied == []


def test_a_server_at_an_ipv6_address_is_listened_to() -> None:
    try:
        with socket_server(lambda connection, number: connection.sendall(frame(message(6))), "::1") as address:
            progress = ProgressSocket(ComfyServer(address), "me")
            assert next_value(progress) == 6
            progress.close()
    except OSError:
        pytest.skip("this machine has no IPv6")


def test_progress_without_numbers_is_passed_on_without_them(connect: Connect) -> None:
    steps = [{"value": 2, "max": 5}, {}, {"value": "2", "max": None}]

    def talk(connection: socket.socket, number: int) -> None:
        for each in steps:
            data = {"prompt_id": "mine", "node": "7", **each}
            connection.sendall(frame(json.dumps({"type": "progress", "data": data}).encode()))
        data = {"prompt_id": "mine", "node": None}
        connection.sendall(frame(json.dumps({"type": "executing", "data": data}).encode()))

    progress, heard = connect(talk), list[Progress]()
    until("the job's end", lambda: listen(progress, GRAPH, "mine", heard.append))
    assert heard == [Progress("paint", 2, 5), Progress("paint", 0, 0), Progress("paint", 0, 0)]

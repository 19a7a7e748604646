"""What a server sends is data: its names never become paths, its mistakes never become results."""

from __future__ import annotations

import gzip
import hashlib
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from handoff.errors import PreserverError, UsageError
from reskin.comfy.client import TRIES, ComfyServer, ServerFile, parse_address
from reskin.comfy.errors import (
    BadResult,
    ServerAbsent,
    ServerFails,
    ServerUnreachable,
    UploadTooLarge,
    WorkflowRefused,
)
from tests.reskin.answering import CUT, Answer, Asked, Say, answering, says

GRAPH = {"7": {"class_type": "LoadVideo", "inputs": {"file": ""}, "_meta": {"title": "source"}}}


Serve = Callable[[Answer], ComfyServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a real server that answers as it is told; return a client of it."""
    with ExitStack() as stack:

        def start(answer: Answer) -> ComfyServer:
            return ComfyServer(stack.enter_context(answering(answer)))

        yield start


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses before another try, none of them long."""
    waited: list[float] = []
    monkeypatch.setattr("reskin.comfy.client.time.sleep", waited.append)
    return waited


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:8188", "127.0.0.1:8188"), ("http://gpu-box:1/", "gpu-box:1"), ("[::1]:8188", "[::1]:8188")],
)
def test_an_address_is_host_and_port(text: str, address: str) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost",
        "host:0",
        "host:65536",
        "https://host:1",
        "u:p@host:1",
        "host:1/x",
        "host:1?x",
        "a b:1",
        "h:1\n/x",
    ],
)
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match=r"not HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize("address", ["127.0.0.1:9", "no-such-host.invalid:9"])
def test_nobody_at_the_address_is_said_at_once_with_how_to_start_one(address: str, pauses: list[float]) -> None:
    with pytest.raises(ServerAbsent, match=rf"no ComfyUI server answers at {address} .*main\.py") as caught:
        ComfyServer(address).version()
    assert caught.value.exit_code == 3 and pauses == []
    assert "0x" not in str(caught.value) and "urllib3" not in str(caught.value), "in the words of the system"


def test_another_program_at_the_address_is_not_taken_for_comfyui(serve: Serve) -> None:
    with pytest.raises(ServerUnreachable, match="no ComfyUI server"):
        serve(lambda asked: says({"hello": "world"})).version()


def test_a_server_at_an_ipv6_address_is_asked() -> None:
    try:
        with answering(lambda asked: says({"system": {"comfyui_version": asked.headers["host"]}}), "::1") as address:
            assert address.startswith("[::1]:") and ComfyServer(address).version() == address
    except OSError:
        pytest.skip("this machine has no IPv6")


def test_a_redirect_is_not_followed(serve: Serve, pauses: list[float]) -> None:
    heard: list[Asked] = []
    elsewhere = serve(lambda asked: heard.append(asked) or says({"system": {"comfyui_version": "0.30.0"}}))
    away = {"Location": f"http://{elsewhere.address}/system_stats"}
    redirecting = serve(lambda asked: Say(302, b"elsewhere", away))
    with pytest.raises(ServerUnreachable, match="HTTP 302 without JSON"):
        redirecting.version()
    with pytest.raises(WorkflowRefused, match="HTTP 302"):
        redirecting.submit(GRAPH, "id", "client")
    assert heard == []


def test_neither_proxy_nor_netrc_of_the_environment_has_a_say(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    came: list[Asked] = []
    proxied: list[Asked] = []
    direct = serve(lambda asked: came.append(asked) or says({"system": {"comfyui_version": "0.30.0"}}))
    proxy = serve(lambda asked: proxied.append(asked) or says({"system": {"comfyui_version": "proxy"}}))
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://{proxy.address}")
    for bypass in (None, "", "elsewhere.example"):
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
            if bypass is not None:
                monkeypatch.setenv(name, bypass)
        assert direct.version() == "0.30.0"
    assert len(came) == 3 and proxied == []
    assert not any("authorization" in asked.headers for asked in came)


def test_a_dropped_connection_is_tried_again(serve: Serve, pauses: list[float]) -> None:
    answers = [CUT, Say(500), says({"status": "pending"})]
    assert serve(lambda asked: answers.pop(0)).state("me") == "waiting"
    assert answers == [] and pauses == [1.0, 1.0]


def test_what_is_sent_once_is_not_tried_again(serve: Serve, pauses: list[float]) -> None:
    asked: list[str] = []
    with pytest.raises(ServerUnreachable):
        serve(lambda request: asked.append(request.path) or CUT).submit(GRAPH, "id", "client")
    assert asked == ["/prompt"] and pauses == []


def test_an_error_of_the_servers_own_is_passed_on_with_its_page(serve: Serve, pauses: list[float]) -> None:
    failing = serve(lambda asked: Say(502, b"<html>\n Bad   Gateway " + b"x" * 1000))
    with pytest.raises(ServerFails, match=r"answers HTTP 502 on GET /system_stats \(<html> Bad Gateway x+\);"):
        failing.version()
    assert len(pauses) == TRIES - 1


def test_a_server_that_answers_nothing_is_waited_for_and_asked_again(
    serve: Serve, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reskin.comfy.client.READ_S", 0.1)
    over, asked = threading.Event(), list[Asked]()

    def answer(request: Asked) -> Say:
        asked.append(request)
        over.wait()
        return CUT

    silent = serve(answer)
    try:
        with pytest.raises(ServerUnreachable, match="TimeoutError: timed out"):
            silent.version()
    finally:
        over.set()
    assert len(asked) == TRIES


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[[",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100000,
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n{}",
    ],
)
def test_an_answer_that_is_no_http_or_no_json_is_no_comfyui_server(
    raw: bytes, serve: Serve, pauses: list[float]
) -> None:
    with pytest.raises(ServerUnreachable, match="no ComfyUI server answers at"):
        serve(lambda asked: Say(raw=raw)).version()


def test_an_answer_without_end_is_left(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reskin.comfy.client._MOST_BYTES", 1000)
    with pytest.raises(BadResult, match="the answer to GET /system_stats is larger than 1000 bytes"):
        serve(lambda asked: Say(200, b"[" * 1001)).version()


@pytest.mark.parametrize("status", [200, 302])
def test_what_is_packed_is_not_unpacked(serve: Serve, status: int, tmp_path: Path) -> None:
    """100 MB of nothing, in 100 kB: every request asks for an answer as it is."""
    came: list[Asked] = []
    headers = {"Content-Encoding": "gzip", "Location": "/elsewhere"}
    packed = Say(status, gzip.compress(bytes(100_000_000), 1), headers)
    server = serve(lambda asked: came.append(asked) or packed)
    tracemalloc.start()
    try:
        with pytest.raises(BadResult, match=r"packs its answer to GET /system_stats \(gzip\), unasked"):
            server.version()
        with pytest.raises(BadResult, match=r"packs its answer to GET /view"):
            server.fetch(ServerFile("a.png", "", "output"), tmp_path / "a.png", 200_000_000)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert [asked.headers["accept-encoding"] for asked in came] == ["identity", "identity"]
    assert list(tmp_path.iterdir()) == []


def test_several_threads_may_ask_one_server_at_once(serve: Serve) -> None:
    def answer(asked: Asked) -> Say:
        job = asked.path.rsplit("/", 1)[1]
        return says({job: {"of": job}})

    server, ids = serve(answer), [f"job-{number}" for number in range(400)]
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(server.history, ids)) == [{"of": job} for job in ids]


def test_the_name_of_a_node_class_stays_one_part_of_a_path(serve: Serve) -> None:
    asked: list[Asked] = []

    def answer(request: Asked) -> Say:
        asked.append(request)
        return says({"Anything/../Everywhere?": {"input": {}}})

    assert serve(answer).node_info("Anything/../Everywhere?") == {"input": {}}
    assert (asked[0].path, asked[0].params) == ("/object_info/Anything/../Everywhere?", {})


@pytest.mark.parametrize(
    ("queue", "history", "state"),
    [
        ({"queue_running": [[1, "me", {}]], "queue_pending": []}, {}, "running"),
        ({"queue_running": [[1, "you", {}]], "queue_pending": [[2, "me", {}]]}, {}, "waiting"),
        ({"queue_running": [], "queue_pending": []}, {"me": {"status": {}}}, "ended"),
        ({"queue_running": [[1, "you", {}]], "queue_pending": []}, {}, "unknown"),
        ([], [], "unknown"),
    ],
)
def test_an_older_server_without_the_jobs_route_is_asked_for_queue_and_history(
    queue: Any, history: Any, state: str, serve: Serve
) -> None:
    asked: list[str] = []

    def answer(request: Asked) -> Say:
        asked.append(request.path)
        replies = {"/queue": queue, "/history/me": history}
        if request.path not in replies:
            return Say(404, b"404: Not Found")
        return says(replies[request.path])

    old = serve(answer)
    assert [old.state("me"), old.state("me")] == [state, state]
    assert asked.count("/api/jobs/me") == 1, "it is asked once whether it has the route"


def test_an_older_server_is_told_to_stop_what_runs_only_where_that_is_ours(serve: Serve) -> None:
    posted: list[str] = []

    def answer(request: Asked) -> Say:
        if request.method == "POST":
            posted.append(request.path)
            return Say(404 if request.path.startswith("/api/") else 200)
        return says({"queue_running": [[1, "mine", {}]], "queue_pending": []})

    serve(answer).cancel("yours")
    assert posted == ["/api/jobs/yours/cancel", "/queue"]
    serve(answer).cancel("mine")
    assert posted[2:] == ["/api/jobs/mine/cancel", "/queue", "/interrupt"]


@pytest.mark.parametrize("name", ["../../../etc/cron.d/evil", "/etc/passwd", "a b&type=input.png", "\u202epng.exe"])
def test_a_name_from_the_server_goes_back_as_a_parameter_and_never_becomes_a_path(
    name: str, tmp_path: Path, serve: Serve
) -> None:
    asked: list[Asked] = []

    def answer(request: Asked) -> Say:
        asked.append(request)
        return Say(200, b"pixels")

    file = ServerFile.from_json({"filename": name, "subfolder": "../up", "type": "output"})
    serve(answer).fetch(file, tmp_path / "frame_00000.png", 100)
    assert [path.name for path in tmp_path.iterdir()] == ["frame_00000.png"]
    assert asked[0].path == "/view"
    assert asked[0].params == {"filename": name, "subfolder": "../up", "type": "output"}


@pytest.mark.parametrize(
    "record",
    [
        None,
        "x.png",
        {},
        {"filename": 3},
        {"filename": "x", "type": "input"},
        {"filename": "x", "subfolder": ["a"]},
        {"filename": "\ud800"},
    ],
)
def test_a_result_that_is_no_file_is_refused(record: Any) -> None:
    with pytest.raises(BadResult):
        ServerFile.from_json(record)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (Say(404), "HTTP 404"),
        (Say(200, b"x" * 101), "larger than 100 bytes"),
        (Say(200, b"x" * 10, length=20), r"'a.png' broke off 3 times \(10 of 20 bytes"),
        (Say(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nxxxx"), "broke off 3 times"),
    ],
)
def test_a_missing_endless_or_torn_result_leaves_no_file(
    said: Say, words: str, tmp_path: Path, serve: Serve, pauses: list[float]
) -> None:
    with pytest.raises(BadResult, match=words):
        serve(lambda asked: said).fetch(ServerFile("a.png", "", "output"), tmp_path / "a.png", 100)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [12, 17, 30, 42, 60, 61, 62, 65])
def test_a_result_that_breaks_off_in_its_headers_is_no_empty_file(
    length: int, tmp_path: Path, serve: Serve, pauses: list[float]
) -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 16\r\n\r\nthe whole result"
    answers = [Say(raw=whole[:length]), Say(raw=whole)]
    server = serve(lambda asked: answers.pop(0))
    server.fetch(ServerFile("a.png", "", "output"), tmp_path / "a.png", 100)
    assert (tmp_path / "a.png").read_bytes() == b"the whole result" and answers == []
    answers = [Say(raw=whole[:length])] * TRIES
    with pytest.raises((ServerUnreachable, BadResult), match=r"no ComfyUI server answers|broke off 3 times"):
        server.fetch(ServerFile("a.png", "", "output"), tmp_path / "b.png", 100)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_an_answer_that_ends_where_the_connection_does_is_one(serve: Serve) -> None:
    raw = b'HTTP/1.0 200 OK\r\n\r\n{"queue_running": [], "queue_pending": [[1, "mine"]]}'
    assert serve(lambda asked: Say(raw=raw)).load(60) == 1


def test_an_answer_that_breaks_off_in_its_headers_is_asked_for_again(serve: Serve, pauses: list[float]) -> None:
    answers = [Say(raw=b"HTTP/1.1 200 OK\r\nContent-Ty"), says({"system": {"comfyui_version": "0.30.0"}})]
    assert serve(lambda asked: answers.pop(0)).version() == "0.30.0" and pauses == [1.0]


def test_a_result_that_was_torn_once_is_fetched_anew(tmp_path: Path, serve: Serve, pauses: list[float]) -> None:
    answers = [Say(200, b"torn", length=20), Say(503), Say(200, b"all of it")]
    serve(lambda asked: answers.pop(0)).fetch(ServerFile("a.png", "", "output"), tmp_path / "a.png", 100)
    assert (tmp_path / "a.png").read_bytes() == b"all of it" and answers == []


def test_the_name_that_the_server_gave_to_an_upload_is_the_one_to_use(tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "a.mp4").write_bytes(b"video")
    reply = {"name": "a (1).mp4", "subfolder": "clips", "type": "input"}
    assert serve(lambda asked: says(reply)).upload(tmp_path / "a.mp4", "a.mp4") == "clips/a (1).mp4"


@pytest.mark.parametrize("reply", [[], {}, {"name": 3}, {"name": "a", "subfolder": None}, {"name": ""}])
def test_an_upload_that_got_no_name_is_refused(reply: Any, tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "a.mp4").write_bytes(b"video")
    with pytest.raises(BadResult, match=r"refuses the upload of a\.mp4: HTTP 200"):
        serve(lambda asked: says(reply)).upload(tmp_path / "a.mp4", "a.mp4")


def test_an_upload_is_a_form_with_the_file_in_it_to_the_byte(tmp_path: Path, serve: Serve, pauses: list[float]) -> None:
    (tmp_path / "a.mp4").write_bytes(bytes(range(256)))
    asked: list[Asked] = []

    def answer(request: Asked) -> Say:
        asked.append(request)
        return says({} if request.path == "/features" else {"name": "a"}, 500 if len(asked) == 2 else 200)

    serve(answer).upload(tmp_path / "a.mp4", 'ä "1".mp4')
    assert [each.path for each in asked] == ["/features", "/upload/image", "/upload/image"], "once more, from its start"
    boundary = asked[2].headers["content-type"].removeprefix("multipart/form-data; boundary=").encode()
    first, second, third, rest = asked[2].body.split(b"--" + boundary)
    assert first == b"" and rest == b"--\r\n"
    assert second == b'\r\nContent-Disposition: form-data; name="overwrite"\r\n\r\ntrue\r\n'
    head, content = third.split(b"\r\n\r\n", 1)
    assert 'Content-Disposition: form-data; name="image"; filename="ä %221%22.mp4"' in head.decode()
    assert content == bytes(range(256)) + b"\r\n"


def test_a_large_upload_is_sent_from_the_disk_and_not_held_in_memory(tmp_path: Path, serve: Serve) -> None:
    size, large = 300_000_000, tmp_path / "large.mp4"
    with large.open("wb") as file:
        os.truncate(file.fileno(), size)
    asked: list[Asked] = []
    server = serve(lambda request: asked.append(request) or says({"name": "large.mp4"}))
    server.upload_limit()
    tracemalloc.start()
    try:
        server.upload(large, "large.mp4")
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    sent, head = asked[-1], asked[-1].body[: asked[-1].body.index(b"\0")]
    tail = b"\r\n--" + head.split(b"\r\n")[0].removeprefix(b"--") + b"--\r\n"
    assert "transfer-encoding" not in sent.headers
    assert int(sent.headers["content-length"]) == len(head) + size + len(tail)
    digest = hashlib.sha256(head)
    for _ in range(300):
        digest.update(bytes(1_000_000))
    digest.update(tail)
    assert sent.sha256 == digest.hexdigest()


def test_an_upload_over_the_servers_limit_says_which_flag_to_raise(tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "a.mp4").write_bytes(b"video")
    with pytest.raises(UploadTooLarge, match=r"5 bytes.*--max-upload-size"):
        serve(lambda asked: Say(413)).upload(tmp_path / "a.mp4", "a.mp4")


def test_an_upload_over_the_limit_that_the_server_states_is_not_even_begun(tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "a.mp4").write_bytes(b"v" * 6000)
    asked: list[str] = []

    def answer(request: Asked) -> Say:
        asked.append(request.path)
        return says({"max_upload_size": 5000})

    with pytest.raises(UploadTooLarge, match=r"6000 bytes.*--max-upload-size"):
        serve(answer).upload(tmp_path / "a.mp4", "a.mp4")
    assert asked == ["/features"]


@pytest.mark.parametrize("status", [400, 200])
def test_a_refused_workflow_lists_every_error_of_every_node(status: int, serve: Serve) -> None:
    errors = [{"message": "Value not in list", "details": "file: 'x.mp4'"}, {"message": "Missing", "details": "fps"}]
    reply = {"error": {"message": "Prompt outputs failed validation"}, "node_errors": {"7": {"errors": errors}}}
    with pytest.raises(WorkflowRefused) as caught:
        serve(lambda asked: says(reply, status)).submit(GRAPH, "id", "client")
    assert caught.value.exit_code == 5
    lines = str(caught.value).splitlines()
    assert "failed validation" in lines[0]
    assert [line.split(":", 1)[1].strip() for line in lines[1:]] == [
        "Value not in list: file: 'x.mp4'",
        "Missing: fps",
    ]
    assert all("'source'" in line for line in lines[1:])


def test_every_error_has_an_exit_code_of_the_product() -> None:
    import reskin.comfy.errors

    kinds = [each for each in vars(reskin.comfy.errors).values() if isinstance(each, type)]
    codes = [each.exit_code for each in kinds if issubclass(each, PreserverError)]
    assert set(codes) == {2, 3, *range(5, 13)} and 4 not in codes, "4 is --check's, 1 the gate's"

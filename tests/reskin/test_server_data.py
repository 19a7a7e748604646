"""What a server sends is data: its names never become paths, its mistakes never become results."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from handoff.errors import PreserverError, UsageError
from reskin.comfy.client import ComfyServer, ServerFile, parse_address
from reskin.comfy.errors import BadResult, ServerUnreachable, UploadTooLarge, WorkflowRefused
from reskin.comfy.progress import ProgressSocket

GRAPH = {"7": {"class_type": "LoadVideo", "inputs": {"file": ""}, "_meta": {"title": "source"}}}


def server(answer: Callable[[httpx.Request], httpx.Response]) -> ComfyServer:
    return ComfyServer("127.0.0.1:8188", httpx.MockTransport(answer))


def always(status: int, **content: Any) -> ComfyServer:
    return server(lambda request: httpx.Response(status, **content))


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


def test_nobody_at_the_address_is_said_with_how_to_start_one() -> None:
    with pytest.raises(ServerUnreachable, match=r"no ComfyUI server answers at 127\.0\.0\.1:9.*main\.py") as caught:
        ComfyServer("127.0.0.1:9").version()
    assert caught.value.exit_code == 3


def test_another_program_at_the_address_is_not_taken_for_comfyui() -> None:
    with pytest.raises(ServerUnreachable, match="no ComfyUI server"):
        always(200, json={"hello": "world"}).version()


def test_a_redirect_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reskin.comfy.client.RETRY_PAUSE_S", 0.0)
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(302, headers={"location": "http://elsewhere.example/"})

    with pytest.raises(ServerUnreachable):
        server(answer).version()
    assert set(asked) == {"127.0.0.1"}


def test_a_redirect_of_the_socket_is_not_followed() -> None:
    """Two real listeners: the one redirects to the other, which must hear nothing."""

    class Redirect(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"ws://127.0.0.1:{elsewhere.getsockname()[1]}/ws")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with socket.create_server(("127.0.0.1", 0)) as elsewhere, HTTPServer(("127.0.0.1", 0), Redirect) as redirecting:
        threading.Thread(target=redirecting.handle_request).start()
        progress = ProgressSocket(ComfyServer(f"127.0.0.1:{redirecting.server_port}"), "me")
        progress.open()
        assert progress.mark() is None
        elsewhere.settimeout(0.5)
        with pytest.raises(TimeoutError):
            elsewhere.accept()


def test_a_proxy_of_the_environment_never_sees_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"system": {"comfyui_version": "0.30.0"}}')

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with HTTPServer(("127.0.0.1", 0), Answer) as direct:
        threading.Thread(target=direct.handle_request).start()
        assert ComfyServer(f"127.0.0.1:{direct.server_port}").version() == "0.30.0"


def test_a_dropped_connection_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reskin.comfy.client.RETRY_PAUSE_S", 0.0)
    answers = [httpx.ReadError("cut"), httpx.Response(500), httpx.Response(200, json={"status": "pending"})]

    def answer(request: httpx.Request) -> httpx.Response:
        given = answers.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    assert server(answer).state("me") == "waiting"
    assert answers == []


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
    queue: Any, history: Any, state: str
) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        replies = {"/queue": queue, "/history/me": history}
        if request.url.path not in replies:
            return httpx.Response(404, text="404: Not Found")
        return httpx.Response(200, json=replies[request.url.path])

    old = server(answer)
    assert [old.state("me"), old.state("me")] == [state, state]
    assert asked.count("/api/jobs/me") == 1, "it is asked once whether it has the route"


def test_an_older_server_is_told_to_stop_what_runs_only_where_that_is_ours() -> None:
    posted: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            posted.append(request.url.path)
            return httpx.Response(404 if request.url.path.startswith("/api/") else 200)
        return httpx.Response(200, json={"queue_running": [[1, "mine", {}]], "queue_pending": []})

    server(answer).cancel("yours")
    assert posted == ["/api/jobs/yours/cancel", "/queue"]
    server(answer).cancel("mine")
    assert posted[2:] == ["/api/jobs/mine/cancel", "/queue", "/interrupt"]


@pytest.mark.parametrize("name", ["../../../etc/cron.d/evil", "/etc/passwd", "a b&type=input.png", "\u202epng.exe"])
def test_a_name_from_the_server_goes_back_as_a_parameter_and_never_becomes_a_path(name: str, tmp_path: Path) -> None:
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(200, content=b"pixels")

    file = ServerFile.from_json({"filename": name, "subfolder": "../up", "type": "output"})
    server(answer).fetch(file, tmp_path / "frame_00000.png", 100)
    assert [path.name for path in tmp_path.iterdir()] == ["frame_00000.png"]
    assert asked[0].path == "/view"
    assert dict(asked[0].params) == {"filename": name, "subfolder": "../up", "type": "output"}


@pytest.mark.parametrize(
    "record",
    [None, "x.png", {}, {"filename": 3}, {"filename": "x", "type": "input"}, {"filename": "x", "subfolder": ["a"]}],
)
def test_a_result_that_is_no_file_is_refused(record: Any) -> None:
    with pytest.raises(BadResult):
        ServerFile.from_json(record)


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (httpx.Response(404), "HTTP 404"),
        (httpx.Response(200, content=b"x" * 101), "larger than 100 bytes"),
        (httpx.Response(200, content=b"x" * 10, headers={"content-length": "20"}), "10 of 20 bytes"),
    ],
)
def test_a_missing_endless_or_torn_result_leaves_no_file(
    response: httpx.Response, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reskin.comfy.client.RETRY_PAUSE_S", 0.0)
    with pytest.raises(BadResult, match=words):
        server(lambda request: response).fetch(ServerFile("a.png", "", "output"), tmp_path / "a.png", 100)
    assert list(tmp_path.iterdir()) == []


def test_the_name_that_the_server_gave_to_an_upload_is_the_one_to_use(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"video")
    reply = {"name": "a (1).mp4", "subfolder": "clips", "type": "input"}
    assert always(200, json=reply).upload(tmp_path / "a.mp4", "a.mp4") == "clips/a (1).mp4"


def test_an_upload_over_the_servers_limit_says_which_flag_to_raise(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"video")
    with pytest.raises(UploadTooLarge, match=r"5 bytes.*--max-upload-size"):
        always(413).upload(tmp_path / "a.mp4", "a.mp4")


def test_an_upload_over_the_limit_that_the_server_states_is_not_even_begun(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"v" * 6000)
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json={"max_upload_size": 5000})

    with pytest.raises(UploadTooLarge, match=r"6000 bytes.*--max-upload-size"):
        server(answer).upload(tmp_path / "a.mp4", "a.mp4")
    assert asked == ["/features"]


@pytest.mark.parametrize("status", [400, 200])
def test_a_refused_workflow_lists_every_error_of_every_node(status: int) -> None:
    errors = [{"message": "Value not in list", "details": "file: 'x.mp4'"}, {"message": "Missing", "details": "fps"}]
    reply = {"error": {"message": "Prompt outputs failed validation"}, "node_errors": {"7": {"errors": errors}}}
    with pytest.raises(WorkflowRefused) as caught:
        always(status, json=reply).submit(GRAPH, "id", "client")
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

"""Whatever a server says, it ends in a result or in one of the house's errors, and steers no terminal."""

from __future__ import annotations

import copy
import gzip
import itertools
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handoff.errors import InputError, PreserverError, printable_lines
from reskin.comfy.client import UNSTATED, ComfyServer, ServerFile
from reskin.comfy.errors import BadResult, JobFailed, ServerFails, ServerLacks, ServerUnreachable
from reskin.comfy.orchestrator import ComfyOrchestrator, JobLimits
from reskin.comfy.progress import Progress, ProgressSocket, listen
from reskin.workflow import Graph
from tests.helpers import many
from tests.reskin.answering import Answer, Asked, Say, answering, frame, says, socket_server
from tests.reskin.mutations import JUNK, mutated

GRAPH: Graph = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "color": 0}, "_meta": {"title": "canvas"}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}, "_meta": {"title": "output"}},
}
OUTPUT = ("output", "SaveImage")
IMAGE = {"filename": "a_00001_.png", "subfolder": "preserver", "type": "output"}
GOOD: dict[str, Any] = {
    "/system_stats": {"system": {"os": "linux", "comfyui_version": "0.30.0", "python_version": "3.11"}, "devices": []},
    "/features": {"supports_preview_metadata": True, "max_upload_size": 104857600},
    "/node_replacements": {"Old": [{"new_node_id": "EmptyImage", "old_node_id": "Old", "input_mapping": None}]},
    "/object_info/EmptyImage": {
        "EmptyImage": {
            "input": {"required": {"width": ["INT", {"min": 1}], "color": ["INT", {}]}, "optional": {}},
            "output": ["IMAGE"],
            "output_node": False,
            "python_module": "nodes",
        }
    },
    "/object_info/SaveImage": {
        "SaveImage": {
            "input": {"required": {"images": ["IMAGE"]}, "hidden": {"prompt": "PROMPT"}},
            "output": [],
            "output_node": True,
            "python_module": "nodes",
        }
    },
    "/upload/image": {"name": "a.mp4", "subfolder": "", "type": "input"},
    "/prompt": {"prompt_id": "ID", "number": 1, "node_errors": {}},
    "/api/jobs/ID": {"id": "ID", "status": "completed"},
    "/queue": {"queue_running": [[1, "other", {}]], "queue_pending": []},
    "/history/ID": {
        "ID": {
            "outputs": {"2": {"images": [IMAGE], "animated": [False]}},
            "status": {"status_str": "success", "completed": True, "messages": [["execution_start", {"node_id": "1"}]]},
        }
    },
}


def saying(answers: dict[str, Any], whole: dict[str, Say] | None = None) -> Answer:
    """A server with these answers, in which ID stands for the job's."""

    def answer(asked: Asked) -> Say:
        if asked.path == "/view":
            return (whole or {}).get("/view", Say(200, b"pixels"))
        parts = asked.path.split("/")
        job = parts[-1] if len(parts) > 2 and parts[-2] in ("history", "jobs") else ""
        path = asked.path.replace(job, "ID") if job else asked.path
        if path in (whole or {}):
            return (whole or {})[path]
        if path not in answers:
            return Say(404, b"404: Not Found")
        return Say(200, json.dumps(answers[path]).replace('"ID"', json.dumps(job or "ID")).encode())

    return answer


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Nothing is waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reskin.comfy.client.RETRY_PAUSE_S", 0.0)
        patch.setattr("reskin.comfy.progress.POLL_S", 0.0)
        patch.setattr("reskin.comfy.progress._LISTEN_S", 0.001)
        patch.setattr("reskin.comfy.progress._CLOSE_S", 0.01)
        yield


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    (folder / "clip.mp4").write_bytes(b"video")
    return folder


_TURN = itertools.count()


def whole_job(address: str, sandbox: Path) -> bytes:
    """All that is asked of a server for one window: its result."""
    limits = JobLimits(0.3, 0.0, retries=1)
    target = sandbox / f"{next(_TURN)}.png"
    with ComfyOrchestrator(address, limits=limits) as comfy:
        comfy.check(GRAPH)
        comfy.upload(sandbox / "clip.mp4", "a.mp4")
        (file, *_) = comfy.run(GRAPH, OUTPUT)
        comfy.fetch(file, target, 100)
    return target.read_bytes()


def job_with(path: str, answer: Any, sandbox: Path) -> bytes:
    with answering(saying({**GOOD, path: answer})) as address:
        return whole_job(address, sandbox)


def test_a_good_server_gives_the_result(sandbox: Path) -> None:
    with answering(saying(GOOD)) as address:
        assert whole_job(address, sandbox) == b"pixels"


def record(**changes: Any) -> dict[str, Any]:
    """A job's record with other values; `...` is none at all."""
    made = copy.deepcopy(GOOD["/history/ID"]["ID"]) | changes
    return {"ID": {key: value for key, value in made.items() if value is not ...}}


@pytest.mark.parametrize(
    "outputs",
    [
        *(..., None, [], "x", 5, {}, {"2": None}, {"2": []}, {"2": {"images": None}}, {"2": {"images": "a.png"}}),
        *({"2": {"images": {"filename": "a"}}}, {"2": {"images": 7}}, {"2": {"images": [None]}}, {"1": {"images": []}}),
        {"2": {"images": [{"filename": None}]}},
        {"2": {"images": [{"filename": "a", "subfolder": None}]}},
        {"2": {"images": [{"filename": "a", "type": "\x1b[2J"}]}},
    ],
)
def test_a_record_without_a_result_is_one_sentence(outputs: Any, sandbox: Path) -> None:
    with pytest.raises(BadResult, match=r"gave no file|no file|not its output folder") as caught:
        job_with("/history/ID", record(outputs=outputs), sandbox)
    assert caught.value.exit_code == 12 and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "status",
    [
        {"status_str": "success", "completed": False, "messages": "boom"},
        {"status_str": "error", "completed": False, "messages": None},
        {"status_str": "\x1b[2J", "messages": [None, [], ["execution_error"], ["execution_error", None], {}]},
        {"status_str": "error", "messages": {"execution_error": 1}},
    ],
)
def test_a_status_that_says_no_success_and_no_reason_is_a_failure(status: Any, sandbox: Path) -> None:
    with pytest.raises(JobFailed, match="gave no reason") as caught:
        job_with("/history/ID", record(status=status), sandbox)
    assert caught.value.exit_code == 6 and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "status", [..., None, [], "success", 5, True, {}, {"status_str": None}, {"status_str": ["success"]}, "\x1b[2J"]
)
def test_a_record_that_does_not_say_how_the_job_ended_is_no_result(status: Any, sandbox: Path) -> None:
    with pytest.raises(BadResult, match="says neither that it succeeded nor that it failed") as caught:
        job_with("/history/ID", record(status=status), sandbox)
    assert caught.value.exit_code == 12 and str(caught.value).isprintable()


@pytest.mark.parametrize("history", [[1], None, {}, {"ID": None}, {"ID": [1]}, "x"])
def test_a_job_that_ended_and_has_no_record_is_not_waited_for_to_the_end(history: Any, sandbox: Path) -> None:
    with (
        answering(saying({**GOOD, "/history/ID": history})) as address,
        ComfyOrchestrator(address, limits=JobLimits(60, 0.0, wedged_s=0.1)) as comfy,
        pytest.raises(BadResult, match=r"ended on .*, and its history has had no record of it for 0\.1 s"),
    ):
        comfy.run(GRAPH, OUTPUT)


def test_a_failures_own_words_come_as_text(sandbox: Path) -> None:
    said = {
        "node_id": "1",
        "node_type": "Empty\x1b[1mImage",
        "exception_type": "Type\x07Error",
        "exception_message": "\x1b]0;pwned\x07 bad\nsecond",
        "traceback": ["line\n", 5, "\x1b[2J"],
    }
    status = {"status_str": "error", "completed": False, "messages": [["execution_error", said]]}
    with pytest.raises(JobFailed) as caught:
        job_with("/history/ID", record(status=status), sandbox)
    assert str(caught.value) == (r"node 'canvas' (Empty\x1b[1mImage) failed: Type\x07Error: \x1b]0;pwned\x07 bad")
    assert caught.value.traceback.replace("\n", "").isprintable() and "line\n5" in caught.value.traceback


def test_other_outputs_that_are_odd_cost_nothing(sandbox: Path) -> None:
    outputs = {"99": {"values": [float("nan"), float("inf"), 10**400]}, "98": None, "2": {"images": [IMAGE]}}
    assert job_with("/history/ID", record(outputs=outputs, extra="\ud800"), sandbox) == b"pixels"


@pytest.mark.parametrize(
    ("stats", "version"),
    [
        ({"system": {"comfyui_version": "0.30.0"}, "devices": [{"vram_free": float("nan")}]}, "0.30.0"),
        ({"system": {"os": "posix", "python_version": "3.10", "embedded_python": False}, "devices": []}, UNSTATED),
        ({"system": {"comfyui_version": None}}, UNSTATED),
        ({"system": {"comfyui_version": 3}}, UNSTATED),
        ({"system": {"comfyui_version": "\x1b[31m1" + "9" * 99}}, r"\x1b[31m1" + "9" * 51 + "..."),
    ],
)
def test_a_server_says_its_version_or_is_taken_without(stats: Any, version: str) -> None:
    with answering(lambda asked: says(stats)) as address:
        assert ComfyServer(address).version() == version


@pytest.mark.parametrize(
    "stats", [[], None, {}, {"system": None}, {"system": ["python_version"]}, {"system": {"os": 1}}]
)
def test_what_names_no_python_is_no_comfyui(stats: Any) -> None:
    with (
        answering(lambda asked: says(stats)) as address,
        pytest.raises(ServerUnreachable, match="answers, but it is no ComfyUI server"),
    ):
        ComfyServer(address).version()


@pytest.mark.parametrize("limit", [104857600.0, None, "100", True, float("nan"), float("inf"), -1, 0, 10**400, [], ...])
def test_an_upload_limit_that_is_none_stops_no_upload(limit: Any, sandbox: Path) -> None:
    assert job_with("/features", {} if limit is ... else {"max_upload_size": limit}, sandbox) == b"pixels"


@pytest.mark.parametrize("queue", [None, [], {"queue_running": None}, {"queue_running": 7, "queue_pending": {"a": 1}}])
def test_a_queue_that_is_none_is_an_empty_one(queue: Any) -> None:
    with answering(lambda asked: says(queue)) as address:
        assert ComfyServer(address).load(60) == 0


@pytest.mark.parametrize("name", ["", ".", "..", "../queue", "a/b", "a?b#c", "%2e%2e", "\ud800", "a\nb", "ü /../"])
def test_a_class_is_asked_for_by_its_name_and_nothing_else_is(name: str) -> None:
    asked: list[Asked] = []
    every = {name: {"input": {}}, "queue": {}, "": {}} if name != "" else {name: {"input": {}}}

    def answer(request: Asked) -> Say:
        asked.append(request)
        listing = request.path == "/object_info"
        return says(every if listing else {request.path.removeprefix("/object_info/"): {"input": {}}})

    with answering(answer) as address:
        found = ComfyServer(address).node_info(name)
    (request,) = asked
    if name in ("", ".", ".."):  # no path has such a part, so the server is asked for all that it has
        assert (request.path, found) == ("/object_info", {"input": {}})
    else:
        assert request.path == f"/object_info/{name.replace(chr(0xD800), '?')}" and request.params == {}
        assert found == (None if "\ud800" in name else {"input": {}})


def test_a_class_that_the_server_replaces_is_taken_and_another_is_not(sandbox: Path) -> None:
    graph = GRAPH | {"3": {"class_type": "Old", "inputs": {}}}
    with answering(saying({**GOOD, "/object_info/Old": {}})) as address, ComfyOrchestrator(address) as comfy:
        assert comfy.check(graph) == "0.30.0"
    gone = {"Old": [{"new_node_id": "Gone"}]}
    with (
        answering(
            saying({**GOOD, "/object_info/Old": {}, "/object_info/Gone": {}, "/node_replacements": gone})
        ) as address,
        ComfyOrchestrator(address) as comfy,
        pytest.raises(ServerLacks, match=r"node 'Old' \(Old\): the server has no such node class"),
    ):
        comfy.check(graph)


def test_a_node_of_the_editors_is_bad_input_and_what_is_left_out_is_a_warning() -> None:
    lines: list[str] = []
    none = {f"/object_info/{name}": {} for name in ("Note", "Reroute")}
    graph = copy.deepcopy(GRAPH) | {"3": {"class_type": "Note", "inputs": {}}}
    with answering(saying({**GOOD, **none})) as address, ComfyOrchestrator(address, say=lines.append) as comfy:
        with pytest.raises(InputError, match=r"(?s)no ComfyUI server can run this workflow:\n  node 'Note'.*remove it"):
            comfy.check(graph)
        del graph["3"]
        graph["2"]["inputs"]["upload"] = "image"
        comfy.check(graph)
    assert lines == [
        "reskin: warning: node 'output' (SaveImage): the server knows no input 'upload', only images, and leaves it out"
    ]


CHAIN = gzip.compress(gzip.compress(bytes(60_000_000), 1), 1)
"""Sixty million zeros in few bytes."""


@pytest.mark.parametrize("status", [200, 404, 500, 503])
@pytest.mark.parametrize("packed", ["gzip, gzip", "gzip", "deflate", "br", "x-gzip", "identity, gzip", "GZIP,\tGZIP"])
def test_nothing_is_unpacked_whatever_an_answers_status_is(status: int, packed: str, sandbox: Path) -> None:
    said = Say(status, CHAIN, {"Content-Encoding": packed})
    with answering(lambda asked: said) as address:
        server = ComfyServer(address)
        tracemalloc.start()
        try:
            with pytest.raises(ServerFails if status >= 500 else BadResult) as caught:
                server.version()
            with pytest.raises(PreserverError):
                server.fetch(ServerFile("a.png", "", "output"), sandbox / "packed.png", 200_000_000)
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()
    assert str(caught.value).isprintable()


def test_a_chunk_whose_length_has_no_end_is_not_held() -> None:
    said = Say(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 30_000_000)
    with answering(lambda asked: said) as address:
        tracemalloc.start()
        try:
            with pytest.raises(ServerUnreachable, match="LineTooLong"):
                ComfyServer(address).version()
            assert tracemalloc.get_traced_memory()[1] < 5_000_000
        finally:
            tracemalloc.stop()


def test_json_that_is_deep_or_without_end_is_no_answer() -> None:
    for body in (b"[" * 200_000, b'{"a":' * 200_000, b"[" + b"[]," * 1_400_000 + b"[]]"):
        with answering(lambda asked: Say(200, body)) as address, pytest.raises(ServerUnreachable):  # noqa: B023
            ComfyServer(address).version()


PROGRESS = {"type": "progress", "data": {"value": 3, "max": 10, "node": "1", "prompt_id": "mine"}}


def heard(texts: list[bytes]) -> list[Progress]:
    """What a listener hears of these messages before the one that says that the job has ended."""
    end = {"type": "executing", "data": {"node": None, "prompt_id": "mine"}}
    found: list[Progress] = []

    def talk(connection: Any, number: int) -> None:
        for text in (*texts, json.dumps(end).encode()):
            connection.sendall(frame(text))

    with socket_server(talk) as address:
        progress = ProgressSocket(ComfyServer(address), "me")
        try:
            while not listen(progress, GRAPH, "mine", found.append):
                pass
        finally:
            progress.close()
    return found


@pytest.mark.parametrize(
    ("value", "most", "shown"),
    [
        (3, 10, "canvas 3/10"),
        (2.5, 10.0, "canvas 2/10"),
        (10, 10, "canvas 10/10"),
        *((each, 10, "canvas") for each in (float("nan"), None, "3/10", ..., [3], True, -1, 11, 10**400, float("inf"))),
        *(
            (3, each, "canvas")
            for each in (float("nan"), None, "10", ..., {}, True, -1, 0, float("inf"), -float("inf"))
        ),
        (float("nan"), float("nan"), "canvas"),
        (-1, 0, "canvas"),
    ],
)
def test_a_step_that_is_no_number_costs_the_bar_alone(value: Any, most: Any, shown: str) -> None:
    data = {**PROGRESS["data"], "value": value, "max": most}
    data = {key: each for key, each in data.items() if each is not ...}
    said = heard([json.dumps({"type": "progress", "data": data}).encode()])
    assert [str(each) for each in said] == [shown]


@pytest.mark.parametrize(
    ("node", "shown"),
    [("\x1b[2J", r"\x1b[2J"), (None, "None"), (5, "5"), (["1"], "['1']"), ("x" * 999, "x" * 77 + "...")],
)
def test_a_node_that_the_graph_has_not_is_named_as_text(node: Any, shown: str) -> None:
    message = {"type": "progress", "data": {**PROGRESS["data"], "node": node}}
    (progress,) = heard([json.dumps(message).encode()])
    assert progress.node == shown


def test_a_message_that_is_large_or_deep_is_left_out() -> None:
    large = json.dumps({**PROGRESS, "more": "x" * 2**21}).encode()
    deep = json.dumps(PROGRESS).encode()[:-1] + b', "more": ' + b"[" * 60_000 + b"]" * 60_000 + b"}"
    assert [str(each) for each in heard([large, deep, json.dumps(PROGRESS).encode()])] == ["canvas 3/10"]


@settings(max_examples=60)
@given(messages=st.lists(mutated(PROGRESS) | JUNK, min_size=1, max_size=8))
def test_no_message_ends_anything(messages: list[Any]) -> None:
    said = heard([json.dumps(each).encode() for each in messages])
    assert all(str(each).isprintable() for each in said)


@st.composite
def odd_servers(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Say]]:
    """A good server's answers, some of them changed, some of them no JSON or with other headers."""
    answers = dict(GOOD)
    for path in draw(st.lists(st.sampled_from(sorted(GOOD)), min_size=1, max_size=3, unique=True)):
        answers[path] = draw(mutated(GOOD[path]) | JUNK)
    whole: dict[str, Say] = {}
    if draw(st.integers(0, 3)) == 0:
        path = draw(st.sampled_from([*sorted(GOOD), "/view"]))
        headers = draw(
            st.dictionaries(
                st.sampled_from(("Content-Encoding", "Location", "Transfer-Encoding", "Content-Type", "Set-Cookie")),
                st.sampled_from(("gzip", "gzip, gzip", "chunked", "/x", "text/html", "http://[", "\x1b[2J", "a=b")),
                max_size=2,
            )
        )
        body = draw(st.binary(max_size=40) | st.just(json.dumps(GOOD.get(path)).encode()))
        status = draw(st.sampled_from((200, 201, 204, 206, 302, 304, 400, 401, 404, 413, 500, 503, 999)))
        whole[path] = Say(status, body, headers)
    return answers, whole


def check_odd_server(server: tuple[dict[str, Any], dict[str, Say]], sandbox: Path) -> None:
    with answering(saying(*server)) as address:
        try:
            assert whole_job(address, sandbox) == b"pixels" or "/view" in server[1]
        except PreserverError as error:
            message = printable_lines(error)
            assert message == str(error), "its words are text already"
            assert error.exit_code in (2, 3, 5, 6, 7, 8, 9, 10, 11, 12) and len(message) < 20_000
    for left in sandbox.glob("[0-9]*.png"):
        left.unlink()
    assert [path.name for path in sandbox.iterdir()] == ["clip.mp4"]


@settings(max_examples=60)
@given(server=odd_servers())
def test_no_answer_of_a_server_is_a_fault_of_ours(server: tuple[dict[str, Any], dict[str, Say]], sandbox: Path) -> None:
    check_odd_server(server, sandbox)


@pytest.mark.slow
@settings(max_examples=many(5000))
@given(server=odd_servers())
def test_none_of_many_servers_is_a_fault_of_ours(server: tuple[dict[str, Any], dict[str, Say]], sandbox: Path) -> None:
    check_odd_server(server, sandbox)

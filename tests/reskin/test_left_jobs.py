"""A job that a killed command left on a real server: the next command takes it, and sends none in its place."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from reskin.comfy.errors import JobTimeout
from reskin.comfy.orchestrator import ComfyOrchestrator, JobLimits, JobNote
from reskin.workflow import Graph
from tests.helpers import until
from tests.reskin.helpers import OUTPUT, PATIENCE_S, slow_graph
from tests.reskin.proxy import Proxy
from tests.reskin.servers import history, queue

pytestmark = pytest.mark.server


@pytest.fixture
def note(tmp_path: Path) -> Path:
    return tmp_path / ".0003-abc.job"


@pytest.fixture
def next_one(proxy: Proxy) -> Iterator[ComfyOrchestrator]:
    """The next command's way to the server, which has ended every job before the next test."""
    with ComfyOrchestrator(proxy.address, limits=JobLimits(300, 60)) as comfy:
        yield comfy
    until("the server is idle", lambda: not any(queue(proxy.upstream).values()))


def leave(comfy: ComfyOrchestrator, graph: Graph, note: Path) -> str:
    """Have a server begin a job, and leave word of it as a command does that is killed then."""
    job = str(uuid.uuid4())
    JobNote(comfy.server.address, job).write(note)
    comfy.server.submit(graph, job, "a command that was killed")
    return job


@pytest.mark.parametrize("state", ["at work", "done"])
def test_a_job_that_was_left_is_not_sent_again(
    next_one: ComfyOrchestrator, proxy: Proxy, note: Path, state: str
) -> None:
    graph = slow_graph(2 if state == "done" else 20)
    job = leave(next_one, graph, note)
    wanted = "ended" if state == "done" else "running"
    until(state, lambda: next_one.server.state(job) == wanted, PATIENCE_S)
    with next_one.noting(note):
        assert len(next_one.run(graph, OUTPUT)) == 4
        assert note.exists(), "until its pictures are here, a command that is killed finds it again"
    assert proxy.count("POST", "/prompt") == 1 and not note.exists()


@pytest.mark.parametrize("end", ["stopped", "failed", "forgotten"])
def test_a_job_that_came_to_no_good_end_is_sent_anew(
    next_one: ComfyOrchestrator, proxy: Proxy, note: Path, tmp_path: Path, end: str
) -> None:
    (tmp_path / "text.mp4").write_text("this is not a video")
    broken: Graph = {
        "1": {"class_type": "LoadVideo", "inputs": {"file": next_one.upload(tmp_path / "text.mp4", "text.mp4")}},
        "2": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    }
    if end == "forgotten":
        JobNote(next_one.server.address, str(uuid.uuid4())).write(note)
    else:
        job = leave(next_one, broken if end == "failed" else slow_graph(), note)
        if end == "stopped":
            until("it runs", lambda: next_one.server.state(job) == "running", PATIENCE_S)
            next_one.server.cancel(job)
        until("it has ended", lambda: job in history(proxy.upstream), PATIENCE_S)
    before = proxy.count("POST", "/prompt")
    with next_one.noting(note):
        assert len(next_one.run(slow_graph(2), OUTPUT)) == 4
    assert proxy.count("POST", "/prompt") == before + 1 and not note.exists()


@pytest.mark.parametrize(
    "written",
    [
        "",
        "[]",
        '{"server": "SERVER"}',
        '{"server": "SERVER", "prompt_id": "../../queue"}',
        '{"server": "SERVER", "prompt_id": 7}',
        '{"server": ["SERVER"], "prompt_id": "6f9619ff-8b86-d011-b42d-00c04fc964ff"}',
        '{"server": "127.0.0.1:9", "prompt_id": "6f9619ff-8b86-d011-b42d-00c04fc964ff"}',
    ],
)
def test_a_note_that_is_damaged_or_of_another_server_is_left_out(
    next_one: ComfyOrchestrator, proxy: Proxy, note: Path, written: str
) -> None:
    note.write_text(written.replace("SERVER", next_one.server.address))
    with next_one.noting(note):
        assert len(next_one.run(slow_graph(1), OUTPUT)) == 4
    assert proxy.count("POST", "/prompt") == 1 and not note.exists()
    asked = [path for method, path in proxy.requests if path.startswith("/api/jobs")]
    ours = json.loads(proxy.prompts[0])["prompt_id"]
    assert asked and {path.split("/")[3] for path in asked} == {ours}


def test_a_note_is_gone_however_its_job_ends(next_one: ComfyOrchestrator, note: Path) -> None:
    next_one.limits.timeout_s = 2
    with pytest.raises(JobTimeout, match="not done after 2 s"), next_one.noting(note):
        next_one.run(slow_graph(), OUTPUT)
    assert not note.exists()

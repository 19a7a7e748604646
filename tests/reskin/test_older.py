"""A server without the newer routes: a real one, behind a proxy that answers 404 for them as an older server does."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from handoff.run import Run
from reskin.comfy.errors import JobFailed, JobInterrupted, JobTimeout
from reskin.comfy.orchestrator import ComfyOrchestrator, JobLimits
from reskin.comfy.progress import Progress
from tests.helpers import until
from tests.reskin.helpers import (
    OUTPUT,
    PATIENCE_S,
    new_jobs,
    queue_of,
    reskin,
    slow_graph,
    wait_long,
    wait_until_idle,
    whole,
)
from tests.reskin.proxy import Fault, Proxy, proxy_to
from tests.reskin.servers import history

pytestmark = [pytest.mark.server, pytest.mark.slow]
MakeRun = Callable[..., Run]
NEWER = (("GET", "/api/jobs"), ("POST", "/api/jobs"), ("GET", "/features"))


@pytest.fixture
def older(comfy_server: str) -> Iterator[Proxy]:
    """Its /queue, /history and /interrupt are a real server's own."""
    with proxy_to(comfy_server) as proxy:
        proxy.faults = [Fault(*route, times=10**6, missing=True) for route in NEWER]
        yield proxy


@pytest.fixture
def old(older: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[ComfyOrchestrator]:
    wait_long(monkeypatch)
    with ComfyOrchestrator(older.address, limits=JobLimits(PATIENCE_S, patience_s=60)) as orchestrator:
        yield orchestrator


def submit_somebodys(old: ComfyOrchestrator) -> str:
    """Have a job of somebody else's run; return its id."""
    somebodys = str(uuid.uuid4())
    old.server.submit(slow_graph(), somebodys, "somebody")
    until("somebody's job runs", lambda: old.server.state(somebodys) == "running", PATIENCE_S)
    return somebodys


def test_a_reskin_is_followed_by_queue_and_history(make_run: MakeRun, older: Proxy) -> None:
    run, before = make_run(40), set(history(older.upstream))
    older.mute_sockets = True  # so that the socket tells nothing either
    assert reskin(run, "--server", older.address) == 0
    assert older.count("GET", "/queue") >= 2 and older.count("GET", "/history/") >= 2
    assert not any(older.count(*route) for route in NEWER)
    assert new_jobs(older.upstream, before) == older.count("POST", "/prompt") == 2
    assert whole(run, older.upstream)


def test_a_lost_answer_to_the_submission_runs_no_job_twice(make_run: MakeRun, older: Proxy) -> None:
    run, before = make_run(4), set(history(older.upstream))
    older.faults += [Fault("POST", "/prompt", deaf=True), Fault("GET", "/queue", broken=True)]
    assert reskin(run, "--server", older.address) == 0
    assert new_jobs(older.upstream, before) == older.count("POST", "/prompt") == 1
    assert whole(run, older.upstream)


def test_a_failing_node_is_named_from_the_history(old: ComfyOrchestrator, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is not a video")
    graph = slow_graph(1)
    graph["0"] = {"class_type": "LoadVideo", "inputs": {"file": old.upload(tmp_path / "text.mp4", "older.mp4")}}
    graph["1"] = {"class_type": "GetVideoComponents", "inputs": {"video": ["0", 0]}, "_meta": {"title": "frames"}}
    with pytest.raises(JobFailed, match=r"node 'frames' \(GetVideoComponents\) failed") as caught:
        old.run(graph, OUTPUT)
    assert "nodes_video.py" in caught.value.traceback


def test_a_job_of_ours_that_takes_too_long_is_stopped(old: ComfyOrchestrator) -> None:
    old.limits.timeout_s = 2
    with pytest.raises(JobTimeout):
        old.run(slow_graph(), OUTPUT)
    wait_until_idle(old)


def test_a_waiting_job_of_ours_is_taken_out_and_the_running_one_of_somebody_else_is_left_alone(
    old: ComfyOrchestrator,
) -> None:
    somebodys = submit_somebodys(old)
    old.limits.timeout_s = 2
    with pytest.raises(JobTimeout):
        old.run(slow_graph(1), OUTPUT)
    queue = queue_of(old)
    assert not queue["queue_pending"] and [entry[1] for entry in queue["queue_running"]] == [somebodys]
    old.server.cancel(somebodys)
    wait_until_idle(old)


def test_what_somebody_else_stops_or_takes_out_is_told_apart(old: ComfyOrchestrator) -> None:
    def stop(progress: Progress) -> None:
        for entry in queue_of(old)["queue_running"]:
            old.server.cancel(entry[1])

    with pytest.raises(JobInterrupted, match="stopped on the server"):
        old.run(slow_graph(), OUTPUT, stop)
    somebodys = submit_somebodys(old)

    def take_out() -> None:
        until("ours waits", lambda: bool(queue_of(old)["queue_pending"]), PATIENCE_S)
        old.server.cancel(queue_of(old)["queue_pending"][0][1])

    thread = threading.Thread(target=take_out)
    thread.start()
    with pytest.raises(JobInterrupted, match="out of the queue"):
        old.run(slow_graph(1), OUTPUT)
    thread.join()
    old.server.cancel(somebodys)
    wait_until_idle(old)

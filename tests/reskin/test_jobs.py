"""Every end that a job can come to, on a real ComfyUI server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from handoff.run import Run
from reskin.comfy.client import JobState, ServerFile
from reskin.comfy.errors import JobFailed, JobInterrupted, JobOutOfMemory, JobTimeout, WorkflowRefused
from reskin.comfy.orchestrator import ComfyOrchestrator, JobLimits
from reskin.comfy.progress import Progress
from reskin.stage import error_log
from reskin.workflow import Graph
from runner.process import ROOT
from tests.helpers import until
from tests.reskin.helpers import OUTPUT, PATIENCE_S, queue_of, slow_graph, wait_until_idle
from tests.reskin.proxy import proxy_to

pytestmark = pytest.mark.server
MakeRun = Callable[..., Run]


def until_running(process: subprocess.Popen[bytes], holds: Callable[[], bool]) -> None:
    """Wait until something holds while a command is at work."""

    def while_at_work() -> bool:
        assert process.poll() is None, "it ended before"
        return holds()

    until("the command is at work", while_at_work, PATIENCE_S)


def stopped(process: subprocess.Popen[bytes], number: signal.Signals) -> str:
    """Send a command a signal; return what it said when it ends, which it must with exit code 130."""
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, errors.decode()
    return errors.decode()


def test_a_refused_workflow_names_node_and_input(comfy: ComfyOrchestrator) -> None:
    graph = slow_graph(1)
    graph["1"]["inputs"]["blur_radius"] = 99
    graph["1"]["_meta"] = {"title": "the blur"}
    with pytest.raises(WorkflowRefused, match=r"node 'the blur' \(ImageBlur\)(?s:.)*blur_radius") as caught:
        comfy.run(graph, OUTPUT)
    assert caught.value.exit_code == 5


def test_a_failing_node_is_named_with_its_exception(comfy: ComfyOrchestrator, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("this is not a video")
    name = comfy.upload(tmp_path / "text.mp4", f"{uuid.uuid4().hex}.mp4")
    graph: Graph = {
        "1": {"class_type": "LoadVideo", "inputs": {"file": name}},
        "2": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}, "_meta": {"title": "source frames"}},
        "3": {
            "class_type": "SaveImage",
            "inputs": {"images": ["2", 0], "filename_prefix": "x"},
            "_meta": {"title": "output"},
        },
    }
    expected = r"node 'source frames' \(GetVideoComponents\) failed: .*Error: .*server's traceback: .*error\.log\)$"
    with pytest.raises(JobFailed, match=expected) as caught, error_log(tmp_path):
        comfy.run(graph, OUTPUT)
    assert caught.value.exit_code == 6
    log = (tmp_path / "error.log").read_text()
    assert "nodes_video.py" in log and "get_components" in log, "the server's own stack"
    with error_log(tmp_path):
        pass
    assert not (tmp_path / "error.log").exists(), "an old one says nothing about a job that went well"


def test_a_node_that_finds_no_memory_says_what_to_lower(comfy: ComfyOrchestrator) -> None:
    graph = slow_graph(1)
    graph["0"]["inputs"] |= {"width": 16384, "height": 16384, "batch_size": 4096}
    with pytest.raises(JobOutOfMemory, match=r"EmptyImage.*no memory.*smaller --size or --window.*--lowvram") as caught:
        comfy.run(graph, OUTPUT)
    assert caught.value.exit_code == 7
    assert len(str(caught.value).splitlines()) == 1


def test_a_job_that_takes_too_long_is_stopped_on_the_server(comfy: ComfyOrchestrator) -> None:
    comfy.limits.timeout_s = 2
    with pytest.raises(JobTimeout, match="not done after 2 s and was stopped") as caught:
        comfy.run(slow_graph(), OUTPUT)
    assert caught.value.exit_code == 11
    wait_until_idle(comfy)


def test_a_job_that_somebody_else_stops_is_told_apart(comfy: ComfyOrchestrator) -> None:
    def stop(progress: Progress) -> None:
        for entry in queue_of(comfy)["queue_running"]:
            comfy.server.cancel(entry[1])

    with pytest.raises(JobInterrupted, match="stopped on the server") as caught:
        comfy.run(slow_graph(), OUTPUT, stop)
    assert caught.value.exit_code == 8


def test_a_job_that_somebody_takes_out_of_the_queue_is_not_put_in_again(comfy: ComfyOrchestrator) -> None:
    """Unlike a job that a restarted server has forgotten: the connection never broke."""
    blocker = str(uuid.uuid4())
    comfy.server.submit(slow_graph(), blocker, "somebody")
    until("the other job runs", lambda: comfy.server.state(blocker) == "running", PATIENCE_S)

    def take_out() -> None:
        until("ours waits", lambda: bool(queue_of(comfy)["queue_pending"]), PATIENCE_S)
        comfy.server.cancel(queue_of(comfy)["queue_pending"][0][1])

    thread = threading.Thread(target=take_out)
    thread.start()
    with pytest.raises(JobInterrupted, match=r"somebody took the job .* out of the queue of"):
        comfy.run(slow_graph(1), OUTPUT)
    thread.join()
    comfy.server.cancel(blocker)
    wait_until_idle(comfy)


def test_progress_names_the_node_at_work(comfy: ComfyOrchestrator, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP is asked while another job still runs, and then no more until the socket has said all that it has to."""
    monkeypatch.setattr("reskin.comfy.progress.POLL_S", float(PATIENCE_S))
    blocker, state = str(uuid.uuid4()), comfy.server.state
    comfy.server.submit(slow_graph(), blocker, "somebody")
    until("the other job runs", lambda: comfy.server.state(blocker) == "running", PATIENCE_S)

    def state_once(prompt_id: str) -> JobState:
        found = state(prompt_id)
        if found == "waiting":
            comfy.server.cancel(blocker)
        return found

    monkeypatch.setattr(comfy.server, "state", state_once)
    seen: list[str] = []
    files = comfy.run(slow_graph(3), OUTPUT, lambda progress: seen.append(progress.node))
    assert seen == ["EmptyImage", "ImageBlur", "ImageBlur", "ImageBlur", "output"]
    assert len(files) == 4


def test_a_silent_socket_costs_the_progress_bar_and_nothing_else(
    comfy: ComfyOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(self: object, seconds: float) -> Iterator[dict[str, Any]]:
        time.sleep(seconds)
        return iter(())

    monkeypatch.setattr("reskin.comfy.progress.ProgressSocket.messages", silent)
    assert len(comfy.run(slow_graph(2), OUTPUT)) == 4


def test_two_clients_at_once_each_get_their_own(comfy_server: str) -> None:
    results: dict[int, list[ServerFile]] = {}

    def work(number: int) -> None:
        graph = slow_graph(2)
        graph["0"]["inputs"]["batch_size"] = number
        with ComfyOrchestrator(comfy_server, limits=JobLimits(PATIENCE_S, patience_s=60)) as orchestrator:
            results[number] = orchestrator.run(graph, OUTPUT)

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: len(files) for number, files in results.items()} == {1: 1, 2: 2, 3: 3}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_stop_the_job_and_leave_nothing_half_written(
    make_run: MakeRun, comfy_server: str, comfy: ComfyOrchestrator, number: signal.Signals
) -> None:
    run = make_run(400)
    arguments = ["--run", str(run.dir), "--prompt", "drone", "--server", comfy_server]
    with subprocess.Popen([sys.executable, "-m", "reskin", *arguments], cwd=ROOT, stderr=subprocess.PIPE) as process:
        # its first window has been written and handed over
        until_running(process, lambda: bool(list(run.dir.rglob("texture.mp4")) and queue_of(comfy)["queue_running"]))
        assert "interrupted" in stopped(process, number)
    wait_until_idle(comfy)
    assert not run.path("reskins/drone").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_stop_the_jobs_on_every_server(
    make_run: MakeRun, comfy_server: str, comfy: ComfyOrchestrator, number: signal.Signals
) -> None:
    run = make_run(200)
    with proxy_to(comfy_server) as proxy:
        servers = ["--server", comfy_server, "--server", proxy.address, "--seeds", "3"]
        arguments = ["--run", str(run.dir), "--prompt", "drone", "--workflow", "draft", *servers]
        with subprocess.Popen(
            [sys.executable, "-m", "reskin", *arguments], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        ) as process:
            until_running(process, lambda: sum(map(len, queue_of(comfy).values())) >= 2)
            stopped(process, number)
    wait_until_idle(comfy)
    assert not [path for path in run.path("reskins").rglob("*") if path.is_file()]

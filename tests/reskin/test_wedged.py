"""A real server whose worker has died: it answers everything, takes jobs, and works on none of them for ever."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from handoff.run import Run
from tests.helpers import until
from tests.reskin.helpers import new_jobs, nothing_written, reskin, reskin_fails, slow_graph, whole
from tests.reskin.proxy import Proxy, proxy_to
from tests.reskin.servers import backstage, history, post, queue

pytestmark = [pytest.mark.server, pytest.mark.slow]
MakeRun = Callable[..., Run]


@pytest.fixture(scope="module")
def wedged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server whose worker is dead.

    ComfyUI 0.30 keeps its queue in order by number, then by id, then by graph; graphs have no order. So three jobs of
    one number and one id end the worker's thread at the moment when it takes the next job, and nothing else.
    """
    with backstage(tmp_path_factory.mktemp("wedged")) as server:
        post(server.address, "/prompt", prompt=slow_graph())
        until("a job runs", lambda: bool(queue(server.address)["queue_running"]))
        for _ in range(3):
            # the first of them is in the queue by itself; the others are put there and cannot be sorted
            post(server.address, "/prompt", prompt=slow_graph(1), prompt_id=str(uuid.UUID(int=1)), number=7)
        post(server.address, "/interrupt")
        until("no job runs", lambda: not queue(server.address)["queue_running"])
        time.sleep(1)
        assert queue(server.address)["queue_pending"] and not queue(server.address)["queue_running"]
        assert "TypeError" in server.log.read_text(errors="replace")
        yield server.address


@pytest.fixture
def proxy(wedged: str) -> Iterator[Proxy]:
    with proxy_to(wedged) as made:
        yield made


def test_a_wedged_server_is_told_apart_and_a_restarted_one_does_the_job_once(
    make_run: MakeRun, proxy: Proxy, wedged: str, comfy_server: str
) -> None:
    run, before = make_run(4), set(history(comfy_server))
    left = len(queue(wedged)["queue_pending"])
    code, line = reskin_fails(run, "--server", proxy.address)
    assert code == 10
    assert line == (
        f"error: the server at {proxy.address} has jobs waiting and has worked on none for 30 s; its worker has "
        "stopped (see its log): restart it."
    )
    assert nothing_written(run)
    assert len(queue(wedged)["queue_pending"]) == left, "our job was taken out of its queue"
    proxy.upstream = comfy_server
    assert reskin(run, "--server", proxy.address) == 0
    assert new_jobs(comfy_server, before) == 1
    assert whole(run, comfy_server)

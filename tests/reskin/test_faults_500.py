"""A real server whose routes answer with errors of its own: the route is named, and it is not said to be away."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from handoff.run import Run
from tests.reskin.helpers import nothing_written, reskin, reskin_fails, whole
from tests.reskin.proxy import Fault, Proxy

pytestmark = pytest.mark.server
MakeRun = Callable[..., Run]


@pytest.mark.parametrize(
    ("method", "path", "named"),
    [
        ("GET", "/system_stats", "GET /system_stats"),
        ("POST", "/upload", "POST /upload/image"),
        ("POST", "/prompt", "POST /prompt"),
        ("GET", "/api/jobs", "GET /api/jobs/"),
        ("GET", "/view", "GET /view"),
    ],
)
def test_a_route_that_answers_500_for_good_is_named_and_the_server_is_not_said_to_be_away(
    make_run: MakeRun, proxy: Proxy, method: str, path: str, named: str
) -> None:
    run = make_run(4)
    proxy.faults = [Fault(method, path, times=1000, broken=True)]
    code, line = reskin_fails(run, "--server", proxy.address, "--patience", "2")
    assert code == 3
    assert line.startswith(f"error: the server at {proxy.address} answers HTTP 500 on {named}")
    assert line.endswith(" (oops); see its log, and start it again if need be.")
    assert nothing_written(run)
    proxy.faults, before = [], proxy.count("POST", "/prompt")
    assert reskin(run, "--server", proxy.address) == 0
    assert proxy.count("POST", "/prompt") == before + 1
    assert whole(run, proxy.upstream)


def test_submissions_that_fail_are_a_moment_apart(make_run: MakeRun, proxy: Proxy) -> None:
    run, sent = make_run(4), list[float]()
    note = Fault("POST", "/prompt", times=2, broken=True, before=lambda: sent.append(time.monotonic()))
    proxy.faults = [note]
    assert reskin(run, "--server", proxy.address) == 0
    assert sent[1] - sent[0] >= 1
    assert proxy.count("POST", "/prompt") == 1

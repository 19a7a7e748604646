"""Servers that are killed in mid-job: the job is done all the same, once, here or elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner

from handoff.files import sha256_file
from handoff.run import Run
from reskin.cli import command
from runner.process import ROOT
from tests.helpers import HANG_S, records, until
from tests.reskin.helpers import arguments, nothing_written, reskin_fails
from tests.reskin.proxy import Fault, Proxy, proxy_to
from tests.reskin.servers import BackstageServer, backstage, history, post, queue

pytestmark = [pytest.mark.server, pytest.mark.slow]
MakeRun = Callable[..., Run]
FRAMES, WINDOWS = 70, 3


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackstageServer]:
    """A server that is killed by the first test."""
    with backstage(tmp_path_factory.mktemp("victim")) as server:
        yield server


@pytest.fixture(scope="module")
def successor(tmp_path_factory: pytest.TempPathFactory, victim: BackstageServer) -> Iterator[BackstageServer]:
    """The server that is started in its place, with empty folders; killed by the second test."""
    with backstage(tmp_path_factory.mktemp("successor")) as server:
        yield server


def start(run: Run, *options: str) -> subprocess.Popen[str]:
    given = [sys.executable, "-m", "reskin", *arguments(run, *options, name="drone")]
    return subprocess.Popen(given, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def undisturbed(run: Run, server: str, *options: str) -> str:
    """The digest of what a command makes that nothing happens to."""
    given = arguments(run, "--server", server, *options, name="undisturbed")
    assert CliRunner().invoke(command, given, catch_exceptions=False, standalone_mode=False).return_value == 0
    return sha256_file(run.path("reskins/undisturbed/output.mp4"))


def test_a_server_killed_in_mid_job_and_started_again_gets_the_job_again(
    make_run: MakeRun, comfy_server: str, victim: BackstageServer, successor: BackstageServer
) -> None:
    run = make_run(FRAMES)
    with proxy_to(victim.address) as proxy:
        assert successor.address, "it has started"
        with start(run, "--server", proxy.address) as process:
            until(
                "the second job is at work",
                lambda: proxy.count("POST", "/prompt") == 2 and bool(queue(victim.address)["queue_running"]),
            )
            victim.kill()
            proxy.leave()
            time.sleep(1)
            proxy.upstream = successor.address
            proxy.come_back()
            said, errors = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, errors
    assert "no longer knows the job" in said and "it was restarted" in said and "submitted again" in said
    assert victim.executions() == 2 and successor.executions() == WINDOWS - 1, "the one that died with it came again"
    assert len(history(successor.address)) == WINDOWS - 1
    assert sha256_file(run.path("reskins/drone/output.mp4")) == undisturbed(run, comfy_server)
    assert not list(run.dir.rglob("*.partial"))


def done_first(address: str) -> Fault:
    """The job has ended, and the socket has said so, before anybody asks for it."""

    def done() -> None:
        until("the job has ended", lambda: not any(queue(address).values()))
        time.sleep(1)

    return Fault("POST", "/prompt", after=done)


def become(proxy: Proxy, address: str) -> Callable[[], None]:
    """What makes of the server another one, as a restart does."""

    def another() -> None:
        proxy.upstream = address
        proxy.cut_sockets()

    return another


@pytest.mark.parametrize("done", [False, True], ids=["at work", "done"])
def test_without_retries_a_lost_job_is_an_end_of_its_own(
    make_run: MakeRun, comfy_server: str, successor: BackstageServer, done: bool
) -> None:
    run = make_run(40)
    with proxy_to(comfy_server) as proxy:
        proxy.faults = [Fault("GET", "/api/jobs", before=become(proxy, successor.address))]
        proxy.faults += [done_first(comfy_server)] if done else []
        code, line = reskin_fails(run, "--server", proxy.address, "--retries", "0")
    assert code == 9
    assert line.startswith(f"error: the server at {proxy.address} no longer knows the job ")
    assert line.endswith("it was restarted; run the same command again.")
    assert nothing_written(run)


def test_a_job_that_was_done_when_its_server_was_restarted_is_done_again(
    make_run: MakeRun, comfy_server: str, successor: BackstageServer
) -> None:
    run = make_run(40)
    with proxy_to(comfy_server) as proxy:
        proxy.faults = [Fault("GET", "/api/jobs", before=become(proxy, successor.address)), done_first(comfy_server)]
        with start(run, "--server", proxy.address) as process:
            said, errors = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, errors
    assert "it was restarted" in said and "submitted again" in said
    assert sha256_file(run.path("reskins/drone/output.mp4")) == undisturbed(run, comfy_server)


def test_a_job_whose_record_somebody_deletes_is_not_done_again(make_run: MakeRun, comfy_server: str) -> None:
    run = make_run(40)
    with proxy_to(comfy_server) as proxy:

        def delete() -> None:
            post(comfy_server, "/history", delete=list(history(comfy_server)))

        proxy.faults = [Fault("GET", "/api/jobs", before=delete), done_first(comfy_server)]
        code, line = reskin_fails(run, "--server", proxy.address)
        assert proxy.count("POST", "/prompt") == 1
    assert code == 12
    assert "its record was deleted from the history before it was read" in line
    assert nothing_written(run)


def test_three_seeds_on_two_servers_of_which_one_is_killed_are_all_there_each_once(
    make_run: MakeRun, comfy_server: str, successor: BackstageServer
) -> None:
    run, other = make_run(FRAMES), successor.address
    with start(run, "--seeds", "3", "--server", comfy_server, "--server", other) as process:
        until(
            "both servers work",
            lambda: bool(queue(other)["queue_running"]) and bool(queue(comfy_server)["queue_running"]),
        )
        successor.kill()
        said, errors = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, errors
    given = [line for line in said.splitlines() if ": on 127.0.0.1:" in line]
    back = [line.removesuffix(f": on {other}") for line in given if line.endswith(other)]
    assert len(back) == 1 and len(given) == 4, "one job was given back, and each other was given out once"
    assert f"{back[0]}: on {comfy_server}" in given
    assert f"reskin: {other} is left out from now on" in said
    names = [f"drone-seed{seed}" for seed in range(3)]
    assert {f"reskin/{name}" for name in names} <= records(run.dir).keys()
    made = [json.loads(run.path(f"reskins/{name}/output.json").read_text()) for name in names]
    assert [record["seed"] for record in made] == [0, 1, 2]
    digests = [sha256_file(run.path(f"reskins/{name}/output.mp4")) for name in names]
    assert len(set(digests)) == 3
    seed = back[0][-1]
    assert digests[int(seed)] == undisturbed(run, comfy_server, "--seed", seed)
    assert not list(run.dir.rglob("*.partial"))

    before = set(history(comfy_server))
    again = arguments(run, "--seeds", "3", "--server", comfy_server, "--server", other, name="drone")
    result = CliRunner().invoke(command, again, catch_exceptions=False, standalone_mode=False)
    assert result.return_value == 0 and result.output.count("nothing has changed") == 3
    assert set(history(comfy_server)) == before

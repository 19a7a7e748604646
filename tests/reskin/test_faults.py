"""What goes wrong between us and a real server: the right end, no file lost, none half-written, no job run twice."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from handoff.hashing import sha256_file
from handoff.run import Run
from runner.process import ROOT
from tests.reskin.backstage import history, output_folder
from tests.reskin.proxy import Fault, Proxy, proxy_to

pytestmark = pytest.mark.server
MakeRun = Callable[..., Run]


@pytest.fixture
def proxy(comfy_server: str) -> Iterator[Proxy]:
    with proxy_to(comfy_server) as made:
        yield made


def reskin(run: Run, *options: str, name: str = "drone", timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reskin", "--run", str(run.dir), "--prompt", "drone, samurai", "--name", name]
    return subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False
    )


def output(run: Run, name: str = "drone") -> Path:
    return run.path(f"reskins/{name}/output.mp4")


def new_jobs(address: str, before: set[str]) -> int:
    """How many jobs the server has ended since, by its own history."""
    return len(history(address).keys() - before)


def whole(run: Run, address: str, name: str = "drone") -> bool:
    """Whether a result is to the byte what an undisturbed command makes, with nothing half-written about."""
    if not output(run, "undisturbed").exists():
        assert reskin(run, "--server", address, name="undisturbed").returncode == 0
    same = sha256_file(output(run, name)) == sha256_file(output(run, "undisturbed"))
    return same and not list(run.dir.rglob("*.partial")) and f"reskin/{name}" in Run.open(run.dir).manifest["stages"]


def nothing_written(run: Run, name: str = "drone") -> bool:
    folder = run.path(f"reskins/{name}")
    left = [path.name for path in folder.iterdir()] if folder.exists() else []
    return (
        not left and not list(run.dir.rglob("*.partial")) and "reskin/drone" not in Run.open(run.dir).manifest["stages"]
    )


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([Fault("POST", "/prompt", broken=True)], id="500 in place of taking the job"),
        pytest.param([Fault("POST", "/prompt", deaf=True)], id="the answer to the job lost on its way"),
        pytest.param(
            [Fault("POST", "/prompt", deaf=True), Fault("GET", "/api/jobs", broken=True)], id="and a 500 after"
        ),
        pytest.param([Fault("POST", "/upload", broken=True)], id="500 on an upload"),
        pytest.param([Fault("POST", "/upload", deaf=True)], id="the answer to an upload lost"),
        pytest.param([Fault("GET", "/view", broken=True)], id="500 on a result"),
        pytest.param([Fault("GET", "/view", torn_at=200)], id="a result cut off"),
        pytest.param([Fault("GET", "/history", broken=True)], id="500 on the history"),
        pytest.param([Fault("GET", "/history", delay_s=6)], id="a slow history"),
        pytest.param([Fault("GET", "/api/jobs", delay_s=4)], id="a slow jobs route"),
    ],
)
def test_a_fault_that_passes_costs_nothing(make_run: MakeRun, proxy: Proxy, faults: list[Fault]) -> None:
    run, before = make_run(4), set(history(proxy.upstream))
    proxy.faults = faults
    done = reskin(run, "--server", proxy.address)
    assert done.returncode == 0, done.stderr
    assert all(fault.times == 0 for fault in faults), "the fault did happen"
    assert new_jobs(proxy.upstream, before) == 1, "the job was run once"
    assert whole(run, proxy.upstream)


def test_a_socket_that_is_cut_again_and_again_costs_nothing(make_run: MakeRun, proxy: Proxy) -> None:
    run, before, over = make_run(100), set(history(proxy.upstream)), threading.Event()

    def cut() -> None:
        while not over.wait(0.3):
            proxy.cut_sockets()

    cutter = threading.Thread(target=cut)
    cutter.start()
    done = reskin(run, "--server", proxy.address)
    over.set()
    cutter.join()
    assert done.returncode == 0, done.stderr
    assert proxy.sockets > 1, "it was opened again"
    assert new_jobs(proxy.upstream, before) == proxy.count("POST", "/prompt") == 4
    assert whole(run, proxy.upstream)


def test_a_socket_that_is_silent_while_http_works_costs_nothing(make_run: MakeRun, proxy: Proxy) -> None:
    run, before = make_run(4), set(history(proxy.upstream))
    proxy.mute_sockets = True
    done = reskin(run, "--server", proxy.address)
    assert done.returncode == 0, done.stderr
    assert proxy.sockets == 1
    assert new_jobs(proxy.upstream, before) == 1
    assert whole(run, proxy.upstream)


def test_a_result_that_is_gone_from_the_server_is_named_and_the_next_command_makes_it(
    make_run: MakeRun, proxy: Proxy
) -> None:
    run = make_run(4)

    def delete() -> None:
        for path in output_folder(proxy.upstream).rglob("*.png"):
            path.unlink()

    proxy.faults = [Fault("GET", "/view", before=delete)]
    done = reskin(run, "--server", proxy.address)
    assert done.returncode == 12
    assert done.stderr.splitlines()[-1].startswith("error: the server withholds its result '")
    assert "HTTP 404 (was its output folder cleared?); run the same command again." in done.stderr
    assert nothing_written(run)
    assert reskin(run, "--server", proxy.address).returncode == 0
    assert whole(run, proxy.upstream)


def test_a_server_that_stays_away_is_waited_for_as_long_as_was_said(make_run: MakeRun, proxy: Proxy) -> None:
    run = make_run(4)
    there = proxy.upstream

    def leave() -> None:
        proxy.upstream = "127.0.0.1:9"

    proxy.faults = [Fault("GET", "/view", before=leave)]
    started = time.monotonic()
    done = reskin(run, "--server", proxy.address, "--patience", "3")
    assert 3 < time.monotonic() - started < 60
    assert done.returncode == 3
    assert "went away in mid-job and did not come back within 3 s (--patience); start it" in done.stderr
    assert nothing_written(run)
    proxy.upstream = there
    assert reskin(run, "--server", proxy.address).returncode == 0


def test_a_full_disk_on_our_side_leaves_nothing_half_written(make_run: MakeRun, proxy: Proxy, tmp_path: Path) -> None:
    run, small = make_run(24), tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)], check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        subprocess.run(["cp", "-r", str(run.dir), str(small / "run")], check=True)
        tight = Run.open(small / "run")
        free = 1
        with (small / "ballast").open("wb") as ballast:
            ballast.write(b"0" * int(subprocess.check_output(["stat", "-f", "-c", "%a", str(small)])) * 4096)
            ballast.truncate(ballast.tell() - free * 65536)
        done = reskin(tight, "--server", proxy.address)
        assert done.returncode == 3, done.stderr
        assert "no space left on the device; free some room" in done.stderr.splitlines()[-1]
        assert nothing_written(tight)
        (small / "ballast").unlink()
        assert reskin(tight, "--server", proxy.address).returncode == 0
    finally:
        subprocess.run(["umount", str(small)], check=False)


def test_two_commands_at_once_on_one_server_each_get_their_own(make_run: MakeRun, proxy: Proxy) -> None:
    before = set(history(proxy.upstream))
    runs = [make_run(8, "first"), make_run(16, "second")]
    results: dict[int, subprocess.CompletedProcess[str]] = {}

    def work(index: int) -> None:
        results[index] = reskin(runs[index], "--server", proxy.address)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[index].returncode for index in range(2)] == [0, 0], [each.stderr for each in results.values()]
    assert new_jobs(proxy.upstream, before) == 2
    assert all(whole(run, proxy.upstream) for run in runs)

"""What goes wrong between us and a real server: the right end, no file lost, none half-written, no job run twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from handoff.run import Run
from reskin.comfy.client import TRIES
from reskin.comfy.errors import ServerUnreachable
from runner.process import ROOT
from tests.helpers import HANG_S
from tests.reskin.helpers import arguments, new_jobs, nothing_written, reskin, reskin_fails, whole
from tests.reskin.proxy import Fault, Proxy
from tests.reskin.servers import history, output_folder, processes_of

pytestmark = [pytest.mark.server, pytest.mark.slow]
MakeRun = Callable[..., Run]


def send(processes: list[int], number: signal.Signals) -> None:
    for pid in processes:
        os.kill(pid, number)


ONCE = (("POST", "/prompt"), ("POST", "/upload"), ("GET", "/view"), ("GET", "/history"), ("GET", "/api/jobs"))


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([Fault(*request, broken=True) for request in ONCE], id="each route answers 500 once"),
        pytest.param([Fault(*request, deaf=True) for request in ONCE], id="each route's answer is lost once"),
        pytest.param([Fault("GET", "/view", torn_at=200, times=2)], id="a result breaks off twice"),
        pytest.param([Fault("GET", "/history", delay_s=5), Fault("GET", "/api/jobs", delay_s=3)], id="a slow history"),
    ],
)
def test_a_fault_that_passes_costs_nothing(make_run: MakeRun, proxy: Proxy, faults: list[Fault]) -> None:
    run, before = make_run(4), set(history(proxy.upstream))
    proxy.faults = faults
    assert reskin(run, "--server", proxy.address) == 0
    assert all(fault.times == 0 for fault in faults), "the faults did happen"
    assert new_jobs(proxy.upstream, before) == proxy.count("POST", "/prompt") == 1, "the job was run once"
    assert whole(run, proxy.upstream)


def test_a_socket_that_is_cut_again_and_again_costs_nothing(
    make_run: MakeRun, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reskin.comfy.progress._RECONNECT_S", 0.1)
    run, before, over = make_run(40), set(history(proxy.upstream)), threading.Event()

    def cut() -> None:
        while not over.wait(0.2):
            proxy.cut_sockets()

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        assert reskin(run, "--server", proxy.address) == 0
    finally:
        over.set()
        cutter.join()
    assert proxy.sockets > 1, "it was opened again"
    assert new_jobs(proxy.upstream, before) == proxy.count("POST", "/prompt") == 2
    assert whole(run, proxy.upstream)


def test_a_socket_that_is_silent_while_http_works_costs_nothing(make_run: MakeRun, proxy: Proxy) -> None:
    run, before = make_run(4), set(history(proxy.upstream))
    proxy.mute_sockets = True
    assert reskin(run, "--server", proxy.address) == 0
    assert proxy.sockets == 1
    assert new_jobs(proxy.upstream, before) == proxy.count("POST", "/prompt") == 1
    assert whole(run, proxy.upstream)


def test_a_result_that_is_gone_from_the_server_is_named_and_the_next_command_makes_it(
    make_run: MakeRun, proxy: Proxy
) -> None:
    run, before = make_run(4), set(history(proxy.upstream))

    def delete() -> None:
        for path in output_folder(proxy.upstream).rglob("*.png"):
            path.unlink()

    proxy.faults = [Fault("GET", "/view", before=delete)]
    code, line = reskin_fails(run, "--server", proxy.address)
    assert code == 12
    assert line.startswith("error: the server withholds its result '")
    assert line.endswith("HTTP 404 (was its output folder cleared?); run the same command again.")
    assert nothing_written(run)
    assert reskin(run, "--server", proxy.address) == 0
    assert new_jobs(proxy.upstream, before) == proxy.count("POST", "/prompt") == 2, "one for each command"
    assert whole(run, proxy.upstream)


@pytest.mark.parametrize("key", [b'"gifs"  ', b'"videos"'])
def test_results_under_another_key_are_found_all_the_same(make_run: MakeRun, proxy: Proxy, key: bytes) -> None:
    """VideoHelperSuite and others name theirs so; here the real server's record is renamed on its way."""
    run = make_run(4)
    proxy.faults = [Fault("GET", "/history", renames=(b'"images"', key))]
    assert reskin(run, "--server", proxy.address) == 0
    assert proxy.count("GET", "/history") == 1, "the record that was renamed is the one that was used"
    assert whole(run, proxy.upstream)


def test_a_server_that_freezes_for_a_while_costs_nothing(make_run: MakeRun, proxy: Proxy) -> None:
    run, before = make_run(4), set(history(proxy.upstream))
    frozen = processes_of(proxy.upstream)
    assert frozen

    def freeze() -> None:
        send(frozen, signal.SIGSTOP)
        threading.Timer(3, send, (frozen, signal.SIGCONT)).start()

    proxy.faults = [Fault("GET", "/api/jobs", before=freeze)]
    assert reskin(run, "--server", proxy.address) == 0
    assert new_jobs(proxy.upstream, before) == proxy.count("POST", "/prompt") == 1
    assert whole(run, proxy.upstream)


def test_a_server_that_stays_frozen_has_gone_away(
    make_run: MakeRun, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes connections, and answers nothing: the kernel does that for a stopped process."""
    run, frozen = make_run(4), processes_of(proxy.upstream)
    proxy.faults = [Fault("GET", "/api/jobs", before=lambda: send(frozen, signal.SIGSTOP))]
    try:
        with (
            monkeypatch.context() as patch,
            pytest.raises(ServerUnreachable, match=r"went away in mid-job and did not come back within 10 s") as caught,
        ):
            patch.setattr("reskin.comfy.client.READ_S", 5.0)  # three times, else it is three minutes
            reskin(run, "--server", proxy.address, "--patience", "10")
    finally:
        send(frozen, signal.SIGCONT)
    assert caught.value.exit_code == 3
    assert proxy.count("GET", "/api/jobs") == TRIES, "the first request that got no answer began the wait"
    assert nothing_written(run)
    assert reskin(run, "--server", proxy.address) == 0
    assert proxy.count("POST", "/prompt") == 2, "one for each command"
    assert whole(run, proxy.upstream)


def test_a_server_that_stays_away_is_waited_for_as_long_as_was_said(make_run: MakeRun, proxy: Proxy) -> None:
    run = make_run(4)
    proxy.faults = [Fault("GET", "/view", before=proxy.leave)]
    code, line = reskin_fails(run, "--server", proxy.address, "--patience", "2")
    assert code == 3
    assert line == (
        f"error: the server at {proxy.address} went away in mid-job and did not come back within 2 s (--patience); "
        "start it and run the same command again."
    )
    assert nothing_written(run)
    code, line = reskin_fails(run, "--server", proxy.address)
    assert code == 3
    assert line.startswith(f"error: no ComfyUI server answers at {proxy.address} (ConnectionRefusedError")
    proxy.come_back()
    assert reskin(run, "--server", proxy.address) == 0
    assert whole(run, proxy.upstream)


def test_a_server_that_comes_back_in_time_costs_nothing(make_run: MakeRun, proxy: Proxy) -> None:
    run, before = make_run(4), set(history(proxy.upstream))

    def leave_for_a_while() -> None:
        proxy.leave()
        threading.Timer(2, proxy.come_back).start()

    proxy.faults = [Fault("GET", "/history", before=leave_for_a_while)]
    assert reskin(run, "--server", proxy.address) == 0
    assert new_jobs(proxy.upstream, before) == proxy.count("POST", "/prompt") == 1, "it still knew the job"
    assert whole(run, proxy.upstream)


def test_a_full_disk_on_our_side_leaves_nothing_half_written(make_run: MakeRun, proxy: Proxy, tmp_path: Path) -> None:
    """A tmpfs that holds the run and a little more; the command and the look at what it left share its namespace."""
    run, small = make_run(24), tmp_path / "small"
    small.mkdir()
    # a tmpfs gives every file and folder whole pages
    size = 4 * sum(path.stat().st_size // 4096 + 1 for path in run.dir.rglob("*")) + 60
    given = " ".join(arguments(Run(small / "run", run.manifest), "--server", proxy.address, name="drone"))
    given = given.replace("drone, samurai", "'drone, samurai'")
    script = (
        f"mount -t tmpfs -o size={size}k tmpfs {small} || exit 99; "
        f"cp -r {run.dir} {small}/run && cd {ROOT} || exit 98; "
        f"{sys.executable} -m reskin {given}; code=$?; find {small}/run -type f -newer {run.dir}/mask.mp4; exit $code"
    )
    shell = ["unshare", "--map-root-user", "--mount", "sh", "-c", script]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=HANG_S, check=False)
    if done.returncode == 99:
        pytest.skip("this machine does not let a test mount a small tmpfs (unshare --map-root-user --mount)")
    assert done.returncode == 3, done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith(f"error: cannot write {small}/run/reskins/drone")
    assert line.endswith("no space left on the device; free some room, then run the same command again.")
    assert "reskins" not in done.stdout and "partial" not in done.stdout
    assert proxy.count("POST", "/prompt") <= 1


def test_two_commands_at_once_on_one_server_each_get_their_own(make_run: MakeRun, proxy: Proxy) -> None:
    before = set(history(proxy.upstream))
    runs = [make_run(4, "first"), make_run(24, "second")]
    given = [arguments(run, "--server", proxy.address, name="drone") for run in runs]
    both = [subprocess.Popen([sys.executable, "-m", "reskin", *each], cwd=ROOT) for each in given]
    assert [process.wait(120) for process in both] == [0, 0]
    assert new_jobs(proxy.upstream, before) == proxy.count("POST", "/prompt") == 2
    assert all(whole(run, proxy.upstream) for run in runs)

"""One reskin on several real ComfyUI servers at once: the same bytes, each window once, whatever dies in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from handoff.errors import MissingError
from handoff.files import sha256_file
from handoff.run import Run
from reskin.cli import command
from reskin.comfy.errors import JobFailed
from reskin.draft_painter import DraftPainter
from reskin.sharing import WindowOrder
from reskin.windows import FOLDER
from runner.process import ROOT
from tests.helpers import HANG_S, records, until
from tests.reskin.helpers import NAME, TWO, paint_vace
from tests.reskin.proxy import Fault, Proxy, proxy_to
from tests.reskin.servers import BackstageServer, backstage, queue

pytestmark = pytest.mark.server
MakeRun = Callable[..., Run]
NODES = ROOT / "bench" / "nodes"
WINDOWS, LENGTH, STEP = 8, 5, 4
FRAMES = LENGTH + (WINDOWS - 1) * STEP
"""Windows of 5 frames, of which one is shared with the next."""


def draft(run: Run, name: str, *servers: str) -> Result:
    arguments = ["--run", str(run.dir), "--prompt", "drone, samurai", "--workflow", "draft", "--name", name]
    arguments += ["--patience", "1"]
    given = [part for server in servers for part in ("--server", server)]
    return CliRunner().invoke(command, [*arguments, *given], catch_exceptions=False, standalone_mode=False)


@pytest.fixture
def short(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Eleven frames in four windows of the draft."""
    monkeypatch.setattr("reskin.windows.MAX_FRAMES", 3)
    return make_run(11)


def digest(run: Run, name: str) -> str:
    return sha256_file(run.path(f"reskins/{name}/output.mp4"))


def submitted(proxies: list[Proxy]) -> list[int]:
    return [proxy.count("POST", "/prompt") for proxy in proxies]


def test_two_servers_make_the_bytes_of_one_and_paint_each_window_once(
    short: Run, comfy_server: str, proxy: Proxy
) -> None:
    """One server under two addresses: what the two put into its folders at the same time must not meet."""
    with proxy_to(comfy_server) as other:
        result = draft(short, "two", proxy.address, other.address)
        assert result.return_value == 0 and sum(submitted([proxy, other])) == 4
        assert f"reskin/two: on {proxy.address} and {other.address}" in result.output
        draft(short, "one", comfy_server)
        assert digest(short, "one") == digest(short, "two")
        noted = records(short.dir)["reskin/two"]["notes"]["windows"]
        assert {each["server"] for each in noted} <= {proxy.address, other.address} and len(noted) == 4
        assert all(each["seconds"] > 0 and not each["resumed"] for each in noted)
        assert not short.path(f"reskins/two/{FOLDER}").exists() and not list(short.dir.rglob("*.partial"))
        assert "nothing has changed" in draft(short, "two", proxy.address, other.address).output


def test_a_window_that_fails_names_its_server_and_is_kept_by_the_rest(
    short: Run, comfy_server: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third window of the clip fails wherever it is painted; what was painted is not painted again."""
    paint = DraftPainter.paint

    def fail(self: DraftPainter, order: WindowOrder, *rest: Any) -> None:
        if order.window.index == 2:
            raise JobFailed("node 'x' failed: ValueError: no", "its traceback\n")
        paint(self, order, *rest)

    with proxy_to(comfy_server) as other:
        addresses = (proxy.address, other.address)
        with monkeypatch.context() as patch, pytest.raises(JobFailed) as caught:
            patch.setattr(DraftPainter, "paint", fail)
            draft(short, "two", *addresses)
        said = str(caught.value)
        assert caught.value.exit_code == 6 and any(said.startswith(f"window 2 on {each}: node") for each in addresses)
        assert "its traceback" in short.path("reskins/two/error.log").read_text()
        before = submitted([proxy, other])
        kept = {path.name[:4] for path in short.path(f"reskins/two/{FOLDER}").iterdir()}
        assert len(kept) == sum(before) and "0002" not in kept
        assert draft(short, "two", *addresses).return_value == 0
        assert sum(submitted([proxy, other])) == 4, "none twice"
    draft(short, "one", comfy_server)
    assert digest(short, "one") == digest(short, "two")


def test_a_server_that_is_not_there_is_left_out_and_two_that_are_not_are_the_end(
    short: Run, comfy_server: str, proxy: Proxy
) -> None:
    result = draft(short, "drone", "127.0.0.1:9", proxy.address)
    assert result.return_value == 0 and proxy.count("POST", "/prompt") == 4
    assert "reskin: 127.0.0.1:9 is left out from now on: no ComfyUI server answers at 127.0.0.1:9" in result.output
    with pytest.raises(MissingError, match=r"no ComfyUI server answers at 127\.0\.0\.1:10") as caught:
        draft(short, "another", "127.0.0.1:9", "127.0.0.1:10")
    assert caught.value.exit_code == 3


def test_a_server_that_goes_away_for_good_gives_its_window_to_the_other(
    short: Run, comfy_server: str, proxy: Proxy
) -> None:
    with proxy_to(comfy_server) as other:
        other.faults = [Fault("POST", "/prompt", before=other.leave)]
        result = draft(short, "two", proxy.address, other.address)
        assert result.return_value == 0 and f"reskin: {other.address} is left out from now on" in result.output


@pytest.mark.slow
def test_windows_that_are_painted_on_from_one_another_stay_on_one_server(
    make_run: MakeRun, comfy_server: str, proxy: Proxy
) -> None:
    run = make_run(33)
    with proxy_to(comfy_server) as other:
        more = ("--workflow", "wan_vace", "--overlap-mode", "anchor", *TWO, "--server", other.address)
        result = paint_vace(run, proxy.address, *more)
        assert result.return_value == 0 and sorted(submitted([proxy, other])) == [0, 2]
    assert f"{NAME.removeprefix('reskins/')}: each window is painted on from the one before" in result.output


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BackstageServer, BackstageServer]]:
    """Two servers with a node that sleeps; the tests that kill one come last."""
    with (
        backstage(tmp_path_factory.mktemp("first"), NODES) as first,
        backstage(tmp_path_factory.mktemp("second"), NODES) as second,
    ):
        assert first.address and second.address
        yield first, second


@pytest.fixture
def seeded(tmp_path: Path) -> Callable[..., list[str]]:
    """Return the arguments of a reskin of eight windows, each of which takes a server so many seconds."""

    def arguments(run: Run, name: str, *servers: str, seconds: float) -> list[str]:
        graph = json.loads((NODES / "seeded_paint" / "workflow.json").read_text())
        graph["7"]["inputs"]["seconds"] = seconds
        workflow = tmp_path / f"sleep{seconds}.json"
        workflow.write_text(json.dumps(graph))
        given = ["--run", str(run.dir), "--prompt", "drone", "--workflow", str(workflow), "--name", name]
        given += ["--size", "160x128", "--window", str(LENGTH), "--overlap", str(LENGTH - STEP), "--patience", "1"]
        return [*given, *(part for server in servers for part in ("--server", server))]

    return arguments


def start(arguments: list[str]) -> subprocess.Popen[str]:
    given = [sys.executable, "-m", "reskin", *arguments]
    return subprocess.Popen(given, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def done(arguments: list[str]) -> str:
    with start(arguments) as process:
        said, errors = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, errors
    return said


Pair = tuple[BackstageServer, BackstageServer]


@pytest.mark.slow
def test_both_servers_work_at_once_and_faded_frames_are_to_the_byte_those_of_one(
    make_run: MakeRun, pair: Pair, seeded: Callable[..., list[str]]
) -> None:
    run, (first, second) = make_run(FRAMES, skater=False), (each.address for each in pair)
    with start(seeded(run, "two", first, second, seconds=2)) as process:
        both = lambda: queue(first)["queue_running"] and queue(second)["queue_running"]  # noqa: E731
        until("two windows are painted at once", lambda: bool(both()))
        assert process.wait(120) == 0
    noted = records(run.dir)["reskin/two"]["notes"]["windows"]
    assert sorted(each["server"] for each in noted) == sorted([first, second] * (WINDOWS // 2)), (
        "equal ones get equal shares"
    )
    done(seeded(run, "one", first, seconds=0))
    assert digest(run, "one") == digest(run, "two")


@pytest.mark.slow
def test_a_slow_server_gets_fewer_windows(make_run: MakeRun, pair: Pair, seeded: Callable[..., list[str]]) -> None:
    run, (first, second) = make_run(FRAMES, skater=False), (each.address for each in pair)
    with proxy_to(second) as slow:
        fast, before = pair[0], pair[0].executions()

        def slowly() -> None:
            """Answer when the other server has been given three more, or nothing is left to be given."""
            seen = fast.executions()
            until(
                "the other server works on",
                lambda: fast.executions() >= min(seen + 3, before + WINDOWS - slow.count("POST", "/prompt")),
            )

        slow.faults = [Fault("POST", "/prompt", times=99, after=slowly)]
        done(seeded(run, "two", first, slow.address, seconds=0.5))
        assert 1 <= slow.count("POST", "/prompt") <= 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_command_that_was_ended_goes_on_and_paints_none_twice_but_those_that_were_stopped(
    make_run: MakeRun, pair: Pair, seeded: Callable[..., list[str]], number: signal.Signals
) -> None:
    """Ctrl-C stops what is at work on the servers; SIGKILL cannot, and the next command takes it, whoever has it."""
    run, addresses = make_run(FRAMES, skater=False), [each.address for each in pair]
    before, arguments = sum(each.executions() for each in pair), seeded(run, "two", *addresses, seconds=1.5)
    kept = run.path(f"reskins/two/{FOLDER}")
    with start(arguments) as process:
        until("three windows are there", lambda: len(list(kept.glob("[0-9]*"))) >= 3)
        os.kill(process.pid, number)
        process.communicate(timeout=HANG_S)
    there, begun = len(list(kept.glob("[0-9]*"))), sum(each.executions() for each in pair) - before
    assert there <= begun <= there + 2 and not run.path("reskins/two/output.mp4").exists()
    stopped = begun - there if number == signal.SIGINT else 0
    left = len(list(kept.glob(".*.job")))
    assert left == 0 if number == signal.SIGINT else begun - there <= left <= 2
    done(seeded(run, "two", *reversed(addresses), seconds=1.5))
    assert sum(each.executions() for each in pair) - before == WINDOWS + stopped
    assert not list(kept.glob(".*.job"))
    done(seeded(run, "one", addresses[0], seconds=0))
    assert digest(run, "one") == digest(run, "two") and not list(run.dir.rglob("*.partial"))


@pytest.mark.slow
def test_one_of_two_killed_in_mid_take_costs_the_window_that_it_had(
    make_run: MakeRun, pair: Pair, seeded: Callable[..., list[str]]
) -> None:
    run, (first, second) = make_run(FRAMES, skater=False), pair
    addresses = (first.address, second.address)
    before, second_before = sum(each.executions() for each in pair), second.executions()
    with start(seeded(run, "two", *addresses, seconds=1.5)) as process:
        until("its second window is at work", lambda: second.executions() - second_before == 2)
        second.kill()
        said, errors = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, errors
    assert f"reskin: {addresses[1]} is left out from now on" in said
    assert sum(each.executions() for each in pair) - before == WINDOWS + 1, "none twice but the one that died with it"
    done(seeded(run, "one", addresses[0], seconds=0))
    assert digest(run, "one") == digest(run, "two")


@pytest.mark.slow
def test_both_killed_is_the_end_with_all_that_was_painted_kept(
    make_run: MakeRun, pair: Pair, seeded: Callable[..., list[str]], tmp_path: Path
) -> None:
    run, first = make_run(FRAMES, skater=False), pair[0]
    with backstage(tmp_path / "third", NODES) as third:
        addresses, kept = (first.address, third.address), run.path(f"reskins/two/{FOLDER}")
        with start(seeded(run, "two", *addresses, seconds=1.5)) as process:
            until("three windows are there", lambda: len(list(kept.glob("[0-9]*"))) >= 3)
            first.kill()
            third.kill()
            _, errors = process.communicate(timeout=HANG_S)
    assert process.returncode == 3, errors
    said = ("the server at {} went away in mid-job", "no ComfyUI server answers at {}")  # the other: between two jobs
    assert any(each.format(address) in errors for each in said for address in addresses), errors
    assert len(list(kept.glob("[0-9]*"))) >= 3 and not run.path("reskins/two/output.mp4").exists()
    assert not list(run.dir.rglob("*.partial"))

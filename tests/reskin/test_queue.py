"""Jobs on several servers, without a server: who gets which, and what becomes of those whose server dies."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from handoff.errors import InputError, StorageError, UsageError
from reskin.comfy.errors import (
    JobFailed,
    JobInterrupted,
    JobsFailed,
    JobTimeout,
    ServerError,
    ServerFails,
    ServerUnreachable,
    UploadTooLarge,
)
from reskin.jobs import Job, plan_jobs, read_prompts_file, run_queue, run_windows
from reskin.nouns import parse_prompt
from tests.helpers import HANG_S

DRONE, CAR = parse_prompt("drone, samurai"), parse_prompt("toy car")
JOBS = [Job(f"job{index}", DRONE, index) for index in range(4)]


def names(jobs: list[Job]) -> list[str]:
    return [job.name for job in jobs]


def test_a_job_is_named_after_its_prompt_and_seed() -> None:
    assert plan_jobs([DRONE], None, 7, None) == [Job("drone-samurai", DRONE, 7)]
    assert plan_jobs([DRONE], "mine", 7, None) == [Job("mine", DRONE, 7)]
    assert plan_jobs([DRONE], None, 7, 2) == [
        Job("drone-samurai-seed7", DRONE, 7),
        Job("drone-samurai-seed8", DRONE, 8),
    ]
    assert names(plan_jobs([DRONE, CAR], "mine", 0, 2)) == [
        "mine-drone-samurai-seed0",
        "mine-drone-samurai-seed1",
        "mine-toy-car-seed0",
        "mine-toy-car-seed1",
    ]


def test_one_seed_is_named_too_so_that_more_may_follow() -> None:
    assert names(plan_jobs([DRONE], None, 0, 1)) == ["drone-samurai-seed0"]


@pytest.mark.parametrize("seeds", [0, -1, 1001])
def test_a_number_of_seeds_that_is_none(seeds: int) -> None:
    with pytest.raises(UsageError, match=f"--seeds {seeds} is not"):
        plan_jobs([DRONE], None, 0, seeds)


def test_prompts_that_differ_in_a_comma_have_a_folder_each() -> None:
    prompts = [parse_prompt(text) for text in ("red toy car", "red, toy car", "red toy, car")]
    planned = plan_jobs(prompts, None, 0, None)
    assert [job.prompt for job in planned] == prompts and planned[0].name == "red-toy-car"
    assert len(set(names(planned))) == 3 and all(name.startswith("red-toy-car") for name in names(planned))
    assert names(plan_jobs(prompts, "mine", 0, None))[0] == "mine-red-toy-car"


def test_one_prompt_twice_is_refused() -> None:
    with pytest.raises(UsageError, match=r"two prompts would both be reskins/toy-car; word one of them differently"):
        plan_jobs([CAR, parse_prompt("toy   car")], None, 0, None)
    assert len(set(names(plan_jobs([CAR, parse_prompt("Toy  Car!")], None, 0, None)))) == 2


def test_prompts_in_another_script_have_a_folder_each(tmp_path: Path) -> None:
    (tmp_path / "jp.txt").write_text("忍者\n侍\n", encoding="utf-8")
    planned = names(plan_jobs(read_prompts_file(tmp_path / "jp.txt"), None, 0, 2))
    assert len(set(planned)) == 4 and all(re.fullmatch(r"reskin-[0-9a-f]{8}-seed[01]", name) for name in planned)


def test_a_prompts_file_has_one_a_line(tmp_path: Path) -> None:
    (tmp_path / "variations.txt").write_text("# variations\ndrone, samurai\n\n  toy car  \r\n", encoding="utf-8")
    assert read_prompts_file(tmp_path / "variations.txt") == [DRONE, CAR]
    (tmp_path / "windows.txt").write_bytes("\ufeffdrone, samurai\r\n".encode())
    assert read_prompts_file(tmp_path / "windows.txt") == [DRONE]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"# nothing\n\n", "holds no prompt"), (b"\xff\xfe", "cannot be read"), (None, "there is no file")],
)
def test_a_prompts_file_that_cannot_be_used(content: bytes | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "variations.txt").write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_prompts_file(tmp_path / "variations.txt")


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What the servers say of their queues, other people's jobs included."""
    given = {"a:1": 0, "b:1": 0}
    monkeypatch.setattr("reskin.jobs.load", lambda address: given[address])
    monkeypatch.setattr("reskin.jobs._LOOK_S", 0.02)
    return given


class Floor:
    """Where jobs are worked on: notes who works on what; `hold` keeps a job from ending until it is let go."""

    def __init__(self, loads: dict[str, int]) -> None:
        self.loads = loads
        self.done: list[tuple[str, str]] = []
        self.most = dict.fromkeys(loads, 0)
        self.ends: dict[str, Callable[[str], None]] = {}
        self._lock = threading.Lock()
        self._now = dict.fromkeys(loads, 0)

    def work(self, job: Job, server: str, stop: threading.Event) -> None:
        with self._lock:
            self._now[server] += 1
            self.loads[server] += 1
            self.most[server] = max(self.most[server], self._now[server])
        try:
            stop.wait(0.05)
            self.ends.get(job.name, lambda server: None)(server)
            with self._lock:
                self.done.append((job.name, server))
        finally:
            with self._lock:
                self._now[server] -= 1
                self.loads[server] -= 1


def test_two_servers_share_the_jobs_and_have_one_at_a_time(loads: dict[str, int]) -> None:
    floor = Floor(loads)
    run_queue(JOBS, ["a:1", "b:1"], floor.work, lambda line: None)
    assert sorted(name for name, _ in floor.done) == names(JOBS)
    assert {server for _, server in floor.done} == {"a:1", "b:1"}
    assert floor.most == {"a:1": 1, "b:1": 1}


def test_a_server_with_other_peoples_jobs_is_left_to_them_while_another_has_fewer(loads: dict[str, int]) -> None:
    loads["b:1"] = 5
    floor = Floor(loads)
    run_queue(JOBS, ["a:1", "b:1"], floor.work, lambda line: None)
    assert floor.done == [(job.name, "a:1") for job in JOBS]


@pytest.mark.parametrize("error", [ServerUnreachable, ServerFails, UploadTooLarge])
def test_a_server_that_is_of_no_use_gives_its_job_back_and_is_not_asked_again(
    loads: dict[str, int], error: type[ServerError]
) -> None:
    floor, said = Floor(loads), list[str]()

    def die(server: str) -> None:
        if server == "b:1":
            raise error("b is of no use")

    floor.ends = {job.name: die for job in JOBS}
    run_queue(JOBS, ["b:1", "a:1"], floor.work, said.append)
    assert sorted(floor.done) == [(job.name, "a:1") for job in JOBS]
    assert [line for line in said if "left out" in line] == ["reskin: b:1 is left out from now on: b is of no use"]


@pytest.mark.parametrize("servers", [["a:1"], ["a:1", "b:1"]])
def test_files_that_no_server_takes_are_bad_input(loads: dict[str, int], servers: list[str]) -> None:
    def refuse(server: str) -> None:
        raise UploadTooLarge(f"{server} takes no file as large")

    floor = Floor(loads)
    floor.ends = {job.name: refuse for job in JOBS}
    with pytest.raises(JobsFailed, match="4 of 4 jobs failed") as caught:
        run_queue(JOBS, servers, floor.work, lambda line: None)
    assert caught.value.exit_code == 2


def test_a_job_that_fails_does_not_hold_up_the_others_and_gives_the_exit_code(loads: dict[str, int]) -> None:
    floor = Floor(loads)

    def fail(server: str) -> None:
        raise JobTimeout("too slow")

    floor.ends = {"job1": fail}
    with pytest.raises(JobsFailed) as caught:
        run_queue(JOBS, ["a:1", "b:1"], floor.work, lambda line: None)
    assert str(caught.value) == (
        "1 of 4 jobs failed; the others are kept, run the same command for the rest:\n  reskin/job1: too slow"
    )
    assert caught.value.exit_code == 11
    assert sorted(name for name, _ in floor.done) == ["job0", "job2", "job3"]


class Idle(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answer = b'{"queue_running": [], "queue_pending": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def test_a_frozen_server_holds_up_no_other_and_is_left_out_when_it_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes connections and answers nothing: the kernel does that for a stopped process."""
    for name, seconds in (("_LOOK_S", 0.05), ("_ANSWER_S", 3.0), ("_SILENT_S", HANG_S)):
        monkeypatch.setattr(f"reskin.jobs.{name}", seconds)
    with socket.create_server(("127.0.0.1", 0)) as frozen, HTTPServer(("127.0.0.1", 0), Idle) as idle:
        threading.Thread(target=idle.serve_forever, daemon=True).start()
        servers = [f"127.0.0.1:{port}" for port in (frozen.getsockname()[1], idle.server_port)]
        floor, said = Floor(dict.fromkeys(servers, 0)), list[str]()
        # patience ends when a job has ended: one that waited for the frozen server to be given up would never begin
        floor.ends = {job.name: lambda server: monkeypatch.setattr("reskin.jobs._SILENT_S", 0.0) for job in JOBS}
        frozen.setblocking(False)

        def asked() -> int:
            """How often the frozen server was asked since this was called last."""
            count = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    frozen.accept()[0].close()
                    count += 1
            return count

        def say(line: str) -> None:
            said.append(line)
            if "left out" in line:
                assert floor.done and asked()

        run_queue([*JOBS, *(replace(job, name=f"{job.name}-again") for job in JOBS)], servers, floor.work, say)
        assert not asked(), "a server that is left out is asked no more"
        idle.shutdown()
    assert len(floor.done) == 8 and {server for _, server in floor.done} == {servers[1]}
    assert [line.split(" is ")[0] for line in said if "left out" in line] == [f"reskin: {servers[0]}"]


@pytest.mark.parametrize("servers", [["a:1"], ["a:1", "b:1"]])
def test_when_every_server_is_gone_the_jobs_left_are_named(loads: dict[str, int], servers: list[str]) -> None:
    floor = Floor(loads)

    def die(server: str) -> None:
        raise ServerUnreachable(f"{server} is gone")

    floor.ends = {job.name: die for job in JOBS[1:]}
    with pytest.raises(JobsFailed) as caught:
        run_queue(JOBS, servers, floor.work, lambda line: None)
    assert [name for name, _ in floor.done] == ["job0"]
    heading, *lines = str(caught.value).splitlines()
    assert heading.startswith("3 of 4 jobs failed")
    assert [line.split(":")[0].strip() for line in lines] == ["reskin/job1", "reskin/job2", "reskin/job3"]
    assert caught.value.exit_code == 3


def test_one_job_alone_fails_with_its_own_error(loads: dict[str, int]) -> None:
    floor = Floor(loads)

    def fail(server: str) -> None:
        raise JobFailed("node 'x' failed", "its traceback")

    floor.ends = {"job0": fail}
    with pytest.raises(JobFailed, match=r"^node 'x' failed$"):
        run_queue(JOBS[:1], ["a:1", "b:1"], floor.work, lambda line: None)


@pytest.mark.parametrize("error", [KeyboardInterrupt, StorageError])
def test_ctrl_c_and_a_full_disk_stop_what_runs_and_begin_no_more(
    loads: dict[str, int], error: type[BaseException]
) -> None:
    begun: list[str] = []
    stopped: list[str] = []

    def work(job: Job, server: str, stop: threading.Event) -> None:
        begun.append(job.name)
        if server == "a:1":
            while len(begun) < 2:
                stop.wait(0.01)
            raise error("now")
        if stop.wait(HANG_S):
            stopped.append(job.name)

    with pytest.raises(error):
        run_queue(JOBS, ["a:1", "b:1"], work, lambda line: None)
    assert len(begun) == 2 and len(stopped) == 1


@pytest.mark.parametrize("servers", [[], ["a:1", "b:2"]])
def test_a_second_call_with_nothing_left_needs_no_server(servers: list[str]) -> None:
    def never(job: Job, server: str, stop: threading.Event) -> None:
        raise AssertionError(f"{job} has been done")

    run_queue([], servers, never, print)


def windows_of(floor: Floor, count: int, asked: list[str] | None = None) -> list[str]:
    """Have `count` windows, which are jobs to the floor, done on both servers; return what was said."""
    said, given = list[str](), asked if asked is not None else []

    def source() -> Iterator[Job]:
        for index in range(count):
            given.append(f"window{index}")
            yield Job(f"window{index}", DRONE, 0)

    run_windows(source(), ["a:1", "b:1"], floor.work, lambda job: job.name, threading.Event(), said.append)
    return said


def test_the_windows_of_one_reskin_are_shared_and_the_slower_server_gets_fewer(loads: dict[str, int]) -> None:
    floor, asked, ahead = Floor(loads), list[str](), list[int]()

    def at_work(server: str) -> None:
        ahead.append(len(asked) - len(floor.done))
        threading.Event().wait(0.6 if server == "b:1" else 0.0)

    floor.ends = {f"window{index}": at_work for index in range(12)}
    assert windows_of(floor, 12, asked) == []
    assert sorted(name for name, _ in floor.done) == sorted(asked) and len(asked) == 12
    shares = [sum(server == each for _, server in floor.done) for each in ("a:1", "b:1")]
    assert shares[0] > 2 * shares[1] > 0, "what is free gets the next one: nothing is shared out beforehand"
    assert floor.most == {"a:1": 1, "b:1": 1}
    assert max(ahead) <= 3, "none is asked for before a server may have it"


def test_a_dead_servers_window_goes_to_the_other_one(loads: dict[str, int]) -> None:
    floor = Floor(loads)

    def die(server: str) -> None:
        if server == "b:1":
            raise ServerUnreachable("b is gone")

    floor.ends = {f"window{index}": die for index in range(5)}
    said = windows_of(floor, 5)
    assert sorted(floor.done) == [(f"window{index}", "a:1") for index in range(5)]
    assert said == ["reskin: b:1 is left out from now on: b is gone"]


def test_a_window_that_fails_on_one_server_is_tried_on_the_other_which_goes_on_too(loads: dict[str, int]) -> None:
    floor = Floor(loads)

    def fail(server: str) -> None:
        if server == "b:1":
            raise JobFailed("b found no memory.")

    floor.ends = {"window1": fail, "window0": fail}
    said = windows_of(floor, 8)
    assert sorted(name for name, _ in floor.done) == [f"window{index}" for index in range(8)]
    assert {"a:1", "b:1"} == {server for _, server in floor.done}
    assert set(said) == {"reskin: b found no memory. Another server gets it."}


def test_a_window_that_fails_on_all_servers_ends_it_when_those_at_work_have_ended(loads: dict[str, int]) -> None:
    floor, tried = Floor(loads), list[str]()

    def fail(server: str) -> None:
        tried.append(server)
        raise JobTimeout(f"too slow on {server}")

    floor.ends = {"window0": fail, "window1": lambda server: threading.Event().wait(0.5)}
    with pytest.raises(JobTimeout, match="too slow on ") as caught:
        windows_of(floor, 50)
    assert sorted(tried) == ["a:1", "b:1"] and str(caught.value).endswith(tried[-1]), "each once"
    assert "window1" in dict(floor.done) and len(floor.done) < 30, "what was begun is kept, and no more is begun"


def test_a_window_that_somebody_stopped_is_not_begun_elsewhere(loads: dict[str, int]) -> None:
    floor, tried = Floor(loads), list[str]()

    def stop(server: str) -> None:
        tried.append(server)
        raise JobInterrupted("the job was stopped on the server")

    floor.ends = {"window2": stop}
    with pytest.raises(JobInterrupted):
        windows_of(floor, 50)
    assert len(tried) == 1


def test_windows_left_when_every_server_is_gone_are_its_error(loads: dict[str, int]) -> None:
    floor = Floor(loads)

    def die(server: str) -> None:
        raise ServerUnreachable(f"{server} is gone")

    floor.ends = {f"window{index}": die for index in range(2, 6)}
    with pytest.raises(ServerUnreachable, match="is gone"):
        windows_of(floor, 6)
    assert sorted(name for name, _ in floor.done) == ["window0", "window1"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, StorageError])
def test_a_full_disk_stops_the_windows_at_work(loads: dict[str, int], error: type[BaseException]) -> None:
    stopped, begun = list[str](), threading.Barrier(2)

    def work(job: Job, server: str, stop: threading.Event) -> None:
        begun.wait(HANG_S)
        if server == "a:1":
            raise error("now")
        stopped.append(job.name) if stop.wait(HANG_S) else None

    source = (Job(f"window{index}", DRONE, 0) for index in range(9))
    with pytest.raises(error):
        run_windows(source, ["a:1", "b:1"], work, lambda job: job.name, threading.Event(), print)
    assert len(stopped) == 1

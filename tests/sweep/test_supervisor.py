"""What is left of a plan, and what is forgotten of one whose results are not there; whoever is left at work."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sweep import cli, supervisor
from sweep.errors import SweepError
from sweep.executor import Executor
from sweep.folder import alone_in, end_jobs, held_jobs
from sweep.outcomes import broken_off
from sweep.profile import Profile
from sweep.supervisor import forget_what_is_gone
from tests.helpers import until
from tests.sweep.plans import REPORT, SweepFolder, cells, extract_for, finish, judge_for, undone, write


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path)


@pytest.fixture
def plan(sweep: SweepFolder) -> dict[str, Any]:
    """A plan of two batches of one cell each, all done."""
    plan = sweep.plan()
    finish(plan)
    return plan


def left(plan: dict[str, Any]) -> list[int]:
    """Return the seeds of the batches that are to be done."""
    return [cell["seed"] for batch in undone(plan) for cell in batch["cells"]]


def markers(plan: dict[str, Any], folder: str) -> list[str]:
    return sorted(path.name for path in (Path(plan["folder"]) / folder).glob("*.json"))


def outcome_file(plan: dict[str, Any], cell: dict[str, Any]) -> Path:
    return Path(plan["folder"]) / "cells" / cell["run"] / f"{cell['reskin']}.json"


def test_nothing_is_left_of_what_is_done(plan: dict[str, Any]) -> None:
    everything = sorted(Path(plan["folder"]).rglob("*"))
    assert left(plan) == []
    forget_what_is_gone(plan)
    assert sorted(Path(plan["folder"]).rglob("*")) == everything


def _gone(plan: dict[str, Any], cell: dict[str, Any], reskin: Path) -> None:
    (reskin / REPORT).unlink()


def _rewritten(plan: dict[str, Any], cell: dict[str, Any], reskin: Path) -> None:
    time.sleep(0.01)
    (reskin / REPORT).write_text((reskin / REPORT).read_text())


def _larger(plan: dict[str, Any], cell: dict[str, Any], reskin: Path) -> None:
    before = (reskin / REPORT).stat()
    with (reskin / REPORT).open("a") as file:
        file.write(" ")
    os.utime(reskin / REPORT, ns=(before.st_atime_ns, before.st_mtime_ns))


def _no_clip(plan: dict[str, Any], cell: dict[str, Any], reskin: Path) -> None:
    (reskin / "output.mp4").unlink()


def _job_failed(plan: dict[str, Any], cell: dict[str, Any], reskin: Path) -> None:
    judge_for(plan, cell, 3)


def _other_key(plan: dict[str, Any], cell: dict[str, Any], reskin: Path) -> None:
    judge_for(plan, cell | {"key": "0" * 64})


def _no_outcome(plan: dict[str, Any], cell: dict[str, Any], reskin: Path) -> None:
    outcome_file(plan, cell).unlink()


def _half_an_outcome(plan: dict[str, Any], cell: dict[str, Any], reskin: Path) -> None:
    file = outcome_file(plan, cell)
    file.write_text(file.read_text()[:40])


def _no_text(plan: dict[str, Any], cell: dict[str, Any], reskin: Path) -> None:
    outcome_file(plan, cell).write_bytes(b"\xff\xfe\x00")


def _other_cell(plan: dict[str, Any], cell: dict[str, Any], reskin: Path) -> None:
    file = outcome_file(plan, cell)
    file.write_text(file.read_text().replace("-seed0-", "-seed9-"))


def _pipe(plan: dict[str, Any], cell: dict[str, Any], reskin: Path) -> None:
    outcome_file(plan, cell).unlink()
    os.mkfifo(outcome_file(plan, cell))


FAULTS = [
    *(_gone, _rewritten, _larger, _no_clip, _job_failed, _other_key),
    *(_no_outcome, _half_an_outcome, _no_text, _other_cell, _pipe),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: each.__name__.strip("_"))
def test_a_cell_whose_verdict_does_not_stand_is_done_again_alone(
    plan: dict[str, Any], fault: Callable[[dict[str, Any], dict[str, Any], Path], None]
) -> None:
    first, second = cells(plan)
    fault(plan, first, Path(plan["data"]) / "runs" / first["run"] / "reskins" / first["reskin"])
    assert left(plan) == [0]
    forget_what_is_gone(plan)
    assert markers(plan, "painted") == [f"{plan['batches'][1]['id']}.json"]
    assert not outcome_file(plan, first).exists() and outcome_file(plan, second).exists()
    assert markers(plan, "extracted"), "the clip is not extracted again"


@pytest.mark.parametrize("name", ["mask.mp4", "human_mask.mp4", "pose.json", "source.mp4", "run.json"])
def test_a_run_that_misses_what_reskins_need_is_extracted_again(plan: dict[str, Any], name: str) -> None:
    (Path(plan["data"]) / "runs" / "line" / name).unlink()
    forget_what_is_gone(plan)
    assert markers(plan, "extracted") == []


def test_a_run_that_another_command_extracted_otherwise_is_extracted_again(plan: dict[str, Any]) -> None:
    write(Path(plan["data"]) / "runs" / "line" / "run.json", '{"other": 1}')
    forget_what_is_gone(plan)
    assert markers(plan, "extracted") == []


def test_a_failed_extraction_is_tried_again(plan: dict[str, Any]) -> None:
    file = write(Path(plan["folder"]) / "failed" / f"{plan['extractions'][0]['id']}.json")
    forget_what_is_gone(plan)
    assert not file.exists()


def test_a_folder_in_place_of_a_marker_is_said(plan: dict[str, Any]) -> None:
    outcome_file(plan, cells(plan)[0]).unlink()
    marker = Path(plan["folder"]) / "painted" / f"{plan['batches'][0]['id']}.json"
    marker.unlink()
    marker.mkdir()
    with pytest.raises(SweepError, match=re.escape(f"cannot remove {marker} (Is a directory); remove it by hand.")):
        forget_what_is_gone(plan)


def test_an_earlier_failure_is_not_told_as_news(plan: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    judge_for(plan, cells(plan)[0], 3)
    supervisor.Reporter(plan).look()
    forget_what_is_gone(plan)
    reporter = supervisor.Reporter(plan)
    reporter.look()
    assert capsys.readouterr().out == ""
    judge_for(plan, cells(plan)[0], 0)
    reporter.look()
    assert capsys.readouterr().out == "[2/2] line, drone, samurai, seed 0: pass (1 s)\n"


def test_a_job_that_was_killed_is_named_with_its_log(sweep: SweepFolder) -> None:
    plan, logs = sweep.plan(), sweep.folder / "logs"
    clip, (first, second) = plan["extractions"][0]["id"], [batch["id"] for batch in plan["batches"]]
    never = f"job {clip} ended before 2 cells had verdicts: it never began, and logs/snakemake.log says why"
    assert [*broken_off(plan)] == [never]
    write(logs / f"{clip}.log", "--- 14:00\nerror: of before\n--- 14:01\nposegen: ...\n")
    killed = f"job {clip} ended before 2 cells had verdicts: it was killed, or ran out of memory (logs/{clip}.log)"
    assert [*broken_off(plan)] == [killed]
    extract_for(plan)
    judge_for(plan, cells(plan)[0])
    write(logs / f"{second}.log", "--- 14:01\nerror: cannot write x (No space left on device); free some room.\n")
    assert [*broken_off(plan)] == [
        f"job {second} ended before 1 cell had a verdict: "
        f"cannot write x (No space left on device); free some room. (logs/{second}.log)"
    ]
    judge_for(plan, cells(plan)[1], 2)
    assert [*broken_off(plan)] == [], "a cell that failed has an outcome"
    assert first not in "".join(broken_off(plan))


HOLD = """
import fcntl, os, signal, sys, time
if sys.argv[3] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX)
os.write(file, f"{sys.argv[2]} {os.getpid()}\\n".encode())
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start what holds a job's lock as a job of `host` does."""
    begun: list[subprocess.Popen[str]] = []

    def start(lock: Path, host: str = socket.gethostname(), how: str = "") -> subprocess.Popen[str]:
        lock.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", HOLD, str(lock), host, how]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def test_jobs_that_are_left_are_waited_for_whatever_plan_they_are_of(
    plan: dict[str, Any], holder: Callable[..., subprocess.Popen[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    process = holder(Path(plan["folder"]) / "logs" / "of-another-plan.lock")
    waiting = threading.Thread(target=Executor(plan).wait_for_left, args=(lambda: None,))
    waiting.start()
    waiting.join(1.5)
    assert waiting.is_alive()
    process.kill()
    waiting.join(60)
    assert not waiting.is_alive()
    assert "an earlier sweep left 1 job at work (of-another-plan, ...): waiting" in capsys.readouterr().out


def test_jobs_of_this_machine_are_ended_and_of_no_other(
    tmp_path: Path, holder: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweep.folder.END_S", 1.0)
    mine, stubborn = holder(tmp_path / "logs" / "a.lock"), holder(tmp_path / "logs" / "b.lock", how="stubborn")
    other = holder(tmp_path / "logs" / "c.lock", "another-machine")
    end_jobs(tmp_path)
    assert mine.wait(60) == -signal.SIGTERM and stubborn.wait(60) == -signal.SIGKILL and other.poll() is None
    assert held_jobs(tmp_path) == [tmp_path / "logs" / "c.lock"]


def test_a_lock_file_that_names_nobody_ends_nobody(tmp_path: Path) -> None:
    for text in ("", f"{socket.gethostname()} 1\n", f"{socket.gethostname()} -1\n", "x\n", "\x00" * 9):
        write(tmp_path / "logs" / "a.lock", text)
        with (tmp_path / "logs" / "a.lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            assert held_jobs(tmp_path)
            end_jobs(tmp_path)


SNAKEMAKE = """
import os, signal, sys, time
how = sys.argv[1]
signal.signal(signal.SIGINT, signal.SIG_IGN if "deaf" in how else signal.default_int_handler)
if how == "very deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("begun", flush=True)
if how == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(600)
"""


@pytest.mark.parametrize(("how", "signals"), [("", 1), ("deaf", 1), ("very deaf", 1), ("very deaf", 3)])
def test_what_does_not_end_when_it_is_asked_is_ended_otherwise(
    sweep: SweepFolder, monkeypatch: pytest.MonkeyPatch, how: str, signals: int
) -> None:
    plan = sweep.plan()
    (sweep.folder / "logs").mkdir(parents=True)
    monkeypatch.setattr(supervisor, "command", lambda *_: [sys.executable, "-c", SNAKEMAKE, how])
    monkeypatch.setattr(supervisor, "END_S", 1.5)
    monkeypatch.setattr(supervisor, "POLL_S", 0.1)
    log, ended = sweep.folder / supervisor.SNAKEMAKE_LOG, []
    executor = Executor(plan)
    monkeypatch.setattr(executor, "end", lambda: ended.append(True))

    def interrupt() -> None:
        until("it has begun", lambda: log.exists() and b"begun" in log.read_bytes())
        for _ in range(signals):  # make, the runner and the terminal say it at once: that is one wish
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)

    thread = threading.Thread(target=interrupt)
    thread.start()
    began = time.monotonic()
    code = supervisor.snakemake(plan, sweep.folder, [], executor)
    thread.join()
    assert code == 130 and ended == [True] and time.monotonic() - began < 60


def test_what_is_ignored_stays_ignored(sweep: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "command", lambda *_: [sys.executable, "-c", "import time; time.sleep(1)"])
    (sweep.folder / "logs").mkdir(parents=True)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        thread = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        thread.start()
        plan = sweep.plan()
        assert supervisor.snakemake(plan, sweep.folder, [], Executor(plan)) == 0
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_snakemake_that_is_killed_is_started_once_more_when_its_jobs_have_ended(
    sweep: SweepFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, begun = sweep.plan(), []

    def command(*_: object) -> list[str]:
        begun.append(True)
        return [sys.executable, "-c", SNAKEMAKE, "killed"]

    monkeypatch.setattr(supervisor, "command", command)
    file = write(sweep.folder / "plan.json")
    assert supervisor.carry_out(plan, file, Profile.named("local"), [], 300.0) == 3
    said = capsys.readouterr()
    assert len(begun) == 2 and "Snakemake was killed by signal 9" in said.out
    assert "ended before 2 cells had verdicts: it never began, and logs/snakemake.log says why" in said.err


def test_two_sweeps_of_one_folder_are_not_at_work_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.folder.SOON_S", 0.5)
    refused = pytest.raises(SweepError, match="another command is at work")
    with alone_in(tmp_path / "mine"), refused as refusal, alone_in(tmp_path / "mine"):
        pass
    assert refusal.value.exit_code == 2


def test_a_data_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    file = write(tmp_path / "file")
    refused = pytest.raises(SweepError, match=r"cannot write .*file/sweeps/mine \(Not a directory\)")
    with refused as refusal, alone_in(file / "sweeps" / "mine"):
        pass
    assert refusal.value.exit_code == 3


class Test_the_command_line:
    """`python -m sweep`: what no sweep is needed for."""

    @pytest.mark.parametrize(
        "words",
        [
            ["mine.yaml", "--", "--cores", "3"],
            ["mine.yaml", "--profile", "local", "--", "--cores", "3"],
            ["mine.yaml", "--profile", "local", "-n", "--", "--cores", "3"],
        ],
    )
    def test_what_stands_behind_two_dashes_is_for_snakemake(
        self, words: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[list[str]] = []
        monkeypatch.setattr(cli, "_sweep", lambda given, more: seen.append(more) or 0)
        assert cli.main(words) == 0 and seen == [["--cores", "3"]]

    @pytest.mark.parametrize(
        ("error", "code", "said"),
        [
            (RuntimeError("x"), 70, "error: RuntimeError, which nobody foresaw"),
            (
                OSError(28, "No space left on device", "/d/x"),
                3,
                "error: No space left on device: /d/x cannot be written",
            ),
            (KeyboardInterrupt(), 130, "error: interrupted; the same command goes on."),
            (SweepError("a sentence", 2), 2, "error: a sentence"),
        ],
    )
    def test_no_error_ends_with_the_code_of_a_gate_that_fails(
        self,
        error: BaseException,
        code: int,
        said: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def fail(*_: object) -> int:
            raise error

        monkeypatch.setattr(cli, "_sweep", fail)
        assert cli.main(["mine.yaml"]) == code
        assert said in capsys.readouterr().err

    def test_a_gate_that_fails_says_so_by_a_word_of_its_own_to_the_runner(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cli, "_sweep", lambda *_: 1)
        assert cli.main(["mine.yaml"]) == 1
        monkeypatch.setenv("SKATE_FAILED_AS", "101")
        assert cli.main(["mine.yaml"]) == 101

    def test_a_profile_that_is_not_there_is_said(self) -> None:
        with pytest.raises(SweepError, match=r"there is no profile slurmm; it is one of .*local.*, or a folder"):
            Profile.named("slurmm")

    def test_json_in_place_of_a_plan_is_quoted_for_the_shell(self, sweep: SweepFolder) -> None:
        sweep.folder.mkdir(parents=True)
        words = supervisor.command(sweep.plan(), sweep.folder / "plans.json", sweep.folder)
        told = json.loads((sweep.folder / "plans.config.json").read_text())
        assert words[words.index("--configfile") + 1] == str(sweep.folder / "plans.config.json")
        assert list(told["batches"]) == [batch["id"] for batch in sweep.plan()["batches"]]

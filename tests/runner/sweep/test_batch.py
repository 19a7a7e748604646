"""One job of a sweep: what it makes of how its commands end, and of a folder that is full, busy or not its own."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from handoff.errors import BusyError
from handoff.run import Run
from runner.process import ROOT, RunnerError
from runner.sweep import batch
from runner.sweep.batch import Desk
from tests.helpers import SOURCE


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "logs").mkdir()
    return Desk(tmp_path, "job", None)


def ended(code: int, *said: str) -> Callable[[], int]:
    def command() -> int:
        for line in said:
            os.write(2, f"{line}\n".encode())
        return code

    return command


Run_command = Callable[[Callable[[], int]], tuple[int, str | None]]


@pytest.fixture
def run(desk: Desk, capfd: pytest.CaptureFixture[str]) -> Run_command:
    """Run a command as a job does, with everything that is printed in its log."""

    def run(command: Callable[[], int]) -> tuple[int, str | None]:
        with capfd.disabled(), batch._logged(desk.folder / desk.log):
            return batch._run(desk, command)

    return run


def sweep_job(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a job as Snakemake does."""
    return subprocess.run(
        [sys.executable, "-s", str(ROOT / "runner"), "sweep-job", *words],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TMPDIR": str(folder), "GPU": "off", "RUNNER": "local"},
        cwd=folder,
    )


def failing(error: BaseException) -> Callable[[], int]:
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (ended(0, "error: of a step that was mended"), 0, None),
        (ended(1, "FAILED: 3 frames"), 1, "FAILED: 3 frames"),
        (ended(2, "error: one", "error: two", "more"), 2, "error: two"),
        (ended(9), 9, None),
        (ended(137, "error: \x1b[31mkilled"), 137, "error: \x1b[31mkilled"),
        (failing(RunnerError("a sentence", 2)), 2, "error: a sentence"),
        (failing(KeyboardInterrupt()), 130, None),
        (failing(OSError(28, "No space left on device")), 3, "error: OSError, which nobody foresaw"),
        (failing(ValueError("x")), 70, "error: ValueError, which nobody foresaw"),
    ],
)
def test_what_a_command_ends_with_is_told_with_its_own_error(
    desk: Desk, run: Run_command, command: Callable[[], int], code: int, said: str | None
) -> None:
    (desk.folder / desk.log).write_text("error: of an earlier job\n")
    got = run(command)
    assert got[0] == code
    assert got[1] == said or (said is not None and got[1] is not None and got[1].startswith(said))


def test_a_run_that_another_process_has_is_waited_for(
    desk: Desk, run: Run_command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the very sentence with which a stage refuses."""
    monkeypatch.setattr(batch, "BUSY_POLL_S", 0.05)
    lock = tmp_path / "run" / ".lock"
    lock.parent.mkdir()
    tries = []
    holder = os.open(lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(holder, fcntl.LOCK_EX)

    def command() -> int:
        tries.append(time.monotonic())
        if len(tries) == 3:
            os.close(holder)
        try:
            with Run(lock.parent, {"source": SOURCE}).lock():
                return 1
        except BusyError as error:
            os.write(2, f"error: {error}\n".encode())
            return error.exit_code

    assert run(command) == (1, None)
    assert len(tries) == 3
    log = (desk.folder / desk.log).read_text()
    assert log.count("another process is") == 2 and log.count("that is waited for") == 1


def plan(folder: Path, **cell: Any) -> Path:
    """Write the plan of a sweep of one cell whose run is not there."""
    told = {"run": "line", "reskin": "drone", "prompt": "drone", "seed": 0, "key": "k", "arguments": []} | cell
    told["arguments"] = ["--run", "line", "--prompt", "drone", "--seed", "0", "--name", "drone", *told["arguments"]]
    made = {
        **{"schema": 1, "name": "mine", "folder": str(folder / "data" / "sweeps" / "mine")},
        **{"data": str(folder / "data"), "until_pass": 1, "gpus": None},
        "extractions": [{"id": "line-1", "run": "line", "clip": "/no.mp4", "arguments": ["-i", "/no.mp4"]}],
        "batches": [{"id": "line-000-2", "extraction": "line-1", "cells": [told]}],
    }
    path = folder / "plan.json"
    path.write_text(json.dumps(made))
    return path


def outcome(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "data" / "sweeps" / "mine" / f"{name}.json").read_text())
    return found


def test_an_extraction_that_fails_is_an_outcome_and_is_not_tried_twice(tmp_path: Path) -> None:
    path = plan(tmp_path)
    assert sweep_job([str(path), "extract", "line-1", "1"], tmp_path).returncode == 2
    told = outcome(tmp_path, "failed/line-1")
    assert (told["code"], told["said"]) == (2, "error: there is no file /no.mp4; check the path.")
    assert told["log"] == "logs/line-1.log"
    assert sweep_job([str(path), "extract", "line-1", "2"], tmp_path).returncode == 2
    assert outcome(tmp_path, "failed/line-1") == told, "it is as the first attempt left it"
    assert sweep_job([str(path), "extract", "line-1", "1"], tmp_path).returncode == 2
    log = (tmp_path / "data" / "sweeps" / "mine" / "logs" / "line-1.log").read_text()
    assert log.count("there is no file /no.mp4") == 2


def test_a_cell_that_fails_is_an_outcome_and_its_job_ends_well(tmp_path: Path) -> None:
    path = plan(tmp_path)
    assert sweep_job([str(path), "paint", "line-000-2"], tmp_path).returncode == 0
    told = outcome(tmp_path, "cells/line/drone")
    assert told["code"] == 2 and told["key"] == "k" and told["result"] is None
    assert "/line is not a run folder (it has no run.json)" in told["said"]
    assert outcome(tmp_path, "painted/line-000-2")["cells"] == {"line/drone": 2}


def test_a_job_writes_into_its_lock_who_it_is(tmp_path: Path) -> None:
    job = sweep_job([str(plan(tmp_path)), "paint", "line-000-2"], tmp_path)
    assert job.returncode == 0 and job.stdout + job.stderr == "", "all of it is in the log"
    lock = tmp_path / "data" / "sweeps" / "mine" / "logs" / "line-000-2.lock"
    host, process = lock.read_text().split()
    log = lock.with_suffix(".log").read_text()
    assert host == socket.gethostname() and f"line-000-2: {host}, GPU none, process {process}\n" in log


def test_a_cell_without_its_clip_is_painted_again(tmp_path: Path) -> None:
    """A report alone is not what was asked for; with output.mp4 it is."""
    path, sweep = plan(tmp_path), tmp_path / "data" / "sweeps" / "mine"
    reskin = tmp_path / "data" / "runs" / "line" / "reskins" / "drone"
    (reskin / "report").mkdir(parents=True)
    report = reskin / "report" / "iou.json"
    report.write_text("{}")
    said = {"schema": 1, "id": "line/drone", "key": "k", "code": 1, "result": batch._mark(report)}
    (sweep / "cells" / "line").mkdir(parents=True)
    (sweep / "cells" / "line" / "drone.json").write_text(json.dumps(said))
    (reskin / "output.mp4").write_bytes(b"clip")
    assert sweep_job([str(path), "paint", "line-000-2"], tmp_path).returncode == 0
    assert outcome(tmp_path, "cells/line/drone") == said
    (reskin / "output.mp4").unlink()
    assert sweep_job([str(path), "paint", "line-000-2"], tmp_path).returncode == 0
    assert outcome(tmp_path, "cells/line/drone")["code"] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "usage: python runner sweep-job"),
        (["plan.json", "draw", "x"], "usage: python runner sweep-job"),
        (["none.json", "paint", "x"], "none.json has no job x to paint; start the sweep again."),
        (["plan.json", "extract", "line-000-2"], "plan.json has no job line-000-2 to extract"),
    ],
)
def test_a_job_that_no_plan_has_is_refused(tmp_path: Path, words: list[str], said: str) -> None:
    plan(tmp_path)
    job = sweep_job(words, tmp_path)
    assert job.returncode == 2 and job.stderr.startswith(f"error: {said}"), job.stderr


def test_a_log_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """/dev/full says what a full disk says."""
    path, logs = plan(tmp_path), tmp_path / "data" / "sweeps" / "mine" / "logs"
    logs.mkdir(parents=True)
    (logs / "line-1.log").symlink_to("/dev/full")
    job = sweep_job([str(path), "extract", "line-1"], tmp_path)
    assert job.returncode == 3 and "Traceback" not in job.stderr
    assert (
        job.stderr == f"error: cannot write {logs / 'line-1.log'} (No space left on device); "
        "free some room, then run the same command again.\n"
    )
    (logs / "line-1.log").unlink()
    logs.rmdir()
    logs.write_text("")
    job = sweep_job([str(path), "extract", "line-1"], tmp_path)
    assert job.returncode == 3 and job.stderr.startswith(f"error: cannot write {logs / 'line-1.log'} (")

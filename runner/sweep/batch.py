"""One job of a sweep: the extraction of a clip, or a batch of cells, which share a GPU and one ComfyUI server.

    python runner sweep-job PLAN extract|paint ID [ATTEMPT]

sweep/Snakefile starts it, wherever the job is to run. What came of each cell is known by its outcome, a small file that
is written as soon as the cell is judged. So a job that was killed and is started again does only what has none; and the
commands that it runs go on where they were.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runner import runs
from runner.extract import extract
from runner.holds import locked, write_text
from runner.process import INTERRUPTED, RunnerError
from runner.reskin import Server, planned_windows, reskin
from runner.stages import comfyui
from runner.sweep.gpus import held, slots

SCHEMA = 1
LARGEST_PLAN = 2**28
VERDICTS = (0, 1)
REPORT = Path("report") / "iou.json"
STOPPED = (INTERRUPTED, 143)
"""Exit codes of a command that somebody ended: nothing came of it yet."""
BAD_USAGE, NO_ROOM, FAULT = 2, 3, 70
BUSY = "error: another process is "
"""How a stage begins that does not find a run, or a reskin, free (handoff/run.py)."""
BUSY_POLL_S = 2.0


@dataclass(frozen=True)
class Desk:
    """A sweep's folder, and which job of it this is. gpu: the index that it holds, None where there is none."""

    folder: Path
    job: str
    gpu: str | None

    @property
    def log(self) -> str:
        """Where the job prints to, as a path in the folder."""
        return f"logs/{self.job}.log"

    def write(self, name: str, outcome: dict[str, Any]) -> None:
        """Write an outcome, whole or not at all; RunnerError where that cannot be done."""
        path = self.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(outcome, indent=1) + "\n")
        except OSError as error:
            raise runs.unwritable(path, error) from error

    def outcome(self, name: str, began: datetime, code: int, said: str | None, **more: Any) -> dict[str, Any]:
        """Return what an outcome says."""
        return {
            "schema": SCHEMA,
            "id": name,
            "key": None,
            "code": code,
            "seconds": round((datetime.now(UTC) - began).total_seconds(), 1),
            "began": began.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "host": socket.gethostname(),
            "gpu": self.gpu,
            "log": self.log,
            "said": said,
            "result": None,
        } | more


def sweep_job(arguments: list[str]) -> int:
    """Do one job of a plan; return 0 when each thing in it has an outcome, else what it ended with."""
    if len(arguments) not in (3, 4) or arguments[1] not in ("extract", "paint"):
        raise RunnerError("usage: python runner sweep-job PLAN extract|paint ID [ATTEMPT]", 2)
    path, what, job = Path(arguments[0]), arguments[1], arguments[2]
    attempt = int(arguments[3]) if len(arguments) == 4 and arguments[3].isdigit() else 1
    plan = runs.read_manifest(path, LARGEST_PLAN)
    found = runs.within(plan, "extractions" if what == "extract" else "batches")
    mine = next((each for each in found or () if runs.within(each, "id") == job), None)
    if mine is None:
        raise RunnerError(f"{path} has no job {job} to {what}; start the sweep again.", 2)
    folder = Path(plan["folder"])
    os.environ["DATA_DIR"] = plan["data"]  # wherever the job runs
    log, lock = folder / "logs" / f"{job}.log", folder / "logs" / f"{job}.lock"
    with _logged(log), locked(lock) as mine_alone, held(slots(plan["gpus"])) as gpu:
        _sign(mine_alone)
        desk = Desk(folder, job, gpu)
        print(f"{job}: {socket.gethostname()}, GPU {gpu or 'none'}, process {os.getpid()}", flush=True)
        return _extract(desk, plan, mine, attempt) if what == "extract" else _paint(desk, mine)


def _sign(lock: int | None) -> None:
    """Write into the job's lock file who has it, so that the sweep can end a job whose parent is gone."""
    if lock is not None:
        with contextlib.suppress(OSError):
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{socket.gethostname()} {os.getpid()}\n".encode(), 0)


def _extract(desk: Desk, plan: Any, extraction: Any, attempt: int) -> int:
    done, failed = f"extracted/{desk.job}.json", f"failed/{desk.job}.json"
    if attempt > 1 and (before := runs.read_manifest(desk.folder / failed)) is not None:
        return int(runs.within(before, "code") or FAULT)  # it came to its end; only what was killed is tried again
    began = datetime.now(UTC)
    code, said = _run(desk, functools.partial(extract, extraction["arguments"]))
    if code in STOPPED:
        return code
    if code == 0:
        first = next(cell for batch in plan["batches"] if batch["extraction"] == desk.job for cell in batch["cells"])
        windows = _windows(first["arguments"])
        result = _mark(runs.run_folder(extraction["run"]) / runs.MANIFEST)
        desk.write(done, desk.outcome(desk.job, began, code, said, windows=windows, result=result))
    else:
        desk.write(failed, desk.outcome(desk.job, began, code, said))
    return code


def _windows(arguments: list[str]) -> int | None:
    """Return how many windows a cell has; None where that cannot be said: what is wrong, the cell itself will say."""
    try:
        return planned_windows(arguments)
    except RunnerError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return None


def _paint(desk: Desk, batch: Any) -> int:
    codes = {}
    with _Serving(desk) as serving:
        for cell in batch["cells"]:
            name = f"{cell['run']}/{cell['reskin']}"
            folder = runs.run_folder(cell["run"]) / runs.RESKINS / cell["reskin"]
            before = runs.read_manifest(desk.folder / f"cells/{name}.json")
            if _holds(before, cell["key"], folder):
                print(f"{name}: done before, exit code {before['code']}", flush=True)
                codes[name] = before["code"]
                continue
            print(f"{name}: {cell['prompt']}, seed {cell['seed']}", flush=True)
            began = datetime.now(UTC)
            code, said = _run(desk, functools.partial(reskin, cell["arguments"], serving.server))
            if code in STOPPED:
                return code
            if code not in VERDICTS:
                serving.stop()  # whatever it was: the next cell has a server of its own
            more = {"key": cell["key"], "result": _mark(folder / REPORT) if code in VERDICTS else None}
            desk.write(f"cells/{name}.json", desk.outcome(name, began, code, said, **more))
            codes[name] = code
    desk.write(f"painted/{desk.job}.json", {"schema": SCHEMA, "id": desk.job, "cells": codes})
    return 0


def _holds(outcome: Any, key: str, reskin: Path) -> bool:
    """Say whether an outcome is a verdict on what is asked for, and clip and report are still there.

    sweep/outcomes.py has the same for the sweep, which does not import this.
    """
    if runs.within(outcome, "code") not in VERDICTS or runs.within(outcome, "key") != key:
        return False
    mark = _mark(reskin / REPORT)
    return mark is not None and runs.within(outcome, "result") == mark and (reskin / "output.mp4").is_file()


def _mark(report: Path) -> list[int] | None:
    """Return size and time of a report, None where there is none."""
    try:
        stat = report.stat(follow_symlinks=False)
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns]


class _Serving:
    """The batch's server: started when a cell first needs it, stopped with the batch. Each one has its own log."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._started = 0
        self._stack = contextlib.ExitStack()
        self._server: Server | None = None

    def __enter__(self) -> _Serving:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def server(self) -> Server:
        """Return the server, which is started where there is none."""
        if self._server is None:
            self._started += 1
            log = self._desk.folder / "logs" / f"{self._desk.job}.comfyui-{os.getpid()}-{self._started}.log"
            self._server = self._stack.enter_context(comfyui(log))
        return self._server

    def stop(self) -> None:
        """Stop it where there is one."""
        self._server = None
        self._stack.close()


def _run(desk: Desk, command: Callable[[], int]) -> tuple[int, str | None]:
    """Run a command in this process; return its exit code, and the last error that it printed.

    Where another process is at work on the same run or reskin, another sweep's job, a user's own command or what is
    left of a job that was killed, that is waited for.
    """
    told = False
    while True:
        code, said = _run_once(desk, command)
        if code != BAD_USAGE or said is None or not said.startswith(BUSY):
            return code, said
        if not told:
            print("that is waited for", flush=True)
            told = True
        time.sleep(BUSY_POLL_S)


def _run_once(desk: Desk, command: Callable[[], int]) -> tuple[int, str | None]:
    log = desk.folder / desk.log
    begin = log.stat().st_size
    try:
        code = command()
    except RunnerError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        code = error.exit_code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        traceback.print_exc()
        print(f"error: {type(error).__name__}, which nobody foresaw (above is where); report it.", file=sys.stderr)
        code = NO_ROOM if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT) else FAULT
    return code, _last_error(log, begin) if code else None


def _last_error(log: Path, begin: int) -> str | None:
    with log.open("rb") as file:
        file.seek(max(begin, log.stat().st_size - 2**16))
        lines = file.read(2**16).decode("utf-8", "replace").splitlines()
    errors = [line for line in lines if line.startswith(("error: ", "FAILED: "))]
    return errors[-1][:1000] if errors else None


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Have everything that this process and its children print in a file, at its end."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError as error:
        raise runs.unwritable(path, error) from error
    sys.stdout.flush()
    sys.stderr.flush()
    before = [os.dup(number) for number in (1, 2)]
    try:
        for number in (1, 2):
            os.dup2(descriptor, number)
        os.close(descriptor)
        try:
            os.write(1, f"--- {time.strftime('%Y-%m-%d %H:%M:%S')}\n".encode())
        except OSError as error:
            raise runs.unwritable(path, error) from error
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # the disk is full
                stream.flush()
        for number, old in enumerate(before, 1):
            os.dup2(old, number)
            os.close(old)

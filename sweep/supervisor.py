"""Has Snakemake do a plan, says what comes of each cell, and ends it in order.

Snakemake decides what is done when, from files alone: extracted/ID.json and painted/ID.json of the sweep's folder. Here
is what it leaves open: jobs that an earlier sweep left behind are found and waited for; a batch that has a cell without
a verdict is done again; Ctrl-C and SIGTERM end the jobs too; and where a cluster's controller does not answer any more,
the sweep ends, and does not hang.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sweep.errors import SweepError
from sweep.folder import is_held, write_text
from sweep.outcomes import VERDICTS, Outcome, extraction_of, is_done, outcome_of
from sweep.profile import Profile
from sweep.table import write_table

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "python3.11"
"""What starts the product's commands, as make does."""
POLL_S = 1.0
SNAKEMAKE_LOG = Path("logs") / "snakemake.log"
INTERRUPTED = 130
END_S = 20.0
"""Seconds that local jobs have to end in after Ctrl-C."""
_PR_SET_PDEATHSIG = 1


def undone(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the batches that have a cell without a verdict that still stands."""
    return [batch for batch in plan["batches"] if any(not _verdict(plan, cell) for cell in batch["cells"])]


def _verdict(plan: dict[str, Any], cell: dict[str, Any]) -> bool:
    return is_done(outcome_of(Path(plan["folder"]), cell), cell, Path(plan["data"]) / "runs")


def forget_what_is_gone(plan: dict[str, Any]) -> None:
    """Remove what would have Snakemake take a job for done whose results are not there, and failures of before."""
    folder, runs = Path(plan["folder"]), Path(plan["data"]) / "runs"
    for batch in undone(plan):
        (folder / "painted" / f"{batch['id']}.json").unlink(missing_ok=True)
    for extraction in plan["extractions"]:
        (folder / "failed" / f"{extraction['id']}.json").unlink(missing_ok=True)
        if not (runs / extraction["run"] / "mask.mp4").is_file():
            (folder / "extracted" / f"{extraction['id']}.json").unlink(missing_ok=True)


def carry_out(plan: dict[str, Any], path: Path, profile: Profile, more: list[str]) -> int:
    """Do what is left of a plan, make the table, and return what the sweep ends with. path: of the plan."""
    (Path(plan["folder"]) / "logs").mkdir(parents=True, exist_ok=True)
    wait_for_left(plan)
    forget_what_is_gone(plan)
    print(*_state(plan), sep="\n", flush=True)
    code = 0
    if undone(plan):
        code = snakemake(plan, path, [*profile.options(plan), *more], jobs_end=lambda: None)
    if code not in (0, INTERRUPTED):
        print(f"Snakemake ended with {code}; its log: {Path(plan['folder']) / SNAKEMAKE_LOG}", file=sys.stderr)
    ended = conclude(plan, ended=True)
    return INTERRUPTED if code == INTERRUPTED else ended


def foretell(plan: dict[str, Any], profile: Profile, more: list[str]) -> int:
    """Say what would be done, with the number of paintings, and have Snakemake say which jobs."""
    print(*_state(plan), sep="\n", flush=True)
    if not undone(plan):
        return 0
    with tempfile.TemporaryDirectory() as scratch:  # nothing is written that is not the sweep's
        path = Path(scratch) / "plan.json"
        path.write_text(json.dumps(plan), encoding="utf-8")
        options = [*profile.options(plan), *more, "--dry-run"]
        there = Path(plan["folder"]).is_dir()
        folder = plan["folder"] if there else scratch
        done = subprocess.run([*command(path, folder, scratch), *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SweepError(f"Snakemake would not take it: {_last_line(done.stdout + done.stderr)}", 3)
    return 0


def _last_line(said: str) -> str:
    return next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it said nothing")


def _state(plan: dict[str, Any]) -> list[str]:
    """Return in lines how far a plan is, and what is left of it."""
    left = {batch["id"]: [cell for cell in batch["cells"] if not _verdict(plan, cell)] for batch in plan["batches"]}
    cells, missing = sum(len(batch["cells"]) for batch in plan["batches"]), sum(map(len, left.values()))
    clips = _counted(len(plan["extractions"]), "clip")
    said = [f"sweep {plan['name']}: {clips}, {_counted(cells, 'cell')}, {missing} left"]
    if not missing:
        return said
    known = {each["id"]: extraction_of(Path(plan["folder"]), each["id"]) for each in plan["extractions"]}
    windows = {name: found.windows for name, found in known.items() if found is not None and found.code == 0}
    jobs = sum(map(bool, left.values()))
    extractions = _counted(len(known) - len(windows), "extraction")
    said.append(f"to do: {extractions}, {jobs} batch{'' if jobs == 1 else 'es'} of cells")
    paintings, unknown = 0, 0
    for batch in plan["batches"]:
        count = windows.get(batch["extraction"])
        if count is None:
            unknown += len(left[batch["id"]])
        else:
            paintings += count * plan["until_pass"] * len(left[batch["id"]])
    takes = _counted(plan["until_pass"], "take")
    if paintings:
        said.append(f"at most {_counted(paintings, 'painting')} ({takes} of each window)")
    if unknown:
        more = "and those" if paintings else "paintings: at most the windows"
        said.append(f"{more} of {_counted(unknown, 'cell')} whose clip is not extracted yet, {takes} of each window")
    return said


def conclude(plan: dict[str, Any], *, ended: bool) -> int:
    """Make the table of what is there, say what came of the sweep, and return its exit code.

    ended: nothing is at work on it any more, so what has no outcome failed.
    """
    folder = Path(plan["folder"])
    try:
        summary = write_table(plan, folder, Path(plan["data"]) / "runs")
    except OSError as error:
        raise SweepError(f"the table in {folder} cannot be written ({error.strerror}); free some room.", 3) from error
    for line in summary.jobs:
        print(f"failed: {line}", file=sys.stderr)
    print(f"{summary.sentence}; table: {folder / 'table.md'}", flush=True)
    return summary.exit_code(ended=ended)


def wait_for_left(plan: dict[str, Any]) -> None:
    """Wait for jobs that an earlier sweep left at work on this machine: their locks are held."""
    folder = Path(plan["folder"]) / "logs"
    names = [each["id"] for each in (*plan["extractions"], *plan["batches"])]
    told = False
    while left := [name for name in names if is_held(folder / f"{name}.lock")]:
        if not told:
            print(f"an earlier sweep left {_counted(len(left), 'job')} at work ({left[0]}, ...): waiting", flush=True)
            told = True
        time.sleep(POLL_S)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


class Reporter:
    """Prints a line for each cell of a plan when its outcome is there."""

    def __init__(self, plan: dict[str, Any], cells: list[dict[str, Any]]) -> None:
        self._folder = Path(plan["folder"])
        self._runs = Path(plan["data"]) / "runs"
        self._all = sum(len(batch["cells"]) for batch in plan["batches"])
        self._left: dict[str, list[dict[str, Any]]] = {}
        self._seen: dict[str, int] = {}
        for cell in cells:
            self._left.setdefault(cell["run"], []).append(cell)

    def look(self) -> None:
        """Say what is new."""
        for run, cells in self._left.items():
            try:
                changed = (self._folder / "cells" / run).stat().st_mtime_ns
            except OSError:
                continue
            if self._seen.get(run) == changed:
                continue
            self._seen[run] = changed
            for cell in list(cells):
                outcome = outcome_of(self._folder, cell)
                if outcome is None or outcome.key != cell["key"]:
                    continue
                cells.remove(cell)
                done = self._all - sum(map(len, self._left.values()))
                print(f"[{done}/{self._all}] {cell['run']}, {cell['prompt']}, seed {cell['seed']}: {_said(outcome)}")
        sys.stdout.flush()


def _said(outcome: Outcome) -> str:
    if outcome.code in VERDICTS:
        return f"{'pass' if outcome.code == 0 else 'FAIL'} ({outcome.seconds or 0:.0f} s)"
    return f"failed with exit code {outcome.code}: {outcome.said or 'see its log'} ({outcome.log})"


def snakemake(plan: dict[str, Any], path: Path, options: list[str], *, jobs_end: Callable[[], None]) -> int:
    """Have Snakemake do what is left of a plan; return its exit code, or 130 after Ctrl-C or SIGTERM.

    path: of the plan. options: the profile's and the user's. jobs_end: ends what it left, after an interruption.
    """
    folder = Path(plan["folder"])
    reporter = Reporter(plan, [cell for batch in undone(plan) for cell in batch["cells"]])
    with (folder / SNAKEMAKE_LOG).open("ab") as output, _interruptions() as came:
        child = subprocess.Popen(
            [*command(path, folder, path.parent), *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is handed on, once
            preexec_fn=_die_with_parent,
        )
        told, since = 0, 0.0
        while child.poll() is None:
            if len(came) > told:
                told, since = len(came), time.monotonic()
                print("interrupted: ending the jobs; what is done is kept", flush=True)
                _signal(child, signal.SIGINT if told == 1 else signal.SIGKILL)
            elif told and time.monotonic() - since > END_S:
                _signal(child, signal.SIGTERM)
                since = time.monotonic()
            reporter.look()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(POLL_S)
        reporter.look()
    if came:
        jobs_end()
        return INTERRUPTED
    return child.returncode


def command(plan: Path, folder: Path | str, settings: Path | str) -> list[str]:
    """Return how Snakemake is called, but for the profile and the target.

    plan: the file. folder: the sweep's. settings: the folder to write what the Snakefile is told into.
    """
    told = Path(settings) / f"{plan.stem}.config.json"
    try:
        write_text(told, json.dumps({"plan": str(plan), "python": PYTHON, "root": str(ROOT)}))
    except OSError as error:
        raise SweepError(f"cannot write {told} ({error.strerror}); free some room.", 3) from error
    return [
        sys.executable,
        *("-m", "snakemake", "painted", "--snakefile", str(ROOT / "sweep" / "Snakefile")),
        *("--directory", str(folder), "--configfile", str(told)),
        *("--rerun-triggers", "mtime", "--nolock", "--nocolor"),
    ]


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def _die_with_parent() -> None:
    """Have the kernel kill Snakemake when this process dies; its jobs go on, and the next sweep waits for them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def _interruptions() -> Iterator[list[int]]:
    """Yield a list that SIGINT and SIGTERM are put into while the block lasts."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

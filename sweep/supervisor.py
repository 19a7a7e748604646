"""Has Snakemake do a plan, says what comes of each cell, and ends it in order.

Snakemake decides what is done when, from files alone: extracted/ID.json and painted/ID.json of the sweep's folder. Here
is what it leaves open: jobs that an earlier sweep left behind are found and waited for; a batch that has a cell without
a verdict is done again; Ctrl-C and SIGTERM end the jobs too; and where a cluster's controller does not answer any more,
the sweep ends, and does not hang.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from sweep.errors import SweepError, unwritable
from sweep.executor import POLL_S, Executor, executor_for, say
from sweep.folder import END_S, say_ending, write_text
from sweep.jobplan import larger_batch, text_of
from sweep.outcomes import VERDICTS, Outcome, broken_off, extraction_of, is_done, is_extracted, outcome_of
from sweep.profile import Profile
from sweep.table import write_table

ROOT = Path(__file__).resolve().parent.parent
PYTHON = os.environ.get("SWEEP_PYTHON") or "python3.11"
"""What starts the product's commands: the Python that the runner runs in, which a shared disk has for all machines."""
RULES = ROOT / "sweep" / "Snakefile"
SNAKEMAKE_LOG = Path("logs") / "snakemake.log"
FAILED_JOB, INTERRUPTED = 3, 130
SAME_WISH_S = 5.0
"""A signal that follows so soon is the same wish: make, the runner and a terminal each hand it on."""
_PR_SET_PDEATHSIG = 1

Left = dict[str, list[dict[str, Any]]]
"""What is left of a plan: batches by their ids, each with its cells that have no verdict that still stands."""


def left_of(plan: dict[str, Any]) -> Left:
    """Return what is left of a plan. Each cell's outcome is read, which takes a while where there are many."""
    left = {batch["id"]: [cell for cell in batch["cells"] if not _verdict(plan, cell)] for batch in plan["batches"]}
    return {name: cells for name, cells in left.items() if cells}


def _verdict(plan: dict[str, Any], cell: dict[str, Any]) -> bool:
    return is_done(outcome_of(Path(plan["folder"]), cell), cell, Path(plan["data"]) / "runs")


def forget_what_is_gone(plan: dict[str, Any]) -> Left:
    """Remove what would have Snakemake take a job for done whose results are not there, and what came of it before.

    Return what is left of the plan.
    """
    left = left_of(plan)
    folder, runs = Path(plan["folder"]), Path(plan["data"]) / "runs"
    gone = []
    for batch, cells in left.items():
        gone.append(f"painted/{batch}.json")
        gone += [f"cells/{each['run']}/{each['reskin']}.json" for each in cells]
    gone += [f"failed/{each['id']}.json" for each in plan["extractions"]]
    gone += [
        f"extracted/{each['id']}.json"
        for each in plan["extractions"]
        if not is_extracted(extraction_of(folder, each["id"]), runs / each["run"])
    ]
    for name in gone:
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise SweepError(f"cannot remove {folder / name} ({error.strerror}); remove it by hand.", 3) from error
    return left


def carry_out(plan: dict[str, Any], path: Path, profile: Profile, more: list[str], patience_s: float) -> int:
    """Do what is left of a plan, make the table, and return what the sweep ends with.

    path: of the plan. more: the user's own options for Snakemake. patience_s: for how long a cluster may be silent.
    """
    _make_logs(plan)
    executor = executor_for(profile.executor, plan, patience_s)
    executor.wait_for_left(_looking(plan))
    options, code = [*profile.options(plan), *more], 0
    for _ in range(2):
        left = forget_what_is_gone(plan)
        say(*_state(plan, left))
        code = snakemake(plan, path, options, executor, left) if left else 0
        if code >= 0:
            break
        say(f"Snakemake was killed by signal {-code} (out of memory?); what it had begun is waited for")
        executor.wait_for_left(_looking(plan))
    if code == INTERRUPTED:
        conclude(plan, ended=False, picture=False)
        return INTERRUPTED
    ended = conclude(plan, ended=True)
    if ended == FAILED_JOB and code:
        log = Path(plan["folder"]) / SNAKEMAKE_LOG
        print(f"Snakemake ended with {code}; its log: {log}", file=sys.stderr, flush=True)
    return ended


def _make_logs(plan: dict[str, Any]) -> None:
    logs = Path(plan["folder"]) / "logs"
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(logs, error) from error


def foretell(plan: dict[str, Any], profile: Profile, more: list[str]) -> int:
    """Say what would be done, with the number of paintings, and have Snakemake say which jobs."""
    left = left_of(plan)
    say(*_state(plan, left))
    if not left:
        return 0
    with tempfile.TemporaryDirectory() as scratch:  # nothing is written that is not the sweep's
        path = Path(scratch) / "plan.json"
        path.write_text(text_of(plan), encoding="utf-8")
        options = [*profile.options(plan), *more, "--dry-run"]
        there = plan if Path(plan["folder"]).is_dir() else plan | {"folder": scratch}
        called = [*command(there, path, Path(scratch), left), *options]
        done = subprocess.run(called, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SweepError(f"Snakemake would not take it: {_last_line(done.stdout + done.stderr)}", 3)
    return 0


def _last_line(said: str) -> str:
    return next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it said nothing")


def _state(plan: dict[str, Any], left: Left) -> list[str]:
    """Return in lines how far a plan is, and what is left of it."""
    cells, missing = sum(len(batch["cells"]) for batch in plan["batches"]), sum(map(len, left.values()))
    clips = _counted(len(plan["extractions"]), "clip")
    said = [f"sweep {plan['name']}: {clips}, {_counted(cells, 'cell')}, {missing} left"]
    if not missing:
        return said
    known = {each["id"]: extraction_of(Path(plan["folder"]), each["id"]) for each in plan["extractions"]}
    windows = {name: found.windows for name, found in known.items() if found is not None and found.code == 0}
    jobs = len(left)
    extractions = _counted(len(known) - len(windows), "extraction")
    said.append(f"to do: {extractions}, {jobs} batch{'' if jobs == 1 else 'es'} of cells")
    if wanted := larger_batch(plan):
        said.append(f"Snakemake takes more than a minute to look through so many jobs; write batch: {wanted} or more")
    paintings, unknown = 0, 0
    for batch in plan["batches"]:
        count = windows.get(batch["extraction"])
        if count is None:
            unknown += len(left.get(batch["id"], ()))
        else:
            paintings += count * plan["until_pass"] * len(left.get(batch["id"], ()))
    takes = _counted(plan["until_pass"], "take")
    if paintings:
        said.append(f"at most {_counted(paintings, 'painting')} ({takes} of each window)")
    if unknown:
        more = "and those" if paintings else "paintings: at most the windows"
        said.append(f"{more} of {_counted(unknown, 'cell')} whose clip is not extracted yet, {takes} of each window")
    return said


def conclude(plan: dict[str, Any], *, ended: bool, picture: bool = True) -> int:
    """Make the table of what is there, say what came of the sweep, and return its exit code.

    ended: nothing is at work on it any more, so what has no outcome failed. picture: the contact sheet is made too.
    """
    folder = Path(plan["folder"])
    try:
        summary = write_table(plan, folder, Path(plan["data"]) / "runs", picture=picture)
    except OSError as error:
        raise SweepError(f"the table in {folder} cannot be written ({error.strerror}); free some room.", 3) from error
    for line in [*summary.jobs, *(broken_off(plan) if ended and summary.missing else ())]:
        print(f"failed: {line}", file=sys.stderr)
    say(f"{summary.sentence}; table: {folder / 'table.md'}")
    return summary.exit_code(ended=ended)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


class Reporter:
    """Prints a line for each cell of a plan when its outcome is there, but for what was there before."""

    def __init__(self, plan: dict[str, Any], left: Left | None = None) -> None:
        self._folder = Path(plan["folder"])
        self._runs = Path(plan["data"]) / "runs"
        self._all = sum(len(batch["cells"]) for batch in plan["batches"])
        self._left: dict[str, list[dict[str, Any]]] = {}
        self._seen: dict[str, int] = {}
        self._before: dict[str, Outcome | None] = {}
        for cells in (left_of(plan) if left is None else left).values():
            self._left.setdefault(cells[0]["run"], []).extend(cells)
            if left is None:  # else what was there before is removed
                self._before |= {cell["key"]: outcome_of(self._folder, cell) for cell in cells}

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
                if outcome is None or outcome.key != cell["key"] or outcome == self._before.get(cell["key"]):
                    continue
                cells.remove(cell)
                done = self._all - sum(map(len, self._left.values()))
                say(f"[{done}/{self._all}] {cell['run']}, {cell['prompt']}, seed {cell['seed']}: {_said(outcome)}")


def _looking(plan: dict[str, Any]) -> Callable[[], None]:
    """Return what a reporter does; one is made when it is first asked, which is seldom."""
    reporter = functools.cache(functools.partial(Reporter, plan))
    return lambda: reporter().look()


def _said(outcome: Outcome) -> str:
    if outcome.code in VERDICTS:
        return f"{'pass' if outcome.code == 0 else 'FAIL'} ({outcome.seconds or 0:.0f} s)"
    return f"failed with exit code {outcome.code}: {outcome.said or 'see its log'} ({outcome.log})"


def snakemake(
    plan: dict[str, Any], path: Path, options: list[str], executor: Executor, left: Left | None = None
) -> int:
    """Have Snakemake do what is left of a plan; return its exit code, or 130 after Ctrl-C or SIGTERM.

    path: of the plan. options: the profile's and the user's. left: of the plan, where that is known. The code is
    negative where a signal that did not come from here ended it. Raises SweepError where a cluster is silent.
    """
    left = left_of(plan) if left is None else left
    reporter = Reporter(plan, left)
    with _log(plan) as output, _interruptions() as came, executor.ready() as (own, environment):
        child = subprocess.Popen(
            [*command(plan, path, path.parent, left), *options, *own],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is handed on, once
            preexec_fn=_die_with_parent,
        )
        try:
            ways = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
            asked = since = -math.inf
            while child.poll() is None:
                now = time.monotonic()
                again = any(moment > asked + SAME_WISH_S for moment in came)
                if ways and (again or (came and now - since > END_S)):
                    if again:
                        asked = came[-1]
                    if len(ways) == 3:
                        say("interrupted: ending the jobs; what is done is kept")
                        say_ending(Path(plan["folder"]))
                        executor.close()
                    _signal(child, ways.pop(0))
                    since = now
                reporter.look()
                executor.check()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(POLL_S)
            reporter.look()
        finally:
            if child.poll() is None:  # a cluster is silent, or something unforeseen: nothing is left behind
                _signal(child, signal.SIGKILL)
                child.wait()
        if came:
            executor.end()
            return INTERRUPTED
    return child.returncode


def _log(plan: dict[str, Any]) -> IO[bytes]:
    log = Path(plan["folder"]) / SNAKEMAKE_LOG
    try:
        return log.open("ab")
    except OSError as error:
        raise unwritable(log, error) from error


def command(plan: dict[str, Any], path: Path, settings: Path, left: Left | None = None) -> list[str]:
    """Return how Snakemake is called, but for the profile.

    path: of the plan. settings: the folder to write the rules and what they are told into; jobs read both. left: of
    the plan, where that is known.
    """
    told, rules = settings / f"{path.stem}.config.json", settings / f"{path.stem}.smk"
    names = left_of(plan) if left is None else left
    batches = {batch["id"]: batch["extraction"] for batch in plan["batches"] if batch["id"] in names}
    said = {"plan": str(path), "folder": plan["folder"], "python": PYTHON, "root": str(ROOT), "batches": batches}
    try:
        write_text(told, json.dumps(said))
        write_text(rules, RULES.read_text(encoding="utf-8"))
    except OSError as error:
        raise SweepError(f"cannot write {told} ({error.strerror}); free some room.", 3) from error
    return [
        sys.executable,
        *("-P", "-s", "-m", "snakemake", "painted", "--snakefile", str(rules)),
        *("--directory", plan["folder"], "--configfile", str(told)),
        *("--rerun-triggers", "mtime", "--rerun-incomplete", "--keep-going", "--nolock", "--nocolor"),
    ]


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def _die_with_parent() -> None:
    """Have the kernel kill Snakemake when this process dies; its jobs go on, and the next sweep waits for them."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def _interruptions() -> Iterator[list[float]]:
    """Yield a list that the moments of SIGINT, SIGTERM and SIGHUP are put into while the block lasts.

    What is ignored (nohup, a job in the background) stays so.
    """
    came: list[float] = []
    heard = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in heard}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, lambda *_: came.append(time.monotonic()))
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

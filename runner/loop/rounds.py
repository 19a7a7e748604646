"""The loop: paint all windows, judge, and paint again what failed, until all pass or a window has had its takes.

`until_pass` is given how to paint and how to judge, both as exit codes; what to do next is `Takes`'s to say, and what
was done `Ledger`'s to know. A killed loop is gone on with by the same command: the reskin stage keeps every window of
every seed, and takes.json every verdict.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner import runs
from runner.loop.ledger import LARGEST, NAME, Ledger
from runner.loop.takes import FrameResult, Joint, Round, Span, Takes, seed_of
from runner.process import RunnerError

PASS, FAIL = 0, 1
"""The gate's exit codes for a verdict."""


@dataclass(frozen=True)
class Work:
    """How the loop paints and judges; each returns a stage's exit code.

    unchanged: 0 where these seeds' composite is what is there already, and all it was made from. paint: all windows,
    given the seed of each, or None for the first takes. judge: what was painted last; given whether it is for the last
    time, with everything that a report has. judged_by: what `judge` asks for beside the gate's own.
    """

    unchanged: Callable[[Sequence[int]], int]
    paint: Callable[[Sequence[int] | None], int]
    judge: Callable[[bool], int]
    judged_by: str = ""


def until_pass(run: Path, most: int, seed: int, work: Work, *, anew: bool = False) -> int:
    """Paint until it passes; return the exit code of the last verdict, or of what stopped the work.

    run: the run's folder. most: takes of a window. seed: of the first takes. anew: forget what was judged before.
    """
    found = None if anew else _left_there(run, work)
    if found is None:
        code = work.paint(None)
        if code:
            return code
    reskin = run / runs.newest_reskin(run)
    windows, chained = _windows_of(reskin)
    takes = Takes(windows, most, seed, chained=chained)
    ledger = Ledger.open(reskin / NAME, _key(reskin, work.judged_by), windows)
    if anew:
        ledger.rounds.clear()
    there = _takes_of(found, seed, most) if found else (1,) * len(windows)  # what output.mp4 is of
    while (wanted := takes.proposed()) is not None:
        results = ledger.results_of(wanted.chosen)
        if results is None:
            _say_round(takes, wanted, len(windows))
            begun = time.monotonic()
            code = PASS if wanted.chosen == there else work.paint(_seeds(takes, wanted.chosen))
            seconds = time.monotonic() - begun
            there = wanted.chosen
            code = code or work.judge(False)
            if code not in (PASS, FAIL):
                return code
            results = _results_of(reskin, windows[-1][1])
            ledger.add(wanted, results, seconds)
        takes.feed(results)
    best = takes.best
    assert best is not None  # a first round there always is
    print(_outcome(takes, best), flush=True)
    code = PASS if best.chosen == there else work.paint(_seeds(takes, best.chosen))
    return code or work.judge(True)


def _left_there(run: Path, work: Work) -> list[int] | None:
    """Return the seeds that output.mp4 is of, where the loop may go on from it; None where it has to begin."""
    for _ in range(2):
        try:
            reskin = runs.newest_reskin(run)
        except RunnerError:
            return None
        seeds = runs.within(runs.read_manifest(run / reskin / "output.json", LARGEST), "window_seeds")
        if not isinstance(seeds, list) or not all(type(each) is int for each in seeds):
            return None
        if work.unchanged(seeds):
            return None
        if runs.newest_reskin(run) == reskin:  # the stage says which one the command means
            return seeds
    return None


def _takes_of(seeds: Sequence[int], seed: int, most: int) -> tuple[int, ...] | None:
    """Return which takes have these seeds, None where one is no take's."""
    known = {seed_of(seed, take): take for take in range(1, most + 1)}
    takes = tuple(known.get(each, 0) for each in seeds)
    return takes if all(takes) else None


def _seeds(takes: Takes, chosen: Sequence[int]) -> list[int]:
    return [takes.takes_of(window)[take - 1].seed for window, take in enumerate(chosen)]


def _windows_of(reskin: Path) -> tuple[list[Span], bool]:
    """Return the windows as the reskin stage planned them, and whether each is painted on from the one before."""
    record = runs.read_manifest(reskin / "output.json", LARGEST)
    try:
        windows = [(int(first), int(last) + 1) for first, last in runs.within(record, "windows")]
        Takes(windows, 1, 0)
    except (TypeError, ValueError) as error:
        raise RunnerError(f"{reskin / 'output.json'} does not say its windows; paint again with --force.", 2) from error
    return windows, runs.within(record, "overlap", "mode") == "anchor"


def _key(reskin: Path, judged_by: str) -> str:
    """Return what verdicts hold for: what the first takes were painted from, and how they are judged."""
    record = runs.within(runs.read_manifest(reskin / runs.MANIFEST), "stages", "reskin")
    params = runs.within(record, "params")
    params = {name: value for name, value in params.items() if name != "window_seeds"} if params else None
    basis = [params, runs.within(record, "inputs"), judged_by]
    return hashlib.sha256(json.dumps(basis, sort_keys=True).encode()).hexdigest()


def _results_of(reskin: Path, frames: int) -> list[FrameResult]:
    """Return the frames' verdicts that the gate has just written."""
    path = reskin / "report" / "iou.json"
    found: Any = runs.within(runs.read_manifest(path, LARGEST), "frames")
    try:
        results = [FrameResult(bool(each["passed"]), float(each["iou"]), float(each["boundary_f"])) for each in found]
    except (TypeError, KeyError, ValueError) as error:
        raise RunnerError(f"{path} cannot be read, and the next round hangs on it; evaluate with --force.") from error
    if len(results) != frames:
        raise RunnerError(f"{path} is of {len(results)} frames, the clip has {frames}; evaluate with --force.")
    return results


def _say_round(takes: Takes, wanted: Round, windows: int) -> None:
    """Say what is done next, and why."""
    if not takes.judged:
        return
    before = takes.judged[-1]
    if wanted.paintings:
        numbers = [str(each.window) for each in wanted.paintings]
        what = f"window{'s' if len(numbers) > 1 else ''} {_listed(numbers)} of 0-{windows - 1} again"
    else:
        what = "the best takes together"
    print(f"round {wanted.number}: {what}; {_state(before)}", flush=True)


def _state(joint: Joint) -> str:
    failing = sum(not each.passed for each in joint.results)
    worst = min(range(len(joint.results)), key=lambda index: joint.results[index].iou)
    return f"{failing} of {len(joint.results)} frames fail, worst IoU {joint.results[worst].iou:.2f} at {worst}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _outcome(takes: Takes, best: Joint) -> str:
    rounds = f"{len(takes.judged)} round{'s' if len(takes.judged) > 1 else ''}, {takes.paintings} paintings"
    if best.passed:
        return f"every frame passes after {rounds}"
    return f"not every frame passes after {rounds}; the best is kept: {_state(best)}"

"""The loop: paint all windows, judge, and paint again what failed, until all pass or a window has had its takes.

`until_pass` is given how to paint and how to judge, both as exit codes; what to do next is `Takes`'s to say, and what
was done `Ledger`'s to know. A killed loop is gone on with by the same command: the reskin stage keeps every window of
every seed, and takes.json every verdict. `again` makes output.mp4 of an earlier round once more.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
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
INTERRUPTED = 130
"""A stage's exit code after Ctrl-C."""


@dataclass(frozen=True)
class Work:
    """How the loop paints and judges; each returns a stage's exit code.

    unchanged: 0 where these seeds' composite is what is there already, and all it was made from. paint: all windows,
    given the seed of each, or None for the first takes. judge: what was painted last; given whether it is for the last
    time, with everything that a report has. judged_by: what `judge` asks for beside the gate's own. judge_winner: what
    was chosen from several rounds, for the last time and by one more judge, who took no part in choosing it; None where
    there is none.
    """

    unchanged: Callable[[Sequence[int]], int]
    paint: Callable[[Sequence[int] | None], int]
    judge: Callable[[bool], int]
    judged_by: str = ""
    judge_winner: Callable[[], int] | None = None


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
        ledger.forget()
    there = _takes_of(found, seed, most) if found else (1,) * len(windows)  # what output.mp4 is of
    while (wanted := takes.proposed()) is not None:
        results = ledger.results_of(wanted.chosen)
        if results is None:
            _say_round(takes, wanted, len(windows))
            begun = time.monotonic()
            code = PASS if wanted.chosen == there else work.paint(_seeds(takes, wanted.chosen))
            seconds = time.monotonic() - begun
            if code == PASS:
                there = wanted.chosen
                ledger.painted(wanted, _notes_of(reskin, len(windows)))
                code = work.judge(False)
            if code == INTERRUPTED and takes.best is not None:
                return _keep_best(takes, takes.best, there, work)
            if code not in (PASS, FAIL):
                return code
            results, kinds, contradicted = _results_of(reskin, windows[-1][1])
            if contradicted:
                print(f"painting cannot mend it, so nothing is painted again: {contradicted}", flush=True)
                return work.judge(True)
            ledger.add(wanted, results, seconds, kinds)
        takes.feed(results)
    best = takes.best
    assert best is not None  # a first round there always is
    for line in _outcome(takes, best, ledger):
        print(line, flush=True)
    code = PASS if best.chosen == there else work.paint(_seeds(takes, best.chosen))
    return code or _judge_winner(takes, work)


def _judge_winner(takes: Takes, work: Work) -> int:
    """Judge what is kept for the last time; once more by another judge where it was chosen from several rounds."""
    chosen = len(takes.judged) > 1
    return work.judge_winner() if chosen and work.judge_winner is not None else work.judge(True)


def again(run: Path, number: int, work: Work) -> int:
    """Make output.mp4 of an earlier round's takes again, and judge it; nothing is painted that was painted before.

    Raises RunnerError (2) where takes.json knows no such round of the newest reskin.
    """
    reskin = run / runs.newest_reskin(run)
    document = runs.read_manifest(reskin / NAME, LARGEST)
    rounds, seeds = runs.within(document, "rounds"), dict[tuple[int, int], int]()
    try:
        for each in runs.within(document, "takes"):
            seeds[int(each["window"]), int(each["take"])] = int(each["seed"])
        wanted = next((each["chosen"] for each in rounds if each["number"] == number), None)
        chosen = None if wanted is None else [seeds[pair] for pair in enumerate(wanted)]
    except (TypeError, KeyError, ValueError) as error:
        raise RunnerError(f"{reskin / NAME} does not say which takes there are; paint with --until-pass.", 2) from error
    if chosen is None:
        raise RunnerError(f"{reskin / NAME} has {len(rounds)} rounds, and none with the number {number}.", 2)
    return work.paint(chosen) or work.judge(True)


def _keep_best(takes: Takes, best: Joint, there: tuple[int, ...] | None, work: Work) -> int:
    """Have the best takes so far in output.mp4, with their verdict, after Ctrl-C; a second one ends this too."""
    print(f"interrupted; the best so far is kept: {_state(best)}", flush=True)
    code = PASS if best.chosen == there else work.paint(_seeds(takes, best.chosen))
    code = code or work.judge(False)
    return INTERRUPTED if code in (PASS, FAIL) else code


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


def _notes_of(reskin: Path, windows: int) -> list[dict[str, Any]]:
    """Return what the reskin stage noted of each window's painting: server, seconds.

    Nothing where it did not note all of them: a window with nothing in it is painted by nobody.
    """
    found = runs.within(runs.read_manifest(reskin / runs.MANIFEST), "stages", "reskin", "notes", "windows")
    whole = isinstance(found, list) and len(found) == windows and all(isinstance(each, dict) for each in found)
    return found if whole else []


def _results_of(reskin: Path, frames: int) -> tuple[list[FrameResult], dict[str, int], str | None]:
    """Return what the gate has just written: the frames' verdicts, the kinds of failure, what contradicts the mask."""
    path = reskin / "report" / "iou.json"
    report = runs.read_manifest(path, LARGEST)
    found: Any = runs.within(report, "frames")
    reasons: Any = runs.within(report, "verdict", "reasons") or []
    try:
        results = [_frame_result(each) for each in found]
        kinds = Counter(_kind(each) for each in found if not each["passed"])
        contradicted = next((str(each["text"]) for each in reasons if each["kind"] == "original mask"), None)
    except (TypeError, KeyError, ValueError) as error:
        raise RunnerError(f"{path} cannot be read, and the next round hangs on it; evaluate with --force.") from error
    if len(results) != frames:
        raise RunnerError(f"{path} is of {len(results)} frames, the clip has {frames}; evaluate with --force.")
    return results, dict(kinds), contradicted


LOST_IOU = 0.5
"""Below it the tracker is on something else than the object, and stays there."""
_NOT_NEW = ("UNCHANGED", "UNPAINTED")


def _frame_result(frame: dict[str, Any]) -> FrameResult:
    passed, iou = bool(frame["passed"]), float(frame["iou"])
    lost = not passed and iou < LOST_IOU and frame.get("state") not in _NOT_NEW
    return FrameResult(passed, iou, float(frame["boundary_f"]), lost)


def _kind(frame: dict[str, Any]) -> str:
    """Return how a frame fails: as the gate names it where the object is not new, else by what its outline lacks."""
    state = str(frame.get("state"))
    if state in _NOT_NEW:
        return state
    if float(frame["iou"]) < LOST_IOU:
        return "lost"
    return "gap" if float(frame.get("gap") or 0) >= float(frame.get("leak") or 0) else "leak"


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


def _outcome(takes: Takes, best: Joint, ledger: Ledger) -> list[str]:
    """Return what came of it, as lines: how many takes were judged, all rounds, and what no take mended."""
    rounds = f"{len(takes.judged)} round{'s' if len(takes.judged) > 1 else ''}, {takes.paintings} paintings"
    lines = [] if len(takes.judged) == 1 else _rounds_said(ledger)
    if len(takes.judged) > 1:
        lines.append(
            f"{takes.paintings} takes of {len(takes.windows)} windows were judged and the best were chosen by that, so "
            "their figures are on the bright side; a second judge, who took no part in that, is asked about the winner"
        )
    if best.passed:
        return [*lines, f"every frame passes after {rounds}"]
    for window, frames in ledger.same_frames().items():
        lines.append(
            f"window {window}: all takes fail in the same {len(frames)} frames ({frames[0]} to {frames[-1]}). It may "
            "not be the painter's fault: evaluate_iou.py --calibrate says whether the tracker finds the source itself "
            "there"
        )
    return [*lines, f"not every frame passes after {rounds}; the best is kept: {_state(best)}"]


def _rounds_said(ledger: Ledger) -> list[str]:
    lines = []
    for each in ledger.rounds:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(each.get("kinds", {}).items()))
        worst = f"worst IoU {each['worst_iou']:.2f} at {each['worst_frame']}"
        lines.append(
            f"  round {each['number']}: {each['failing']} frames fail{f' ({kinds})' if kinds else ''}, {worst}"
        )
    return lines

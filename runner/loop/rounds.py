"""The loop: paint all windows, judge, and paint again what failed, until all pass or a window has had its takes.

`until_pass` is given how to paint and how to judge, both as exit codes; what to do next is `Takes`'s to say, and what
was done `Ledger`'s to know. A killed loop is gone on with by the same command: the reskin stage keeps the pictures of
every take, and takes.json has every verdict. What will not be chosen any more is dropped, once takes.json says so.
`again` makes output.mp4 of an earlier round once more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner import runs
from runner.loop.ledger import LARGEST, NAME, Ledger
from runner.loop.losers import are_there, drop, drop_all_but
from runner.loop.outlook import duration, outlook
from runner.loop.prospect import Order, Prospect, setting_said
from runner.loop.takes import FrameResult, Joint, Round, Takes
from runner.process import INTERRUPTED, RunnerError

PASS, FAIL = 0, 1
"""The gate's exit codes for a verdict."""


@dataclass(frozen=True)
class Work:
    """How the loop paints and judges; each returns a stage's exit code.

    plan: what `Prospect.read` reads comes with it, None where the code is not 0. paint: all windows, given the seed and
    the setting of each. judge: what was painted last; given whether it is for the last time, with everything that a
    report has. judged_by: what `judge` asks for beside the gate's own. judge_winner: what was chosen from several
    rounds, for the last time and by one more judge, who took no part in choosing it; None where there is none.
    keep_all: the pictures of every take are kept. draw: takes.png, which decides nothing: of the codes that it may end
    with only that of an interruption counts.
    """

    plan: Callable[[], tuple[int, Any]]
    paint: Callable[[Sequence[int], Sequence[int]], int]
    judge: Callable[[bool], int]
    judged_by: str = ""
    judge_winner: Callable[[], int] | None = None
    keep_all: bool = False
    draw: Callable[[], int] = lambda: PASS


def until_pass(run: Path, most: int, seed: int, work: Work, *, anew: bool = False) -> int:
    """Paint until it passes; return the exit code of the last verdict, or of what stopped the work.

    run: the run's folder. most: takes of a window. seed: of the first takes. anew: forget what was judged before.
    """
    work = _heard(work)
    code, document = work.plan()
    if code:
        return code
    prospect = Prospect.read(document)
    reskin, windows, settings = run / prospect.reskin, prospect.windows, prospect.settings
    takes = Takes(windows, most, seed, len(settings), prospect.chained)
    ledger = Ledger.open(reskin / NAME, prospect.key(work.judged_by), windows, settings)
    there = None if anew else prospect.there  # what output.mp4 is of
    if anew:
        ledger.forget()
    while (wanted := takes.proposed()) is not None:
        results, best = ledger.results_of(wanted.chosen), ledger.best()
        new = results is None
        if results is None:
            _give_up(reskin, takes, ledger, work)  # of a command that was killed before it had done so
            _say_round(takes, wanted, ledger)
            code, order = work.draw() if takes.judged else PASS, _order(takes, wanted.chosen)
            begun = time.monotonic()
            if code != INTERRUPTED:
                code = PASS if order == there else work.paint(*order)
            seconds = time.monotonic() - begun
            if code == PASS:
                there = order
                ledger.painted(wanted, _notes_of(reskin))
                code = work.judge(False)
            if code == INTERRUPTED and best is not None:
                return _keep_best(best, ledger.order(best.chosen), there, work)
            if code not in (PASS, FAIL):
                return code
            results, kinds, contradicted, clip = _results_of(reskin, windows[-1][1])
            if contradicted:
                print(f"painting cannot mend it, so nothing is painted again: {contradicted}", flush=True)
                return work.judge(True)
            ledger.add(wanted, results, seconds, kinds, clip)
        takes.feed(results)
        if new:
            _give_up(reskin, takes, ledger, work)
            _sweep(reskin, ledger, work)
    _give_up(reskin, takes, ledger, work)
    best = ledger.best()
    assert best is not None  # a first round there always is
    print(_outcome(takes, best, ledger), flush=True)
    order = ledger.order(best.chosen)
    code = PASS if order == there else work.paint(*order)
    return code or _drawn(work, _judge_winner(takes, work))


def _judge_winner(takes: Takes, work: Work) -> int:
    """Judge what is kept for the last time; once more by another judge where it was chosen from several rounds."""
    chosen = len(takes.judged) > 1
    return work.judge_winner() if chosen and work.judge_winner is not None else work.judge(True)


def _give_up(reskin: Path, takes: Takes, ledger: Ledger, work: Work) -> None:
    """Remove the pictures that no later round chooses: first takes.json says so, then they go.

    Where an earlier command was given more takes, those are not given up by one that was given fewer.
    """
    best = ledger.best()
    more = any(each["take"] > len(takes.takes_of(each["window"])) for each in ledger.takes)
    if work.keep_all or best is None or more:
        return
    ledger.keep(takes.kept | set(enumerate(best.chosen)))
    drop(reskin, ledger.pictures(kept=False))


def _sweep(reskin: Path, ledger: Ledger, work: Work) -> None:
    """Remove what takes.json does not know, of other inputs; not before all is in it that was painted."""
    if not work.keep_all:
        drop_all_but(reskin, ledger.pictures(kept=True))


def _heard(work: Work) -> Work:
    """Return the same, with Ctrl-C while a stage is begun as what it is in a stage: an exit code."""
    winner = work.judge_winner

    def code_of(step: Callable[[], int]) -> int:
        try:
            return step()
        except KeyboardInterrupt:
            return INTERRUPTED

    return replace(
        work,
        judge_winner=None if winner is None else lambda: code_of(winner),
        paint=lambda seeds, settings: code_of(lambda: work.paint(seeds, settings)),
        judge=lambda last: code_of(lambda: work.judge(last)),
        draw=lambda: code_of(work.draw),
    )


def again(run: Path, number: int, work: Work) -> int:
    """Make output.mp4 of an earlier round's takes again, and judge it; what was dropped is painted again, and said.

    Raises RunnerError (2) where takes.json knows no such round of what is asked for.
    """
    code, document = work.plan()
    if code:
        return code
    prospect = Prospect.read(document)
    path = run / prospect.reskin / NAME
    ledger = Ledger.open(path, prospect.key(work.judged_by), prospect.windows, prospect.settings)
    if not ledger.rounds:
        raise RunnerError(
            f"{path} has no rounds of what this command asks for; give all options as they were painted with, or paint "
            "with --until-pass.",
            2,
        )
    chosen = ledger.chosen_in(number)
    if chosen is None:
        raise RunnerError(f"{path} has {len(ledger.rounds)} rounds, and none with the number {number}.", 2)
    order = ledger.order(chosen)
    if order != prospect.there:
        _say_what_is_gone(path.parent, ledger, chosen)
        code = work.paint(*order)
    if work.keep_all:
        ledger.keep_again(chosen)
    else:
        drop(path.parent, ledger.pictures(kept=False))
    return code or _drawn(work, work.judge(True))


def _drawn(work: Work, code: int) -> int:
    """Have takes.png drawn of a verdict, and return what the whole ends with."""
    if code not in (PASS, FAIL):
        return code
    return INTERRUPTED if work.draw() == INTERRUPTED else code


def _say_what_is_gone(reskin: Path, ledger: Ledger, chosen: Sequence[int]) -> None:
    """Say which windows have to be painted again, because their pictures are not there any more."""
    names = ledger.pictures_of(chosen)
    gone = [str(window) for window, name in enumerate(names) if name is not None and not are_there(reskin, name)]
    if gone:
        print(
            f"window{'s' if len(gone) > 1 else ''} {_listed(gone)} of 0-{len(chosen) - 1} must be painted again: the "
            "pictures of these takes were dropped (--keep-takes all keeps every take's)",
            flush=True,
        )


def _keep_best(best: Joint, order: Order, there: Order | None, work: Work) -> int:
    """Have the best takes so far in output.mp4, with their verdict, after Ctrl-C; a second one ends this too."""
    print(f"interrupted; the best so far is kept: {_state(best)}", flush=True)
    code = PASS if order == there else work.paint(*order)
    code = code or _drawn(work, work.judge(False))
    return INTERRUPTED if code in (PASS, FAIL) else code


def _order(takes: Takes, chosen: Sequence[int]) -> Order:
    """Return the seed and the setting of each window."""
    paintings = [takes.takes_of(window)[take - 1] for window, take in enumerate(chosen)]
    return [each.seed for each in paintings], [each.setting for each in paintings]


def _notes_of(reskin: Path) -> dict[int, dict[str, Any]]:
    """Return what the reskin stage noted of each window's painting: server, seconds, the folder of its pictures.

    A window with nothing in it is painted by nobody, and has none.
    """
    found = runs.within(runs.read_manifest(reskin / runs.MANIFEST), "stages", "reskin", "notes", "windows")
    notes = found if isinstance(found, list) else []
    return {each["window"]: each for each in notes if type(runs.within(each, "window")) is int}


def _results_of(reskin: Path, frames: int) -> tuple[list[FrameResult], list[str], str | None, str | None]:
    """Return what the gate has just written: the frames' verdicts, how each fails ("" where it passes), what
    contradicts the mask, and the SHA-256 of what was judged.
    """
    path = reskin / "report" / "iou.json"
    report = runs.read_manifest(path, LARGEST)
    found: Any = runs.within(report, "frames")
    reasons: Any = runs.within(report, "verdict", "reasons") or []
    try:
        results = [_frame_result(each) for each in found]
        kinds = ["" if each["passed"] else _kind(each) for each in found]
        contradicted = next((str(each["text"]) for each in reasons if each["kind"] == "original mask"), None)
    except (TypeError, KeyError, ValueError) as error:
        raise RunnerError(f"{path} cannot be read, and the next round hangs on it; evaluate with --force.") from error
    if len(results) != frames:
        raise RunnerError(f"{path} is of {len(results)} frames, the clip has {frames}; evaluate with --force.")
    clip = runs.within(report, "how", "sha256", "generated")
    return results, kinds, contradicted, clip if isinstance(clip, str) else None


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


def _say_round(takes: Takes, wanted: Round, ledger: Ledger) -> None:
    """Say what is done next, why, and what it may still take."""
    if not takes.judged:
        return
    what, left = "the best takes together", ""
    if wanted.paintings:
        with_what = {each.window: setting_said(ledger.settings[each.setting]) for each in wanted.paintings}
        numbers = [f"{window}{f' ({said})' if said else ''}" for window, said in with_what.items()]
        what = f"window{'s' if len(numbers) > 1 else ''} {_listed(numbers)} of 0-{len(takes.windows) - 1} again"
        waiting = sum(each > 0 for each in takes.left()) - len(numbers)
        if waiting > 0:
            what += f", {waiting} wait{'s' if waiting == 1 else ''} for {'it' if len(numbers) == 1 else 'them'}"
        left = f"; {outlook(takes, ledger.takes)}"
    print(f"round {wanted.number}: {what}; {_state(takes.judged[-1])}{left}", flush=True)


def _state(joint: Joint) -> str:
    failing = sum(not each.passed for each in joint.results)
    worst = min(range(len(joint.results)), key=lambda index: joint.results[index].iou)
    return f"{failing} of {len(joint.results)} frames fail, worst IoU {joint.results[worst].iou:.2f} at {worst}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _outcome(takes: Takes, best: Joint, ledger: Ledger) -> str:
    """Return what came of it, in one line; what the takes' figures are worth, the report says."""
    # a window with nothing in it is painted by nobody
    paintings = sum(each.get("seconds") is not None for each in ledger.takes) or takes.paintings
    rounds = f"{len(takes.judged)} round{'s' * (len(takes.judged) > 1)}, {paintings} painting{'s' * (paintings > 1)}"
    spent = f"{rounds}, {duration(sum(float(each.get('seconds') or 0) for each in ledger.rounds))} of painting"
    if best.passed:
        return f"every frame passes after {spent}"
    return f"not every frame passes after {spent}; the best is kept: {_state(best)}"

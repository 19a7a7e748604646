"""A row for each cell of a plan: the gate's verdict with its sentence, or what is known instead; and which is better.

In reading order: `Row`, how two are compared, `rows_of`, then what is read of a cell's own files, report/iou.json and
takes.json. Of both only the beginning is read, since each frame's figures stand behind it.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from sweep.outcomes import PASS, REPORT, VERDICTS, Outcome, extraction_of, is_done, one_line, open_plain, outcome_of

PASSED, FAILED, BROKEN, MISSING = "pass", "FAIL", "failed", "not yet"
"""The verdicts: of the gate; then a job that failed, and a cell that is still to be done."""
LARGEST = 2**28
"""Bytes of a report, or of a takes.json, at most."""
_MOST_READ = 2**24
"""Bytes of its beginning at most."""
_PIECE = 2**16
_LONGEST = 2000
"""Characters of a reason at most."""


@dataclass(frozen=True)
class Row:
    """One cell. Every text is one line; what is not known is None, or "".

    clip: the run's name. reason: the gate's own sentence, a job's last error, or why there is no verdict yet. failing:
    frames that fail. worst_iou, worst_frame: of the frame with the lowest IoU. takes:
    paintings of a window. seconds: that the cell took. path: of the reskin, from the data folder. log: of a job that
    failed, from the sweep's folder. result: size and mtime, ns, of the report.
    """

    clip: str
    prompt: str
    seed: int
    reskin: str
    verdict: str
    reason: str
    path: str
    failing: int | None = None
    worst_iou: float | None = None
    worst_frame: int | None = None
    takes: int | None = None
    seconds: float | None = None
    log: str = ""
    result: tuple[int, int] | None = None

    @property
    def judged(self) -> bool:
        """Whether there is a verdict of the gate."""
        return self.verdict in (PASSED, FAILED)


def rank(row: Row) -> tuple[bool, bool, float, float, str, int]:
    """Return how bad a row is, to be compared with < : judged, passes, fewer failing frames, higher worst IoU."""
    failing = math.inf if row.failing is None else row.failing
    worst = 1.0 if row.worst_iou is None else -row.worst_iou
    return not row.judged, row.verdict != PASSED, failing, worst, row.prompt, row.seed


def best_of(rows: Sequence[Row]) -> Row | None:
    """Return the best row, where one was judged; else one whose job failed, else None."""
    best = min(rows, key=rank, default=None)
    if best is None or best.judged:
        return best
    return next((each for each in rows if each.verdict == BROKEN), None)


def rows_of(plan: Mapping[str, Any], folder: Path, runs_dir: Path) -> Iterator[Row]:
    """Yield the row of every cell of a plan, in its order, from what is there now.

    folder: the sweep's. runs_dir: where the runs are.
    """
    extraction = functools.lru_cache(maxsize=8)(functools.partial(extraction_of, folder))
    for batch in plan["batches"]:
        for cell in batch["cells"]:
            yield _row(cell, outcome_of(folder, cell), functools.partial(extraction, batch["extraction"]), runs_dir)


def _row(
    cell: Mapping[str, Any], outcome: Outcome | None, extraction: Callable[[], Outcome | None], runs_dir: Path
) -> Row:
    path = f"{runs_dir.name}/{cell['run']}/reskins/{cell['reskin']}"
    row = Row(cell["run"], one_line(cell["prompt"]), cell["seed"], cell["reskin"], MISSING, "", one_line(path))
    if outcome is not None and is_done(outcome, cell, runs_dir):
        return _judged(row, outcome, extraction, runs_dir)
    if outcome is not None and outcome.key == cell["key"] and outcome.code not in VERDICTS:
        said = _error(outcome) or f"the job ended with {outcome.code} and said no error"
        return replace(row, verdict=BROKEN, reason=_short(said), seconds=outcome.seconds, log=outcome.log or "")
    first = extraction()
    if first is not None and first.code:
        said = f"extraction of the clip: {_error(first) or f'it ended with {first.code} and said no error'}"
        return replace(row, verdict=BROKEN, reason=_short(said), log=first.log or "")
    if outcome is None:
        return row
    changed = "what is asked for" if outcome.key != cell["key"] else "its report"
    return replace(row, reason=f"{changed} has changed since it was judged")


def _error(outcome: Outcome) -> str:
    return (outcome.said or "").removeprefix("error: ").strip()


def _judged(row: Row, outcome: Outcome, extraction: Callable[[], Outcome | None], runs_dir: Path) -> Row:
    way = (row.clip, "reskins", row.reskin)
    head = _read(runs_dir, (*way, *REPORT), "frames")
    verdict, summary = _part(head, "verdict"), _part(head, "summary")
    said, passed = verdict.get("passed"), outcome.code == PASS
    sentence = _short(verdict.get("sentence")) or "report/iou.json says no reason"
    if not isinstance(said, bool):
        sentence = "report/iou.json cannot be read"
    elif said != passed:
        passed, sentence = False, f"the job ended with {outcome.code}, and its report says: {sentence}"
    takes = _paintings(_read(runs_dir, (*way, "takes.json"), "rounds").get("takes"))
    if takes is None and (first := extraction()) is not None:
        takes = first.windows
    return replace(
        row,
        verdict=PASSED if passed else FAILED,
        reason=sentence,
        failing=_whole(summary.get("failed")),
        worst_iou=_share(summary.get("minimum")),
        worst_frame=_whole(summary.get("minimum_frame")),
        takes=takes,
        seconds=outcome.seconds,
        result=outcome.result,
    )


def _paintings(takes: Any) -> int | None:
    """Return how many takes of a takes.json were painted: those of windows with nothing in them were not."""
    if not isinstance(takes, list):
        return None
    seconds = [each.get("seconds") if isinstance(each, dict) else None for each in takes]
    return sum(each is not None for each in seconds) or len(seconds)


def _short(text: Any) -> str:
    found = one_line(text[:_LONGEST]) if isinstance(text, str) else ""
    return found if len(found) <= _LONGEST else f"{found[: _LONGEST - 3]}..."


def _whole(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**53 else None


def _share(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and 0 <= value <= 1 else None


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _read(root: Path, way: Sequence[str], until: str) -> dict[str, Any]:
    """Return what stands in a JSON file before the key `until`; nothing where it cannot be read."""
    try:
        with open_plain(root / way[0], *way[1:]) as file:
            return read_head(file, until)
    except (OSError, ValueError, RecursionError):
        return {}


def read_head(file: BinaryIO, until: str) -> dict[str, Any]:
    """Return what stands in the object of a JSON file before its own key `until`, which need not be there.

    Raises ValueError for what is no object, is larger than LARGEST, or has more than _MOST_READ bytes before that key.
    """
    if os.fstat(file.fileno()).st_size > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    data = file.read(_PIECE)
    while True:
        try:
            return _members(data.decode("utf-8", "replace"), until)
        except ValueError:
            more = file.read(3 * len(data)) if len(data) < _MOST_READ else b""
            if not more:
                raise
            data += more


_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


def _members(text: str, until: str) -> dict[str, Any]:
    """Return the members of an object before the key `until`; ValueError where the text ends before that."""
    found: dict[str, Any] = {}
    at = _after(text, 0, "{")
    if text[at : at + 1] == "}":
        return found
    while True:
        name, at = _DECODER.raw_decode(text, at)
        if not isinstance(name, str):
            raise ValueError(f"character {at} is behind a key that is no text")
        at = _after(text, at, ":")
        if name == until:
            return found
        found[name], at = _DECODER.raw_decode(text, at)
        space = _SPACE.match(text, at)
        if space is not None and text[space.end() : space.end() + 1] == "}":
            return found
        at = _after(text, at, ",")


def _after(text: str, at: int, sign: str) -> int:
    """Return where the text goes on behind a sign and the spaces around it; ValueError where another stands there."""
    found = re.compile(rf"[ \t\n\r]*{re.escape(sign)}[ \t\n\r]*").match(text, at)
    if found is None:
        raise ValueError(f"character {at} is no {sign}")
    return found.end()

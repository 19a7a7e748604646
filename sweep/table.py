"""The table of a sweep, made again at any time from what is there: table.csv, table.md, junit.xml and contact.jpg.

In reading order: `write_table`, `Summary`, the three texts, then the contact sheet, which is drawn where the evaluator
lives: this writes contact.json, which says what it shows, and asks for the picture where that has changed.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.folder import write_text
from sweep.outcomes import one_line, tell
from sweep.rows import BROKEN, FAILED, MISSING, PASSED, Row, best_of, rank, rows_of

CSV, MARKDOWN, JUNIT, CONTACT = "table.csv", "table.md", "junit.xml", "contact.jpg"
LIST = "contact.json"
COLUMNS = (
    *("clip", "prompt", "seed", "verdict", "reason", "failing_frames", "worst_iou", "worst_frame"),
    *("takes", "seconds", "path", "log"),
)
MOST_RANKED = 10
"""Rows of a clip's ranking at most."""
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Summary:
    """What became of a sweep's cells, how many of each: passed, failed (the gate's), broken (the job's), missing.

    jobs: what is to be said of the jobs that failed, a sentence for each reason, with its log.
    """

    cells: int
    passed: int
    failed: int
    broken: int
    missing: int
    jobs: tuple[str, ...] = ()

    def exit_code(self, *, ended: bool) -> int:
        """Return 0 where nothing fails, 1 where a cell's gate does, 3 where a job failed; the largest counts.

        ended: no more jobs are to come, so a cell without an outcome is one whose job failed.
        """
        if self.broken or (ended and self.missing):
            return 3
        return 1 if self.failed else 0

    @property
    def sentence(self) -> str:
        """The counts in one sentence."""
        more = ((self.failed, "fail"), (self.broken, "not judged: a job failed"), (self.missing, "not yet done"))
        said = [f"{self.passed} of {self.cells} cells pass", *(f"{count} {what}" for count, what in more if count)]
        return ", ".join(said)


def write_table(plan: Mapping[str, Any], folder: Path, runs_dir: Path, *, picture: bool = True) -> Summary:
    """Write the table of a plan into the sweep's folder, each file whole or not at all, and return its counts.

    runs_dir: where the runs are, in the data folder. picture: whether contact.jpg is made too, where it has changed;
    what keeps it from being drawn is a warning. Raises OSError where a file cannot be written.
    """
    rows = list(rows_of(plan, folder, runs_dir))
    summary = _summary(rows)
    with _held(folder):
        write_text(folder / CSV, to_csv(rows))
        write_text(folder / MARKDOWN, to_markdown(plan["name"], rows, summary))
        write_text(folder / JUNIT, to_junit(plan["name"], rows))
        shown = json.dumps(contact_list(plan["name"], rows, runs_dir), indent=1) + "\n"
        write_text(folder / LIST, shown)
    if picture and summary.passed + summary.failed:
        _draw(folder, shown)
    return summary


def _summary(rows: Sequence[Row]) -> Summary:
    counts = Counter(row.verdict for row in rows)
    jobs = Counter((row.reason, row.log) for row in rows if row.verdict == BROKEN)
    said = [
        f"{reason} ({count} cell{'s' * (count != 1)}{f', {log}' if log else ''})"
        for (reason, log), count in jobs.items()
    ]
    return Summary(len(rows), counts[PASSED], counts[FAILED], counts[BROKEN], counts[MISSING], tuple(said))


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the folder's table, so that two commands do not write it at once, where its file system has locks."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".table.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def to_csv(rows: Sequence[Row]) -> str:
    """Return table.csv, a line a cell; no text in it is a formula to a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_no_formula(each) for each in _cells(row)] for row in rows)
    return text.getvalue()


def _cells(row: Row) -> tuple[str, ...]:
    texts = (row.clip, row.prompt, str(row.seed), row.verdict, row.reason)
    figures = (_number(row.failing), _number(row.worst_iou, ".4f"), _number(row.worst_frame), _number(row.takes))
    return *texts, *figures, _number(row.seconds, ".1f"), row.path, row.log


def _number(value: float | None, form: str = "d") -> str:
    return "" if value is None else f"{value:{form}}"


_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What begins a formula in a spreadsheet; the wide ones do in some countries."""


def _no_formula(text: str) -> str:
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def to_markdown(name: str, rows: Sequence[Row], summary: Summary) -> str:
    """Return table.md: every cell, then the best of each clip, then how many cells of each prompt pass."""
    names = ("clip", "prompt", "seed", "verdict", "reason", "worst IoU", "at frame", "takes", "seconds", "path")
    lines = [f"# {_plain(name)}", "", f"{summary.sentence}.", "", *_head(names, "lllllrrrrl")]
    for row in rows:
        reason = f"{_plain(row.reason)} ({_code(row.log)})" if row.log else _plain(row.reason)
        texts = (row.clip, _plain(row.prompt), str(row.seed), row.verdict, reason)
        figures = (_number(row.worst_iou, ".4f"), _number(row.worst_frame), _number(row.takes))
        lines.append(_line(*texts, *figures, _number(row.seconds, ".0f"), _code(row.path)))
    lines += ["", "## The best of each clip"]
    for clip, own in _grouped(rows, "clip").items():
        lines += ["", f"### {clip}", "", *_ranking(own)]
    prompts = _grouped(rows, "prompt")
    lines += ["", "## The prompts", "", *_head(("prompt", "", "cells that pass", "of"), "rlrr")]
    for number, (prompt, own) in enumerate(prompts.items(), 1):
        passed = sum(row.verdict == PASSED for row in own)
        lines.append(_line(str(number), _plain(prompt), str(passed), str(len(own))))
    return "\n".join([*lines, ""])


def _ranking(rows: Sequence[Row]) -> list[str]:
    """Return the table of a clip's best cells."""
    ranked = sorted((row for row in rows if row.judged), key=rank)
    if not ranked:
        return ["No cell is judged yet."]
    lines = _head(("", "prompt", "seed", "verdict", "failing frames", "worst IoU", "at frame"), "rlllrrr")
    for place, row in enumerate(ranked[:MOST_RANKED], 1):
        figures = (_number(row.failing), _number(row.worst_iou, ".4f"), _number(row.worst_frame))
        lines.append(_line(str(place), _plain(row.prompt), str(row.seed), row.verdict, *figures))
    said = (
        (len(ranked) - MOST_RANKED, "more in table.csv"),
        (len(rows) - len(ranked), "without a verdict"),
    )
    more = [f"{count} {what}" for count, what in said if count > 0]
    return [*lines, "", f"{', '.join(more)}."] if more else lines


def _grouped(rows: Sequence[Row], by: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(getattr(row, by), []).append(row)
    return found


def _head(names: Sequence[str], sides: str) -> list[str]:
    return [_line(*names), _line(*("---:" if side == "r" else "---" for side in sides))]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Return a text in which nothing means anything to Markdown."""
    return re.sub(r"([\\`*\[\]<>|~&#$]|(?<!\w)_|_(?!\w))", r"\\\1", text)


def _code(text: str) -> str:
    return f"`{text}`"


def to_junit(name: str, rows: Sequence[Row]) -> str:
    """Return junit.xml: a suite a clip and a case a cell; an error is a job that failed, skipped one not done yet."""
    root = ET.Element("testsuites", name=one_line(name))
    for clip, own in _grouped(rows, "clip").items():
        suite = ET.SubElement(root, "testsuite", name=clip)
        for row in own:
            seconds = f"{row.seconds or 0:.1f}"
            case = ET.SubElement(suite, "testcase", classname=clip, name=f"{row.prompt}, seed {row.seed}", time=seconds)
            if row.verdict == FAILED:
                ET.SubElement(case, "failure", message=row.reason, type="gate").text = f"{row.reason}\n{row.path}"
            elif row.verdict == BROKEN:
                text = f"{row.reason}\n{row.log}" if row.log else row.reason
                ET.SubElement(case, "error", message=row.reason, type="job").text = text
            elif row.verdict == MISSING:
                ET.SubElement(case, "skipped", message=row.reason or MISSING)
            else:
                ET.SubElement(case, "system-out").text = f"{row.reason}\n{row.path}"
        _count(suite, own)
    _count(root, rows)
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _count(element: ET.Element, rows: Sequence[Row]) -> None:
    counts = Counter(row.verdict for row in rows)
    named = (("failures", FAILED), ("errors", BROKEN), ("skipped", MISSING))
    found = {"tests": len(rows)} | {name: counts[verdict] for name, verdict in named}
    for name, count in found.items():
        element.set(name, str(count))
    element.set("time", f"{sum(row.seconds or 0 for row in rows):.1f}")


def contact_list(name: str, rows: Sequence[Row], runs_dir: Path) -> dict[str, Any]:
    """Return contact.json: of each clip (a row) and prompt (a column) the best cell, as the ranking has it, or null."""
    clips, prompts = _grouped(rows, "clip"), _grouped(rows, "prompt")
    cells = []
    for clip, own in clips.items():
        run, of = os.path.realpath(runs_dir / clip), _grouped(own, "prompt")  # a container sees no link to a run
        cells.append([_shown(best_of(of.get(prompt, ())), run) for prompt in prompts])
    return {"schema": 1, "name": one_line(name), "clips": [*clips], "prompts": [*prompts], "cells": cells}


def _shown(row: Row | None, run: str) -> dict[str, Any] | None:
    if row is None:
        return None
    named = ("clip", "prompt", "seed", "verdict", "failing", "worst_iou", "result")
    video = f"{run}/reskins/{row.reskin}/output.mp4" if row.judged else None
    more = {"frame": row.worst_frame, "video": video}
    return {name: getattr(row, name) for name in named} | more


def _draw(folder: Path, shown: str) -> None:
    """Have contact.jpg drawn, unless the one that is there says that it is of the same list."""
    digest = hashlib.sha256(shown.encode()).hexdigest()
    with contextlib.suppress(OSError), (folder / CONTACT).open("rb") as file:
        if b"list " + digest.encode() in file.read(4096):
            return
    command = [sys.executable, str(_ROOT / "runner"), "sweep-contact", str(folder / LIST), str(folder / CONTACT)]
    code = subprocess.run(command, check=False).returncode
    if code:
        tell(f"{CONTACT} is not drawn: what draws it ended with {code}; the table is whole without it.")

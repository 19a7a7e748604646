"""iou.json and iou.csv, every frame's score and the verdict for programs; and the list of all report files.

The schema of iou.json stands in docs/gate.md.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

from evaluator.gate import FrameScore
from evaluator.junit import junit_xml
from evaluator.result import Result
from evaluator.summary import summary_md
from evaluator.trust import Trust
from handoff.atomic import write_text
from handoff.errors import InputError, storage_errors

SCHEMA = 2
JSON_FILE = "iou.json"
CHART, OVERLAY = "chart", "overlay"
FILES = {
    "json": JSON_FILE,
    "csv": "iou.csv",
    "junit": "junit.xml",
    "summary": "summary.md",
    CHART: "iou.png",
    OVERLAY: "overlay.mp4",
}
"""The formats and their files."""


def to_json(result: Result) -> str:
    """Return iou.json: "schema", "how", "summary", "frames"."""
    frames = [asdict(score) for score in result.scores]
    data = {"schema": SCHEMA, "how": result.how, "summary": result.summary(), "frames": frames}
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def read_json(path: Path) -> Result:
    """Read back what `to_json` gave; raise InputError when it is something else."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {data['schema']!r}")
        summary, trust = data["summary"], dict(data["summary"]["trust"])
        trust.pop("doubtful")
        scores = [FrameScore(**each) for each in data["frames"]]
        return Result(scores, summary["threshold"], summary["expected_frames"], data["how"], Trust(**trust))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}); evaluate again with --force.") from error


def to_csv(result: Result) -> str:
    """Return iou.csv, one line a frame; an empty cell where a figure is not defined or was not measured."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(FrameScore)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(score) for score in result.scores)
    return text.getvalue()


_TEXTS: dict[str, Callable[[Result], str]] = {
    "json": to_json,
    "csv": to_csv,
    "junit": junit_xml,
    "summary": summary_md,
}


def write_texts(folder: Path, result: Result, formats: frozenset[str]) -> None:
    """Write the chosen text files."""
    for name, make in _TEXTS.items():
        if name in formats:
            write_text(folder / FILES[name], make(result))


def remove_reports(folder: Path) -> None:
    """Remove the files of an earlier evaluation; StorageError where the folder cannot be written."""
    with storage_errors(folder):
        for name in FILES.values():
            (folder / name).unlink(missing_ok=True)

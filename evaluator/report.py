"""iou.json and iou.csv: every frame's score and the verdict, for programs."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from evaluator.gate import FrameScore, Verdict
from handoff.atomic import write_text
from handoff.errors import InputError

SCHEMA = 2


def write_json(path: Path, scores: list[FrameScore], verdict: Verdict, how: dict[str, Any]) -> None:
    """Write iou.json: "schema", "how" (tracker, prompt, files), "frames", "summary"."""
    data = {
        "schema": SCHEMA,
        "how": how,
        "summary": asdict(verdict) | {"passed": verdict.passed},
        "frames": [asdict(score) for score in scores],
    }
    write_text(path, json.dumps(data, indent=1) + "\n")


def read_json(path: Path) -> tuple[list[FrameScore], Verdict]:
    """Read back what `write_json` wrote; raise InputError when it is something else."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {data['schema']!r}")
        summary = {key: value for key, value in data["summary"].items() if key != "passed"}
        return [FrameScore(**each) for each in data["frames"]], Verdict(**summary)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}); evaluate again with --force.") from error


def write_csv(path: Path, scores: list[FrameScore]) -> None:
    """Write iou.csv, one line a frame, columns as in FrameScore."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(asdict(scores[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(score) for score in scores)
    write_text(path, text.getvalue())

"""A sweep that never ran: its plan, and what jobs would have left, in the evaluator's and the loop's own forms."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluator.gate import FrameScore
from evaluator.report.result import Result
from evaluator.report.texts import to_json
from tests.evaluator.helpers import takes_document

KEY = "a" * 64


@functools.lru_cache(maxsize=64)
def report(*ious: float) -> str:
    """iou.json of a clip whose frames have these IoUs."""
    scores = [FrameScore(at, iou, 0.9, iou > 0.9, 100, 100) for at, iou in enumerate(ious)]
    return to_json(Result(scores, 0.9, len(scores), {"original": "a", "generated": "b"}))


def sentence(*ious: float) -> str:
    found: str = json.loads(report(*ious))["verdict"]["sentence"]
    return found


@dataclass
class MadeUp:
    """The files of a sweep in `data`. cells: of each clip, as the plan has them."""

    data: Path
    cells: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.data / "sweeps" / "made-up"

    @property
    def runs(self) -> Path:
        return self.data / "runs"

    @property
    def plan(self) -> dict[str, Any]:
        batches = [
            {"id": f"{run}-000-b", "extraction": f"{run}-e", "cells": cells} for run, cells in self.cells.items()
        ]
        return {"schema": 1, "name": "made-up", "folder": str(self.folder), "batches": batches}

    def cell(self, run: str, prompt: str, seed: int) -> dict[str, Any]:
        """A new cell of the plan."""
        cells = self.cells.setdefault(run, [])
        cells.append({"run": run, "reskin": f"n{len(cells)}", "prompt": prompt, "seed": seed, "key": KEY})
        return cells[-1]

    def reskin(self, cell: dict[str, Any]) -> Path:
        return self.runs / cell["run"] / "reskins" / cell["reskin"]

    def outcome(self, cell: dict[str, Any], code: int, **more: Any) -> Path:
        """Write what a job knows of a cell; `result` is that of the report that is there."""
        name = f"{cell['run']}/{cell['reskin']}"
        path = self.reskin(cell) / "report" / "iou.json"
        result = [path.stat().st_size, path.stat().st_mtime_ns] if path.exists() else None
        found = {"key": KEY, "code": code, "seconds": 12.34, "log": "logs/job.log", "said": None, "result": result}
        return self.write(f"cells/{name}.json", {"id": name} | found | more)

    def judged(self, cell: dict[str, Any], *ious: float, takes: bool = True, **more: Any) -> Path:
        """Write all that a cell leaves that was painted and judged; return its outcome."""
        folder = self.reskin(cell)
        (folder / "report").mkdir(parents=True, exist_ok=True)
        (folder / "report" / "iou.json").write_text(report(*ious))
        (folder / "output.mp4").write_bytes(b"a clip")
        if takes:
            found = takes_document(frames=4)
            for each, seconds in zip(found["takes"], (None, 1.5, 2.0, 2.5), strict=True):
                each["seconds"] = seconds  # nobody painted the first window
            (folder / "takes.json").write_text(json.dumps(found))
        return self.outcome(cell, more.pop("code", 0 if min(ious) > 0.9 else 1), **more)

    def extraction(self, kind: str, run: str, code: int, **more: Any) -> Path:
        return self.write(f"{kind}/{run}-e.json", {"id": f"{run}-e", "key": None, "code": code} | more)

    def write(self, name: str, document: object) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"schema": 1, **document} if isinstance(document, dict) else document))
        return path

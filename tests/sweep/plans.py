"""Sweeps as their file says them, on clips that are a few bytes: their plans, and what jobs of them would have left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweep.jobplan import ClipFile, plan_of
from sweep.request.specification import read
from sweep.supervisor import left_of

BBOX = [308, 298, 466, 353]
REPORT = Path("report") / "iou.json"


@dataclass
class SweepFolder:
    """A sweep's file, its clip and its data folder below `place`; said: keys of the file, changed by `also`."""

    place: Path
    said: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clip = self.place / "line.mp4"
        if not self.clip.exists():
            self.clip.write_bytes(b"a clip")
        clips = [{"path": "line.mp4", "bbox": BBOX, "frame": 4}]
        self.said = {"clips": clips, "prompts": ["drone, samurai"], "seeds": [0, 1], "batch": 1} | self.said

    @property
    def data(self) -> Path:
        return self.place / "data"

    @property
    def folder(self) -> Path:
        return self.data / "sweeps" / "mine"

    def also(self, **said: Any) -> SweepFolder:
        return SweepFolder(self.place, self.said | said)

    def plan(self) -> dict[str, Any]:
        file = self.place / "mine.yaml"
        file.write_text(json.dumps(self.said, ensure_ascii=False), encoding="utf-8")  # JSON is YAML
        sweep = read(file)
        shots = [ClipFile(clip.path, clip.bbox, clip.frame) for clip in sweep.clips if clip.path]
        return plan_of(sweep, shots, self.folder, self.data)


def cells(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [cell for batch in plan["batches"] for cell in batch["cells"]]


def mark(path: Path) -> list[int]:
    return [path.stat().st_size, path.stat().st_mtime_ns]


def write(path: Path, text: str = "{}\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def outcome(name: str, code: int, **more: Any) -> dict[str, Any]:
    return {"schema": 1, "id": name, "key": None, "code": code, "seconds": 1.0, "said": None, "result": None} | more


def extract_for(plan: Mapping[str, Any], number: int = 0) -> Path:
    """Leave what a job that extracted a clip leaves; return the run's folder."""
    extraction = plan["extractions"][number]
    run = Path(plan["data"]) / "runs" / extraction["run"]
    for name in ("source.mp4", "mask.mp4", "human_mask.mp4", "pose.json", "run.json"):
        write(run / name)
    said = outcome(extraction["id"], 0, windows=2, result=mark(run / "run.json"))
    write(Path(plan["folder"]) / "extracted" / f"{extraction['id']}.json", json.dumps(said))
    return run


def judge_for(plan: Mapping[str, Any], cell: Mapping[str, Any], code: int = 0, **more: Any) -> Path:
    """Leave what a job that painted and judged a cell leaves; return the reskin's folder."""
    reskin = Path(plan["data"]) / "runs" / cell["run"] / "reskins" / cell["reskin"]
    write(reskin / "output.mp4")
    report = write(reskin / REPORT, json.dumps({"verdict": {"passed": code == 0}}))
    name = f"{cell['run']}/{cell['reskin']}"
    said = outcome(name, code, key=cell["key"], result=mark(report) if code in (0, 1) else None)
    write(Path(plan["folder"]) / "cells" / f"{name}.json", json.dumps(said | more))
    return reskin


def finish(plan: Mapping[str, Any]) -> None:
    """Leave what all jobs of a plan leave."""
    for number in range(len(plan["extractions"])):
        extract_for(plan, number)
    for batch in plan["batches"]:
        for cell in batch["cells"]:
            judge_for(plan, cell)
        write(Path(plan["folder"]) / "painted" / f"{batch['id']}.json", json.dumps({"schema": 1, "id": batch["id"]}))


def undone(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The batches that have a cell without a verdict that still stands, each with all of its cells."""
    left = left_of(plan)
    return [batch for batch in plan["batches"] if batch["id"] in left]


def name_of(cell: Mapping[str, Any]) -> str:
    """What a cell is called: RUN/RESKIN."""
    return f"{cell['run']}/{cell['reskin']}"

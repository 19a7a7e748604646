"""`python -m tracker` on a scene's clip, and what it left behind."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from handoff.masks import read_masks
from handoff.run import Run
from tests.tracker.scenes import Mask, Scene
from tracker.cli import command


def invoke(run: Run, *options: str) -> Result:
    """Run the command to its end; what it raises is raised here."""
    return CliRunner().invoke(command, ["--run", str(run.dir), *options], catch_exceptions=False, standalone_mode=False)


def text(scene: Scene, frame: int) -> str:
    """The object's box on a frame as --bbox takes it."""
    return ",".join(str(value) for value in scene.box(frame))


def masks_of(run: Run) -> list[Mask]:
    return list(read_masks(run.path("mask.mp4")))


def stage_of(run: Run) -> dict[str, Any]:
    """The tracker's record in run.json."""
    stage: dict[str, Any] = json.loads((run.dir / "run.json").read_text())["stages"]["tracker"]
    return stage


def notes(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = stage_of(run)["notes"]
    return found

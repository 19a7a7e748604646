"""P: the new object's mask, found by the tracker that made the original mask, from the same box on the same frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handoff.box import Box, box_of_mask, check_box
from handoff.errors import InputError, UsageError
from handoff.masks import Mask, read_masks
from handoff.run import Run
from handoff.video import ClipInfo
from tracker.tracker import SkateboardTracker

DEFAULT_BACKEND = "embedded"


@dataclass(frozen=True)
class Setup:
    """How to track again. origin: "flag", "run" or "mask" (the first frame where the original is not empty)."""

    backend: str
    box: Box
    frame: int
    origin: str

    def as_json(self) -> dict[str, Any]:
        """Return it for a report."""
        return {"tracker": self.backend, "box": self.box.as_list(), "frame": self.frame, "box_from": self.origin}


def _first_box(original: Path) -> tuple[Box, int]:
    for index, mask in enumerate(read_masks(original)):
        box = box_of_mask(mask)
        if box is not None:
            return box, index
    raise InputError(f"{original} is empty in every frame, so there is no outline to hold the gate to.")


def choose_setup(run: Run | None, original: Path, info: ClipInfo, box: Box | None, frame: int | None) -> Setup:
    """Decide tracker, box and frame: what was asked for, else what run.json says, else the first non-empty mask.

    Raises InputError for a box or a frame outside the clip, UsageError for a frame without a box.
    """
    recorded = run.manifest["stages"].get("tracker", {}).get("params", {}) if run else {}
    backend = str(recorded.get("backend", DEFAULT_BACKEND))
    if box is not None:
        at = frame if frame is not None else int(recorded.get("frame", 0))
        setup = Setup(backend, box, at, "flag")
    elif frame is not None:
        raise UsageError(f"--frame {frame} needs a box on that frame: add -bbox x1,y1,x2,y2.")
    elif "box" in recorded:
        setup = Setup(backend, Box(*recorded["box"]), int(recorded["frame"]), "run")
    else:
        setup = Setup(backend, *_first_box(original), "mask")
    check_box(setup.box, info.width, info.height)
    if not 0 <= setup.frame < info.frames:
        raise InputError(f"frame {setup.frame} is not in the clip: it has frames 0 to {info.frames - 1}.")
    return setup


def retrack(generated: Path, setup: Setup) -> Iterator[Mask]:
    """Yield the mask (H, W) bool of the object in every frame of the generated clip, in order."""
    tracker = SkateboardTracker(backend=setup.backend)
    tracker.init_video(generated)
    tracker.add_initial_prompt(setup.frame, setup.box)
    for _, mask in tracker.propagate():
        yield mask

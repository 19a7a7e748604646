"""Pass 4: track the new object in the generated clip and prove that it fills the old outline, frame by frame.

    from evaluator import calculate_iou
    calculate_iou(mask_a, mask_b)  # two masks as anyone has them, 0.0 to 1.0

`python -m evaluator` is the command. To read the stage: cli.py (options), stage.py (one evaluation), gate.py (what
passes), then inputs.py (what is read), retrack.py (P), scoring.py (one pass over all frames), figures.py and
replaced.py (what is measured), and report/result.py (the verdict).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evaluator.gate import calculate_iou

__all__ = ["MIN_REPLACED", "THRESHOLD", "calculate_iou"]

THRESHOLD = 0.90
"""A frame passes when its IoU is greater than this; equal fails."""
MIN_REPLACED = 0.75
"""The share of the object that has to be new in a frame; equal passes. What it rests on: docs/how-it-works/gate.md."""


def __getattr__(name: str) -> object:
    """Import OpenCV only where it is needed: the command's options name the thresholds."""
    if name == "calculate_iou":
        return import_module("evaluator.gate").calculate_iou
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The gate: a pure object that is fed masks and says which frames pass. No files, no tracking."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from handoff.errors import InputError
from handoff.masks import Mask

THRESHOLD = 0.90
"""A frame passes when its IoU is greater than this; equal fails."""


def count(mask: Mask) -> int:
    """Return the number of True pixels of a mask (H, W) bool."""
    return int(cv2.countNonZero(mask.view(np.uint8)))


def intersection_over_union(original: Mask, generated: Mask) -> float:
    """Return |G and P| / |G or P| of two masks (H, W) bool; 1.0 when both are empty (DAVIS's convention).

    Raises InputError when the sizes differ.
    """
    if original.shape != generated.shape:
        raise InputError(f"masks of {original.shape} and {generated.shape} (H, W) px cannot be compared.")
    union = count(original | generated)
    return count(original & generated) / union if union else 1.0


@dataclass(frozen=True)
class FrameScore:
    """One frame's result. original_px and generated_px are the areas of G and P."""

    frame: int
    iou: float
    passed: bool
    original_px: int
    generated_px: int

    def line(self) -> str:
        """Return the console line of the frame."""
        return f"Frame {self.frame:04d}: IoU = {self.iou:.4f} [{'PASS' if self.passed else 'FAIL'}]"


@dataclass(frozen=True)
class Verdict:
    """The gate's result over all frames."""

    frames: int
    threshold: float
    mean: float
    minimum: float
    minimum_frame: int
    failed: int
    first_failure: int | None

    @property
    def passed(self) -> bool:
        """True when every frame passed."""
        return self.failed == 0

    def lines(self) -> list[str]:
        """Return the closing lines for the console."""
        closing = [
            f"Minimum IoU = {self.minimum:.4f} at frame {self.minimum_frame}; mean IoU = {self.mean:.4f} "
            f"over {self.frames} frames"
        ]
        if self.passed:
            return [*closing, f"Gate: PASS (IoU > {self.threshold:g} in every frame)"]
        return [
            *closing,
            f"Failures: {self.failed} of {self.frames} frames, the first is frame {self.first_failure}",
            f"Gate: FAIL (IoU > {self.threshold:g} is needed in every frame)",
        ]


class Gate:
    """Feed it every frame in order, then ask for the verdict.

    threshold: 0..1. Every frame counts, the first and the last too.
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        self.threshold = threshold
        self.scores: list[FrameScore] = []

    def feed_frame(self, original: Mask, generated: Mask) -> FrameScore:
        """Score the next frame: G and P, both (H, W) bool."""
        iou = intersection_over_union(original, generated)
        score = FrameScore(len(self.scores), iou, iou > self.threshold, count(original), count(generated))
        self.scores.append(score)
        return score

    def conclude(self) -> Verdict:
        """Return the verdict; raise InputError when nothing was fed or the original was empty throughout."""
        if not self.scores:
            raise InputError("there is no frame to score.")
        if not any(score.original_px for score in self.scores):
            raise InputError("the original mask is empty in every frame, so there is no outline to hold the gate to.")
        worst = min(self.scores, key=lambda score: score.iou)
        failures = [score.frame for score in self.scores if not score.passed]
        return Verdict(
            frames=len(self.scores),
            threshold=self.threshold,
            mean=float(np.mean([score.iou for score in self.scores])),
            minimum=worst.iou,
            minimum_frame=worst.frame,
            failed=len(failures),
            first_failure=failures[0] if failures else None,
        )

"""Everything that a report says: the frames' scores, the verdict, the noise floor, and how far the mask is trusted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from evaluator.gate import FrameScore, Verdict, judge
from evaluator.trust import Trust, numbers


def _low(value: float) -> float:
    return -value


def _high(value: float) -> float:
    return value


def _far_from_one(value: float) -> float:
    return abs(math.log(value)) if value > 0 else math.inf


FIGURES: dict[str, Callable[[float], float]] = {
    "boundary_f": _low,
    "leak": _high,
    "gap": _high,
    "clip": _high,
    "drift_px": _high,
    "area_ratio": _far_from_one,
    "one_px_iou": _low,
    "floor_iou": _low,
    "oks": _low,
    "pck": _low,
    "psnr_db": _low,
    "ssim": _low,
}
"""The figures beside the IoU, each with how bad a value is."""


@dataclass(frozen=True)
class Result:
    """What came of an evaluation.

    how: tracker, prompt, files, and what was measured with what. expected: the clip's frames; fewer scores mean that
    it was cut short.
    """

    scores: list[FrameScore]
    threshold: float
    expected: int
    how: dict[str, Any]
    trust: Trust = field(default_factory=Trust)

    @property
    def complete(self) -> bool:
        """Whether every frame was scored."""
        return len(self.scores) == self.expected

    @property
    def verdict(self) -> Verdict:
        """The gate's verdict over the frames that were scored, at least one."""
        return judge(self.scores, self.threshold)

    @property
    def passed(self) -> bool:
        """Whether the gate passes: every frame was scored, and every one passed."""
        return self.complete and self.verdict.passed

    @property
    def calibrated(self) -> bool:
        """Whether the noise floor is known."""
        return any(score.floor_iou is not None for score in self.scores)

    @property
    def below_floor(self) -> list[int]:
        """The failing frames that are worse than the second track of the source itself: not the ruler's doing."""
        return [s.frame for s in self.scores if not s.passed and s.floor_iou is not None and s.iou < s.floor_iou]

    @property
    def at_floor(self) -> list[int]:
        """The failing frames in which the second track of the source itself is no better."""
        return [s.frame for s in self.scores if not s.passed and s.floor_iou is not None and s.iou >= s.floor_iou]

    @property
    def failing_floor(self) -> list[int]:
        """The frames in which the source itself, tracked again, would not pass."""
        return [s.frame for s in self.scores if s.floor_iou is not None and s.floor_iou <= self.threshold]

    def figures(self) -> dict[str, dict[str, float | int]]:
        """Return mean, worst and the worst's frame of each figure that was measured."""
        found: dict[str, dict[str, float | int]] = {}
        for name, badness in FIGURES.items():
            values = {s.frame: v for s in self.scores if (v := getattr(s, name)) is not None}
            if values:
                frame = max(values, key=lambda index: badness(values[index]))
                found[name] = {"mean": sum(values.values()) / len(values), "worst": values[frame], "frame": frame}
        return found

    def floor_lines(self) -> list[str]:
        """Return what the noise floor says of the failing frames; nothing where it is not known."""
        if not self.calibrated:
            return []
        floor = self.figures()["floor_iou"]
        known = sum(score.floor_iou is not None for score in self.scores)
        over = "" if known == len(self.scores) else f" (of the first {known} frames only)"
        lines = [
            f"Noise floor{over}: the source itself, encoded and tracked again, has mean IoU {floor['mean']:.4f}, "
            f"minimum {floor['worst']:.4f} at frame {floor['frame']}; "
            f"it would fail in {numbers(self.failing_floor) or 'no frame'}"
        ]
        if self.below_floor:
            lines.append(f"Failing below the floor (the new object, not the ruler): {numbers(self.below_floor)}")
        if self.at_floor:
            lines.append(f"Failing at or above the floor (the ruler does no better): {numbers(self.at_floor)}")
        return lines

    def limits(self) -> list[str]:
        """Return what limits the verdict's worth: another tracker, the noise floor, the doubts about the original."""
        differs = self.how.get("other_tracker")
        other = [f"P was not found by the original mask's own tracker: {differs}"] if differs else []
        return [*other, *self.trust.lines(), *self.floor_lines()]

    def lines(self) -> list[str]:
        """Return the closing lines for the console, the verdict last."""
        *figures, gate = self.verdict.lines() if self.scores else [""]
        if not self.complete:
            gate = f"Gate: not decided, cut short after {len(self.scores)} of {self.expected} frames"
        return [*figures, *self.limits(), gate]

    @property
    def mean_seen(self) -> float | None:
        """The mean IoU over the frames that show an object in either mask: empty against empty is 1.0, and flatters."""
        ious = [score.iou for score in self.scores if score.original_px or score.generated_px]
        return sum(ious) / len(ious) if ious else None

    def summary(self) -> dict[str, Any]:
        """Return iou.json's "summary"; what there is none of without a single frame is None."""
        verdict: dict[str, Any] = dict.fromkeys(each.name for each in fields(Verdict))
        verdict |= {"frames": 0, "threshold": self.threshold, "failed": 0}
        floor = {"below": self.below_floor, "at_or_above": self.at_floor, "floor_fails": self.failing_floor}
        return (asdict(self.verdict) if self.scores else verdict) | {
            "passed": self.passed,
            "complete": self.complete,
            "mean_seen": self.mean_seen,
            "expected_frames": self.expected,
            "figures": self.figures(),
            "failing_frames": floor if self.calibrated else None,
            "trust": self.trust.as_json(),
        }

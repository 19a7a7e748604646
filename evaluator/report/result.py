"""What every report says: scores, verdict, noise floor, how far the mask is trusted; as numbers and as sentences.

report/texts.py and report/chart.py only put it into their files' forms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from evaluator import MIN_REPLACED
from evaluator.gate import FrameScore, Verdict, judge
from evaluator.remarks import remark_lines
from evaluator.trust import Trust, numbers
from handoff.errors import InputError


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
    "replaced": _low,
    "unpainted": _high,
}
"""The figures beside the IoU, each with how bad a value is."""


@dataclass(frozen=True)
class Result:
    """What came of an evaluation.

    how: tracker, prompt, files, and what was measured with what. expected: the clip's frames; fewer scores mean that
    it was cut short. told: figures that decide nothing (`evaluator.remarks`).
    """

    scores: list[FrameScore]
    threshold: float
    expected: int
    how: dict[str, Any]
    trust: Trust = field(default_factory=Trust)
    min_replaced: float = MIN_REPLACED
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every frame was scored."""
        return len(self.scores) == self.expected

    def judged_again(self, threshold: float, expected: int, min_replaced: float = MIN_REPLACED) -> Result:
        """Return it with each frame judged by its own IoU and what of it is new, whatever it says itself.

        expected: the clip's frames. Raises InputError for frames that are not counted from 0, and for an IoU or a share
        that is none.
        """
        for index, score in enumerate(self.scores):
            if score.frame != index or not 0.0 <= score.iou <= 1.0:
                raise InputError(f"the report has frame {score.frame} with IoU {score.iou} as its frame {index}.")
            if not 0.0 <= (score.replaced or 0.0) <= 1.0:
                raise InputError(f"the report has {score.replaced} for the new share of frame {index}.")
        scores = [score.judged(threshold, min_replaced) for score in self.scores]
        return replace(self, scores=scores, threshold=threshold, expected=expected, min_replaced=min_replaced)

    @property
    def verdict(self) -> Verdict:
        """The gate's verdict over the frames that were scored, at least one."""
        return judge(self.scores, self.threshold, self.min_replaced)

    @property
    def passed(self) -> bool:
        """Whether the gate passes: every frame was scored, and every one passed."""
        return self.complete and self.verdict.passed

    @property
    def mean_seen(self) -> float | None:
        """The mean IoU over the frames that show an object in either mask: empty against empty is 1.0, and flatters."""
        ious = [score.iou for score in self.scores if score.original_px or score.generated_px]
        return sum(ious) / len(ious) if ious else None

    @property
    def calibrated(self) -> bool:
        """Whether the noise floor is known."""
        return any(score.floor_iou is not None for score in self.scores)

    @property
    def below_floor(self) -> list[int]:
        """The failing frames that are worse than the second track of the source itself: the new object is worse."""
        return [s.frame for s in self._short if s.floor_iou is not None and s.iou < s.floor_iou]

    @property
    def at_floor(self) -> list[int]:
        """The failing frames in which the second track of the source itself is no better."""
        return [s.frame for s in self._short if s.floor_iou is not None and s.iou >= s.floor_iou]

    @property
    def _short(self) -> list[FrameScore]:
        """The frames that fail by their IoU."""
        return [score for score in self.scores if score.iou <= self.threshold]

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
            lines.append(f"Failing below the floor (the new object, not the tracker): {numbers(self.below_floor)}")
        if self.at_floor:
            lines.append(
                f"Failing at or above the floor (the tracker does no better on the source): {numbers(self.at_floor)}"
            )
        return lines

    def limits(self) -> list[str]:
        """Return what limits the verdict's worth: another tracker, the noise floor, the doubts about the original."""
        differs = self.how.get("other_tracker")
        other = [f"P was not found by the original mask's own tracker: {differs}"] if differs else []
        return [*other, *self.new_lines(), *self.trust.lines(), *self.floor_lines(), *remark_lines(self.told)]

    def new_lines(self) -> list[str]:
        """Return how much of the object is new, or why that is not known."""
        shares = {score.frame: score.replaced for score in self.scores if score.replaced is not None}
        if not shares:
            return ["New object: not measured, as the pictures of source and output are not both known"]
        off = "" if self.min_replaced else "; not judged (--min-replaced 0)"
        worst = min(shares, key=lambda frame: shares[frame])
        mean = sum(shares.values()) / len(shares)
        return [f"New object: {mean:.3f} of its outline on average, {shares[worst]:.3f} at frame {worst}{off}"]

    def lines(self) -> list[str]:
        """Return the closing lines for the console, the verdict last; of a part of the clip there is none."""
        *figures, gate = self.verdict.lines() if self.scores else [""]
        if not self.complete:
            return [*figures, *self.limits(), f"Gate: {self.cut_short}"]
        return [*figures, *self.limits(), gate, self.verdict.benchmark]

    @property
    def cut_short(self) -> str:
        """What is said in place of a verdict where frames are missing."""
        return f"not decided, cut short after {len(self.scores)} of {self.expected} frames"

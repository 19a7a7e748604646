"""What every report says: the verdict and its reasons, scores, noise floor, trust; as numbers and as sentences.

`Result.sentence` is the one sentence that every report begins with. report/texts.py and report/chart.py only put all of
it into their files' forms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from evaluator.gate import FrameScore, Verdict, judge
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
    "second_iou": _low,
    "oks": _low,
    "pck": _low,
    "psnr_db": _low,
    "ssim": _low,
    "replaced": _low,
    "unpainted": _high,
}
"""The figures beside the IoU, each with how bad a value is."""

Kind = Literal["original mask", "iou", "replaced"]
KINDS: tuple[Kind, ...] = ("original mask", "iou", "replaced")
"""What a verdict is made of, in the order in which it is said: a pass against a wrong mask is worth nothing."""

CONTRADICTED, CONFIRMED = "contradicted", "confirmed"
ACCEPTED = "the original mask is contradicted and was accepted by --accept-mask"


@dataclass(frozen=True)
class Reason:
    """One reason for a FAIL.

    frames: those that show it, ascending. text: a part of the verdict's sentence. figures: its numbers, for programs.
    """

    kind: Kind
    frames: list[int]
    text: str
    figures: dict[str, float | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What came of an evaluation.

    how: tracker, prompt, files, and what was measured with what. expected: the clip's frames; fewer scores mean that
    it was cut short. accept_mask: a contradicted original mask is no reason to fail (--accept-mask).
    """

    scores: list[FrameScore]
    threshold: float
    expected: int
    how: dict[str, Any]
    trust: Trust = field(default_factory=Trust)
    accept_mask: bool = False

    @property
    def complete(self) -> bool:
        """Whether every frame was scored."""
        return len(self.scores) == self.expected

    def judged_again(self, threshold: float, expected: int, *, accept_mask: bool = False) -> Result:
        """Return it with each frame judged by its own figures against a threshold, whatever it says itself.

        expected: the clip's frames. Raises InputError for frames that are not counted from 0, and for an IoU that is
        none.
        """
        for index, score in enumerate(self.scores):
            if score.frame != index or not 0.0 <= score.iou <= 1.0:
                raise InputError(f"the report has frame {score.frame} with IoU {score.iou} as its frame {index}.")
        scores = [replace(score, passed=score.iou > threshold) for score in self.scores]
        return replace(self, scores=scores, threshold=threshold, expected=expected, accept_mask=accept_mask)

    @property
    def verdict(self) -> Verdict:
        """The gate's verdict over the frames that were scored, at least one."""
        return judge(self.scores, self.threshold)

    @property
    def reasons(self) -> list[Reason]:
        """Why the gate fails, as far as frames were scored; empty where nothing is wrong with them."""
        found = (self._contradicted(), self._below(), self._not_new())
        return [reason for reason in found if reason is not None]

    @property
    def passed(self) -> bool:
        """Whether the gate passes: every frame was scored, and there is no reason against it."""
        return self.complete and not self.reasons

    @property
    def accepted(self) -> bool:
        """Whether the original mask is contradicted and was accepted all the same."""
        return self.accept_mask and self._mask_is(CONTRADICTED)

    @property
    def unmeasured(self) -> dict[Kind, str]:
        """What was not measured, and so is no part of the verdict, and why."""
        if not self.scores:
            return dict.fromkeys(KINDS, self.cut_short)
        found: dict[Kind, str] = {}
        if self.trust.standing is None:
            found["original mask"] = "no witness of it is known"
        elif not self._mask_is(CONTRADICTED, CONFIRMED):
            found["original mask"] = "no witness spoke"
        if all(score.replaced is None for score in self.scores):
            two_masks = "description" not in self.how
            found["replaced"] = "two masks have no pictures" if two_masks else "the source clip is not known"
        return found

    @property
    def sentence(self) -> str:
        """The verdict in one sentence, with the reasons of a FAIL; every report begins with it."""
        accepted = [ACCEPTED] if self.accepted else []
        if not self.complete:
            return f"Gate: {'; '.join([self.cut_short, *accepted])}"
        if self.reasons:
            return f"Gate: FAIL, {'; '.join([*(each.text for each in self.reasons), *accepted])}"
        iou = f"IoU > {self.threshold:g} in every one of {self.expected} frames"
        return f"Gate: PASS, {iou}; {self._new()}; {self._right()}"

    @property
    def benchmark(self) -> str:
        """The verdict in one fixed sentence, for scripts that look for it; the last line of the console."""
        reasons = {each.kind: each for each in self.reasons}
        if not reasons or "iou" in reasons:
            return self.verdict.benchmark
        if "replaced" in reasons:
            return f"FAILED: {len(reasons['replaced'].frames)} frames were not repainted."
        return f"FAILED: The original mask is contradicted in {len(reasons['original mask'].frames)} frames."

    def _mask_is(self, *words: str) -> bool:
        return self.trust.standing is not None and self.trust.standing.word in words

    def _contradicted(self) -> Reason | None:
        standing = self.trust.standing
        if standing is None or not self._mask_is(CONTRADICTED) or self.accept_mask:
            return None
        figures: dict[str, float | int] = {"contradicted": len(standing.contradicted), "spoke": standing.spoke}
        return Reason("original mask", standing.contradicted, standing.sentence, figures)

    def _below(self) -> Reason | None:
        frames = [score.frame for score in self.scores if score.iou <= self.threshold]
        if not frames:
            return None
        verdict = self.verdict
        text = (
            f"{len(frames)} of {self.expected} frames at or below IoU {self.threshold:g}: {numbers(frames)} "
            f"(lowest {verdict.minimum:.4f} at frame {verdict.minimum_frame})"
        )
        figures = {"threshold": self.threshold, "minimum": verdict.minimum, "minimum_frame": verdict.minimum_frame}
        return Reason("iou", frames, text, figures)

    def _not_new(self) -> Reason | None:
        by_state = {state: [s for s in self.scores if s.state == state] for state in ("UNCHANGED", "UNPAINTED")}
        unchanged, unpainted = by_state.values()
        if not unchanged and not unpainted:
            return None
        texts: list[str] = []
        figures: dict[str, float | int] = {}
        if unchanged:
            least = min(unchanged, key=lambda score: score.replaced or 0.0)
            texts.append(
                f"nothing new in {len(unchanged)} of {self.expected} frames: {numbers(s.frame for s in unchanged)} "
                f"(least replaced: {least.replaced or 0.0:.3f} at frame {least.frame})"
            )
            figures |= {"unchanged": len(unchanged), "least": least.replaced or 0.0, "least_frame": least.frame}
        if unpainted:
            most = max(unpainted, key=lambda score: score.unpainted or 0.0)
            texts.append(
                f"left unpainted in {len(unpainted)} of {self.expected} frames: {numbers(s.frame for s in unpainted)} "
                f"(most: {most.unpainted or 0.0:.3f} at frame {most.frame})"
            )
            figures |= {"unpainted": len(unpainted), "most": most.unpainted or 0.0, "most_frame": most.frame}
        frames = sorted(score.frame for score in (*unchanged, *unpainted))
        return Reason("replaced", frames, "; ".join(texts), figures)

    def _new(self) -> str:
        why = self.unmeasured.get("replaced")
        return f"whether the object is new was not measured ({why})" if why else "the object is new wherever it is seen"

    def _right(self) -> str:
        why = self.unmeasured.get("original mask")
        if why:
            return f"the original mask is unconfirmed ({why})"
        return ACCEPTED if self.accepted else "the original mask is confirmed"

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
            lines.append(f"Failing below the floor (the new object, not the tracker): {numbers(self.below_floor)}")
        if self.at_floor:
            lines.append(
                f"Failing at or above the floor (the tracker does no better on the source): {numbers(self.at_floor)}"
            )
        return lines

    def second_lines(self) -> list[str]:
        """Return what the second judge found; nothing where there was none."""
        found = self.figures().get("second_iou")
        if found is None:
            return []
        known = [score for score in self.scores if score.second_iou is not None]
        over = "" if len(known) == len(self.scores) else f" (of the first {len(known)} frames only)"
        low = [each.frame for each in known if each.second_iou is not None and each.second_iou <= self.threshold]
        return [
            f"Second judge{over}, {self.how['second_judge']['description']}: mean IoU {found['mean']:.4f}, minimum "
            f"{found['worst']:.4f} at frame {found['frame']}; at or below {self.threshold:g} in "
            f"{numbers(low) or 'no frame'}. It decides nothing"
        ]

    def limits(self) -> list[str]:
        """Return what limits the verdict's worth: another tracker, the noise floor, the doubts about the original."""
        differs = self.how.get("other_tracker")
        other = [f"P was not found by the original mask's own tracker: {differs}"] if differs else []
        return [*other, *self.trust.lines(), *self.second_lines(), *self.floor_lines()]

    def lines(self) -> list[str]:
        """Return the closing lines for the console: the sentence, what stands behind it, the fixed line last.

        Of a part of the clip there is no fixed line.
        """
        figures = self.verdict.lines()[:-1] if self.scores else []
        fixed = [self.benchmark] if self.complete else []
        return [self.sentence, *figures, *self.limits(), *fixed]

    @property
    def cut_short(self) -> str:
        """What is said in place of a verdict where frames are missing."""
        return f"not decided, cut short after {len(self.scores)} of {self.expected} frames"

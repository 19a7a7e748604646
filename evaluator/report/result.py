"""What every report says: the verdict and its reasons, scores, noise floor, trust; as numbers and as sentences.

`Result.sentence` is the one sentence that every report begins with. report/texts.py and report/chart.py only put all of
it into their files' forms.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from evaluator import MIN_REPLACED
from evaluator.gate import FrameScore, Verdict, judge
from evaluator.remarks import remark_lines
from evaluator.report.attempts import attempt_lines
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
    it was cut short. told: figures that decide nothing (`evaluator.remarks`). accept_mask: a contradicted original mask
    is no reason to fail (--accept-mask).
    """

    scores: list[FrameScore]
    threshold: float
    expected: int
    how: dict[str, Any]
    trust: Trust = field(default_factory=Trust)
    min_replaced: float = MIN_REPLACED
    told: dict[str, Any] = field(default_factory=dict)
    accept_mask: bool = False

    @property
    def complete(self) -> bool:
        """Whether every frame was scored."""
        return len(self.scores) == self.expected

    def judged_again(
        self, threshold: float, expected: int, min_replaced: float = MIN_REPLACED, *, accept_mask: bool = False
    ) -> Result:
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
        asked: dict[str, Any] = {"threshold": threshold, "min_replaced": min_replaced, "accept_mask": accept_mask}
        return replace(self, scores=scores, expected=expected, **asked)

    @property
    def verdict(self) -> Verdict:
        """The gate's verdict over the frames that were scored, at least one."""
        return judge(self.scores, self.threshold, self.min_replaced)

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
        """The parts of the verdict that nothing was measured for, or too little; each with a word, and why."""
        if not self.scores:
            return dict.fromkeys(KINDS, self.cut_short)
        found: dict[Kind, str] = {}
        standing = self.trust.standing
        if standing is None:
            found["original mask"] = "unconfirmed: its witnesses are not known"
        elif not self._mask_is(CONTRADICTED, CONFIRMED):
            found["original mask"] = standing.sentence.removeprefix("the mask is ")
        if all(score.replaced is None for score in self.scores):
            why = "the source clip is not known" if "description" in self.how else "two masks have no pictures"
            found["replaced"] = f"not measured: {why}"
        elif not self.min_replaced:
            found["replaced"] = "not judged: --min-replaced 0"
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
        if self.reasons and self.verdict.passed:  # the masks fit, so it is the original
            return f"FAILED: The original mask is contradicted in {len(self.reasons[0].frames)} frames."
        return self.verdict.benchmark

    def _mask_is(self, *words: str) -> bool:
        return self.trust.standing is not None and self.trust.standing.word in words

    def _contradicted(self) -> Reason | None:
        standing = self.trust.standing
        if standing is None or not self._mask_is(CONTRADICTED) or self.accept_mask:
            return None
        figures: dict[str, float | int] = {"contradicted": len(standing.contradicted), "spoke": standing.spoke}
        text = standing.sentence.replace("the mask", "the original mask", 1)
        return Reason("original mask", list(standing.contradicted), text, figures)

    def _below(self) -> Reason | None:
        frames = [score.frame for score in self._short]
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
        unchanged = {s.frame: s.replaced or 0.0 for s in self.scores if s.state == "UNCHANGED"}
        unpainted = {s.frame: s.unpainted or 0.0 for s in self.scores if s.state == "UNPAINTED"}
        texts: list[str] = []
        figures: dict[str, float | int] = {"min_replaced": self.min_replaced}
        if unchanged:
            least = min(unchanged, key=lambda frame: unchanged[frame])
            texts.append(
                f"too little of the object is new in {len(unchanged)} of {self.expected} frames: {numbers(unchanged)} "
                f"(least {unchanged[least]:.3f} at frame {least}, {self.min_replaced:g} is needed)"
            )
            figures |= {"unchanged": len(unchanged), "least": unchanged[least], "least_frame": least}
        if unpainted:
            most = max(unpainted, key=lambda frame: unpainted[frame])
            texts.append(
                f"the object is unpainted in {len(unpainted)} of {self.expected} frames: {numbers(unpainted)} "
                f"(most {unpainted[most]:.3f} at frame {most})"
            )
            figures |= {"unpainted": len(unpainted), "most": unpainted[most], "most_frame": most}
        return Reason("replaced", sorted({**unchanged, **unpainted}), "; ".join(texts), figures) if texts else None

    def _new(self) -> str:
        why = self.unmeasured.get("replaced")
        return f"whether the object is new was {why}" if why else "the object is new wherever it is seen"

    def _right(self) -> str:
        why = self.unmeasured.get("original mask")
        return ACCEPTED if self.accepted else f"the original mask is {why or 'confirmed'}"

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

    def second_lines(self) -> list[str]:
        """Return what the second judge found; nothing where there was none."""
        found = self.figures().get("second_iou")
        if found is None:
            return []
        known = [score for score in self.scores if score.second_iou is not None]
        over = "" if len(known) == len(self.scores) else f" (of the first {len(known)} frames only)"
        low = [each.frame for each in known if each.second_iou is not None and each.second_iou <= self.threshold]
        first = {each.frame for each in known if each.iou > self.threshold}
        return [
            f"Second judge{over}, {self.how['second_judge']['description']}: mean IoU {found['mean']:.4f}, minimum "
            f"{found['worst']:.4f} at frame {found['frame']}; also above {self.threshold:g} in "
            f"{len(first.difference(low))} of the {len(first)} frames in which the first judge is; at or below "
            f"{self.threshold:g} in {numbers(low) or 'no frame'}. It informs, and decides nothing"
        ]

    def limits(self) -> list[str]:
        """Return what limits the verdict's worth: another tracker, the noise floor, the doubts about the original."""
        differs = self.how.get("other_tracker")
        other = [f"P was not found by the original mask's own tracker: {differs}"] if differs else []
        lines = [*other, *self.new_lines(), *self.trust.lines(), *self.second_lines(), *self.floor_lines()]
        return [*lines, *remark_lines(self.told), *self.take_lines()]

    def take_lines(self) -> list[str]:
        """Return what is to be known of the takes that the clip was chosen from; nothing where nothing was chosen."""
        heard = any(score.second_iou is not None for score in self.scores)
        return attempt_lines(self.told.get("takes"), self.scores, self.threshold, asked_again=heard)

    def new_lines(self) -> list[str]:
        """Return how much of the object is new; nothing where that is not known, which the sentence says."""
        shares = {score.frame: score.replaced for score in self.scores if score.replaced is not None}
        if not shares:
            return []
        off = "" if self.min_replaced else "; not judged (--min-replaced 0)"
        worst = min(shares, key=lambda frame: shares[frame])
        mean = sum(shares.values()) / len(shares)
        return [f"New object: {mean:.3f} of its outline on average, {shares[worst]:.3f} at frame {worst}{off}"]

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

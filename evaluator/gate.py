"""The gate: a pure object that is fed masks and says which frames pass. No files, no tracking.

`Gate` is fed every frame, `judge` gives the verdict over what it scored. `calculate_iou` is for two masks alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evaluator import MIN_REPLACED, THRESHOLD
from evaluator.figures import shape
from evaluator.replaced import Replaced
from handoff.errors import InputError
from handoff.masks import Mask, mask_iou, overlap


@dataclass(frozen=True)
class Kept:
    """How well skater and background were kept in a frame; None where not measured (docs/how-it-works/gate.md).

    oks, pck: of the two skeletons, 0..1. psnr_db, ssim: of the two pictures outside object and skater.
    """

    oks: float | None = None
    pck: float | None = None
    psnr_db: float | None = None
    ssim: float | None = None


@dataclass(frozen=True)
class FrameScore:
    """One frame's result; what each figure means stands in docs/how-it-works/gate.md.

    Only `iou` and `replaced` decide `passed`. original_px and generated_px are the areas of G and P. A figure that is
    not defined or not measured is None. floor_iou: what the second track gives on the source itself, from --calibrate.
    second_iou: what another tracker finds in the generated clip, from --second-judge. replaced, unpainted: the shares
    of G that are new, and that no model painted. renewed: whether enough is new; None where that was not asked or
    cannot be said.
    """

    frame: int
    iou: float
    boundary_f: float
    passed: bool
    original_px: int
    generated_px: int
    leak: float = 0.0
    gap: float = 0.0
    clip: float | None = None
    drift_px: float | None = None
    area_ratio: float | None = None
    one_px_iou: float | None = None
    floor_iou: float | None = None
    oks: float | None = None
    pck: float | None = None
    psnr_db: float | None = None
    ssim: float | None = None
    replaced: float | None = None
    unpainted: float | None = None
    renewed: bool | None = None
    second_iou: float | None = None

    @property
    def state(self) -> Literal["PASS", "FAIL", "UNCHANGED", "UNPAINTED"]:
        """What the frame is called: where too little is new, by what most of the rest is."""
        if self.renewed is False:
            bare = self.unpainted or 0.0
            return "UNPAINTED" if bare > 1 - (self.replaced or 0.0) - bare else "UNCHANGED"
        return "PASS" if self.passed else "FAIL"

    def judged(self, threshold: float, min_replaced: float) -> FrameScore:
        """Return it as its own figures are judged: IoU above a threshold, and enough of the object new (0: any)."""
        renewed = self.replaced >= min_replaced if min_replaced > 0 and self.replaced is not None else None
        return replace(self, renewed=renewed, passed=self.iou > threshold and renewed is not False)

    def line(self) -> str:
        """Return the console line of the frame."""
        bare = f" {self.unpainted or 0:.2f} of it flat gray" if self.state == "UNPAINTED" else ""
        return f"Frame {self.frame:04d}: IoU = {self.iou:.4f} [{self.state}]{bare}"


@dataclass(frozen=True)
class Verdict:
    """The gate's result over all frames, the first and the last too.

    mean, minimum: of the IoU. recall: share of frames above the threshold. decay: mean IoU of the clip's first quarter
    less that of its last (DAVIS). boundary_f: mean. j_and_f: the mean of both means (DAVIS's J&F). failed: frames that
    fail for whatever reason; of these below: at or below the threshold; unchanged, unpainted: where too little is new.
    """

    frames: int
    threshold: float
    mean: float
    minimum: float
    minimum_frame: int
    recall: float
    decay: float
    boundary_f: float
    j_and_f: float
    failed: int
    first_failure: int | None
    below: int = 0
    unchanged: int = 0
    unpainted: int = 0
    min_replaced: float = 0.0

    @property
    def passed(self) -> bool:
        """True when every frame passed."""
        return self.failed == 0

    @property
    def benchmark(self) -> str:
        """The verdict in one fixed sentence, for scripts that look for it."""
        if self.passed:
            return "SUCCESS: Zero-Clipping Benchmark Passed."
        if not self.below:
            return f"FAILED: {self.failed} frames show no new object."
        short = f"{self.threshold:.2f}"
        threshold = short if float(short) == self.threshold else f"{self.threshold}"
        return f"FAILED: {self.below} frames dropped below {threshold} IoU."

    def lines(self) -> list[str]:
        """Return the closing lines for the console."""
        closing = [
            f"Minimum IoU = {self.minimum:.4f} at frame {self.minimum_frame}; mean IoU = {self.mean:.4f} "
            f"over {self.frames} frames; mean boundary F = {self.boundary_f:.4f}"
        ]
        if self.passed:
            return [*closing, f"Gate: PASS (IoU > {self.threshold:g} in every frame)"]
        return [
            *closing,
            f"Failures: {self.failed} of {self.frames} frames, the first is frame {self.first_failure}",
            *self._not_new(),
            f"Gate: FAIL ({self._needed()})",
        ]

    def _not_new(self) -> list[str]:
        """Return a line on the frames in which too little is new, where there are any."""
        if not self.unchanged and not self.unpainted:
            return []
        return [
            f"Not new: {self.unchanged} frames unchanged, {self.unpainted} unpainted; at least {self.min_replaced:g} "
            "of the object must differ from the source (--min-replaced)"
        ]

    def _needed(self) -> str:
        needed = f"IoU > {self.threshold:g} is needed in every frame"
        return f"{needed}, and a new object" if self.unchanged or self.unpainted else needed


class Gate:
    """Feed it every frame in order, then ask for the verdict.

    threshold: 0..1. min_replaced: the share of G that has to be new, 0..1; 0 asks for none. Every frame counts, the
    first and the last too.
    """

    def __init__(self, threshold: float = THRESHOLD, min_replaced: float = MIN_REPLACED) -> None:
        self.threshold, self.min_replaced = threshold, min_replaced
        self.scores: list[FrameScore] = []

    def feed_frame(
        self,
        original: Mask,
        generated: Mask,
        skater: Mask | None = None,
        kept: Kept | None = None,
        new: Replaced | None = None,
    ) -> FrameScore:
        """Score the next frame: G, P and where it is known the skater, all (H, W) bool; new: how much of G is new."""
        areas = overlap(original, generated)
        outline = shape(original, generated, skater)
        score = FrameScore(
            frame=len(self.scores),
            iou=areas.iou,
            passed=False,
            original_px=areas.original_px,
            generated_px=areas.generated_px,
            leak=areas.leak,
            gap=areas.gap,
            area_ratio=areas.area_ratio,
            **asdict(outline),
            **asdict(kept or Kept()),
            **(new or Replaced())._asdict(),
        ).judged(self.threshold, self.min_replaced)
        self.scores.append(score)
        return score

    def conclude(self) -> Verdict:
        """Return the verdict; raise InputError when nothing was fed or the original was empty throughout."""
        if not self.scores:
            raise InputError("there is no frame to score.")
        if not any(score.original_px for score in self.scores):
            raise InputError("the original mask is empty in every frame, so there is no outline to hold the gate to.")
        return judge(self.scores, self.threshold, self.min_replaced)


def judge(scores: list[FrameScore], threshold: float, min_replaced: float = MIN_REPLACED) -> Verdict:
    """Return the verdict over some frames' scores, at least one."""
    worst = min(scores, key=lambda score: score.iou)
    failures = [score.frame for score in scores if not score.passed]
    ious = [score.iou for score in scores]
    states = Counter(score.state for score in scores)
    below = sum(iou <= threshold for iou in ious)
    mean, outline = float(np.mean(ious)), float(np.mean([score.boundary_f for score in scores]))
    return Verdict(
        frames=len(scores),
        threshold=threshold,
        mean=mean,
        minimum=worst.iou,
        minimum_frame=worst.frame,
        recall=(len(scores) - below) / len(scores),
        decay=decay(ious),
        boundary_f=outline,
        j_and_f=(mean + outline) / 2,
        failed=len(failures),
        first_failure=failures[0] if failures else None,
        below=below,
        unchanged=states["UNCHANGED"],
        unpainted=states["UNPAINTED"],
        min_replaced=min_replaced,
    )


def decay(values: list[float]) -> float:
    """Return the mean of a sequence's first quarter less the mean of its last, with DAVIS's quarters.

    Quarters share their border frames, as in davis2017-evaluation's `db_statistics` (whose 8-bit frame numbers, wrong
    from frame 256 on, are not taken over).
    """
    borders = (np.round(np.linspace(1, len(values), 5) + 1e-10) - 1).astype(int)
    first, last = values[borders[0] : borders[1] + 1], values[borders[3] : borders[4] + 1]
    return float(np.mean(first) - np.mean(last))


def calculate_iou(mask_a: NDArray[np.bool_ | np.uint8], mask_b: NDArray[np.bool_ | np.uint8]) -> float:
    """Return |A and B| / |A or B| of two masks (H, W), 0.0 to 1.0; 1.0 when both are empty.

    Each is bool, or uint8 of two levels, whichever: the higher one is the object (0 and 1, 0 and 255, mixed too). Of a
    single level, 0 is an empty mask and any other a full one. Raises InputError for more levels than two, which have no
    outline; for other dtypes; for arrays that are not (H, W), and for sizes that differ.
    """
    return mask_iou(_two_levels(mask_a), _two_levels(mask_b))


def _two_levels(mask: NDArray[np.bool_ | np.uint8]) -> Mask:
    if not isinstance(mask, np.ndarray) or mask.dtype not in (np.bool_, np.uint8) or mask.ndim != 2:
        seen = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise InputError(f"a mask is an array (H, W) of bool, or of uint8 with two levels, not {seen}.")
    if mask.dtype == np.bool_ or not mask.size:
        return mask.astype(np.bool_, copy=False)
    low, high = mask.min(), mask.max()
    if low == high:
        return mask > 0
    found: Mask = mask == high
    if np.count_nonzero(found) + np.count_nonzero(mask == low) != mask.size:
        levels = np.unique(mask)
        shown = ", ".join(str(level) for level in levels[:8]) + (", ..." if len(levels) > 8 else "")
        raise InputError(
            f"a mask has two levels, and this array has {len(levels)}: {shown}; say which of them are the object, such "
            "as mask > 127."
        )
    return found

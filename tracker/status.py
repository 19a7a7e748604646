"""What to think of each frame's mask: tracked, absent, or suspicious, from the mask itself, without any truth.

The statuses, in the order in which they are decided:

    absent                  no mask, or the model's object score is at or below 0 (SAM 2: "no object", a logit)
    suspicious:whole-frame  the mask covers more than half of the frame, SAM 2's known answer when lost (sam2 #242)
    suspicious:area-jump    more than `AREA_JUMP` times as large or as small as the median of the last frames
    suspicious:components   a patchy mask (sam2 #316): more than `MOST_PARTS` parts, or the largest has less than
                            `MAIN_SHARE` of the pixels
    tracked                 none of these

A suspicious frame keeps its mask: it is for a person to look at. The thresholds and how often they are right and wrong
on exact truth are this project's measurement, docs/tracker.md.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]  # (H, W)
Status = Literal["tracked", "absent", "suspicious:whole-frame", "suspicious:area-jump", "suspicious:components"]

WHOLE_FRAME = 0.5  # of the frame's pixels
AREA_JUMP = 3.0  # times the median area of the last `AREA_FRAMES` frames with a mask
AREA_FRAMES = 5
MAIN_SHARE = 0.4  # of the mask's pixels
MOST_PARTS = 12
SCORE_DECIMALS = 2


class StatusLog:
    """Judges the frames one by one, in either direction, and remembers ranges.

    Memory: the ranges, and one float a frame where the model gives scores.
    """

    def __init__(self) -> None:
        self._areas: deque[int] = deque(maxlen=AREA_FRAMES)
        self._largest = 0
        self._ranges: list[tuple[int, int, Status]] = []  # first and last frame
        self._scores: dict[int, float] = {}

    def new_shot(self) -> None:
        """Forget the areas: the next frame is after a cut, or on the other side of the prompt."""
        self._areas.clear()
        self._largest = 0

    def add(self, index: int, mask: Mask, score: float | None = None) -> Status:
        """Judge frame `index`, once each. mask: (H, W) bool. score: the object score, a logit, if there is one."""
        if score is not None:
            self._scores[index] = round(float(score), SCORE_DECIMALS)
        status = self._judge(mask, score)
        self._remember(index, status)
        return status

    def _judge(self, mask: Mask, score: float | None) -> Status:
        area = int(np.count_nonzero(mask))
        if area == 0 or (score is not None and score <= 0):
            self._areas.clear()
            return "absent"
        if area > WHOLE_FRAME * mask.size:
            return "suspicious:whole-frame"
        jumped = self._jumped(area)
        self._areas.append(area)
        self._largest = max(self._largest, area)
        if jumped:
            return "suspicious:area-jump"
        return "suspicious:components" if _is_patchy(mask) else "tracked"

    def _jumped(self, area: int) -> bool:
        if self._areas:
            usual = float(np.median(self._areas))
            return not usual / AREA_JUMP <= area <= usual * AREA_JUMP
        # the first frame, or back from an absence: it may be half hidden still, but not larger than it ever was
        return 0 < self._largest * AREA_JUMP < area

    def _remember(self, index: int, status: Status) -> None:
        if self._ranges:
            first, last, before = self._ranges[-1]
            if status == before and index == last + 1:
                self._ranges[-1] = (first, index, status)
                return
            if status == before and index == first - 1:
                self._ranges[-1] = (index, last, status)
                return
        self._ranges.append((index, index, status))

    def ranges(self) -> dict[Status, list[tuple[int, int]]]:
        """For each status that occurred its frames as (first, last) ranges, ascending, touching ones joined."""
        joined: dict[Status, list[tuple[int, int]]] = {}
        for first, last, status in sorted(self._ranges):
            known = joined.setdefault(status, [])
            if known and known[-1][1] == first - 1:
                known[-1] = (known[-1][0], last)
            else:
                known.append((first, last))
        return joined

    def summary(self) -> str:
        """One line: how many frames of each status, and where the doubtful ones are."""
        counts: Counter[Status] = Counter()
        for first, last, status in self._ranges:
            counts[status] += last - first + 1
        total = sum(counts.values())
        ranges = self.ranges()
        doubts = [
            f"{status} {counts[status]} ({_in_words(ranges[status])})"
            for status in sorted(counts)
            if status != "tracked"
        ]
        tracked = f"tracked {counts['tracked']} of {total} frames"
        if not doubts:
            return tracked
        look = "; look at them in the overlay" if any(status.startswith("suspicious") for status in counts) else ""
        return f"{tracked}; {', '.join(doubts)}{look}"

    def to_json(self) -> dict[str, Any]:
        """For run.json: {"ranges": {status: [[first, last], ...]}, "scores": [...]}; no scores where there are none.

        scores: one number a frame from frame 0, null for a frame that has none.
        """
        ranges = {status: [list(each) for each in known] for status, known in sorted(self.ranges().items())}
        record: dict[str, Any] = {"ranges": ranges}
        if self._scores:
            record["scores"] = [self._scores.get(index) for index in range(max(self._scores) + 1)]
        return record


def _is_patchy(mask: Mask) -> bool:
    x, y, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    part = np.ascontiguousarray(mask[y : y + height, x : x + width]).view(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return count - 1 > MOST_PARTS or bool(areas.max() < MAIN_SHARE * areas.sum())


def _in_words(ranges: list[tuple[int, int]], most: int = 5) -> str:
    words = [str(first) if first == last else f"{first} to {last}" for first, last in ranges[:most]]
    return ", ".join(words) + (f" and {len(ranges) - most} more" if len(ranges) > most else "")

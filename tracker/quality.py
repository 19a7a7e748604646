"""What to think of the masks, without any truth: the status of each frame, and tracking back (`--verify`).

`StatusLog` judges a frame from its mask alone. The statuses, in the order in which they are decided:

    absent                  no mask, or the model's object score is at or below 0 (SAM 2: "no object", a logit)
    suspicious:whole-frame  the mask covers more than half of the frame, SAM 2's known answer when lost (sam2 #242)
    suspicious:area-jump    more than `AREA_JUMP` times as large or as small as the median of the last frames
    suspicious:components   a patchy mask (sam2 #316): more than `MOST_PARTS` parts, or the largest has less than
                            `MAIN_SHARE` of the pixels
    tracked                 none of these

A suspicious frame keeps its mask: it is for a person to look at. The thresholds and how often they are right and wrong
on exact truth are this project's measurement, docs/measurements.md.

`verify` is cycle consistency: does a second track, started where the first one ended, come back to where the first
began? The first pass goes from the prompt to the end of the shot. The second starts afresh from the first pass's last
good mask and goes back to the prompt frame. Where the first pass had drifted to something else, the second follows that
something, and the two disagree. It needs no truth, but it is no proof: both passes may be wrong in the same way. How
well it predicts real error is measured in docs/measurements.md.

`ends_of` says where else a track of each shot may begin: the gate's second judge does.

Memory does not grow with the clip, but for some numbers a frame.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np

from handoff.command import progress, spans_text
from handoff.errors import InputError
from handoff.masks import Mask, bounds, mask_iou, read_masks
from handoff.places import Place

Status = Literal["tracked", "absent", "suspicious:whole-frame", "suspicious:area-jump", "suspicious:components"]

WHOLE_FRAME = 0.5  # of the frame's pixels
AREA_JUMP = 3.0  # times the median area of the last `AREA_FRAMES` frames with a mask
AREA_FRAMES = 5
MAIN_SHARE = 0.4  # of the mask's pixels
MOST_PARTS = 12
SCORE_DECIMALS = 2

DOUBTFUL = 0.7  # IoU of the two passes under which a frame is worth a look
GOOD_SHARE = 0.5  # of the median area: a sliver that is about to go out of sight is no mask to start from


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
            f"{status} {counts[status]} ({spans_text(ranges[status], 5)})"
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
    """Whether a mask is of too many parts, or without a main one; it has pixels."""
    box = bounds(mask)
    x1, y1, x2, y2 = box.rounded_out() if box else (0, 0, 0, 0)
    part = np.ascontiguousarray(mask[y1:y2, x1:x2]).view(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return count - 1 > MOST_PARTS or bool(areas.max() < MAIN_SHARE * areas.sum())


class Retrack(Protocol):
    """A way to track a second time: `TrackerBackend.retrack` on one clip."""

    def __call__(self, start: int, mask: Mask, frames: range) -> Iterator[tuple[int, Mask]]:
        """Yield (frame_index, mask (H, W) bool) of `frames`, ascending; on `start`, one of its ends, it is `mask`."""
        ...


class CycleLog:
    """The IoU of the two passes, frame by frame."""

    def __init__(self) -> None:
        self.ious: dict[int, float] = {}

    def doubtful(self, below: float = DOUBTFUL) -> list[int]:
        """The frames in which the two passes' IoU is under `below`, ascending."""
        return sorted(index for index, iou in self.ious.items() if iou < below)

    def summary(self) -> str:
        """One line: how many frames were compared, the mean, the lowest, and how many are doubtful."""
        if not self.ious:
            return "verify: no frame could be compared; the object was tracked on the prompt frame only"
        lowest = min(self.ious, key=lambda index: self.ious[index])
        mean = float(np.mean(list(self.ious.values())))
        doubtful = self.doubtful()
        look = (
            f"look at frames {spans_text([(each, each) for each in doubtful], 6)}" if doubtful else "no sign of drift"
        )
        return (
            f"verify: tracked back over {len(self.ious)} frames, IoU of the two passes mean {mean:.2f}, "
            f"lowest {self.ious[lowest]:.2f} (frame {lowest}), under {DOUBTFUL:g} in {len(doubtful)}: {look}"
        )

    def to_json(self) -> dict[str, Any]:
        """For run.json: threshold, frames compared, mean, doubtful frames, one IoU a frame, null if not compared."""
        values = [self.ious.get(index) for index in range(max(self.ious, default=-1) + 1)]
        return {
            "threshold": DOUBTFUL,
            "frames": len(self.ious),
            "mean": round(float(np.mean(list(self.ious.values()))), 3) if self.ious else None,
            "doubtful": self.doubtful(),
            "ious": [None if value is None else round(value, 3) for value in values],
        }


def verify(masks: Path, prompt_frame: int, shot: range, retrack: Retrack) -> CycleLog:
    """Track the prompt's shot again, toward the prompt frame, and compare with the first pass.

    masks: the first pass, mask.mp4 or its folder. shot: the frames between two cuts that hold `prompt_frame`.
    Where the object was absent the shot falls into stretches, each verified by itself: from its last good mask back
    to the prompt frame or to the stretch's beginning, and before the prompt frame the other way round. Frames beyond
    the last good mask and the ones that a pass starts from are not compared. InputError when `masks` is too short.
    """
    log = CycleLog()
    for stretch in _survey(masks, shot):
        goal = min(max(prompt_frame, stretch.frames.start), stretch.frames.stop - 1)
        for start in {stretch.last_good(goal), stretch.first_good(goal)} - {goal}:
            for index, iou in _compare(masks, start, goal, retrack):
                log.ious[index] = min(iou, log.ious.get(index, 1.0))  # the prompt frame ends both
    return log


@dataclass
class _Stretch:
    """Frames in a row that have a mask; areas in px, 0 for a frame that cannot be trusted."""

    frames: range
    areas: list[int]

    def last_good(self, goal: int) -> int:
        """The last frame after `goal` whose mask is whole enough to start from; `goal` if there is none."""
        return max(self._good(range(goal + 1, self.frames.stop)), default=goal)

    def first_good(self, goal: int) -> int:
        """The first such frame before `goal`; `goal` if there is none."""
        return min(self._good(range(self.frames.start, goal)), default=goal)

    def _good(self, frames: range) -> list[int]:
        least = _least_whole(self.areas)
        return [index for index in frames if self.areas[index - self.frames.start] > least]


def _least_whole(areas: Sequence[int]) -> float:
    """How large a mask has to be at least to start from, px; areas: 0 for a frame that cannot be trusted."""
    trusted = [area for area in areas if area]
    return GOOD_SHARE * float(np.median(trusted)) if trusted else 0.0


def ends_of(masks: Iterable[Mask], shots: Sequence[range]) -> list[tuple[Place, Place]]:
    """Return where a track may begin at either end of each shot that shows the object: its first and its last place.

    A place is the box of a mask (H, W) that is whole enough to start from, as for `verify`; in a shot in which no mask
    can be trusted, of any. masks: of every frame. shots: ranges of frames that together are the whole clip.
    """
    ends, judge, numbered = [], StatusLog(), enumerate(masks)
    for shot in shots:
        judge.new_shot()
        places: list[Place] = []
        areas: list[int] = []
        for index, mask in islice(numbered, len(shot)):
            status, box = judge.add(index, mask), bounds(mask)
            if box is not None:
                places.append(Place(index, box))
                areas.append(int(np.count_nonzero(mask)) if status == "tracked" else 0)
        least = _least_whole(areas)
        whole = [place for place, area in zip(places, areas, strict=True) if area > least] or places
        if whole:
            ends.append((whole[0], whole[-1]))
    return ends


def _survey(masks: Path, shot: range) -> list[_Stretch]:
    """The stretches of `shot` in which the first pass has a mask."""
    stretches: list[_Stretch] = []
    judge = StatusLog()
    for index, mask in enumerate(_masks(masks, shot.start, shot.stop - 1), start=shot.start):
        status = judge.add(index, mask)
        if status == "absent":
            continue
        if not stretches or stretches[-1].frames.stop != index:
            stretches.append(_Stretch(range(index, index), []))
        stretches[-1].frames = range(stretches[-1].frames.start, index + 1)
        stretches[-1].areas.append(int(np.count_nonzero(mask)) if status == "tracked" else 0)
    return stretches


def _compare(masks: Path, start: int, goal: int, retrack: Retrack) -> Iterator[tuple[int, float]]:
    """The IoU of the two passes between `start`, where the second one begins, and `goal`, included."""
    frames = range(min(start, goal), max(start, goal) + 1)
    begin = next(_masks(masks, start, start))
    first_pass, second_pass = _masks(masks, frames.start, frames.stop - 1), retrack(start, begin, frames)
    for once, (index, again) in progress(zip(first_pass, second_pass, strict=True), total=len(frames), desc="verify"):
        if index != start:
            yield index, mask_iou(once, again)


def _masks(path: Path, start: int, stop: int) -> Iterator[Mask]:
    """Yield the first pass's masks from `start` to `stop`, included."""
    count = 0
    for count, mask in enumerate(read_masks(path), start=1):
        if start < count <= stop + 1:
            yield mask
        if count > stop:
            return
    raise InputError(f"{path} has {count} masks and frame {stop} is needed; extract the clip again.")

"""Cycle consistency: does a second track, started where the first one ended, come back to where the first began?

The first pass goes from the prompt to the end of the shot. The second starts afresh from the first pass's last good
mask and goes back to the prompt frame. Where the first pass had drifted to something else, the second follows that
something, and the two disagree. It needs no truth, but it is no proof: both passes may be wrong in the same way. How
well it predicts real error is measured in docs/tracker.md.

    log = verify(run_dir / "mask.mp4", prompt_frame, shot, partial(backend.retrack, clip, info))
    print(log.summary())

Memory does not grow with the clip, but for two numbers a frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from handoff.errors import InputError
from handoff.masks import read_masks
from handoff.progress import progress
from tracker.status import StatusLog

Mask = NDArray[np.bool_]  # (H, W)

DOUBTFUL = 0.7  # IoU of the two passes under which a frame is worth a look
GOOD_SHARE = 0.5  # of the median area: a sliver that is about to go out of sight is no mask to start from


class Retrack(Protocol):
    """A way to track a second time: `Backend.retrack` on one clip."""

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
        look = f"look at frames {_some(doubtful)}" if doubtful else "no sign of drift"
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
        trusted = [area for area in self.areas if area]
        least = GOOD_SHARE * float(np.median(trusted)) if trusted else 0.0
        return [index for index in frames if self.areas[index - self.frames.start] > least]


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
            yield index, overlap(once, again)


def _masks(path: Path, start: int, stop: int) -> Iterator[Mask]:
    """Yield the first pass's masks from `start` to `stop`, included."""
    count = 0
    for count, mask in enumerate(read_masks(path), start=1):
        if start < count <= stop + 1:
            yield mask
        if count > stop:
            return
    raise InputError(f"{path} has {count} masks and frame {stop} is needed; extract the clip again.")


def overlap(a: Mask, b: Mask) -> float:
    """Intersection over union; 1.0 for two empty masks."""
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 1.0


def _some(frames: list[int], most: int = 6) -> str:
    words = ", ".join(str(index) for index in frames[:most])
    return words + (f" and {len(frames) - most} more" if len(frames) > most else "")

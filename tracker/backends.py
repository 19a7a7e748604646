"""What tracks: one class a backend, all with the same one method.

A backend is given one shot of a clip and the places of the object in it, and yields every frame of the shot, in order,
exactly once. `sam2/backend.py` has the other one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.box import Box
from handoff.errors import UsageError
from handoff.progress import progress
from handoff.prompts import Place
from handoff.video import ClipInfo, read_frames
from tracker.embedded import EmbeddedTracker
from tracker.shape import box_of
from tracker.spool import MaskSpool

Mask = NDArray[np.bool_]  # (H, W)

_CHUNK_BYTES = 24 << 20  # decoded frames held while reading backward


class Found(NamedTuple):
    """One frame. human: the skater's mask, from a backend that tracks the skater and was told where.

    score: logit of "the object is in this frame", at most 0 where it is absent or hidden; None where that is not known.
    """

    frame_index: int
    mask: Mask
    score: float | None = None
    human: Mask | None = None


class Backend(Protocol):
    """A way to track."""

    name: str
    description: str
    params: dict[str, Any]  # what changes the result, for run.json: the name and what was chosen
    versions: tuple[str, ...]  # the packages that do the work, beside those of every stage
    tracks_skater: bool

    def check(self, places: Sequence[Place]) -> None:
        """Raise UsageError for places that this backend cannot use, and say which one can."""
        ...

    def track(
        self, path: Path, info: ClipInfo, shot: range, places: Sequence[Place], skater: Sequence[Place]
    ) -> Iterator[Found]:
        """Yield every frame of the shot, a mask that is all False where the object is lost.

        places: where the object is, on frames of the shot; the skater's likewise. Not both are empty.
        Its memory must not grow with the length of the clip.
        """
        ...

    def retrack(self, path: Path, info: ClipInfo, start: int, mask: Mask, frames: range) -> Iterator[tuple[int, Mask]]:
        """Track a second time, in a new state that knows nothing but one mask: `verify.Retrack`.

        Yield (frame_index, mask (H, W) bool) of `frames`, ascending, each once, all False where lost. start: the frame
        on which the object is `mask` (not empty): the first of `frames`, or the last, which means tracking backward.
        Its memory must not grow with the number of frames.
        """
        ...


class EmbeddedBackend:
    """OpenCV and numpy only: no weights, no GPU. For the demo, the tests and CI; not a rival of SAM 2.1."""

    name = "embedded"
    description = f"embedded tracker (classical cues, OpenCV {cv2.__version__}, no weights)"
    versions: tuple[str, ...] = ()
    tracks_skater = False

    def __init__(self) -> None:
        self.params: dict[str, Any] = {"backend": self.name}

    def check(self, places: Sequence[Place]) -> None:
        """See `Backend.check`: it starts from boxes."""
        for place in places:
            if place.points or place.box is None:
                raise UsageError(
                    f"the embedded tracker cannot use points (given on frame {place.frame}), only boxes; "
                    "give --bbox, or use --backend sam2."
                )

    def track(
        self, path: Path, info: ClipInfo, shot: range, places: Sequence[Place], skater: Sequence[Place]
    ) -> Iterator[Found]:
        """See `Backend.track`: back from the earliest place into a spool first, then on to the end.

        On a later place it starts anew from that box: a correction replaces what was learnt.
        """
        self.check(places)
        boxes = {place.frame: whole_pixels(place.box, info) for place in places if place.box}
        first = min(boxes)
        with MaskSpool((info.height, info.width)) as spool:
            if first > shot.start:
                tracker = EmbeddedTracker()
                before = read_backward(path, first, info, shot.start)
                for index, frame in progress(before, total=first + 1 - shot.start, desc="back from the prompt"):
                    spool.push(tracker.start(frame, boxes[first]) if index == first else tracker.step(frame))
            for index in range(shot.start, first):
                yield Found(index, spool.pop())
        for index, frame in enumerate(read_frames(path, first, shot.stop), start=first):
            if index in boxes:
                tracker = EmbeddedTracker()
                yield Found(index, tracker.start(frame, boxes[index]))
            else:
                yield Found(index, tracker.step(frame))

    def retrack(self, path: Path, info: ClipInfo, start: int, mask: Mask, frames: range) -> Iterator[tuple[int, Mask]]:
        """See `Backend.retrack`."""
        tracker = EmbeddedTracker()
        if start == frames.start:
            for index, frame in enumerate(read_frames(path, start, frames.stop), start=start):
                yield index, tracker.start(frame, box_of(mask), mask) if index == start else tracker.step(frame)
            return
        with MaskSpool((info.height, info.width)) as spool:
            for index, frame in read_backward(path, start, info, frames.start):
                spool.push(tracker.start(frame, box_of(mask), mask) if index == start else tracker.step(frame))
            for index in frames:
                yield index, spool.pop()


def whole_pixels(box: Box, info: ClipInfo) -> tuple[int, int, int, int]:
    """The smallest box of whole pixels around `box`, inside the frame: x1, y1, x2, y2 (exclusive)."""
    return (
        max(0, int(np.floor(box.x1))),
        max(0, int(np.floor(box.y1))),
        min(info.width, int(np.ceil(box.x2))),
        min(info.height, int(np.ceil(box.y2))),
    )


def read_backward(path: Path, last: int, info: ClipInfo, first: int = 0) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (index, frame) from `last` down to `first`, decoding forward in chunks of bounded size."""
    chunk = max(4, _CHUNK_BYTES // (info.width * info.height * 3))
    stop = last + 1
    while stop > first:
        start = max(first, stop - chunk)
        frames = list(read_frames(path, start, stop))
        for offset in range(len(frames) - 1, -1, -1):
            yield start + offset, frames[offset]
        stop = start

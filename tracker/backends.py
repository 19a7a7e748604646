"""What tracks: one class a backend, all with the same one method.

A backend is given the clip and the prompt and yields every frame of the clip, in order, exactly once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.box import Box
from handoff.errors import UsageError
from handoff.video import ClipInfo, read_frames
from tracker.embedded import EmbeddedTracker
from tracker.spool import MaskSpool

Mask = NDArray[np.bool_]  # (H, W)

_CHUNK_BYTES = 24 << 20  # decoded frames held while reading backward


@dataclass(frozen=True)
class Prompt:
    """A box (px of the source frame) around the object on one frame."""

    frame_index: int
    box: Box


class Backend(Protocol):
    """A way to track."""

    name: str
    description: str

    def track(self, path: Path, info: ClipInfo, prompt: Prompt) -> Iterator[tuple[int, Mask]]:
        """Yield (frame_index, mask (H, W) bool) for 0..n-1; all False where the object is lost.

        Its memory must not grow with the length of the clip.
        """
        ...


class EmbeddedBackend:
    """OpenCV and numpy only: no weights, no GPU. For the demo, the tests and CI; not a rival of SAM 2.1."""

    name = "embedded"
    description = f"embedded tracker (classical cues, OpenCV {cv2.__version__}, no weights)"

    def track(self, path: Path, info: ClipInfo, prompt: Prompt) -> Iterator[tuple[int, Mask]]:
        """See `Backend.track`: back from the prompt to frame 0 into a spool first, then on to the end."""
        box = whole_pixels(prompt.box, info)
        first = prompt.frame_index
        with MaskSpool((info.height, info.width)) as spool:
            if first > 0:
                tracker = EmbeddedTracker()
                for index, frame in read_backward(path, first, info):
                    spool.push(tracker.start(frame, box) if index == first else tracker.step(frame))
            for index in range(first):
                yield index, spool.pop()
        tracker = EmbeddedTracker()
        for index, frame in enumerate(read_frames(path, first), start=first):
            yield index, tracker.start(frame, box) if index == first else tracker.step(frame)


def whole_pixels(box: Box, info: ClipInfo) -> tuple[int, int, int, int]:
    """The smallest box of whole pixels around `box`, inside the frame: x1, y1, x2, y2 (exclusive)."""
    return (
        max(0, int(np.floor(box.x1))),
        max(0, int(np.floor(box.y1))),
        min(info.width, int(np.ceil(box.x2))),
        min(info.height, int(np.ceil(box.y2))),
    )


def read_backward(path: Path, last: int, info: ClipInfo) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (index, frame) from `last` down to 0, decoding forward in chunks of bounded size."""
    chunk = max(4, _CHUNK_BYTES // (info.width * info.height * 3))
    stop = last + 1
    while stop > 0:
        start = max(0, stop - chunk)
        frames = list(read_frames(path, start, stop))
        for offset in range(len(frames) - 1, -1, -1):
            yield start + offset, frames[offset]
        stop = start


BACKENDS: dict[str, Callable[[], Backend]] = {"embedded": EmbeddedBackend}


def make_backend(name: str) -> Backend:
    """The backend of that name; UsageError for one that this build does not have (it never falls back)."""
    if name not in BACKENDS:
        raise UsageError(f"there is no tracker backend '{name}' here; this build has: {', '.join(BACKENDS)}.")
    return BACKENDS[name]()

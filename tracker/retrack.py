"""A second track from one mask, for `verify`: what it needs of a backend, and two that have it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from handoff.box import Box
from handoff.prompts import Place
from handoff.video import ClipInfo, read_frames
from tracker.backends import Backend, read_backward
from tracker.embedded import EmbeddedTracker
from tracker.shape import box_of
from tracker.spool import MaskSpool

Mask = NDArray[np.bool_]  # (H, W)


class Retrack(Protocol):
    """A way to track a second time, in a new state that knows nothing but one mask."""

    def __call__(self, start: int, mask: Mask, frames: range) -> Iterator[tuple[int, Mask]]:
        """Yield (frame_index, mask (H, W) bool) of `frames`, ascending, each once, all False where lost.

        start: the frame on which the object is `mask` (not empty): the first of `frames`, or the last, which means
        tracking backward.
        """
        ...


class EmbeddedRetrack:
    """`Retrack` with the embedded tracker, started from the mask itself."""

    def __init__(self, path: Path, info: ClipInfo) -> None:
        self._path, self._info = path, info

    def __call__(self, start: int, mask: Mask, frames: range) -> Iterator[tuple[int, Mask]]:
        """See `Retrack`."""
        tracker = EmbeddedTracker()
        if start == frames.start:
            for index, frame in enumerate(read_frames(self._path, start, frames.stop), start=start):
                yield index, tracker.start(frame, box_of(mask), mask) if index == start else tracker.step(frame)
            return
        with MaskSpool((self._info.height, self._info.width)) as spool:
            for index, frame in read_backward(self._path, start, self._info, frames.start):
                spool.push(tracker.start(frame, box_of(mask), mask) if index == start else tracker.step(frame))
            for index in frames:
                yield index, spool.pop()


class BackendRetrack:
    """`Retrack` with any backend, started from the box around the mask."""

    def __init__(self, backend: Backend, path: Path, info: ClipInfo) -> None:
        self._backend, self._path, self._info = backend, path, info

    def __call__(self, start: int, mask: Mask, frames: range) -> Iterator[tuple[int, Mask]]:
        """See `Retrack`."""
        place = Place(start, Box(*box_of(mask)))
        for found in self._backend.track(self._path, self._info, frames, [place], []):
            yield found.frame_index, found.mask

"""The embedded tracker as a backend.

The pass that runs backward from a prompt reads frames last first (`read_backward`) and hands its masks out first first,
from a stack on disk (`MaskSpool`).
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.command import progress
from handoff.errors import UsageError, storage_errors
from handoff.masks import Mask
from handoff.places import Place
from handoff.video import ClipInfo, read_frames
from tracker.embedded.classical import EmbeddedTracker
from tracker.embedded.frozen import freeze, thaw
from tracker.interface import Found, Waypoints

_CHUNK_BYTES = 24 << 20  # decoded frames held while reading backward


class EmbeddedBackend:
    """OpenCV and numpy only: no weights, no GPU. For the demo, the tests and CI; not a rival of SAM 2.1."""

    name = "embedded"
    description = f"embedded tracker (classical cues, OpenCV {cv2.__version__}, no weights)"
    versions: tuple[str, ...] = ()
    tracks_skater = False
    tracks_back = True

    def __init__(self) -> None:
        self.params: dict[str, Any] = {"backend": self.name}

    def check(self, places: Sequence[Place]) -> None:
        """See `TrackerBackend.check`: it starts from boxes."""
        for place in places:
            if place.points or place.box is None:
                raise UsageError(
                    f"the embedded tracker cannot use points (given on frame {place.frame}), only boxes; "
                    "give --bbox, or use --backend sam2."
                )

    def track(
        self,
        path: Path,
        info: ClipInfo,
        shot: range,
        places: Sequence[Place],
        skater: Sequence[Place],
        waypoints: Waypoints | None = None,
    ) -> Iterator[Found]:
        """See `TrackerBackend.track`: back from the earliest place into a spool first, then on to the end.

        On a later place it starts anew from that box: a correction replaces what was learnt.
        """
        self.check(places)
        boxes = {place.frame: place.box for place in places if place.box}
        first, tracker = min(boxes), EmbeddedTracker()
        if waypoints is not None and waypoints.after is not None:
            first, tracker = waypoints.after + 1, thaw(waypoints.state)
        else:
            with MaskSpool((info.height, info.width)) as spool:
                if first > shot.start:
                    before = read_backward(path, first, info, shot.start)
                    for index, frame in progress(before, total=first + 1 - shot.start, desc="back from the prompt"):
                        spool.push(tracker.start(frame, boxes[first]) if index == first else tracker.step(frame))
                for index in range(shot.start, first):
                    yield Found(index, spool.pop())
        for index, frame in enumerate(read_frames(path, first, shot.stop), start=first):
            if index in boxes:
                tracker = EmbeddedTracker()
                mask = tracker.start(frame, boxes[index])
            else:
                mask = tracker.step(frame)
            if waypoints is not None and index in waypoints.wanted:
                waypoints.keep(index, freeze(tracker))
            yield Found(index, mask)

    def retrack(self, path: Path, info: ClipInfo, start: int, mask: Mask, frames: range) -> Iterator[tuple[int, Mask]]:
        """See `TrackerBackend.retrack`."""
        tracker = EmbeddedTracker()
        if start == frames.start:
            for index, frame in enumerate(read_frames(path, start, frames.stop), start=start):
                yield index, tracker.resume(frame, mask) if index == start else tracker.step(frame)
            return
        with MaskSpool((info.height, info.width)) as spool:
            for index, frame in read_backward(path, start, info, frames.start):
                spool.push(tracker.resume(frame, mask) if index == start else tracker.step(frame))
            for index in frames:
                yield index, spool.pop()


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


class MaskSpool:
    """Push masks (H, W) bool, then pop them in the opposite order. Memory: 8 bytes a mask.

    Packed bits, deflated, in an unnamed temporary file, which the system removes however the process ends.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._starts: list[int] = []

    def __enter__(self) -> MaskSpool:
        with storage_errors(Path(tempfile.gettempdir())):
            self._file = tempfile.TemporaryFile()  # closed in __exit__
        return self

    def push(self, mask: NDArray[np.bool_]) -> None:
        """Put a mask on the stack; StorageError when the disk is full."""
        with storage_errors(Path(tempfile.gettempdir())):
            self._starts.append(self._file.tell())
            self._file.write(zlib.compress(np.packbits(mask).tobytes(), 1))

    def pop(self) -> NDArray[np.bool_]:
        """Take the newest mask off the stack; IndexError when it is empty."""
        start = self._starts.pop()
        end = self._file.tell()
        self._file.seek(start)
        packed = np.frombuffer(zlib.decompress(self._file.read(end - start)), np.uint8)
        self._file.seek(start)
        height, width = self._shape
        return np.unpackbits(packed, count=height * width).reshape(self._shape).astype(bool)

    def __exit__(self, *error: object) -> None:
        self._file.close()

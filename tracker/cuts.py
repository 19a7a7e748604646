"""Where one shot ends and the next begins: a tracker must not follow its object across a cut.

A cut is a frame that motion cannot explain. Both frames are shrunk to 96 x 54 px; each textured block of the new one
is looked for in the old one (normalised cross-correlation, best place within about 40 px either way), so that pans,
kick-flips and changes of exposure explain themselves; the colours' histograms add to it. Thresholds are this project's
measurement, docs/tracker.md: real motion and fast pans reach 0.29, cuts between clips begin at 0.49.

Frames with no picture in them (black, white) are passed over: the picture after them is held against the one before
them, which finds a fade through black and forgives a white flash. A change that goes back to what was there within
`FLASH_FRAMES` frames is a flash or something that passed the lens, not a cut. A slow dissolve is not found: name it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.errors import InputError, UsageError

Frame = NDArray[np.uint8]  # (H, W, 3) RGB
Small = NDArray[np.float32]

FLASH_FRAMES = 6  # what is over within so many frames is no cut
_SIZE = (96, 54)  # px, width and height of the reduced frame
_BLOCK = 16  # px of it
_REACH = (40, 24)  # px, how far a block may have moved
_FLAT = 4.0  # levels of deviation under which a block shows nothing
_MIN_BLOCKS = 2  # a frame with fewer textured blocks is no picture
_UNEXPLAINED = 0.2  # of 1: less than this is motion, whatever the colours do
_CUT = 0.36  # change above which a frame begins a shot
_SAME = 0.30  # change under which two frames show the same shot
_COLOUR_SHARE = 0.3
_LEVEL_FRAMES = 8
_ABOVE_LEVEL = 1.6  # times the recent frames' change: a cut stands out, a long wild pan does not


@dataclass(frozen=True)
class _Picture:
    """A reduced frame: gray (54, 96) float32 and its normalised colour histogram."""

    gray: Small
    colours: Small

    def blocks(self) -> list[tuple[int, int]]:
        """x, y of the textured blocks."""
        width, height = _SIZE
        corners = [(x, y) for y in range(3, height - _BLOCK + 1, _BLOCK) for x in range(0, width, _BLOCK)]
        return [(x, y) for x, y in corners if self.gray[y : y + _BLOCK, x : x + _BLOCK].std() >= _FLAT]


class CutFinder:
    """Give it the frames one by one; it keeps at most `FLASH_FRAMES` reduced frames."""

    def __init__(self) -> None:
        self._index = 0
        self._last: _Picture | None = None
        self._level: deque[float] = deque(maxlen=_LEVEL_FRAMES)
        self._doubtful: list[tuple[int, _Picture]] = []  # a frame that may begin a shot, the picture before it

    def step(self, frame: Frame) -> list[int]:
        """Take the next frame; return the cuts that have become certain (first frames of shots)."""
        index, picture = self._index, _reduce(frame)
        self._index += 1
        certain = [start for start, _ in self._doubtful if index - start > FLASH_FRAMES]
        self._doubtful = self._doubtful[len(certain) :]
        if len(picture.blocks()) < _MIN_BLOCKS:
            return certain
        before, self._last = self._last, picture
        for number, (_, reference) in enumerate(self._doubtful):
            if sum(_change(reference, picture)) < _SAME:
                del self._doubtful[number:]  # it came back
                return certain
        if before is not None:
            unexplained, colours = _change(before, picture)
            change = unexplained + colours
            level = float(np.mean(self._level)) if self._level else 0.0
            if unexplained > _UNEXPLAINED and change > max(_CUT, _ABOVE_LEVEL * level):
                self._doubtful.append((index, before))
                self._level.clear()
            else:
                self._level.append(change)
        return certain

    def finish(self) -> list[int]:
        """The cuts still waiting to become certain when the clip ends."""
        return [start for start, _ in self._doubtful]


def find_cuts(frames: Iterable[Frame]) -> list[int]:
    """The first frame of every shot but the first, ascending, of (H, W, 3) uint8 RGB frames read once in order."""
    finder, cuts = CutFinder(), []
    for frame in frames:
        cuts += finder.step(frame)
    return cuts + finder.finish()


def parse_cuts(text: str, frames: Iterable[Frame], frame_count: int) -> list[int]:
    """The cuts that `--cuts` asks for: "auto" looks for them in `frames`, "none", or a list such as "50,120".

    frames: read only for "auto". Raises UsageError for anything else and InputError for a frame that cannot begin
    a shot in a clip of `frame_count` frames.
    """
    word = text.strip().lower()
    if word == "auto":
        return find_cuts(frames)
    if word == "none":
        return []
    parts = [part.strip() for part in word.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise UsageError(
            f"--cuts '{text}' is none of: auto, none, a list of the first frames of shots such as 50,120."
        )
    cuts = sorted({int(part) for part in parts})
    for cut in cuts:
        if not 0 < cut < frame_count:
            raise InputError(f"no shot can begin at frame {cut}: give frames from 1 to {frame_count - 1}.")
    return cuts


def shots_of(cuts: list[int], frame_count: int) -> list[range]:
    """The shots between cuts: ranges of frame indices that cover the clip."""
    edges = [0, *cuts, frame_count]
    return [range(first, stop) for first, stop in zip(edges, edges[1:], strict=False)]


def _reduce(frame: Frame) -> _Picture:
    small = cv2.resize(frame, _SIZE, interpolation=cv2.INTER_AREA)
    hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)
    colours = cv2.calcHist([hsv], [0, 1, 2], None, [12, 4, 6], [0, 180, 0, 256, 0, 256]).ravel()
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return _Picture(gray, np.asarray(colours / colours.sum(), np.float32))


def _change(before: _Picture, now: _Picture) -> tuple[float, float]:
    """How much of `now` motion cannot explain (0 to 1), and the weighted distance of the colours (0 to 0.3)."""
    (width, height), (reach_x, reach_y) = _SIZE, _REACH
    found = []
    for x, y in now.blocks():
        block = now.gray[y : y + _BLOCK, x : x + _BLOCK]
        rows = slice(max(0, y - reach_y), min(height, y + _BLOCK + reach_y))
        columns = slice(max(0, x - reach_x), min(width, x + _BLOCK + reach_x))
        fit = cv2.matchTemplate(np.ascontiguousarray(before.gray[rows, columns]), block, cv2.TM_CCOEFF_NORMED)
        found.append(min(1.0, float(fit.max())))
    overlap = float(np.minimum(before.colours, now.colours).sum())
    return 1.0 - float(np.mean(found)), _COLOUR_SHARE * (1.0 - overlap)

"""Where one shot ends and the next begins: a tracker must not follow its object across a cut.

A cut is a frame that motion cannot explain. Both frames are shrunk to 96 x 54 px; each textured block of the new one
is looked for in the old one (normalised cross-correlation, best place within about 40 px either way), so that pans,
kick-flips and changes of exposure explain themselves; the colours' histograms add to it. Thresholds are this project's
measurement, docs/measurements.md: real motion and fast pans reach 0.29, cuts between clips begin at 0.49.

Frames with no picture in them (black, white) are passed over: the picture after them is held against the one before
them, which finds a fade through black and forgives a white flash. A change that goes back to what was there within
`FLASH_FRAMES` frames is a flash or something that passed the lens, not a cut. A slow dissolve is not found: name it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.errors import InputError, UsageError
from handoff.video import Frame

Small = NDArray[np.float32]
Window = tuple[slice, slice]  # rows, columns of the reduced frame

FLASH_FRAMES = 6  # what is over within so many frames is no cut
_SIZE = (96, 54)  # px, width and height of the reduced frame
_BLOCK = 16  # px of it
_REACH = (40, 24)  # px, how far a block may have moved
_BLACK = 24.0  # levels: what never was lighter is a black bar
_FLAT = 4.0  # levels of deviation under which a block shows nothing
_MIN_BLOCKS = 2  # a frame with fewer textured blocks is no picture
_CLEAR_BLOCKS = 6  # of 18: a picture that fades in is compared once it shows as much, or after `_FADE_FRAMES`
_FADE_FRAMES = 12
_UNEXPLAINED = 0.2  # of 1: less than this is motion, whatever the colours do
_CUT = 0.36  # change above which a frame begins a shot
_SAME = 0.30  # change under which two frames show the same shot
_COLOUR_SHARE = 0.3
_LEVEL_FRAMES = 8
_SHORTEST = 3  # frames of a shot
_ABOVE_LEVEL = 1.6  # times the recent frames' change: a cut stands out, a long wild pan does not


@dataclass(frozen=True)
class _Picture:
    """A reduced frame: gray (54, 96) float32 and its normalised colour histogram."""

    gray: Small
    colours: Small

    def blocks(self, active: Window) -> list[tuple[int, int]]:
        """x, y of the textured blocks in the `active` part."""
        rows, columns = active
        corners = [
            (x, y)
            for y in range(rows.start + (rows.stop - rows.start) % _BLOCK // 2, rows.stop - _BLOCK + 1, _BLOCK)
            for x in range(columns.start, columns.stop - _BLOCK + 1, _BLOCK)
        ]
        return [(x, y) for x, y in corners if self.gray[y : y + _BLOCK, x : x + _BLOCK].std() >= _FLAT]


class CutFinder:
    """Give it the frames one by one; it keeps at most `FLASH_FRAMES` reduced frames."""

    def __init__(self) -> None:
        self._index = 0
        self._brightest = np.zeros(_SIZE[::-1], np.float32)
        self._last: _Picture | None = None
        self._clear: _Picture | None = None  # the last one that shows enough to be held against after a fade
        self._blank = False
        self._returned: int | None = None  # the first frame after a blank, while it is not clear yet
        self._level: deque[float] = deque(maxlen=_LEVEL_FRAMES)
        self._doubtful: list[tuple[int, _Picture]] = []  # a frame that may begin a shot, the picture before it

    def step(self, frame: Frame) -> list[int]:
        """Take the next frame; return the cuts that have become certain (first frames of shots)."""
        index, picture = self._index, _reduce(frame)
        self._index += 1
        certain = [start for start, _ in self._doubtful if index - start > FLASH_FRAMES]
        self._doubtful = self._doubtful[len(certain) :]
        self._brightest = np.maximum(self._brightest, picture.gray)
        self._active = _without_bars(self._brightest)
        blocks = len(picture.blocks(self._active))
        if blocks < _MIN_BLOCKS:
            self._blank = True
            return certain
        if self._blank:
            self._blank, self._returned = False, index
        clear = blocks >= _CLEAR_BLOCKS or (self._returned is not None and index - self._returned >= _FADE_FRAMES)
        before = self._last
        if self._returned is not None:
            before = self._clear if clear else None
        if before is not None and not self._came_back(picture):
            self._compare(index if self._returned is None else self._returned, before, picture)
        self._last = picture
        if clear:
            self._clear, self._returned = picture, None
        return certain

    def _came_back(self, picture: _Picture) -> bool:
        """Whether `picture` is what was there before a doubtful frame, which then was no cut."""
        for number, (_, reference) in enumerate(self._doubtful):
            if sum(_change(reference, picture, self._active)) < _SAME:
                del self._doubtful[number:]
                return True
        return False

    def _compare(self, index: int, before: _Picture, picture: _Picture) -> None:
        unexplained, colours = _change(before, picture, self._active)
        change = unexplained + colours
        level = float(np.mean(self._level)) if self._level else 0.0
        if unexplained <= _UNEXPLAINED or change <= max(_CUT, _ABOVE_LEVEL * level):
            self._level.append(change)
            return
        if self._doubtful and index - self._doubtful[-1][0] < _SHORTEST:
            before = self._doubtful.pop()[1]  # a blend of two shots belongs to the first
        self._doubtful.append((index, before))
        self._level.clear()

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
        raise UsageError(f"--cuts '{text}' is none of: auto, none, a list of the first frames of shots such as 50,120.")
    cuts = sorted({int(part) for part in parts})
    for cut in cuts:
        if not 0 < cut < frame_count:
            raise InputError(f"no shot can begin at frame {cut}: give frames from 1 to {frame_count - 1}.")
    return cuts


def shots_of(cuts: list[int], frame_count: int) -> list[range]:
    """The shots between cuts: ranges of frame indices that cover the clip."""
    edges = [0, *cuts, frame_count]
    return [range(first, stop) for first, stop in pairwise(edges)]


def _reduce(frame: Frame) -> _Picture:
    small = cv2.resize(frame, _SIZE, interpolation=cv2.INTER_AREA)
    hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)
    colours = cv2.calcHist([hsv], [0, 1, 2], None, [12, 4, 6], [0, 180, 0, 256, 0, 256]).ravel()
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return _Picture(gray, np.asarray(colours / colours.sum(), np.float32))


def _without_bars(brightest: Small) -> Window:
    """The part of the reduced frame that was ever lit: all of it, but for black bars."""
    lit = brightest >= _BLACK
    rows, columns = np.flatnonzero(lit.any(1)), np.flatnonzero(lit.any(0))
    if not rows.size:
        return slice(0, 0), slice(0, 0)
    (height, width), first_y, first_x = brightest.shape, int(rows[0]), int(columns[0])
    last_y, last_x = int(rows[-1]) + 1, int(columns[-1]) + 1
    # one pixel less where a bar is: it is half bar
    return (
        slice(first_y + (first_y > 0), last_y - (last_y < height)),
        slice(first_x + (first_x > 0), last_x - (last_x < width)),
    )


def _change(before: _Picture, now: _Picture, active: Window) -> tuple[float, float]:
    """How much of `now` motion cannot explain (0 to 1), and the weighted distance of the colours (0 to 0.3)."""
    (rows, columns), (reach_x, reach_y) = active, _REACH
    found = []
    for x, y in now.blocks(active):
        block = now.gray[y : y + _BLOCK, x : x + _BLOCK]
        near_y = slice(max(rows.start, y - reach_y), min(rows.stop, y + _BLOCK + reach_y))
        near_x = slice(max(columns.start, x - reach_x), min(columns.stop, x + _BLOCK + reach_x))
        fit = cv2.matchTemplate(np.ascontiguousarray(before.gray[near_y, near_x]), block, cv2.TM_CCOEFF_NORMED)
        found.append(min(1.0, float(fit.max())))
    overlap = float(np.minimum(before.colours, now.colours).sum())
    return 1.0 - float(np.mean(found)), _COLOUR_SHARE * (1.0 - overlap)

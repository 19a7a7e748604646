"""A clip of two real people who cross: the juggler, cut out with his ball, walks past the skater and back.

Both are in the clips of the shared folder. Half their size, HEIGHT x WIDTH px, FRAMES frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.masks import Mask, bounds
from handoff.places import Box
from handoff.video import Frame, read_frames

WIDTH, HEIGHT = 640, 360
FRAMES = 96
FIRST = 96
"""Of the skater's clip: from here to its end he is whole, comes down the wall and leaves to the left."""

_SEED = Box(590, 40, 880, 712)  # the juggler with his ball, in px of his own clip, in every frame used here
_AROUND = 30  # px of ground at his sides, to tell him from
_STEPS = range(0, 96, 12)  # frames of his clip, played there and back


class Crossing(NamedTuple):
    """A frame (HEIGHT, WIDTH, 3) with the juggler in front, the same without him, his mask, and its box.

    The box is empty where he is out of the picture.
    """

    both: Frame
    alone: Frame
    cover: Mask
    box: Box


def crossing(clips: Path) -> Iterator[Crossing]:
    """Yield the frames; clips: the folder with skateboarder.mp4 and juggle.mp4."""
    jugglers = [_cut_out(frame) for index, frame in enumerate(_half(clips / "juggle.mp4")) if index in _STEPS]
    order = [*range(len(jugglers)), *range(len(jugglers) - 2, 0, -1)]
    for index, frame in enumerate(_half(clips / "skateboarder.mp4")):
        if not FIRST <= index < FIRST + FRAMES:
            continue
        step = index - FIRST
        person, share = jugglers[order[step // 2 % len(order)]]
        yield _paste(frame, person, share, centre(step))


def centre(index: int) -> float:
    """Where the juggler's middle is, px: in from the right, past the skater, away, and back past him again."""
    return float(np.interp(index, [0, 44, 52, FRAMES - 1], [WIDTH + 60, 20, 20, WIDTH - 60]))


def _half(path: Path) -> Iterator[Frame]:
    for frame in read_frames(path):
        yield np.asarray(cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)


def _cut_out(frame: Frame) -> tuple[Frame, NDArray[np.float32]]:
    """Return the juggler of a half-size frame and how much of each pixel is him."""
    x1, y1, x2, y2 = (round(side / 2) for side in _SEED.as_list())
    frame = np.ascontiguousarray(frame[y1:, x1 - _AROUND : x2 + _AROUND])
    labels = np.full(frame.shape[:2], cv2.GC_BGD, np.uint8)
    labels[: y2 - y1, _AROUND:-_AROUND] = cv2.GC_PR_FGD
    cv2.setRNGSeed(0)
    cv2.grabCut(frame, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    mask = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.uint8)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count > 1:
        mask = (parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.7)
    return frame, soft


def _paste(alone: Frame, person: Frame, share: NDArray[np.float32], middle: float) -> Crossing:
    frame, cover = alone.copy(), np.zeros((HEIGHT, WIDTH), bool)
    height, width = share.shape
    left, top = round(middle - width / 2), HEIGHT - height - 10
    x1, x2 = max(0, left), min(WIDTH, left + width)
    if x2 > x1:
        part = share[:, x1 - left : x2 - left]
        under = frame[top : top + height, x1:x2]
        mixed = part[..., None] * person[:, x1 - left : x2 - left] + (1 - part[..., None]) * under
        under[:] = np.round(mixed).astype(np.uint8)
        cover[top : top + height, x1:x2] = part > 0.5
    return Crossing(frame, alone, cover, bounds(cover) or Box(0, 0, 0, 0))

"""One frame of a clip, and the pixel grid on it.

Lines every 50 px, stronger ones every 100 px, each labelled on all four sides in pixels of the clip. The labels stand
in a margin beside the picture, and small clips are enlarged, so the PNG's own pixels are not the clip's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from handoff.errors import InputError
from handoff.video import Frame

STEP_PX = 50  # of the clip
_STRONG_PX = 100
_SMALL_WIDTH = 1000  # px: narrower frames are enlarged by whole factors until they are as wide
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_MARGIN, _INK, _FAINT = (24, 24, 24), (255, 255, 255), (150, 150, 150)


def frame_of(clip: Path, index: int, read: Callable[[Path], Iterator[Frame]]) -> Frame:
    """Return frame `index` (H, W, 3) RGB of what `read` yields of the clip; InputError where there is none.

    Frames are counted from the first, because a seek is exact only at a constant rate.
    """
    if index < 0:
        raise InputError(f"frame {index} is not in the clip: frames are counted from 0.")
    count = 0
    for frame in read(clip):
        if count == index:
            return frame
        count += 1
    raise InputError(f"frame {index} is not in the clip: {clip} has {count} frames, 0 to {count - 1}.")


def draw_grid(frame: Frame, caption: str = "") -> Frame:
    """A larger picture (h, w, 3) RGB: `frame` with the grid, in a margin with the labels and one line of text below."""
    height, width = frame.shape[:2]
    scale = max(1, -(-_SMALL_WIDTH // width))
    picture = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_LANCZOS4) if scale > 1 else frame
    size = max(0.5, max(picture.shape[:2]) / 2400)  # readable when the whole picture is shown 1000 px wide
    (label_w, label_h), _ = cv2.getTextSize("0000", _FONT, size, _thickness(size))
    pad_x, pad_y = label_w + 12, label_h + 16
    canvas = np.full((picture.shape[0] + 3 * pad_y, picture.shape[1] + 2 * pad_x, 3), _MARGIN, np.uint8)
    inner = canvas[pad_y : pad_y + picture.shape[0], pad_x : pad_x + picture.shape[1]]
    inner[:] = picture
    _draw_lines(inner, scale)
    for x in range(0, width + 1, STEP_PX if label_w < STEP_PX * scale else _STRONG_PX):
        at = pad_x + x * scale
        for y in (pad_y // 2, pad_y + picture.shape[0] + pad_y // 2):
            _label(canvas, x, (at, y), size)
    for y in range(0, height + 1, STEP_PX):
        at = pad_y + y * scale
        for x in (pad_x // 2, pad_x + picture.shape[1] + pad_x // 2):
            _label(canvas, y, (x, at), size)
    cv2.putText(
        canvas, caption, (pad_x, canvas.shape[0] - pad_y // 3), _FONT, size, _INK, _thickness(size), cv2.LINE_AA
    )
    return canvas


def _draw_lines(inner: Frame, scale: int) -> None:
    """Half-transparent lines, light with a dark companion, so that they show on any ground; ticks at the border."""
    drawn = inner.copy()
    height, width = inner.shape[:2]
    for strong in (False, True):
        for at in range(STEP_PX, max(height, width) // scale + 1, STEP_PX):
            if (at % _STRONG_PX == 0) != strong:
                continue
            place = at * scale
            for offset, colour in ((1, (0, 0, 0)), (0, (255, 230, 0) if strong else (255, 255, 255))):
                cv2.line(drawn, (place + offset, 0), (place + offset, height - 1), colour, 1)
                cv2.line(drawn, (0, place + offset), (width - 1, place + offset), colour, 1)
        share = 0.75 if strong else 0.4
        inner[:] = cv2.addWeighted(drawn, share, inner, 1 - share, 0)
        drawn = inner.copy()


def _label(canvas: Frame, number: int, centre: tuple[int, int], size: float) -> None:
    text, thick = str(number), _thickness(size)
    (width, height), _ = cv2.getTextSize(text, _FONT, size, thick)
    origin = (centre[0] - width // 2, centre[1] + height // 2)
    colour = _INK if number % _STRONG_PX == 0 else _FAINT
    cv2.putText(canvas, text, origin, _FONT, size, colour, thick, cv2.LINE_AA)


def _thickness(size: float) -> int:
    return 1 if size < 0.8 else 2

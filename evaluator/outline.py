"""How outlines and words are drawn into pictures, the same in every report. Pictures are (H, W, 3) uint8 RGB."""

from __future__ import annotations

import cv2
import numpy as np

from handoff.masks import Mask
from handoff.video import Frame

Colour = tuple[int, int, int]
GREEN, RED, WHITE = (0, 255, 0), (255, 60, 60), (255, 255, 255)
ORIGINAL, GENERATED = GREEN, WHITE
"""The colours of G's and of P's outline."""

_SHIFT = 4  # OpenCV's fixed-point places: a sixteenth of a pixel


def draw_outline(image: Frame, mask: Mask, colour: Colour, *, left: int = 0, top: int = 0, scale: float = 1.0) -> None:
    """Draw a mask's outline, 1 px wide, in place.

    image: what `scale` made of the part of the frame that begins at (left, top); mask: of the whole frame.
    """
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    # pixel centres: a mask's pixel (x, y) covers scale x scale px around its middle
    moved = [((each - (left, top) + 0.5) * scale - 0.5) * (1 << _SHIFT) for each in contours]
    cv2.polylines(image, [np.rint(each).astype(np.int32) for each in moved], True, colour, 1, cv2.LINE_8, _SHIFT)


def draw_text(image: Frame, text: str, x: int, y: int, colour: Colour = WHITE, size: float = 0.5) -> None:
    """Write a line of text, its left lower corner at (x, y)."""
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)

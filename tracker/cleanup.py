"""How to tidy a mask: the largest part only, small holes filled. Off by default (docs/how-it-works/tracker.md)."""

from __future__ import annotations

import cv2
import numpy as np

from handoff.errors import UsageError
from handoff.masks import Mask
from tracker.interface import Keep


def clean(mask: Mask, keep: Keep = "all", fill_px: int = 0) -> Mask:
    """The mask with `keep_largest` if asked for, then holes of at most `fill_px` pixels filled; a new array.

    UsageError for a negative number of pixels.
    """
    if fill_px < 0:
        raise UsageError(f"--fill-holes {fill_px} is negative; give the largest hole to fill in pixels, 0 for none.")
    kept = keep_largest(mask) if keep == "largest" else mask.copy()
    return fill_small_holes(kept, fill_px) if fill_px else kept


def keep_largest(mask: Mask) -> Mask:
    """Only the part with the most pixels (8-connected; the upper one of two equals). An empty mask stays empty."""
    window = _around(mask)
    part = np.ascontiguousarray(mask[window]).view(np.uint8)
    kept = np.zeros(mask.shape, bool)
    if part.size:
        _, labels, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
        kept[window] = labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return kept


def fill_small_holes(mask: Mask, px: int) -> Mask:
    """Fill holes of at most `px` pixels: background that the mask encloses (4-connected), off the frame's edge."""
    window = _around(mask)
    filled = mask.copy()
    part = np.ascontiguousarray(mask[window]).view(np.uint8)
    if part.size:
        outside = np.pad(1 - part, 1, constant_values=1)  # one ring around, so that all that is open is one part
        _, labels, stats, _ = cv2.connectedComponentsWithStats(outside, connectivity=4)
        small = stats[:, cv2.CC_STAT_AREA] <= px
        small[[0, labels[0, 0]]] = False
        filled[window] |= small[labels[1:-1, 1:-1]]
    return filled


def _around(mask: Mask) -> tuple[slice, slice]:
    x, y, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    return slice(y, y + height), slice(x, x + width)

"""Boundary F of DAVIS: how well two outlines agree, within a tolerance of 0.8 % of the frame's diagonal.

The definition is that of davis2017-evaluation, `db_eval_boundary` (Perazzi et al., CVPR 2016): a pixel is boundary
where the mask differs from its neighbour to the right, below, or below right; it is matched where the other boundary
has a pixel within a disk around it; F is the harmonic mean of the two matched shares. The values are the same, only
sooner: nothing but the box around both masks is looked at, and the disk is looked through only where two squares
cannot tell.
"""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.masks import Mask

TOLERANCE = 0.008
"""Of the frame's diagonal (davis2017-evaluation, bound_th)."""

_Bytes = NDArray[np.uint8]


def tolerance_px(height: int, width: int) -> int:
    """Return how far two outlines may lie apart in a frame of that size, px."""
    return math.ceil(TOLERANCE * math.hypot(height, width))


def boundary(mask: Mask) -> Mask:
    """Return the boundary pixels of a mask (H, W) bool: those unlike their right, lower or lower right neighbour.

    A neighbour outside the frame counts as alike.
    """
    height, width = mask.shape
    padded = np.empty((height + 1, width + 1), bool)
    padded[:-1, :-1] = mask
    padded[-1], padded[:, -1] = padded[-2], padded[:, -2]
    here, right, below, both = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return np.asarray((here ^ right) | (here ^ below) | (here ^ both))


def crop_around(box: tuple[int, int, int, int]) -> tuple[slice, slice]:
    """Return the rows and columns that hold every boundary pixel of masks inside a box x, y, width, height.

    One empty row and column on each side, where the frame has one: the boundary lies partly outside the mask.
    """
    x, y, width, height = box
    return slice(max(0, y - 1), y + height + 1), slice(max(0, x - 1), x + width + 1)


@functools.cache
def _rectangles(reach: int) -> tuple[tuple[int, int], ...]:
    """Return half widths and half heights of the rectangles that together are the disk of `reach` px, largest first."""
    tallest: dict[int, int] = {}
    for half_height in range(reach + 1):
        tallest[math.isqrt(reach * reach - half_height * half_height)] = half_height
    return tuple(sorted(tallest.items(), key=lambda each: -(2 * each[0] + 1) * (2 * each[1] + 1)))


def _matched(points: _Bytes, other: _Bytes, reach: int) -> float:
    """Return the share of `points` that have a pixel of `other` within `reach` px; both have at least one.

    Rectangles are quick to dilate with, and after the first one few points are left.
    """
    total = undecided = cv2.countNonZero(points)
    for half_width, half_height in _rectangles(reach):
        rectangle = np.ones((2 * half_height + 1, 2 * half_width + 1), np.uint8)
        points = np.asarray(cv2.bitwise_and(points, 1 - np.asarray(cv2.dilate(other, rectangle))), np.uint8)
        undecided = cv2.countNonZero(points)
        if not undecided:
            break
    return (total - undecided) / total


def boundary_f(original: Mask, generated: Mask, reach: int) -> float:
    """Return the boundary F, 0..1, of two masks (h, w) bool.

    reach: `tolerance_px` of the whole frame. The masks may be cut out of the frame with `crop_around`. Two masks
    without a boundary agree (1.0); one without and one with do not (0.0).
    """
    first, second = boundary(generated).view(np.uint8), boundary(original).view(np.uint8)
    some = bool(cv2.countNonZero(first)), bool(cv2.countNonZero(second))
    if some != (True, True):
        return 1.0 if some == (False, False) else 0.0
    precision, recall = _matched(first, second, reach), _matched(second, first, reach)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

"""The definitions as one reads them, over sets of pixels and plain loops: what the fast code is held against."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Pixels = set[tuple[int, int]]


def pixels(mask: NDArray[np.bool_]) -> Pixels:
    return {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}


def boundary(mask: NDArray[np.bool_]) -> Pixels:
    """Pixels unlike their right, lower or lower right neighbour; beyond the frame nothing differs (DAVIS)."""
    height, width = mask.shape
    found = set()
    for y in range(height):
        for x in range(width):
            right, below = min(x + 1, width - 1), min(y + 1, height - 1)
            if mask[y, x] != mask[y, right] or mask[y, x] != mask[below, x] or mask[y, x] != mask[below, right]:
                found.add((y, x))
    return found


def share_near(points: Pixels, others: Pixels, reach: int) -> float:
    near = sum(any((y - b) ** 2 + (x - a) ** 2 <= reach**2 for b, a in others) for y, x in points)
    return near / len(points)


def boundary_f(original: NDArray[np.bool_], generated: NDArray[np.bool_]) -> float:
    reach = math.ceil(0.008 * math.hypot(*original.shape))
    first, second = boundary(generated), boundary(original)
    if not first or not second:
        return 1.0 if first == second else 0.0
    precision, recall = share_near(first, second, reach), share_near(second, first, reach)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def shifted_iou(mask: NDArray[np.bool_]) -> float:
    """The lowest IoU of a mask with itself one pixel further, on a plane without edges."""
    here = pixels(mask)
    moved = [{(y + dy, x + dx) for y, x in here} for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))]
    return min(len(here & there) / len(here | there) for there in moved)

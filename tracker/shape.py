"""Small operations on masks: windows, signed distance, growing, which parts to keep, which holes to fill."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]  # (H, W)
Field = NDArray[np.float32]  # (H, W)
Window = tuple[slice, slice]  # rows, columns of the frame


def signed_distance(mask: Mask) -> Field:
    """(H, W) float32 distance in px to the mask's outline, positive inside."""
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(inside - outside, np.float32)


def grow(mask: Mask, px: int) -> Mask:
    """Dilate by a disc of radius `px`."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    near = slice(max(0, y - px), y + height + px), slice(max(0, x - px), x + width + px)
    grown = np.zeros(mask.shape, bool)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * px + 1, 2 * px + 1))
    if width:
        grown[near] = cv2.dilate(mask[near].astype(np.uint8), kernel) > 0
    return grown


def ring(mask: Mask, inner: int, outer: int) -> Mask:
    """Pixels between `inner` and `outer` px away from the mask."""
    return grow(mask, outer) & ~grow(mask, inner)


def box_of(mask: Mask) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 (exclusive) of a mask that is not empty."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return x, y, x + width, y + height


def keep_parts(mask: Mask, odds: Field, share: float) -> Mask:
    """Drop the parts whose summed evidence (`odds`, positive ones) is under `share` of the largest part's."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    if count <= 2:
        return mask
    weight = np.bincount(labels.ravel(), weights=np.where(mask, np.maximum(odds, 0), 0).ravel(), minlength=count)
    weight[0] = 0
    kept = weight >= share * weight.max()
    kept[0] = False
    return np.asarray(kept[labels])


def fill_holes(mask: Mask, odds: Field, px: int) -> Mask:
    """Fill holes of at most `px` pixels, and larger ones whose mean evidence (`odds`) is for the object."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    if count <= 2:
        return mask
    area = stats[:, cv2.CC_STAT_AREA]
    evidence = np.bincount(labels.ravel(), weights=odds.ravel(), minlength=count) / np.maximum(area, 1)
    filled = (area <= px) | (evidence > 0.3)
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    right, bottom = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT]
    filled &= (left > 0) & (top > 0) & (right < mask.shape[1]) & (bottom < mask.shape[0])
    filled[0] = False
    return np.asarray(mask | filled[labels])


def window_around(box: tuple[float, float, float, float], margin: int, shape: tuple[int, ...]) -> Window:
    """Slices of the box grown by `margin` px, cut at the frame of (height, width), at least 2 px each way."""
    height, width = shape[:2]
    x1, y1 = int(np.clip(box[0] - margin, 0, width - 2)), int(np.clip(box[1] - margin, 0, height - 2))
    x2, y2 = int(np.clip(box[2] + margin, x1 + 2, width)), int(np.clip(box[3] + margin, y1 + 2, height))
    return slice(y1, y2), slice(x1, x2)


def grow_within(mask: Mask, allowed: Mask, steps: int) -> Mask:
    """Dilate `mask` by 3 px a step, each step only into `allowed`."""
    grown, kernel = mask.astype(np.uint8), np.ones((7, 7))
    field = (allowed | mask).astype(np.uint8)
    for _ in range(steps):
        wider = np.asarray(cv2.bitwise_and(cv2.dilate(grown, kernel), field), np.uint8)
        if np.array_equal(wider, grown):
            break
        grown = wider
    return np.asarray(grown > 0)

"""Where the woman is in front of the board: the difference to the empty scene, for the camera stands still."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_DIFFERENCE = 24  # gray levels, of the strongest channel, after a light blur
_LARGEST_HOLE_PX = 140  # a hole this small is her clothes looking like the grass; the gap between her legs is larger


def person_cover(frame: NDArray[np.uint8], plate: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """How much she covers each pixel, (H, W) uint8, 0 (not at all) .. 255; the edge is soft by one pixel.

    `frame` and `plate` are (H, W, 3) uint8 RGB. Only her legs and hips are good enough to hide something: her
    shirt is the colour of the bushes.
    """
    difference = cv2.GaussianBlur(cv2.absdiff(frame, plate).max(axis=2), (5, 5), 0)
    moved = (np.asarray(difference) > _DIFFERENCE).astype(np.uint8)
    moved = np.asarray(cv2.morphologyEx(moved, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), dtype=np.uint8)
    close = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    moved = np.asarray(cv2.morphologyEx(moved, cv2.MORPH_CLOSE, close), dtype=np.uint8)
    body = _fill_small_holes(_largest_part(moved))
    soft = cv2.GaussianBlur(body * np.uint8(255), (3, 3), 0)
    return np.asarray(soft, dtype=np.uint8)


def _largest_part(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count < 2:
        return np.zeros_like(mask)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return np.asarray(labels == largest, dtype=np.uint8)


def _fill_small_holes(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(1 - mask, connectivity=4)
    small = np.flatnonzero(stats[:count, cv2.CC_STAT_AREA] <= _LARGEST_HOLE_PX)
    return (mask.astype(bool) | np.isin(labels, small)).astype(np.uint8)

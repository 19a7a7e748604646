"""What a person looks like, in a few bytes: two people who cross are told apart by their clothes.

Trunk and legs are two histograms of colour: how much of each of eight hues, and of four shades of gray. Pixels near the
middle of the box count, because the corners are ground and sky.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.places import Box
from handoff.video import Frame

_HUES, _SHADES = 8, 4
_BANDS = ((0.12, 0.48), (0.52, 0.88))  # of the box's height: trunk, legs
_INNER = (0.25, 0.75)  # of its width
_SIDE = 24  # px a band is sampled at
_COLOURED = 60  # saturation (of 255) above which a pixel has a hue worth counting
SIZE = len(_BANDS) * (_HUES + _SHADES)
"""Bytes of a look."""


def look_of(frame: Frame, box: Box) -> bytes:
    """Return the look of a person in `box` (px) of a frame (H, W, 3) uint8 RGB: SIZE bytes, 255 for all of a band."""
    shares = [_histogram(_band(frame, box, *rows)) for rows in _BANDS]
    return bytes(np.round(255 * np.concatenate(shares)).astype(np.uint8))


def alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return how alike two looks (SIZE,) are, by Bhattacharyya's coefficient: 0 no colour in common, 1 the same."""
    return float(np.sqrt(one * other).sum() / max(1e-6, float(np.sqrt(one.sum() * other.sum()))))


def as_shares(look: bytes) -> NDArray[np.float32]:
    """Return a look as (SIZE,) float32 of shares, 0..1; equal shares of all colours where there is none."""
    if len(look) != SIZE:
        return np.full(SIZE, 1 / (_HUES + _SHADES), np.float32)
    return np.frombuffer(look, np.uint8).astype(np.float32) / 255


def _band(frame: Frame, box: Box, top: float, bottom: float) -> Frame:
    width, height = box.width, box.height
    left, right = (int(box.x1 + share * width) for share in _INNER)
    high, low = (int(box.y1 + share * height) for share in (top, bottom))
    part = frame[high : max(high + 1, low), left : max(left + 1, right)]
    return np.asarray(cv2.resize(part, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _histogram(band: Frame) -> NDArray[np.float64]:
    hsv = cv2.cvtColor(band, cv2.COLOR_RGB2HSV_FULL).reshape(-1, 3)
    coloured = (hsv[:, 1] > _COLOURED) & (hsv[:, 2] > _COLOURED)
    hues = np.bincount(hsv[coloured, 0].astype(int) * _HUES // 256, minlength=_HUES)
    shades = np.bincount(hsv[~coloured, 2].astype(int) * _SHADES // 256, minlength=_SHADES)
    return np.concatenate([hues, shades]) / len(hsv)

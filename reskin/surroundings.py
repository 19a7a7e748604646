"""Which hues surround the object, so that the draft can paint it in one that does not."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.masks import Mask
from handoff.video import Frame

BINS = 36
RING_PX = 64
"""How far around the object its surroundings reach, in px."""

SAMPLE_EVERY = 4
"""Frames from one look to the next; colours change slowly."""

_OPENCV_HUES = 180
_SMOOTHING_BINS = 2


def surrounding_hues(frames: Iterable[Frame], masks: Iterable[Mask]) -> NDArray[np.float64]:
    """Return (BINS,) weights that sum to 1 (or are all 0): how much of each hue lies around the object.

    frames: (H, W, 3) uint8 RGB. A pixel counts by its chroma (saturation times value), so that gray has no say. The
    circle of hues is smoothed over neighbouring bins.
    """
    weights = np.zeros(BINS)
    for index, (frame, mask) in enumerate(zip(frames, masks, strict=False)):
        if index % SAMPLE_EVERY == 0 and mask.any():
            weights += _around(frame, mask)
    shifts = range(-_SMOOTHING_BINS, _SMOOTHING_BINS + 1)
    smooth = np.sum([np.roll(weights, shift) for shift in shifts], axis=0)
    total = smooth.sum()
    return smooth / total if total > 0 else weights


def _around(frame: Frame, mask: Mask) -> NDArray[np.float64]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = max(rows[0] - RING_PX, 0), max(columns[0] - RING_PX, 0)
    window = (slice(top, rows[-1] + RING_PX + 1), slice(left, columns[-1] + RING_PX + 1))
    hsv = cv2.cvtColor(frame[window], cv2.COLOR_RGB2HSV)[~mask[window]].astype(np.float64)
    bins = (hsv[:, 0] * BINS / _OPENCV_HUES).astype(np.intp)
    return np.bincount(bins, weights=hsv[:, 1] * hsv[:, 2] / 255**2, minlength=BINS)[:BINS].astype(np.float64)

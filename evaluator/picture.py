"""The background kept: PSNR and SSIM of two pictures where neither object nor skater is."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.masks import Mask
from handoff.video import Frame

MOST_DB = 100.0
"""What stands for the PSNR of two equal pictures, which is infinite."""
WINDOW, SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_GRAY = np.float32(128)
_CACHED_PX = 120_000

Floats = NDArray[np.float32]


def psnr_db(first: Frame, second: Frame, where: Mask) -> float | None:
    """Return the PSNR over the pixels `where` (H, W) of two pictures (H, W, 3) uint8, dB; None where there are none."""
    pixels = cv2.countNonZero(where.view(np.uint8))
    if not pixels:
        return None
    error = cv2.norm(first, second, cv2.NORM_L2SQR, where.view(np.uint8)) / (3 * pixels)
    return min(MOST_DB, 10 * math.log10(255**2 / error)) if error else MOST_DB


def _blur(image: Floats) -> Floats:
    return np.asarray(cv2.GaussianBlur(image, (WINDOW, WINDOW), SIGMA), np.float32)


def ssim_map(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Floats:
    """Return the SSIM at every pixel of two gray pictures (h, w) uint8, (h, w) float32.

    Wang, Bovik, Sheikh and Simoncelli (2004): a Gaussian window of 11x11 px with sigma 1.5, K1 = 0.01, K2 = 0.03.
    Within 5 px of the edge the window reaches outside, and the values mean little.
    """
    # with d = x - y the formula's two factors are 1 - var d / (var x + var y + C2) and 1 - (mean d)^2 / (mean x^2 +
    # mean y^2 + C1): what is subtracted is small where the pictures are alike, and single precision is enough
    x, y = (np.subtract(image, _GRAY, dtype=np.float32) for image in (first, second))
    difference = x - y
    mean_x, mean_difference = _blur(x), _blur(difference)
    mean_y = mean_x - mean_difference
    between = _blur(difference * difference) - mean_difference * mean_difference
    variances = _blur(x * x + y * y) - mean_x * mean_x - mean_y * mean_y
    mean_x, mean_y = mean_x + _GRAY, mean_y + _GRAY
    luminance = 1 - mean_difference * mean_difference / (mean_x * mean_x + mean_y * mean_y + _C1)
    return np.asarray(luminance * (1 - between / (variances + _C2)))


def ssim(first: Frame, second: Frame, where: Mask) -> float | None:
    """Return the mean SSIM of the luma of two pictures (H, W, 3) uint8 RGB; see `ssim_map`.

    The mean is over the pixels whose whole window lies in `where` and in the frame; None where there is none. Rows are
    taken a few at a time, so that they stay in the processor's cache.
    """
    window = np.ones((WINDOW, WINDOW), np.uint8)
    inside = cv2.erode(where.view(np.uint8), window, borderType=cv2.BORDER_CONSTANT, borderValue=(0,))
    pixels = cv2.countNonZero(inside)
    if not pixels:
        return None
    x, y = (np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8) for image in (first, second))
    height, width = inside.shape
    reach, rows, total = WINDOW // 2, max(1, _CACHED_PX // width), 0.0
    for top in range(reach, height - reach, rows):
        bottom = min(top + rows, height - reach)
        around = slice(top - reach, bottom + reach)
        values = ssim_map(x[around], y[around])[reach:-reach]
        total += float(values.sum(where=inside[top:bottom].view(bool), dtype=np.float64))
    return total / pixels

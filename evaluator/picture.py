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


def ssim_map(first: Frame, second: Frame) -> Floats:
    """Return the SSIM at every pixel of the luma of two pictures (H, W, 3) uint8 RGB, (H, W) float32.

    Wang, Bovik, Sheikh and Simoncelli (2004): a Gaussian window of 11x11 px with sigma 1.5, K1 = 0.01, K2 = 0.03.
    Within 5 px of the frame's edge the window reaches outside, and the values mean little.
    """
    x, y = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) for image in (first, second))
    mean_x, mean_y = _blur(x), _blur(y)
    variances = _blur(x * x + y * y) - mean_x * mean_x - mean_y * mean_y
    covariance = _blur(x * y) - mean_x * mean_y
    structure = (2 * covariance + _C2) / (variances + _C2)
    return np.asarray(structure * (2 * mean_x * mean_y + _C1) / (mean_x * mean_x + mean_y * mean_y + _C1))


def ssim(first: Frame, second: Frame, where: Mask) -> float | None:
    """Return the mean SSIM over the pixels whose whole window lies in `where` and in the frame; None without any."""
    window = np.ones((WINDOW, WINDOW), np.uint8)
    inside = cv2.erode(where.view(np.uint8), window, borderType=cv2.BORDER_CONSTANT, borderValue=(0,))
    if not cv2.countNonZero(inside):
        return None
    return float(cv2.mean(ssim_map(first, second), inside)[0])

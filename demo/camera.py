"""The pinhole camera that the board is seen through, matched to the footage by eye and by the woman's height."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# A phone's main lens is about 0.72 of the frame width (1768 px), times the crop's scale of 0.68.
FOCAL_PX = 869.0
# At the woman's feet 1 m is about 165 px (she is 272 px tall, taken as 1.65 m).
DISTANCE_M = FOCAL_PX / 168.0
# World origin in the picture: the ground a little behind her walking line.
ORIGIN_X_PX, ORIGIN_Y_PX = 320.0, 302.0
# Angle between view ray and ground. The lens alone gives about 19 degrees; the lawn rises away from the camera.
DEPRESSION_RAD = math.radians(29.0)

_COS, _SIN = math.cos(DEPRESSION_RAD), math.sin(DEPRESSION_RAD)


def project(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """World metres (..., 3), x right, y up, z away along the ground, to pixels (..., 2) and depths (...) in metres."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    depth = DISTANCE_M + z * _COS - y * _SIN
    scale = FOCAL_PX / depth
    pixels = np.stack([ORIGIN_X_PX + x * scale, ORIGIN_Y_PX - (y * _COS + z * _SIN) * scale], axis=-1)
    return pixels, depth


def ground_point(x_px: float, y_px: float) -> tuple[float, float]:
    """World (x, z) in metres of the ground point seen at a pixel: the inverse of `project` for y = 0."""
    rise = (ORIGIN_Y_PX - y_px) / FOCAL_PX
    z = rise * DISTANCE_M / (_SIN - rise * _COS)
    return (x_px - ORIGIN_X_PX) * (DISTANCE_M + z * _COS) / FOCAL_PX, z

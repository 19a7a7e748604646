"""Fix the texture to the object, not to the screen.

A texture that stands still inside a moving outline looks like a pattern seen through a moving hole, and tells
every motion estimate a lie. So each frame gets a pose from its mask (the centre of area and the angle of the
longer axis, both from the mask's moments) and the texture moves and turns with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.masks import Mask
from reskin.palette import Gray

MIN_ELONGATION = 1.3
"""Longer over shorter axis; a rounder mask has no angle worth following."""


@dataclass(frozen=True)
class Pose:
    """Where the object is: centre in px, angle of its longer axis in radians, continuous from frame to frame."""

    x: float
    y: float
    angle: float


def locate(masks: Iterable[Mask]) -> list[Pose]:
    """Return one pose a frame; an empty mask keeps the pose of the frame before."""
    poses: list[Pose] = []
    last = Pose(0.0, 0.0, 0.0)
    for mask in masks:
        last = _pose(mask, last)
        poses.append(last)
    return poses


def _pose(mask: Mask, last: Pose) -> Pose:
    moments = cv2.moments(mask.view(np.uint8), binaryImage=True)
    area = moments["m00"]
    if area == 0:
        return last
    xx, yy, xy = moments["mu20"] / area, moments["mu02"] / area, moments["mu11"] / area
    spread = math.hypot(xx - yy, 2 * xy)
    longer, shorter = (xx + yy + spread) / 2, (xx + yy - spread) / 2
    angle = last.angle
    if longer > MIN_ELONGATION**2 * max(shorter, 1e-6):
        axis = 0.5 * math.atan2(2 * xy, xx - yy)
        # an axis has no head and no tail: of the two angles take the one nearer to the frame before
        angle = axis + math.pi * round((last.angle - axis) / math.pi)
    return Pose(moments["m10"] / area, moments["m01"] / area, angle)


def lay_texture(tile: Gray, pose: Pose, width: int, height: int) -> NDArray[np.uint8]:
    """Return (height, width) uint8: the tile repeated over the frame, its origin and its turn at `pose`."""
    cosine, sine = math.cos(pose.angle), math.sin(pose.angle)
    x = np.arange(width, dtype=np.float32)[None, :] - np.float32(pose.x)
    y = np.arange(height, dtype=np.float32)[:, None] - np.float32(pose.y)
    side = np.float32(tile.shape[0])
    u = np.mod(cosine * x + sine * y, side).astype(np.float32)
    v = np.mod(cosine * y - sine * x, side).astype(np.float32)
    return cv2.remap(tile, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP).astype(np.uint8, copy=False)

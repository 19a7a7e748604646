"""A person's box of a frame as the network's input, with rtmlib's own arithmetic, bit for bit.

Frames stay RGB: RTMW was trained on RGB pictures (bgr_to_rgb in its configuration), with ImageNet's mean and deviation
in that order. rtmlib does not turn channels round; whoever hands it OpenCV's BGR frames gives the network another
picture (rtmlib #48).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.box import Box
from handoff.errors import MissingError
from handoff.video import Frame

Vector = NDArray[np.float64]
Pixels = NDArray[np.float32]

PADDING = 1.25
"""How much larger than the box the crop is: what the model was trained with."""

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)

try:
    from rtmlib.tools.pose_estimation.pre_processings import bbox_xyxy2cs, top_down_affine
except ImportError as _error:
    raise MissingError(
        f"RTMW needs rtmlib ({_error}); install posegen/requirements.lock (make extract does)."
    ) from _error


@dataclass(frozen=True)
class Crop:
    """A network's input. pixels: (3, height, width) float32, normalised RGB. centre, size: (2,), px of the frame."""

    pixels: Pixels
    centre: Vector
    size: Vector


# rtmlib normalises each pixel in float64 and rounds to float32 at the end; a byte has 256 values, so a table has all
_TABLE = ((np.arange(256)[:, None] - np.array(MEAN)) / np.array(STD)).astype(np.float32)[None]


def crop(frame: Frame, box: Box, width: int, height: int) -> Crop:
    """Return the crop of width x height px around `box` (it may reach beyond the frame: black there).

    frame: (H, W, 3) uint8 RGB. The box must have an area.
    """
    centre, size = bbox_xyxy2cs(np.array([box.x1, box.y1, box.x2, box.y2], np.float64), padding=PADDING)
    picture, size = top_down_affine((width, height), size, centre, frame)
    normalised = cv2.LUT(picture, _TABLE)
    return Crop(np.ascontiguousarray(normalised.transpose(2, 0, 1)), centre, size)

"""SimCC, RTMW's output: for each keypoint a score for every half pixel of the crop, along x and along y."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from posegen.rtmw.crops import Crop

SPLIT = 2
"""Places a pixel of the crop."""


def decode(
    simcc_x: NDArray[np.float32], simcc_y: NDArray[np.float32], crops: Sequence[Crop]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return keypoints (N, 133, 2), px of the frame, and scores (N, 133), 0..1, of N crops at once.

    simcc_x: (N, 133, SPLIT * width). simcc_y: (N, 133, SPLIT * height).
    A keypoint lies where both scores are highest, as rtmlib has it. Its score is the mean of the two, cut to 0..1:
    they are no probabilities, and a keypoint that is seen well has several (rtmlib's own threshold of 0.3 is on them).
    Where an output is not a number the keypoint has score 0.
    """
    from rtmlib.tools.pose_estimation.post_processings import get_simcc_maximum

    with np.errstate(invalid="ignore", over="ignore"):
        places, values = get_simcc_maximum(simcc_x, simcc_y)
    broken = ~np.isfinite(values)  # a NaN anywhere along an axis is that axis's maximum
    places[broken], values[broken] = -1, 0
    grid = np.array([simcc_x.shape[2], simcc_y.shape[2]]) / SPLIT
    size = np.stack([each.size for each in crops])[:, None]
    centre = np.stack([each.centre for each in crops])[:, None]
    keypoints = places / SPLIT / grid * size + centre - size / 2
    return keypoints.astype(np.float32), np.clip(values, 0, 1).astype(np.float32)

"""What counts as a person, and the box around one. The same for every backend."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.box import Box
from handoff.masks import Mask
from handoff.poses import Person
from posegen.mapping import BODY, Points, Scores

KPT_THR = 0.3
"""A keypoint with a score above this is visible: DWPose's and VACE's own threshold for drawing."""

MIN_VISIBLE = 6
"""Visible body keypoints (of 17) that make a person: a trunk with its head or with two limbs' beginnings.

A floor against fragments. Where MediaPipe gives a body at all it is nearly whole: 9 or more on every found frame of
skateboarder.mp4 (172 of 192), 15 on juggle.mp4 (247 of 247), 8 on the demo clip as the walker leaves the picture, so
none is refused there. What MediaPipe takes for a person by mistake (a skater's shadow, legs alone into which it
squeezes a whole body) also shows as many with high scores: no rule on scores tells those apart.
"""

MARGIN = 0.1
"""How far the box reaches beyond the visible keypoints where there is no mask, as a share of their extent."""

EDGE = 0.02
"""A box nearer to the frame's edge than this share of the frame's longer side may be cut off there."""

_FEET = [17, 19, 20, 22]  # big toes and heels; not every model has small toes


def is_person(scores: Scores) -> bool:
    """Say whether scores (133,) show enough of a body to be a person at all."""
    return int(np.count_nonzero(scores[BODY] > KPT_THR)) >= MIN_VISIBLE


def _bounds_of_largest(mask: Mask) -> NDArray[np.float64] | None:
    """Return [[x1, y1], [x2, y2]] of the largest connected part of a mask, or None when it is empty."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if count < 2:
        return None
    x, y, width, height, _ = stats[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())]
    return np.array([[x, y], [x + width, y + height]], np.float64)


def box_around(keypoints: Points, scores: Scores, width: int, height: int, person_mask: Mask | None = None) -> Box:
    """Return the box around a person's visible keypoints, inside a frame of width x height px.

    With a mask (H, W) the box holds its largest part too (a bent back reaches far beyond the joints: keypoints with a
    margin alone missed up to 17 % of the height in one frame of twenty on skateboarder.mp4); without one it has a
    margin. `scores` must show at least one visible keypoint.
    """
    visible = keypoints[scores > KPT_THR].astype(np.float64)
    low, high = visible.min(axis=0), visible.max(axis=0)
    outline = None if person_mask is None else _bounds_of_largest(person_mask)
    if outline is None:
        margin = MARGIN * (high - low)
        low, high = low - margin, high + margin
    else:
        low, high = np.minimum(low, outline[0]), np.maximum(high, outline[1])
    low, high = np.clip([low, high], 0, [width, height]).round(2)
    return Box(float(low[0]), float(low[1]), float(high[0]), float(high[1]))


def is_whole(box: Box, width: int, height: int) -> bool:
    """Say whether a box keeps clear of the edges of a frame of width x height px."""
    edge = EDGE * max(width, height)
    return box.x1 > edge and box.y1 > edge and box.x2 < width - edge and box.y2 < height - edge


def certainty(person: Person) -> float:
    """Return how sure a detection is: the mean score of body, big toes and heels, 0..1."""
    return float(np.concatenate([person.scores[BODY], person.scores[_FEET]]).mean())

"""People made up for the tests of the pose stage."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from handoff.box import Box
from handoff.poses import N_KEYPOINTS, Person


def person(points: dict[int, tuple[float, float]], score: float = 0.9) -> Person:
    """A person of whom exactly these COCO-WholeBody keypoints (px) are seen."""
    keypoints = np.zeros((N_KEYPOINTS, 2), np.float32)
    scores = np.zeros(N_KEYPOINTS, np.float32)
    for index, place in points.items():
        keypoints[index] = place
        scores[index] = score
    return Person(Box(0, 0, 10, 10), keypoints, scores)


def line_of(indices: Iterable[int], x: float, y: float) -> dict[int, tuple[float, float]]:
    """Places for keypoints, 10 px apart along a line."""
    return {index: (x + 10 * step, y) for step, index in enumerate(indices)}

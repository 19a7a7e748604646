"""The skater's body from the skeleton, where there is no mask of him: limbs as capsules, the trunk filled."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from evaluator.skeleton import SEEN, surest
from handoff.masks import Mask
from handoff.poses import Person

LIMBS = (
    ((5, 7), (6, 8), 0.16),  # upper arms
    ((7, 9), (8, 10), 0.14),  # forearms
    ((11, 13), (12, 14), 0.19),  # thighs
    ((13, 15), (14, 16), 0.13),  # shins
    ((15, 17), (16, 20), 0.25),  # ankle to big toe
    ((15, 19), (16, 22), 0.5),  # ankle to heel
)
"""COCO-WholeBody keypoints at a limb's ends, left and right, and its radius as a share of its length.

An adult's, in round figures. The longer of the two sides is the length of both: a limb that points at the camera is
short in the picture, but as thick as ever.
"""
_TRUNK = (5, 6, 12, 11)  # shoulders and hips, in a ring


def body_mask(people: Sequence[Person], height: int, width: int) -> Mask:
    """Return the mask (H, W) bool of the surest person's limbs and trunk; all False where nobody was found."""
    canvas = np.zeros((height, width), np.uint8)
    person = surest(people)
    if person is None:
        return canvas.view(bool)
    points, seen = np.rint(person.keypoints).astype(int), person.scores > SEEN
    for left, right, share in LIMBS:
        there = [ends for ends in (left, right) if seen[list(ends)].all()]
        length = max((float(np.linalg.norm(points[a] - points[b])) for a, b in there), default=0.0)
        for a, b in there:
            # a thick line has round ends in OpenCV
            cv2.line(canvas, points[a].tolist(), points[b].tolist(), (1,), max(1, round(2 * share * length)))
    if seen[list(_TRUNK)].all():
        cv2.fillPoly(canvas, [points[list(_TRUNK)].astype(np.int32)], (1,))
    return canvas.view(bool)

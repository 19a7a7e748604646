"""People made up for the tests of the pose stage."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from handoff.box import Box
from handoff.poses import N_KEYPOINTS, Person
from posegen.keypoints import COCO_OF_BODY


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


BODY = {
    **{0: (0, -0.40), 1: (0.025, -0.42), 2: (-0.025, -0.42), 3: (0.05, -0.41), 4: (-0.05, -0.41)},  # the head
    **{5: (0.11, -0.30), 6: (-0.11, -0.30), 7: (0.20, -0.16), 8: (-0.20, -0.16), 9: (0.27, -0.04), 10: (-0.17, -0.01)},
    **{11: (0.07, 0.02), 12: (-0.07, 0.02), 13: (0.08, 0.25), 14: (-0.10, 0.24), 15: (0.08, 0.46), 16: (-0.11, 0.46)},
    **{17: (0.12, 0.50), 18: (0.14, 0.49), 19: (0.06, 0.49), 20: (-0.15, 0.50), 21: (-0.17, 0.49), 22: (-0.09, 0.49)},
}
"""Somebody who stands and faces the camera, 1 high, (0, 0) in the middle: his left is the picture's right."""


def standing(x: float, y: float, height: float, angle: float = 0) -> Person:
    """Somebody with all 133 keypoints, `height` px high with the middle at x, y, turned clockwise by degrees."""
    places = np.zeros((N_KEYPOINTS, 2))
    for index, place in BODY.items():
        places[index] = place
    around = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    places[23:91] = np.column_stack([0.045 * np.cos(around), -0.40 + 0.06 * np.sin(around)])
    for first, wrist, side in ((91, 9, 1), (112, 10, -1)):
        places[first] = places[wrist]
        for finger in range(5):
            direction = np.array([side * np.sin(finger * 0.35), np.cos(finger * 0.35)])
            for bone in range(4):
                places[first + 1 + 4 * finger + bone] = places[wrist] + (0.03 + 0.012 * bone) * direction
    turn = np.deg2rad(angle)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    keypoints = (places @ rotation.T * height + (x, y)).astype(np.float32)
    return Person(
        Box(x - height / 2, y - height / 2, x + height / 2, y + height / 2),
        keypoints,
        np.full(N_KEYPOINTS, 0.9, np.float32),
    )


def read_back(record: dict[str, list[float]]) -> np.ndarray:
    """What one OpenPose person says, as (133, 3) x, y, score in COCO-WholeBody's order; the feet are not in it."""
    triples = np.zeros((N_KEYPOINTS, 3), np.float32)
    body = np.array(record["pose_keypoints_2d"], np.float32).reshape(18, 3)
    for place, coco in enumerate(COCO_OF_BODY):
        if coco >= 0:  # all but the neck
            triples[coco] = body[place]
    triples[23:91] = np.array(record["face_keypoints_2d"], np.float32).reshape(70, 3)[:68]
    triples[91:112] = np.array(record["hand_left_keypoints_2d"], np.float32).reshape(21, 3)
    triples[112:133] = np.array(record["hand_right_keypoints_2d"], np.float32).reshape(21, 3)
    return triples

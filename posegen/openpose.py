"""OpenPose's JSON: body 18, face 70 and hands of 21, one file a frame, as ComfyUI's POSE_KEYPOINT has it too.

OpenPose's 18 body points are COCO's 17 in another order and a neck between the shoulders; its 70 face points are the
68 of iBUG and the two pupils, for which the eyes of the body are taken. It has no feet in this form,
so they do not come back. A point that was not seen is 0, 0, 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from handoff.errors import InputError
from handoff.poses import N_KEYPOINTS, Person
from posegen.mapping import FACE, LEFT_HAND, N_HAND, RIGHT_HAND, Points, Scores

VERSION = 1.3
"""The version that OpenPose writes into its files."""

N_BODY = 18
N_FACE = 70
NECK = 1
COCO_OF_BODY = (0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""OpenPose body point i is COCO keypoint COCO_OF_BODY[i]; -1 is the neck (OpenPose, doc/02_output.md, COCO model).

nose, neck, right shoulder, elbow, wrist, left ones, right hip, knee, ankle, left ones, right eye, left eye, ears.
"""

_LEFT_SHOULDER, _RIGHT_SHOULDER = 5, 6
_PUPILS = (2, 1)  # right, then left, as OpenPose's face points 68 and 69; COCO's eyes

Triples = NDArray[np.float32]
"""(N, 3): x px, y px, score."""


def body_18(keypoints: Points, scores: Scores) -> Triples:
    """Return the 18 OpenPose body points (18, 3) of keypoints (133, 2) and scores (133,)."""
    triples = np.column_stack([keypoints, scores]).astype(np.float32)
    body = triples[list(COCO_OF_BODY)]
    left, right = triples[_LEFT_SHOULDER], triples[_RIGHT_SHOULDER]
    # a neck is seen where both shoulders are (OpenPose's own, and DWPose's, definition of it)
    body[NECK] = (*((left + right) / 2)[:2], min(left[2], right[2])) if min(left[2], right[2]) > 0 else 0
    return body


def _flat(triples: Triples) -> list[float]:
    kept = np.where(triples[:, 2:] > 0, triples, 0)
    return [round(float(value), 4) for value in kept.ravel()]


def frame_to_openpose(people: list[Person], width: int, height: int) -> dict[str, Any]:
    """Return one frame's people as the object that an OpenPose file holds; the canvas is width x height px."""
    records = []
    for person in people:
        triples = np.column_stack([person.keypoints, person.scores]).astype(np.float32)
        records.append(
            {
                "person_id": [-1],
                "pose_keypoints_2d": _flat(body_18(person.keypoints, person.scores)),
                "face_keypoints_2d": _flat(np.concatenate([triples[FACE], triples[list(_PUPILS)]])),
                "hand_left_keypoints_2d": _flat(triples[LEFT_HAND]),
                "hand_right_keypoints_2d": _flat(triples[RIGHT_HAND]),
            }
        )
    return {"version": VERSION, "people": records, "canvas_width": width, "canvas_height": height}


def _triples(record: dict[str, Any], key: str, count: int) -> Triples:
    """Return one list of an OpenPose person as (count, 3); nothing or null is a part that was not found."""
    values = record.get(key) or [0.0] * (3 * count)
    try:
        triples = np.array(values, np.float32).reshape(count, 3)
    except (TypeError, ValueError) as error:
        raise InputError(f"{key} has {len(values)} values; {count} points of x, y, score are needed.") from error
    if not np.isfinite(triples).all():
        raise InputError(f"{key} has a value that is not a finite number.")
    return triples


def openpose_to_people(record: dict[str, Any]) -> list[tuple[Points, Scores]]:
    """Return (keypoints (133, 2) px, scores (133,)) of each person of one OpenPose frame; the feet have score 0.

    Raises InputError for lists of another length or values that are no numbers.
    """
    people = []
    for person in record.get("people", []):
        triples = np.zeros((N_KEYPOINTS, 3), np.float32)
        body = _triples(person, "pose_keypoints_2d", N_BODY)
        for point, keypoint in enumerate(COCO_OF_BODY):
            if keypoint >= 0:
                triples[keypoint] = body[point]
        triples[FACE] = _triples(person, "face_keypoints_2d", N_FACE)[:68]
        triples[LEFT_HAND] = _triples(person, "hand_left_keypoints_2d", N_HAND)
        triples[RIGHT_HAND] = _triples(person, "hand_right_keypoints_2d", N_HAND)
        people.append((triples[:, :2].copy(), triples[:, 2].copy()))
    return people

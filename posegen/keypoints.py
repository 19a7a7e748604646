"""The 133 keypoints of COCO-WholeBody: what counts as a person and where, OpenPose's 18, MediaPipe's landmarks.

In that order; the first two are the same for every backend. COCO-WholeBody's order (github.com/jin-s13/COCO-WholeBody):
body 0-16, feet 17-22, face 23-90, left hand 91-111, right hand 112-132. "Left" is the person's own left, in MediaPipe
too, so nothing is mirrored.

MediaPipe's scores (`to_wholebody`):
- body and feet: MediaPipe's own visibility of that landmark;
- a hand: MediaPipe gives no score a point, so all 21 take one: the hand network's presence score, or the body
  network's visibility of that wrist where that is lower (a hand that fires on a wrist the body does not see is
  most often the other hand);
- the face: the face network's presence score for all 68 (the nose's visibility says nothing: it stays near 1.0
  for a person seen from behind, measured on skateboarder.mp4);
- what MediaPipe does not have (small toes), what was not found, and what lies outside the frame: 0, at (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.masks import Mask
from handoff.places import Box
from handoff.poses import N_KEYPOINTS, Person

Points = NDArray[np.float32]
Scores = NDArray[np.float32]

BODY = slice(0, 17)
FACE = slice(23, 91)
LEFT_HAND = slice(91, 112)
RIGHT_HAND = slice(112, 133)

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


N_BODY = 18
NECK = 1
COCO_OF_BODY = (0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""OpenPose body point i is COCO keypoint COCO_OF_BODY[i]; -1 is the neck (OpenPose, doc/02_output.md, COCO model).

nose, neck, right shoulder, elbow, wrist, left ones, right hip, knee, ankle, left ones, right eye, left eye, ears.
"""

_LEFT_SHOULDER, _RIGHT_SHOULDER = 5, 6

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


BODY_FROM_POSE = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
"""COCO body keypoint i is MediaPipe pose landmark BODY_FROM_POSE[i] (mediapipe.solutions.pose.PoseLandmark).

nose, eyes (their middles, not corners), ears, shoulders, elbows, wrists, hips, knees, ankles; left before right.
"""

FEET_FROM_POSE = {17: 31, 19: 29, 20: 32, 22: 30}
"""COCO-WholeBody foot keypoint to pose landmark: big toe is FOOT_INDEX, heel is HEEL.

18 and 21, the small toes, have no counterpart.
"""

# fmt: off
FACE_FROM_MESH = (
    # 0-16 jaw, from the person's right temple over the chin (152) to the left: the vertices of the mesh's face
    # oval that part it most evenly, measured on the most frontal face of juggle.mp4 (frame 35)
    127, 234, 93, 58, 172, 136, 149, 176, 152, 400, 378, 365, 397, 288, 323, 454, 356,
    70, 63, 105, 66, 107,                                   # 17-21 right brow, outside in (upper row)
    336, 296, 334, 293, 300,                                # 22-26 left brow, inside out
    168, 197, 195, 4,                                       # 27-30 bridge, from between the eyes to the tip
    98, 97, 2, 326, 327,                                    # 31-35 under the nose, right to left
    33, 160, 158, 133, 153, 144,                            # 36-41 right eye, from its outer corner over the top
    362, 385, 387, 263, 373, 380,                           # 42-47 left eye, from its inner corner over the top
    61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91,     # 48-59 outer lips, from the right corner over the top
    78, 81, 13, 311, 308, 402, 14, 178,                     # 60-67 inner lips, the same way
)
# fmt: on
"""iBUG-68 face point i (COCO-WholeBody keypoint 23 + i) is vertex FACE_FROM_MESH[i] of MediaPipe's face mesh.

Eyes, lips, brows and oval by the connection lists of mediapipe.solutions.face_mesh_connections; the point between
two corners is the vertex nearest the even division of that line on the same frontal face. The 10 iris points that
a refined mesh of 478 adds are not in COCO-WholeBody.
"""

N_HAND = 21
"""A hand's 21 points have the same order in both: wrist, then thumb to little finger, each from palm to tip."""

LEFT_WRIST, RIGHT_WRIST = 15, 16
"""Pose landmarks of the wrists."""


@dataclass(frozen=True)
class KeypointGroup:
    """A hand or a face: points (N, 2) px and the presence score of its network, 0..1."""

    points: Points
    presence: float


@dataclass(frozen=True)
class Landmarks:
    """One person as MediaPipe Holistic sees one: body (33, 2) px, visibility (33,) 0..1, and the parts found."""

    body: Points
    visibility: Scores
    face: KeypointGroup | None = None
    left_hand: KeypointGroup | None = None
    right_hand: KeypointGroup | None = None


def to_wholebody(landmarks: Landmarks, width: int, height: int) -> tuple[Points, Scores]:
    """Return keypoints (133, 2) float32 px and scores (133,) float32 of a person in a frame of width x height px."""
    keypoints = np.zeros((N_KEYPOINTS, 2), np.float32)
    scores = np.zeros(N_KEYPOINTS, np.float32)
    keypoints[BODY] = landmarks.body[list(BODY_FROM_POSE)]
    scores[BODY] = landmarks.visibility[list(BODY_FROM_POSE)]
    for keypoint, landmark in FEET_FROM_POSE.items():
        keypoints[keypoint] = landmarks.body[landmark]
        scores[keypoint] = landmarks.visibility[landmark]
    if landmarks.face is not None:
        keypoints[FACE] = landmarks.face.points[list(FACE_FROM_MESH)]
        scores[FACE] = landmarks.face.presence
    for part, place, wrist in (
        (landmarks.left_hand, LEFT_HAND, LEFT_WRIST),
        (landmarks.right_hand, RIGHT_HAND, RIGHT_WRIST),
    ):
        if part is not None:
            keypoints[place] = part.points
            scores[place] = min(part.presence, float(landmarks.visibility[wrist]))
    x, y = keypoints.T
    seen = (scores > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    keypoints[~seen] = 0
    scores[~seen] = 0
    return keypoints, np.clip(scores, 0, 1)

"""What is a person, and where; MediaPipe's landmarks land in the right ones of COCO-WholeBody's 133 slots."""

from __future__ import annotations

import numpy as np
import pytest

from handoff.places import Box
from posegen.keypoints import (
    FACE,
    FACE_FROM_MESH,
    LEFT_HAND,
    MIN_VISIBLE,
    RIGHT_HAND,
    KeypointGroup,
    Landmarks,
    box_around,
    certainty,
    is_person,
    is_whole,
    to_wholebody,
)
from tests.posegen.helpers import line_of, person


def test_too_few_visible_keypoints_are_no_person() -> None:
    assert is_person(person(line_of(range(MIN_VISIBLE), 10, 10)).scores)
    assert not is_person(person(line_of(range(MIN_VISIBLE - 1), 10, 10)).scores)


def test_hands_and_a_face_alone_are_no_person() -> None:
    assert not is_person(person(line_of(range(23, 133), 10, 10)).scores)


def test_keypoints_at_the_threshold_do_not_count() -> None:
    assert not is_person(person(line_of(range(17), 10, 10), score=0.3).scores)


def test_the_box_has_a_margin_around_what_is_visible() -> None:
    someone = person({0: (100, 50), 16: (200, 250)})
    assert box_around(someone.keypoints, someone.scores, 640, 480) == Box(90, 30, 210, 270)


def test_the_box_stays_inside_the_frame() -> None:
    someone = person({0: (2, 1), 16: (638, 479)})
    assert box_around(someone.keypoints, someone.scores, 640, 480) == Box(0, 0, 640, 480)


def test_the_box_holds_the_masks_largest_part_and_no_stray_one() -> None:
    someone = person({0: (100, 50), 16: (200, 250)})
    mask = np.zeros((480, 640), np.bool_)
    mask[40:200, 80:150] = True
    mask[400:410, 600:610] = True
    assert box_around(someone.keypoints, someone.scores, 640, 480, mask) == Box(80, 40, 200, 250)


def test_an_empty_mask_counts_as_none() -> None:
    someone = person({0: (100, 50), 16: (200, 250)})
    empty = np.zeros((480, 640), np.bool_)
    assert box_around(someone.keypoints, someone.scores, 640, 480, empty) == Box(90, 30, 210, 270)


def test_a_box_near_the_edge_may_be_cut_off() -> None:
    assert is_whole(Box(13, 13, 600, 460), 640, 480)
    assert not is_whole(Box(12, 13, 600, 460), 640, 480)
    assert not is_whole(Box(13, 13, 600, 479), 640, 480)


def test_certainty_is_the_mean_of_body_and_feet() -> None:
    everything = person(line_of(range(133), 10, 10), score=0.5)
    assert certainty(everything) == 0.5
    assert certainty(person(line_of(range(17), 10, 10), score=0.5)) < 0.5


WIDTH, HEIGHT = 640, 480

COCO_NAMES = [
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow"),
    *("right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle"),
    *("right_ankle", "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel"),
]
# mediapipe.solutions.pose.PoseLandmark, in its order; its FOOT_INDEX is the big toe
MEDIAPIPE_NAMES = [
    *("nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer"),
    *("left_ear", "right_ear", "mouth_left", "mouth_right", "left_shoulder", "right_shoulder", "left_elbow"),
    *("right_elbow", "left_wrist", "right_wrist", "left_pinky", "right_pinky", "left_index", "right_index"),
    *("left_thumb", "right_thumb", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    *("left_heel", "right_heel", "left_big_toe", "right_big_toe"),
]


def landmarks(**parts: KeypointGroup) -> Landmarks:
    """A body whose landmark i stands at (10 + i, 100 + 2 i) with visibility (50 + i) / 100."""
    index = np.arange(33, dtype=np.float32)
    return Landmarks(np.column_stack([10 + index, 100 + 2 * index]), (50 + index) / 100, **parts)


def hand(x: float, presence: float = 0.6) -> KeypointGroup:
    return KeypointGroup(np.column_stack([x + np.arange(21), np.full(21, 40)]).astype(np.float32), presence)


def face(presence: float = 0.8, vertices: int = 468) -> KeypointGroup:
    index = np.arange(vertices, dtype=np.float32)
    return KeypointGroup(np.column_stack([index, index / 2]), presence)


def test_every_body_and_foot_point_keeps_its_name() -> None:
    keypoints, scores = to_wholebody(landmarks(), WIDTH, HEIGHT)
    for slot, name in enumerate(COCO_NAMES):
        if "small_toe" in name:
            continue
        source = MEDIAPIPE_NAMES.index(name)
        assert keypoints[slot].tolist() == [10 + source, 100 + 2 * source], name
        assert scores[slot] == pytest.approx((50 + source) / 100), name


def test_small_toes_are_not_invented() -> None:
    _, scores = to_wholebody(landmarks(), WIDTH, HEIGHT)
    assert scores[[18, 21]].tolist() == [0, 0]


def test_the_left_hand_goes_left_and_the_right_hand_right() -> None:
    keypoints, _ = to_wholebody(landmarks(left_hand=hand(100), right_hand=hand(300)), WIDTH, HEIGHT)
    assert keypoints[LEFT_HAND][:, 0].tolist() == list(range(100, 121))
    assert keypoints[RIGHT_HAND][:, 0].tolist() == list(range(300, 321))


def test_hands_and_face_that_were_not_found_have_score_0() -> None:
    _, scores = to_wholebody(landmarks(), WIDTH, HEIGHT)
    assert not scores[FACE].any()
    assert not scores[LEFT_HAND].any()
    assert not scores[RIGHT_HAND].any()


def test_one_missing_hand_leaves_the_other() -> None:
    _, scores = to_wholebody(landmarks(right_hand=hand(300)), WIDTH, HEIGHT)
    assert not scores[LEFT_HAND].any()
    assert scores[RIGHT_HAND] == pytest.approx(np.full(21, 0.6))


def test_a_hand_is_no_surer_than_its_wrist() -> None:
    _, scores = to_wholebody(landmarks(left_hand=hand(100, presence=0.99)), WIDTH, HEIGHT)
    wrist = 0.5 + MEDIAPIPE_NAMES.index("left_wrist") / 100
    assert scores[LEFT_HAND] == pytest.approx(np.full(21, wrist))


@pytest.mark.parametrize("vertices", [468, 478])
def test_the_face_takes_its_68_points_from_the_mesh(vertices: int) -> None:
    keypoints, scores = to_wholebody(landmarks(face=face(vertices=vertices)), WIDTH, HEIGHT)
    assert keypoints[FACE][8].tolist() == [152, 76]  # iBUG 8 is the chin, vertex 152
    assert keypoints[FACE][36].tolist() == [33, 16.5]  # iBUG 36 is the right eye's outer corner, vertex 33
    assert keypoints[FACE][45].tolist() == [263, 131.5]  # iBUG 45 is the left eye's outer corner, vertex 263
    assert scores[FACE] == pytest.approx(np.full(68, 0.8))


def test_the_face_table_is_68_different_vertices_of_the_mesh() -> None:
    assert len(FACE_FROM_MESH) == 68
    assert len(set(FACE_FROM_MESH)) == 68
    assert max(FACE_FROM_MESH) < 468


def test_a_point_outside_the_frame_is_not_seen() -> None:
    body = landmarks()
    body.body[0] = (-1, 50)
    body.body[11] = (WIDTH, 50)
    body.body[12] = (50, HEIGHT + 3)
    keypoints, scores = to_wholebody(body, WIDTH, HEIGHT)
    assert scores[[0, 5, 6]].tolist() == [0, 0, 0]
    assert keypoints[[0, 5, 6]].tolist() == [[0, 0]] * 3
    assert scores[1] > 0

"""OpenPose JSON: what stands where, and that it comes back."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from handoff.box import Box
from handoff.poses import N_KEYPOINTS, Person
from posegen.keypoints import body_18
from posegen.outputs import frame_to_openpose
from tests.posegen.people import line_of, person, read_back

FEET = slice(17, 23)


@st.composite
def people(draw: st.DrawFn) -> Person:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    keypoints = rng.uniform(0, 4000, (N_KEYPOINTS, 2)).round(2).astype(np.float32)
    scores = rng.random(N_KEYPOINTS).round(4).astype(np.float32)
    scores[rng.random(N_KEYPOINTS) < draw(st.floats(0, 1))] = 0
    keypoints[scores == 0] = 0
    return Person(Box(0, 0, 1, 1), keypoints, scores)


@settings(max_examples=60, deadline=None)
@given(st.lists(people(), max_size=3))
def test_everything_but_the_feet_comes_back(frame: list[Person]) -> None:
    back = json.loads(json.dumps(frame_to_openpose(frame, 4000, 4000)))["people"]
    assert len(back) == len(frame)
    for before, record in zip(frame, back, strict=True):
        expected = np.column_stack([before.keypoints, before.scores])
        expected[FEET] = 0
        np.testing.assert_allclose(read_back(record), expected, atol=1e-3)


def test_the_lists_have_openposes_lengths_and_the_canvas_is_named() -> None:
    record = frame_to_openpose([person(line_of(range(133), 10, 10))], 640, 360)
    only = record["people"][0]
    lengths = {key: len(values) for key, values in only.items() if key.endswith("_2d")}
    assert lengths == {
        "pose_keypoints_2d": 18 * 3,
        "face_keypoints_2d": 70 * 3,
        "hand_left_keypoints_2d": 21 * 3,
        "hand_right_keypoints_2d": 21 * 3,
    }
    assert (record["canvas_width"], record["canvas_height"]) == (640, 360)


def test_nobody_is_an_empty_list() -> None:
    assert frame_to_openpose([], 640, 360)["people"] == []


def test_body_points_stand_in_openposes_order() -> None:
    someone = person(
        {0: (1, 1), 6: (2, 2), 10: (3, 3), 9: (4, 4), 12: (5, 5), 15: (6, 6), 2: (7, 7), 1: (8, 8), 3: (9, 9)}
    )
    body = body_18(someone.keypoints, someone.scores)
    # nose 0, right shoulder 2, right wrist 4, left wrist 7, right hip 8, left ankle 13, eyes 14 and 15, left ear 17
    assert body[[0, 2, 4, 7, 8, 13, 14, 15, 17], 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_the_neck_is_between_the_shoulders_and_as_sure_as_the_weaker() -> None:
    someone = person({5: (100, 40), 6: (60, 50)})
    someone.scores[5] = 0.5
    assert body_18(someone.keypoints, someone.scores)[1].tolist() == [80, 45, 0.5]


def test_one_shoulder_makes_no_neck() -> None:
    someone = person({5: (100, 40)})
    assert body_18(someone.keypoints, someone.scores)[1].tolist() == [0, 0, 0]


def test_the_pupils_of_the_face_are_the_eyes_of_the_body() -> None:
    face = frame_to_openpose([person({1: (30, 10), 2: (20, 10)})], 64, 64)["people"][0]["face_keypoints_2d"]
    assert face[68 * 3 : 68 * 3 + 2] == [20, 10]  # 68 is the right pupil
    assert face[69 * 3 : 69 * 3 + 2] == [30, 10]

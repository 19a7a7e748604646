"""OpenPose JSON and ComfyUI's POSE_KEYPOINT: what stands where, and that it comes back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handoff.places import Box
from handoff.poses import N_KEYPOINTS, Person
from posegen.keypoints import KPT_THR, body_18
from posegen.outputs import PoseKeypointWriter, frame_to_openpose, frame_to_pose_keypoint
from tests.posegen.helpers import line_of, person, read_back, standing

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


FEET = slice(17, 23)


def write(path: Path, frames: list[list[Person]]) -> Path:
    with PoseKeypointWriter(path, 640, 360) as writer:
        for people in frames:
            writer.write(people)
    return path


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 1000), max_size=2), max_size=5))
def test_places_come_back_and_scores_become_seen_or_not(
    tmp_path_factory: pytest.TempPathFactory, seeds: list[list[int]]
) -> None:
    def someone(seed: int) -> Person:
        figure = standing(200 + seed % 100, 180, 300)
        figure.scores[:] = np.random.default_rng(seed).random(133)
        return figure

    frames = [[someone(seed) for seed in each] for each in seeds]
    records = json.loads(write(tmp_path_factory.mktemp("poses") / "pose_keypoint.json", frames).read_text())
    assert len(records) == len(frames)
    for record, people in zip(records, frames, strict=True):
        assert (record["canvas_width"], record["canvas_height"]) == (640, 360)
        for found, before in zip(record["people"], people, strict=True):
            keypoints, scores = read_back(found)[:, :2], read_back(found)[:, 2]
            seen = before.scores > KPT_THR
            seen[FEET] = False
            assert scores.tolist() == seen.astype(float).tolist()
            np.testing.assert_allclose(keypoints[seen], before.keypoints[seen], atol=1e-3)
            assert not keypoints[~seen].any()


def test_a_frame_has_the_keys_of_the_type_and_full_lists() -> None:
    frame = frame_to_pose_keypoint([person({0: (5, 5)})], 640, 360)
    assert set(frame) == {"people", "canvas_width", "canvas_height"}
    lengths = {key: len(values) for key, values in frame["people"][0].items() if key.endswith("_2d")}
    assert lengths == {
        "pose_keypoints_2d": 54,
        "face_keypoints_2d": 210,
        "hand_left_keypoints_2d": 63,
        "hand_right_keypoints_2d": 63,
    }


def test_the_neck_and_the_pupils_are_there_where_what_makes_them_is_visible() -> None:
    figure = person({5: (100, 40), 6: (60, 40), 1: (85, 10), 2: (75, 10)}, score=0.4)
    figure.scores[2] = KPT_THR
    record = frame_to_pose_keypoint([figure], 640, 360)["people"][0]
    assert record["pose_keypoints_2d"][3:6] == [80, 40, 1]
    assert record["face_keypoints_2d"][68 * 3 :] == [0, 0, 0, 85, 10, 1]


def test_a_file_that_was_not_finished_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), PoseKeypointWriter(tmp_path / "pose_keypoint.json", 64, 64) as writer:
        writer.write([])
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []

"""A POSE_KEYPOINT holds what ComfyUI's pose nodes draw: every visible keypoint, with a confidence of 1."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handoff.poses import Person
from posegen.keypoints import KPT_THR
from posegen.outputs import PoseKeypointWriter, frame_to_pose_keypoint
from tests.posegen.people import person, read_back, standing

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

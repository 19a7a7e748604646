"""pose.json comes back as it was written, and is refused where it cannot be used."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handoff.box import Box
from handoff.errors import InputError, UsageError
from handoff.poses import N_KEYPOINTS, Person, PoseWriter, check_poses, read_pose_header, read_poses


def person(seed: int) -> Person:
    rng = np.random.default_rng(seed)
    keypoints = np.round(rng.uniform(-50, 2000, (N_KEYPOINTS, 2)), 2).astype(np.float32)
    return Person(Box(1, 2, 30.5, 40), keypoints, np.round(rng.random(N_KEYPOINTS), 4).astype(np.float32))


def write(path: Path, frames: list[list[Person]]) -> Path:
    with PoseWriter(path, {"model": {"name": "test"}, "frame_count": len(frames)}) as writer:
        for people in frames:
            writer.write(people)
    return path


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 1000), max_size=2), max_size=5))
def test_any_poses_come_back(tmp_path_factory: pytest.TempPathFactory, seeds: list[list[int]]) -> None:
    frames = [[person(seed) for seed in each] for each in seeds]
    path = write(tmp_path_factory.mktemp("poses") / "pose.json", frames)
    assert read_pose_header(path) == {"schema": 1, "model": {"name": "test"}, "frame_count": len(frames)}
    back = list(read_poses(path))
    assert [len(people) for people in back] == [len(people) for people in frames]
    for before, after in zip(chain(*frames), chain(*back), strict=True):
        assert after.box == before.box
        np.testing.assert_allclose(after.keypoints, before.keypoints, atol=0.005)
        np.testing.assert_allclose(after.scores, before.scores, atol=0.00005)


def test_the_file_is_plain_json_that_any_tool_may_write_again(tmp_path: Path) -> None:
    path = write(tmp_path / "pose.json", [[person(1)], []])
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4))
    assert [len(people) for people in read_poses(path)] == [1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not a pose file"),
        ('{"schema": 9, "frames": []}', "schema 9"),
        ('{"frames": []}', "schema None"),
        ('{"schema": 1, "frames": [{"frame": 1, "people": []}]}', "frame 0"),
        ('{"schema": 1, "frames": [{"frame": 0, "people": [{}]}]}', "frame 0.*cannot be used"),
        (
            '{"schema": 1, "frames": [{"frame": 0, "people": [{"box":[1,2,3,4],"keypoints":[[1,2]],"scores":[1]}]}]}',
            "1, 2",
        ),
        ('{"schema": 1, "frames": [{"frame": 0, "peo', "not a pose file"),
    ],
)
def test_a_damaged_pose_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pose.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_pose_header(tmp_path / "pose.json")
        list(read_poses(tmp_path / "pose.json"))


def test_another_frame_count_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 frames, the clip has 3"):
        check_poses(write(tmp_path / "pose.json", [[], []]), 3)


def test_what_is_no_number_is_never_written(tmp_path: Path) -> None:
    bad = person(1)
    bad.keypoints[3, 1] = np.nan
    with pytest.raises(UsageError, match="finite"):
        write(tmp_path / "pose.json", [[bad]])
    assert list(tmp_path.iterdir()) == []

"""pose.json comes back as it was written, and is refused where it cannot be used."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handoff.errors import InputError, UsageError
from handoff.places import Box
from handoff.poses import N_KEYPOINTS, Person, PoseWriter, check_poses, read_header, read_poses


def person(seed: int) -> Person:
    """Somebody at random places; every other one has been smoothed."""
    rng = np.random.default_rng(seed)
    keypoints, raw = np.round(rng.uniform(-50, 2000, (2, N_KEYPOINTS, 2)), 2).astype(np.float32)
    scores = np.round(rng.random(N_KEYPOINTS), 4).astype(np.float32)
    return Person(Box(1, 2, 30.5, 40), keypoints, scores, raw if seed % 2 else None)


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
    assert read_header(path) == {"schema": 1, "model": {"name": "test"}, "frame_count": len(frames)}
    back = list(read_poses(path))
    assert [len(people) for people in back] == [len(people) for people in frames]
    for before, after in zip(chain(*frames), chain(*back), strict=True):
        assert after.box == before.box
        np.testing.assert_allclose(after.keypoints, before.keypoints, atol=0.005)
        np.testing.assert_allclose(after.scores, before.scores, atol=0.00005)
        assert (after.raw is None) == (before.raw is None)
        if after.raw is not None and before.raw is not None:
            np.testing.assert_allclose(after.raw, before.raw, atol=0.005)


def test_the_file_is_plain_json_that_any_tool_may_write_again(tmp_path: Path) -> None:
    path = write(tmp_path / "pose.json", [[person(1)], []])
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4))
    assert [len(people) for people in read_poses(path)] == [1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not a pose file"),
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
        list(read_poses(tmp_path / "pose.json"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("raw", [[1, 2]]),
        ("raw", None),
        ("raw", [[1e300, 0]] * N_KEYPOINTS),  # a number to JSON, infinite as a float32
        ("keypoints", [[1e300, 0]] * N_KEYPOINTS),
        ("scores", [1e300] * N_KEYPOINTS),
        ("scores", ["high"] * N_KEYPOINTS),
        ("box", [1, 2, 3]),
    ],
)
def test_a_person_with_an_unusable_part_is_refused(tmp_path: Path, key: str, value: object) -> None:
    path = write(tmp_path / "pose.json", [[], [person(1)]])
    record = json.loads(path.read_text())
    record["frames"][1]["people"][0][key] = value
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"frame 1 .*cannot be used"):
        list(read_poses(path))


def test_a_file_from_before_there_was_smoothing_is_read(tmp_path: Path) -> None:
    points, scores = [[1.5, 2]] * N_KEYPOINTS, [0.5] * N_KEYPOINTS
    people = [{"box": [1, 2, 3, 4], "keypoints": points, "scores": scores}]
    old = {"schema": 1, "smoothing": "the model's own", "frames": [{"frame": 0, "people": people}]}
    (tmp_path / "pose.json").write_text(json.dumps(old))
    ((someone,),) = list(read_poses(tmp_path / "pose.json"))
    assert someone.raw is None
    assert someone.keypoints[7].tolist() == [1.5, 2]


def test_another_frame_count_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 frames, the clip has 3"):
        check_poses(write(tmp_path / "pose.json", [[], []]), 3)


@pytest.mark.parametrize("part", ["keypoints", "scores", "raw", "box"])
def test_what_is_no_number_is_never_written(tmp_path: Path, part: str) -> None:
    bad = person(1)
    if part == "box":
        bad = replace(bad, box=Box(0, 0, np.nan, 1))
    else:
        getattr(bad, part)[3] = np.nan
    with pytest.raises(UsageError, match="finite"):
        write(tmp_path / "pose.json", [[bad]])
    assert list(tmp_path.iterdir()) == []

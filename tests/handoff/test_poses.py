"""pose.json comes back as it was written, and is refused where it cannot be used."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handoff.errors import InputError, UsageError
from handoff.places import Box
from handoff.poses import N_KEYPOINTS, Person, PoseWriter, check_poses, read_header, read_poses
from handoff.video import ClipInfo


def person(seed: int) -> Person:
    """Somebody at random places; every other one has been smoothed."""
    rng = np.random.default_rng(seed)
    keypoints, raw = np.round(rng.uniform(-50, 2000, (2, N_KEYPOINTS, 2)), 2).astype(np.float32)
    scores = np.round(rng.random(N_KEYPOINTS), 4).astype(np.float32)
    return Person(Box(1, 2, 30.5, 40), keypoints, scores, raw if seed % 2 else None)


CLIP = ClipInfo(640, 360, Fraction(24), 2)


def header_of(info: ClipInfo) -> dict[str, Any]:
    """What stands before the frames of a clip's poses, less the schema."""
    fps = f"{info.fps.numerator}/{info.fps.denominator}"
    return {"width": info.width, "height": info.height, "fps": fps, "frame_count": info.frames}


def write(path: Path, frames: list[list[Person]], info: ClipInfo = CLIP) -> Path:
    with PoseWriter(path, replace(info, frames=len(frames)), {"model": {"name": "test"}}) as writer:
        for people in frames:
            writer.write(people)
    return path


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 1000), max_size=2), max_size=5))
def test_any_poses_come_back(tmp_path_factory: pytest.TempPathFactory, seeds: list[list[int]]) -> None:
    frames = [[person(seed) for seed in each] for each in seeds]
    path = write(tmp_path_factory.mktemp("poses") / "pose.json", frames)
    header = header_of(replace(CLIP, frames=len(frames)))
    assert read_header(path) == {"schema": 1, "model": {"name": "test"}} | header
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
        ("not json", "not JSON"),
        ('{"schema": 1, "frames": [{"frame": 1, "people": []}]}', "frame 0"),
        ('{"schema": 1, "frames": [{"frame": 0, "people": [{}]}]}', r"frames\[0\]\.people\[0\] has no 'box'"),
        (
            '{"schema": 1, "frames": [{"frame": 0, "people": [{"box":[1,2,3,4],"keypoints":[[1,2]],"scores":[1]}]}]}',
            "frame 0 .*keypoints is not a list of 133 x 2 numbers",
        ),
        ('{"schema": 1, "frames": [{"frame": 0, "peo', "not JSON"),
        ('{"schema": 1, "frames": [{"frame": 0, "people": null}]}', r"frames\[0\]\.people is null, and must be a list"),
        ('{"schema": 1, "frames": [{"frame": 0}]}', r"frames\[0\] has no 'people'"),
        ('{"schema": 1, "frames": null}', "frames is null"),
        ('{"schema": 1}', "has no 'frames'"),
        ('{"schema": 1, "frames": [null]}', r"frames\[0\] is null, and must be an object"),
        ('{"schema": 1, "frames": [{"frame": NaN, "people": []}]}', r"frames\[0\]\.frame is NaN"),
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
        ("scores", ["0.5"] * N_KEYPOINTS),
        ("scores", [True] * N_KEYPOINTS),
        ("scores", [-0.1] * N_KEYPOINTS),
        ("scores", [1.1] * N_KEYPOINTS),
        ("scores", [0.5] * (N_KEYPOINTS + 1)),
        ("scores", None),
        ("keypoints", [[1e30, 0], *[[1, 1]] * (N_KEYPOINTS - 1)]),
        ("keypoints", [[1, 1], *[[-100_001, 0]] * (N_KEYPOINTS - 1)]),
        ("keypoints", [[10**30, 0]] * N_KEYPOINTS),
        ("keypoints", [[1, None]] * N_KEYPOINTS),
        ("keypoints", [[1, 2], *[[1]] * (N_KEYPOINTS - 1)]),
        ("keypoints", [["x" * 1_000_000, 2], *[[1, 2]] * (N_KEYPOINTS - 1)]),
        ("keypoints", {}),
        ("box", [1, 2, 3]),
        ("box", [1, 2, 0, 4]),
        ("box", [1, 2, 1e30, 4]),
        ("box", ["1", "2", "3", "4"]),
    ],
)
def test_a_person_with_an_unusable_part_is_refused(tmp_path: Path, key: str, value: object) -> None:
    path = write(tmp_path / "pose.json", [[], [person(1)]])
    record = json.loads(path.read_text())
    record["frames"][1]["people"][0][key] = value
    path.write_text(json.dumps(record))
    with pytest.raises(
        InputError, match=rf"frame 1 .*cannot be used \(.*{key}|frames\[1\]\.people\[0\]\.{key}"
    ) as caught:
        list(read_poses(path))
    assert str(caught.value).startswith(str(path)) and len(str(caught.value)) < 400


def test_a_file_from_before_there_was_smoothing_is_read(tmp_path: Path) -> None:
    points, scores = [[1.5, 2]] * N_KEYPOINTS, [0.5] * N_KEYPOINTS
    people = [{"box": [1, 2, 3, 4], "keypoints": points, "scores": scores}]
    old = {"schema": 1, "smoothing": "the model's own", "frames": [{"frame": 0, "people": people}]}
    (tmp_path / "pose.json").write_text(json.dumps(old))
    ((someone,),) = list(read_poses(tmp_path / "pose.json"))
    assert someone.raw is None
    assert someone.keypoints[7].tolist() == [1.5, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 1280, "height": 720}, "2 frames of 1280x720 px at 24 fps, and this one has 2 of 640x360 px at 24"),
        ({"height": 480}, "640x480"),
        ({"fps": "25/1"}, "at 25 fps"),
        ({"fps": "24000/1001"}, "at 24000/1001 fps"),
        ({"frame_count": 3}, "3 frames of"),
        ({"schema": 2}, "schema is 2, and must be 1"),
        ({"fps": "1e99999999/1"}, "fps is '1e99999999/1', and must be a rate"),
        ({"fps": "24/0"}, "fps is '24/0'"),
        ({"fps": 24.0}, "fps is 24.0"),
        ({"width": "640"}, "width is '640'"),
        ({"width": None}, "width is null"),
        ({"frame_count": 2.0}, "frame_count is 2.0"),
    ],
)
def test_the_pose_of_another_clip_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "pose.json", [[], [person(1)]])
    check_poses(path, CLIP)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        check_poses(path, CLIP)


@pytest.mark.parametrize("key", ["schema", "width", "height", "fps", "frame_count"])
def test_a_pose_that_does_not_say_whose_it_is_is_refused(tmp_path: Path, key: str) -> None:
    path = write(tmp_path / "pose.json", [[], []])
    record = json.loads(path.read_text())
    del record[key]
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=f"has no '{key}'"):
        check_poses(path, CLIP)


def test_frames_are_counted_and_not_taken_from_what_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "pose.json", [[], [], []])
    path.write_text(path.read_text().replace('"frame_count": 3', '"frame_count": 2'))
    with pytest.raises(InputError, match="has more frames, the clip has 2"):
        check_poses(path, CLIP)
    path.write_text(path.read_text().replace('"frame_count": 2', '"frame_count": 4'))
    with pytest.raises(InputError, match="has 3 frames, the clip has 4"):
        check_poses(path, replace(CLIP, frames=4))


def test_a_rate_that_is_only_stated_may_differ_a_little(tmp_path: Path) -> None:
    path = write(tmp_path / "pose.json", [[], []])
    check_poses(path, replace(CLIP, fps=Fraction(24000, 1001)), rate_error=0.01)
    with pytest.raises(InputError, match="at 24 fps"):
        check_poses(path, replace(CLIP, fps=Fraction(25)), rate_error=0.01)


@pytest.mark.parametrize("name", ["other_size", "people_null"])
def test_the_shared_poses_are_refused(shared: Path, name: str) -> None:
    path = shared / "faults" / "poses" / f"{name}.json"
    why = {"other_size": "20 frames of 1280x720 px", "people_null": "people is null, and must be a list"}[name]
    with pytest.raises(InputError, match=why):
        check_poses(path, ClipInfo(640, 360, Fraction(24), 20))


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

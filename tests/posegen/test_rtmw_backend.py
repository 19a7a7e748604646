"""RTMW behind the extractor: one person where a box is, nobody where none is, in order, with bounded memory."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rtmlib import RTMPose

from handoff.errors import InputError, MissingError, UsageError
from handoff.places import Box
from handoff.video import Frame, read_frames
from handoff.weights import DigestError
from posegen.extractor import SkaterPoseExtractor
from posegen.onnx_session import gpu_problem
from posegen.rtmw_backend import BATCH, WAITING, RtmwBackend
from tests.posegen.helpers import install_rtmw

WIDTH, HEIGHT = 320, 240
BOX = Box(100, 40, 180, 200)


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return install_rtmw(tmp_path / "models", tmp_path / "weights.toml", monkeypatch)


def textures(count: int) -> Iterator[Frame]:
    random = np.random.default_rng(1)
    for _ in range(count):
        yield random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def moved(index: int) -> Box:
    return Box(BOX.x1 + index, BOX.y1, BOX.x2 + index, BOX.y2)


def test_every_frames_person_is_what_rtmlib_finds_in_that_frame(network: Path, shared: Path) -> None:
    clip = shared / "clips" / "skateboarder.mp4"
    model = RTMPose(str(network), model_input_size=(288, 384), device="cpu")
    count = sum(1 for _ in read_frames(clip))
    boxes = [Box(3.0 * index, 100.5, 3.0 * index + 300, 650.25) for index in range(count)]
    extractor = SkaterPoseExtractor(RtmwBackend(device="cpu"))
    poses = extractor.extract(read_frames(clip), boxes)
    for frame, box, pose in zip(read_frames(clip), boxes, poses, strict=True):
        (person,) = pose.people
        np.testing.assert_allclose(person.keypoints, model(frame, [box.as_list()])[0][0], atol=0.01)


def test_where_no_box_is_nobody_is(network: Path) -> None:
    found = [index % 3 != 1 for index in range(20)]
    boxes = [moved(index) if there else None for index, there in enumerate(found)]
    poses = list(RtmwBackend(device="cpu").extract(textures(20), boxes))
    assert [bool(pose.people) for pose in poses] == found
    assert [pose.people[0].box for pose in poses if pose.people] == [box for box in boxes if box]
    assert all(pose.person_mask is None for pose in poses)


def test_a_clip_without_any_box_runs_no_network_and_keeps_its_frame_count(network: Path) -> None:
    count = 2 * WAITING + 5
    poses = list(RtmwBackend(device="cpu").extract(textures(count), [None] * count))
    assert [pose.people for pose in poses] == [[]] * count


def test_a_person_in_the_gap_between_two_batches_is_not_lost(network: Path) -> None:
    # more frames without anybody than are kept, then somebody in the last frame alone
    boxes = [None] * (WAITING + 3) + [BOX]
    poses = list(RtmwBackend(device="cpu").extract(textures(len(boxes)), boxes))
    assert [bool(pose.people) for pose in poses] == [box is not None for box in boxes]


@pytest.mark.parametrize(
    "box", [Box(-40, 40, 0.5, 200), Box(400, 0, 500, 90), Box(50, 50, 50, 90), Box(float("nan"), 0, 9, 9)], ids=str
)
def test_a_box_with_nothing_of_it_in_the_frame_is_nobody(network: Path, box: Box) -> None:
    (pose,) = RtmwBackend(device="cpu").extract(textures(1), [box])
    assert pose.people == []


def test_a_box_beyond_the_edge_is_cut_to_the_frame(network: Path) -> None:
    ((person,),) = (pose.people for pose in RtmwBackend(device="cpu").extract(textures(1), [Box(-20, -5, 90, 300)]))
    assert person.box == Box(0, 0, 90, HEIGHT)


def test_a_body_that_the_network_does_not_see_is_nobody(network: Path) -> None:
    dark = [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 2
    assert [pose.people for pose in RtmwBackend(device="cpu").extract(dark, [BOX] * 2)] == [[], []]


def test_scores_that_are_not_numbers_reach_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_rtmw(tmp_path / "models", tmp_path / "weights.toml", monkeypatch, nan=range(60, 133))
    ((person,),) = (pose.people for pose in RtmwBackend(device="cpu").extract(textures(1), [BOX]))
    assert np.isfinite(person.keypoints).all() and (person.scores[60:] == 0).all() and (person.scores[:60] > 0).all()


def test_more_frames_than_boxes_is_an_error_and_not_a_guess(network: Path) -> None:
    with pytest.raises(InputError, match="more frames than the 3 that the skater was looked for in"):
        list(RtmwBackend(device="cpu").extract(textures(4), [BOX] * 3))


def test_without_boxes_nothing_is_begun(network: Path) -> None:
    with pytest.raises(UsageError, match="give extract the boxes"):
        next(RtmwBackend(device="cpu").extract(textures(1)))


def test_the_clip_is_read_no_further_ahead_than_two_batches(network: Path) -> None:
    read = []

    def clip() -> Iterator[Frame]:
        for index, frame in enumerate(textures(60)):
            read.append(index)
            yield frame

    poses = RtmwBackend(device="cpu").extract(clip(), [BOX] * 60)
    for given in range(60):
        next(poses)
        # a batch in hand, one in the queue, and one frame on its way into it
        assert len(read) <= given + 1 + 2 * BATCH["cpu"] + 1


def test_a_reader_who_stops_early_leaves_no_thread_behind(network: Path) -> None:
    before = threading.active_count()
    poses = RtmwBackend(device="cpu").extract(textures(50), [BOX] * 50)
    next(poses)
    poses.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_a_clip_that_cannot_be_read_to_its_end_is_an_error(network: Path) -> None:
    def clip() -> Iterator[Frame]:
        yield from textures(6)
        raise InputError("the clip is damaged")

    with pytest.raises(InputError, match="the clip is damaged"):
        list(RtmwBackend(device="cpu").extract(clip(), [BOX] * 9))


def test_the_model_says_what_it_is_and_which_file(network: Path, tmp_path: Path) -> None:
    model = RtmwBackend(device="cpu").model
    archive = tmp_path / "models" / "pose" / "rtmw-l.zip"
    assert (model.name, model.embedded, model.makes_masks) == ("RTMW-l", False, False)
    assert model.sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert "rtmlib 0.0.16" in model.version and "ONNX Runtime 1." in model.version


def test_weights_that_were_changed_are_refused(network: Path, tmp_path: Path) -> None:
    archive = tmp_path / "models" / "pose" / "rtmw-l.zip"
    archive.write_bytes(archive.read_bytes() + b"x")
    with pytest.raises(DigestError, match=r"rtmw-l\.zip has SHA-256"):
        RtmwBackend()


@pytest.mark.skipif(gpu_problem() is None, reason="there is a GPU here")
def test_cuda_without_a_gpu_is_an_error_before_any_work(network: Path) -> None:
    with pytest.raises(MissingError, match=r"--device cuda: .*NVIDIA"):
        RtmwBackend(device="cuda")

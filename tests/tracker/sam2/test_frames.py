"""Frames decoded when needed are the ones that upstream loads up front."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tracker's environment: torch is not installed here")
pytest.importorskip("sam2", reason="needs the tracker's environment: sam2 is not installed here")

import torch
from sam2.utils.misc import load_video_frames_from_jpg_images

from handoff.errors import InputError
from handoff.video import Frame, probe, read_frames
from tests.helpers import moving_square, write_clip
from tests.tracker.sam2.helpers import ArrayFrames, write_frame_folder
from tracker.sam2 import frames as lazy_frames
from tracker.sam2.frames import ClipFrames, LazyFrames
from tracker.sam2.memory import lazy_state
from tracker.sam2.predictor import Predictor


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", moving_square(30))


@pytest.mark.parametrize("image_size", [96, 256])
def test_every_order_of_access_gives_upstreams_values(
    clip: Path, tmp_path: Path, image_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_frame_folder(tmp_path / "frames", list(read_frames(clip)))
    expected, height, width = load_video_frames_from_jpg_images(str(folder), image_size, offload_video_to_cpu=True)
    monkeypatch.setattr(lazy_frames, "_CHUNK_BYTES", 5 * 3 * image_size**2)
    frames = LazyFrames(ClipFrames(clip, probe(clip)), image_size)
    assert (len(frames), height, width) == (30, 120, 160)
    for index in [7, *range(30), *range(29, -1, -1), 12, 12, 11, 10, 3, 2, 25]:
        assert torch.equal(frames[index], expected[index]), index
    frames.close()


def test_the_way_to_a_gpu_gives_the_same_values(scene: list[Frame]) -> None:
    picture = lazy_frames.resized(scene[0], 64)
    there = lazy_frames.normalised_there(picture, torch.device("cpu"))
    assert torch.equal(lazy_frames.normalised(picture), there)


def test_a_shot_is_counted_from_its_own_first_frame(clip: Path) -> None:
    whole = list(read_frames(clip))
    shot = ClipFrames(clip, probe(clip), 12, 20)
    assert len(shot) == 8
    assert all(np.array_equal(a, b) for a, b in zip(shot.read(2, 5), whole[14:17], strict=True))


def test_a_source_with_fewer_frames_than_it_says_is_refused(scene: list[Frame]) -> None:
    class Short(ArrayFrames):
        def read(self, start: int, stop: int) -> Iterator[Frame]:
            return iter(self.frames[start : min(stop, 5)])

    forward, backward = LazyFrames(Short(scene[:8]), 64), LazyFrames(Short(scene[:8]), 64)
    with pytest.raises(InputError, match="no frame 5 although it has 8"):
        [forward[index] for index in range(8)]
    with pytest.raises(InputError, match="no frame 7"):
        backward[7]
    forward.close()
    backward.close()


def test_a_decoding_error_reaches_the_caller() -> None:
    class Broken(ArrayFrames):
        def read(self, start: int, stop: int) -> Iterator[Frame]:
            yield self.frames[0]
            raise InputError("breaks off after frame 0")

    frames = LazyFrames(Broken([np.zeros((8, 8, 3), np.uint8)] * 3), 32)
    frames[0]
    with pytest.raises(InputError, match="breaks off"):
        frames[1]
    frames.close()


def test_the_lazy_state_is_upstreams_but_for_the_frames(
    predictor: Predictor, scene: list[Frame], scene_folder: Path
) -> None:
    theirs = predictor.init_state(str(scene_folder), offload_video_to_cpu=True)  # type: ignore[attr-defined]
    ours = lazy_state(predictor, LazyFrames(ArrayFrames(scene), predictor.image_size), 96, 72)
    assert set(ours) == set(theirs)
    different = {key for key in theirs if key != "images" and ours[key] != theirs[key]}
    assert different == {"cached_features"}  # upstream looks at frame 0 to warm up

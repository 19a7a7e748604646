"""Every frame of every clip is reached by seeking as it is by reading, and none is another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import given, settings
from hypothesis import strategies as st

import handoff.video
from handoff.ingest import ingest
from handoff.video import entries_of, read_frames
from tests.handoff.clip.numbered import number_of, numbers_in, shift, write_numbered, write_packed

FRAMES = 48
FRAGMENTED = "frag_keyframe+empty_moov"
OPEN = {"x264-params": "open-gop=1:keyint=15:min-keyint=15:scenecut=0:bframes=3:b-pyramid=2"}
REFRESH = {"x264-params": "intra-refresh=1:keyint=15:bframes=0"}
MUXERS = {
    "usual": {},
    "index first": {"movflags": "+faststart"},
    "no edit list": {"use_editlist": "0"},
    "negative offsets": {"movflags": "+negative_cts_offsets"},
    "fragmented": {"movflags": FRAGMENTED},
    "fragmented, negative offsets": {"movflags": f"{FRAGMENTED}+negative_cts_offsets+default_base_moof"},
    "a fragment a frame": {"movflags": "frag_every_frame+empty_moov"},
    "DASH": {"movflags": f"{FRAGMENTED}+default_base_moof+dash"},
}
ENCODERS = {
    "B-frames": {"bf": "3", "g": "15", "sc_threshold": "0"},
    "no B-frames": {"bf": "0", "g": "15", "sc_threshold": "0"},
    "key frames only": {"g": "1"},
    "one key frame": {"g": "1000", "bf": "2"},
    "open groups": OPEN,
    "refreshed by columns": REFRESH,
}
CHANGES = ("none", "later", "hidden", "wrong key frames")


def write(path: Path, muxer: str, encoder: str, change: str) -> Path:
    clip = write_numbered(path, range(FRAMES), encoder=ENCODERS[encoder], muxer=MUXERS[muxer])
    if change == "later":
        return shift(clip, 5000)
    if change == "hidden":
        return shift(clip, -5000)
    if change == "wrong key frames":
        move_key_frames(clip)
    return clip


def move_key_frames(clip: Path) -> None:
    """Have the list of key frames (ISO/IEC 14496-12, 8.6.2) name frames that are none, but for the first."""
    data = bytearray(clip.read_bytes())
    at = data.find(b"stss") + 12
    if at >= 12:
        for place in range(at + 4, at + 4 * int.from_bytes(data[at - 4 : at], "big"), 4):
            data[place : place + 4] = (int.from_bytes(data[place : place + 4], "big") + 4).to_bytes(4, "big")
    clip.write_bytes(data)


def read_at(clip: Path, frame: int) -> np.ndarray:
    return next(read_frames(clip, frame, frame + 1))


def assert_reached(clip: Path) -> None:
    whole = list(read_frames(clip))
    assert [number_of(each) for each in whole] == list(range(FRAMES - len(whole), FRAMES))
    for frame in range(len(whole)):
        assert np.array_equal(read_at(clip, frame), whole[frame]), frame
    assert list(read_frames(clip, len(whole))) == []


@pytest.mark.parametrize("encoder", ["B-frames", "open groups"])
@pytest.mark.parametrize("muxer", MUXERS)
def test_each_frame_by_seek_is_the_one_by_reading(tmp_path: Path, muxer: str, encoder: str) -> None:
    assert_reached(write(tmp_path / "in.mp4", muxer, encoder, "none"))


@settings(max_examples=10)
@given(st.sampled_from(sorted(MUXERS)), st.sampled_from(sorted(ENCODERS)), st.sampled_from(CHANGES))
def test_each_frame_of_what_ingest_makes_of_any_clip_is_reached(
    tmp_path_factory: pytest.TempPathFactory, muxer: str, encoder: str, change: str
) -> None:
    folder = tmp_path_factory.mktemp("clip")
    assert_reached(ingest(write(folder / "in.mp4", muxer, encoder, change), folder / "run").source)


def test_a_wrong_list_of_key_frames_misleads_no_reader(tmp_path: Path) -> None:
    run = ingest(write(tmp_path / "in.mp4", "usual", "no B-frames", "wrong key frames"), tmp_path / "run")
    assert len(entries_of(run.source).numbers) == 3
    assert_reached(run.source)


def test_a_clip_whose_seeks_give_other_pictures_is_encoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write(tmp_path / "in.mp4", "usual", "B-frames", "none")
    read = handoff.video._read_from_entry
    with monkeypatch.context() as patch:
        patch.setattr(handoff.video, "_read_from_entry", lambda path, start, stop: read(path, start - 1, stop))
        run = ingest(clip, tmp_path / "run")
    assert run.manifest["source"]["done"] == "encoded again: frames that are hidden or cannot be sought"
    assert_reached(run.source)


def test_a_frame_behind_an_entry_is_read_without_what_is_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write(tmp_path / "in.mp4", "fragmented", "B-frames", "none")
    assert entries_of(clip).numbers == (15, 30, 45)
    decoded: list[int | None] = []
    complete = handoff.video.complete_tags

    def noted(frame: VideoFrame, told: object) -> None:
        decoded.append(frame.pts)
        complete(frame, told)

    monkeypatch.setattr(handoff.video, "complete_tags", noted)
    assert number_of(read_at(clip, 47)) == 47
    assert len(decoded) == 3


def test_a_seek_that_leads_elsewhere_is_noticed_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is read from the start, and what was given before is not given again."""
    clip = write(tmp_path / "in.mp4", "usual", "B-frames", "none")
    decode = handoff.video._decode

    def lossy(*given: object) -> Iterator[VideoFrame]:
        frames = decode(*given)
        if given[-1] == 0:
            yield from frames
            return
        for index, frame in enumerate(frames):
            if index != 3:
                yield frame

    monkeypatch.setattr(handoff.video, "_decode", lossy)
    assert [number_of(each) for each in read_frames(clip, 30)] == list(range(30, FRAMES))


@pytest.mark.parametrize("suffix", ["mkv", "mov", "ts", "avi"])
def test_other_containers_are_read_from_their_start(tmp_path: Path, suffix: str) -> None:
    clip = write_numbered(tmp_path / f"in.{suffix}", range(30), encoder=ENCODERS["B-frames"])
    assert [number_of(read_at(clip, frame)) for frame in (1, 14, 15, 29)] == [1, 14, 15, 29]


def test_packed_b_frames_are_read_by_their_order(tmp_path: Path) -> None:
    clip = write_packed(tmp_path / "in.avi", 30)
    assert numbers_in(clip) == list(range(30))
    assert [number_of(read_at(clip, frame)) for frame in (1, 2, 29)] == [1, 2, 29]


def test_a_clip_that_changes_is_looked_at_anew(tmp_path: Path) -> None:
    clip = write(tmp_path / "in.mp4", "usual", "B-frames", "none")
    assert entries_of(clip).numbers == (15, 30, 45)
    clip.unlink()
    write(tmp_path / "in.mp4", "usual", "one key frame", "none")
    assert entries_of(clip).numbers == ()

"""A clip that is cut off is refused or has lost nothing, and what is appended to a whole one changes nothing."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handoff.clip.truncation import missing_part
from handoff.errors import InputError
from handoff.ingest import ingest
from handoff.video import probe, read_frames
from tests.handoff.clip.numbered import number_of, numbers_in, write_numbered

FRAMES = 30
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}
GROUPS = {"g": "10", "bf": "2"}
WRITERS = {
    "a.mp4": {},
    "first.mp4": {"muxer": {"movflags": "+faststart"}},
    "a.mov": {},
    "fragmented.mp4": {"muxer": FRAGMENTED},
    "dash.mp4": {"muxer": {"movflags": "frag_keyframe+empty_moov+default_base_moof+dash+global_sidx"}},
    "a.mkv": {},
    "h264.avi": {},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mjpeg.avi": {"codec": "mjpeg", "encoder": {}},
    "a.flv": {},
    "a.wmv": {"codec": "wmv2", "format": "asf", "encoder": {"g": "10"}},
    "a.mxf": {"codec": "mpeg2video", "encoder": {"g": "10"}},
    "a.mpg": {"codec": "mpeg2video", "format": "mpeg"},
}
LIVE = {
    "live.mkv": {"muxer": {"live": "1"}},
    "h264.ts": {"format": "mpegts", "noise": 60},
    "slices.ts": {"format": "mpegts", "noise": 60, "encoder": GROUPS | {"x264-params": "slices=4"}},
    "mpeg2.ts": {"codec": "mpeg2video", "format": "mpegts", "noise": 60},
    "camera.m2ts": {"format": "mpegts", "noise": 60, "muxer": {"mpegts_m2ts_mode": "1"}},
}
"""Recordings without an end: a cut between two packets is not to be seen."""
APPENDED = {
    "text": b"hello, this is text that somebody appended\n" * 3,
    "short text": b"x",
    "zeros": bytes(100),
    "ones": b"\xff" * 64,
    "random": os.urandom(999),
    "JSON": b'{"gps": [1, 2]}',
    "ID3": b"TAG" + bytes(125),
    "Insta360": bytes(32) + struct.pack("<II", 40, 3) + b"8db42d694ccc418790edff439fe026bf",
    "a box called free": struct.pack(">I4s", 1 << 20, b"free") + bytes(50),
    "a box of no kind": struct.pack(">I4s", 1 << 31, b"GoPr") + bytes(50),
    "a picture": b"\xff\xd8\xff\xe0" + bytes(range(256)),
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    return {
        name: write_numbered(folder / name, range(FRAMES), **({"encoder": GROUPS} | how))  # type: ignore[arg-type]
        for name, how in (WRITERS | LIVE).items()
    }


def frames_of(clip: Path) -> int | None:
    """Return how many frames a clip has, None where it is refused."""
    try:
        return probe(clip).frames
    except InputError as error:
        assert str(clip) in str(error)
        return None


@pytest.mark.parametrize("name", [*WRITERS, *LIVE])
def test_a_whole_clip_is_taken_whatever_is_appended(clips: dict[str, Path], tmp_path: Path, name: str) -> None:
    whole = clips[name].read_bytes()
    assert missing_part(clips[name]) == "" and probe(clips[name]).frames == FRAMES
    longer = tmp_path / name
    for kind, appended in APPENDED.items():
        longer.write_bytes(whole + appended)
        assert missing_part(longer) == "", kind


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "fragmented.mp4", "a.mkv", "h264.avi", "h264.ts"])
def test_all_frames_of_a_clip_with_an_appendix_are_read(clips: dict[str, Path], tmp_path: Path, name: str) -> None:
    longer = tmp_path / name
    longer.write_bytes(clips[name].read_bytes() + APPENDED["Insta360"])
    assert numbers_in(ingest(longer, tmp_path / "run").source) == list(range(FRAMES))


@settings(max_examples=100)
@given(st.sampled_from(sorted(WRITERS)), st.floats(0, 1, exclude_max=True))
def test_a_cut_clip_is_refused_or_has_lost_nothing(
    clips: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, name: str, share: float
) -> None:
    data = clips[name].read_bytes()
    cut = tmp_path_factory.mktemp("cut") / name
    cut.write_bytes(data[: int(len(data) * share)])
    assert frames_of(cut) in (None, FRAMES)


@pytest.mark.parametrize("name", WRITERS)
def test_a_clip_that_lost_its_last_frames_is_refused(clips: dict[str, Path], tmp_path: Path, name: str) -> None:
    data = clips[name].read_bytes()
    cut = tmp_path / name
    for share in (0.3, 0.6, 0.9):
        cut.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(InputError):
            probe(cut)


@settings(max_examples=60)
@given(st.sampled_from(sorted(LIVE)), st.floats(0.1, 1, exclude_max=True))
def test_a_live_recording_has_no_picture_that_is_not_whole(
    clips: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, name: str, share: float
) -> None:
    """What is taken of it is what it begins with, but for a B-frame whose packet would have come after the cut."""
    whole = list(read_frames(clips[name]))
    data = clips[name].read_bytes()
    cut = tmp_path_factory.mktemp("cut") / name
    cut.write_bytes(data[: int(len(data) * share)])
    if frames_of(cut) is not None:
        found = list(read_frames(cut))
        numbers = [number_of(each) for each in found]
        assert numbers == sorted(set(numbers)) and len(found) > numbers[-1] - 2
        assert all(np.array_equal(each, whole[number]) for each, number in zip(found, numbers, strict=True))


@pytest.mark.parametrize("name", [name for name in LIVE if "ts" in name])
def test_a_transport_stream_that_ends_within_a_picture_is_refused(
    clips: dict[str, Path], tmp_path: Path, name: str
) -> None:
    data, packet = clips[name].read_bytes(), 192 if name.endswith("m2ts") else 188
    cut = tmp_path / name
    cut.write_bytes(data[: len(data) // packet * 3 // 4 * packet + 100])
    with pytest.raises(InputError, match=f"its last packet has 100 of {packet} bytes"):
        probe(cut)
    seen = set()
    for packets in range(len(data) // packet - 40, len(data) // packet):
        cut.write_bytes(data[: packets * packet])
        seen.add("its last picture is not whole" in missing_part(cut))
    assert True in seen


def test_fragments_without_the_index_that_ends_them_are_refused(clips: dict[str, Path], tmp_path: Path) -> None:
    data = clips["fragmented.mp4"].read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: data.rindex(b"moof") - 4])
    with pytest.raises(InputError, match="the index after its last fragment is missing"):
        probe(cut)


def test_segments_that_the_index_lists_and_that_are_not_there_are_missed(
    clips: dict[str, Path], tmp_path: Path
) -> None:
    data = clips["dash.mp4"].read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: data.rindex(b"moof") - 4])
    with pytest.raises(InputError, match=r"cut off: its last \d+ bytes are missing"):
        probe(cut)


def test_an_mdat_box_without_a_length_ends_with_the_file(clips: dict[str, Path], tmp_path: Path) -> None:
    """So its end does not say whether it is whole; the list of samples does."""
    data = bytearray(clips["first.mp4"].read_bytes())
    at = data.index(b"mdat") - 4
    data[at : at + 4] = bytes(4)
    clip = tmp_path / "open.mp4"
    clip.write_bytes(data)
    assert probe(clip).frames == FRAMES
    clip.write_bytes(data[:-30])
    with pytest.raises(InputError, match="cut off: its last 30 bytes are missing"):
        probe(clip)

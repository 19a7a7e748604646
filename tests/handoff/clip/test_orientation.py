"""A clip is shown as its display matrix says, by every reader: the eight orientations, and matrices that are odd."""

from __future__ import annotations

import gc
import math
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from av.packet import Packet

from handoff.clip.orientation import Orientation, orientation_of, read_matrix, stated_orientation
from handoff.errors import InputError
from handoff.ingest import ingest, shown_frames
from handoff.video import probe, read_frames
from tests.handoff.clip.cards import DISPLAYS, ONE, Kind, card, decoded, shown_by, write_card_clip
from tests.helpers import read_gray

NEAR = 8.0


def mean_off(shown: np.ndarray, name: str, number: int) -> float:
    expected = shown_by(card(160, 96, number), DISPLAYS[name])
    assert shown.shape == expected.shape
    return float(np.abs(shown.astype(float) - expected).mean())


@pytest.mark.parametrize("name", DISPLAYS)
def test_a_display_matrix_puts_each_pixel_where_its_numbers_say(tmp_path: Path, name: str) -> None:
    clip = write_card_clip(tmp_path / "in.mp4", Kind(pix_fmt="yuv444p", display=DISPLAYS[name]), 3)
    run = ingest(clip, tmp_path / "run")
    turned = name.endswith("yx")
    assert (run.info.width, run.info.height) == ((96, 160) if turned else (160, 96))
    info = probe(clip)
    assert (info.width, info.height) == (run.info.width, run.info.height)
    for frames in (read_frames(run.source), shown_frames(clip), read_frames(clip)):
        assert [mean_off(frame, name, number) < 4 for number, frame in enumerate(frames)] == [True] * 3
    luma = next(read_gray(clip)).astype(float)
    assert (
        np.abs(
            luma
            - shown_by(next(read_gray(write_card_clip(tmp_path / "up.mp4", Kind())))[..., None], DISPLAYS[name])[..., 0]
        ).mean()
        < 2
    )
    assert not any("DISPLAYMATRIX" in frame.side_data for frame in decoded(run.source))
    said = run.manifest["source"]["input"]
    assert said["mirrored"] == (name in ("-+xy", "+-xy", "++yx", "--yx"))
    assert said["rotation"] in ((90, 270) if turned else (0, 180))


@pytest.mark.parametrize("name", DISPLAYS)
@pytest.mark.parametrize("size", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("tilt_deg", [-0.4, 0.0, 0.4])
def test_a_matrix_that_is_not_exact_means_the_nearest_orientation(name: str, size: float, tilt_deg: float) -> None:
    a, b, _, c, d, *_ = DISPLAYS[name]
    cos, sin = size * math.cos(math.radians(tilt_deg)), size * math.sin(math.radians(tilt_deg))
    tilted = [
        a * cos - b * sin,
        a * sin + b * cos,
        0,
        c * cos - d * sin,
        c * sin + d * cos,
        0,
        7 * ONE,
        9 * ONE,
        1 << 30,
    ]
    assert read_matrix([round(each) for each in tilted]) == read_matrix(list(DISPLAYS[name]))


def test_a_matrix_of_zeros_turns_nothing() -> None:
    assert read_matrix([0] * 9) == Orientation()


def test_another_angle_is_turned_as_ffmpeg_does_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cos, sin = round(math.cos(math.radians(30)) * ONE), round(math.sin(math.radians(30)) * ONE)
    clip = write_card_clip(tmp_path / "in.mp4", Kind(display=(cos, sin, 0, -sin, cos, 0, 0, 0, 1 << 30)))
    run = ingest(clip, tmp_path / "run")
    assert "turned by 30 degrees" in capsys.readouterr().out
    shown = next(read_frames(run.source)).astype(int)
    # clockwise about the middle, x' = x cos - y sin: the blue corner and the red patch; outside it is black
    assert shown.shape == (96, 160, 3) and np.abs(shown[2:6, 2:6]).max() < 16
    for x, y in ((40, -40), (-72, 16)):
        at = (48 + round(x * 0.5 + y * 0.866), 80 + round(x * 0.866 - y * 0.5))
        assert np.abs(shown[at] - card(160, 96, 0)[48 + y, 80 + x]).max() < NEAR
    with pytest.raises(InputError, match="turned by 30 degrees; export it again upright"):
        next(read_frames(clip))


def with_exif(clip: Path, target: Path, orientation: int) -> Path:
    """Copy a clip of JPEGs and give each picture an orientation as cameras write it (EXIF 2.3, tag 0x112)."""
    tiff = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x112, 3, 1, orientation, 0)
    marker = b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff
    with av.open(str(clip)) as source, av.open(str(target), "w") as made:
        stream = made.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                data = bytes(packet)
                copy = Packet(data[:2] + marker + data[2:])
                copy.pts, copy.dts, copy.time_base, copy.stream = packet.pts, packet.dts, packet.time_base, stream
                copy.is_keyframe = True
                made.mux(copy)
    return target


EXIF = dict(zip(range(1, 9), ("++xy", "-+xy", "--xy", "+-xy", "++yx", "-+yx", "--yx", "+-yx"), strict=True))


@pytest.mark.parametrize("number", EXIF)
def test_jpegs_are_turned_as_their_own_exif_data_say(tmp_path: Path, number: int) -> None:
    options = {"qmin": "1", "qmax": "1"}
    kind = Kind("mjpeg", "avi", "yuvj444p", full=True, tags=(5, 2, 2, 2), options=options)
    clip = with_exif(write_card_clip(tmp_path / "plain.avi", kind, 2), tmp_path / "in.avi", number)
    run = ingest(clip, tmp_path / "run")
    assert [mean_off(frame, EXIF[number], index) < 4 for index, frame in enumerate(read_frames(run.source))] == [
        True
    ] * 2


def test_a_clip_that_turns_on_its_way_is_refused(tmp_path: Path) -> None:
    options = {"qmin": "1", "qmax": "1"}
    kind = Kind("mjpeg", "avi", "yuvj444p", full=True, tags=(5, 2, 2, 2), options=options)
    plain = write_card_clip(tmp_path / "plain.avi", kind, 4)
    turned = with_exif(plain, tmp_path / "turned.avi", 6)
    with av.open(str(tmp_path / "in.avi"), "w") as made:
        sources = [av.open(str(path)) for path in (plain, turned)]
        stream = made.add_stream_from_template(sources[0].streams.video[0])
        for index, (one, other) in enumerate(zip(*(source.demux(video=0) for source in sources), strict=True)):
            packet = one if index < 2 else other
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)
    with pytest.raises(InputError, match="from rotation of 0 degrees to rotation of 270 degrees at frame 2"):
        ingest(tmp_path / "in.avi", tmp_path / "run")


SEI = {"-+xy": "0:flip=horizontal", "+-xy": "0:flip=vertical", "--xy": "180", "+-yx": "90", "-+yx": "270"}


@pytest.mark.parametrize("name", SEI)
def test_what_a_key_frame_says_of_its_orientation_holds_for_those_after_it(tmp_path: Path, name: str) -> None:
    """H.264 says it in a message with a key frame (display orientation, D.2.27), and not again until it changes."""
    plain = write_card_clip(tmp_path / "plain.mp4", Kind(pix_fmt="yuv444p"), 3)
    with av.open(str(plain)) as source, av.open(str(tmp_path / "in.mp4"), "w") as made:
        picture = source.streams.video[0]
        stream = made.add_stream_from_template(picture)
        filters = BitStreamFilterContext(f"h264_metadata=display_orientation=insert:rotate={SEI[name]}", picture)
        for packet in source.demux(picture):
            for turned in filters.filter(packet) if packet.dts is not None else []:
                turned.stream = stream
                made.mux(turned)
    said = ["DISPLAYMATRIX" in frame.side_data for frame in decoded(tmp_path / "in.mp4")]
    assert said == [True, False, False]
    run = ingest(tmp_path / "in.mp4", tmp_path / "run")
    assert [mean_off(frame, name, index) < 4 for index, frame in enumerate(read_frames(run.source))] == [True] * 3


def test_a_frame_whose_matrix_was_read_goes_when_nobody_holds_it(tmp_path: Path) -> None:
    """PyAV's frame and its side data hold each other: at 1080p, hundreds of MB until the garbage is collected."""
    clip = write_card_clip(tmp_path / "in.mp4", Kind(display=DISPLAYS["-+xy"]))
    gc.collect()
    gc.disable()
    try:
        for frame in decoded(clip):
            assert stated_orientation(frame) == orientation_of(frame) == Orientation(mirrored=True)
        del frame
        assert gc.collect() == 0
    finally:
        gc.enable()

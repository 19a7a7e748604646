"""A clip's colours come through: ingest against the colours of the card that the clip was made of."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from handoff.clip.colours import Colours, colours_of
from handoff.clip.conversion import Conversion
from handoff.clip.truncation import missing_part
from handoff.errors import InputError
from handoff.ingest import ingest
from handoff.video import VideoWriter, clip_colours, frame_to_rgb, read_frames
from tests.handoff.clip.cards import (
    BLUE,
    DISPLAYS,
    PATCHES,
    RED,
    Kind,
    card,
    decoded,
    read_card,
    stored_by,
    stored_frame,
    to_rgb,
    write_card_clip,
    write_stored,
)

NEAR = 3.0
"""Levels of 255: what eight bits and the encoder may cost."""
UNTAGGED = (2, 2, 2, 0)
GBR = (0, 2, 2, 0)
GOOD = {"crf": "4", "b": "0"}
FINE = {"qmin": "1", "qmax": "2", "b": "8M"}
FINEST = {"qmin": "1", "qmax": "1"}
FAST = Fraction(240)
QUICK_AV1 = {"crf": "5", "preset": "10", "svtav1-params": "lp=1"}


def said(matrix: int, full: bool = False) -> tuple[int, int, int, int]:
    """Tags of a matrix with the primaries and the transfer that go with it."""
    return (matrix, matrix, 14 if matrix == 9 else matrix, 2 if full else 1)


FRAMES = 5


def written(folder: Path, kind: Kind) -> Path:
    """A clip of the card."""
    return write_card_clip(folder / f"in.{kind.suffix}", kind, FRAMES)


def check(clip: Path, kind: Kind, matrix: int) -> None:
    """Ingest a clip of the card: its source.mp4 has the card's colours in `matrix`, one frame after the other."""
    run = ingest(clip, clip.parent / "run", force=True)
    stored = list(decoded(run.source))
    is_copy = run.manifest["source"]["done"] == "copied"
    assert {frame.colorspace for frame in stored} == {kind.tags[0] if is_copy else matrix}
    tags = {(frame.color_primaries, frame.color_trc) for frame in stored}
    assert tags == {kind.tags[1:3]} or kind.tags[1] == 2 or kind.codec == "prores_ks", tags
    assert all(frame.format.name == "yuv420p" and frame.color_range != 2 for frame in stored)
    lossy = np.array([read_card(to_rgb(frame, kind.matrix, kind.full))[1] for frame in decoded(clip)]).mean(0)
    assert np.abs(lossy - PATCHES).max() < 8
    matches((to_rgb(frame, matrix) for frame in stored), kind, lossy, FRAMES)
    matches(read_frames(run.source), kind, lossy, FRAMES)


def matches(pictures: Iterable[NDArray[np.generic]], kind: Kind, patches: NDArray[np.float64], frames: int) -> None:
    """The pictures are the cards 0, 1 and so on, upright, with patches of these colours."""
    display = kind.display or DISPLAYS["++xy"]
    numbers, colours, corners = zip(*(read_card(stored_by(each, display)) for each in pictures), strict=True)
    seen = numbers if kind.pts is None else tuple(dict.fromkeys(numbers))  # else frames are repeated
    assert list(seen) == list(range(frames))
    off = np.abs(np.array(colours) - patches).max((0, 2))
    assert off.max() <= NEAR, dict(zip(map(tuple, PATCHES.tolist()), off.tolist(), strict=True))
    assert np.abs(np.array(corners) - [RED, BLUE]).max() < 8


CASES = {
    "a phone's HEVC in MOV": (Kind("libx265", "mov", matrix=1, tags=said(1)), 1),
    "ten bits of BT.2020": (Kind("libx265", pix_fmt="yuv420p10le", matrix=9, tags=said(9)), 9),
    "another container": (Kind(suffix="mkv", matrix=1, tags=said(1)), 1),
    "4:4:4": (Kind(pix_fmt="yuv444p", matrix=1, tags=said(1)), 1),
    "ten bits of 4:2:2": (Kind(pix_fmt="yuv422p10le", matrix=1, tags=said(1)), 1),
    "full range": (Kind(pix_fmt="yuvj420p", matrix=1, full=True, tags=said(1, True)), 1),
    "slow motion": (
        Kind("ffv1", "mp4", "yuv420p16le", 1, tags=said(1), width=161, height=97, display=DISPLAYS["+-yx"], rate=FAST),
        1,
    ),
    "a variable rate": (Kind(matrix=1, tags=said(1), pts=(0, 33, 66, 200, 233)), 1),
    "rotated": (Kind(matrix=1, tags=said(1), display=DISPLAYS["-+yx"]), 1),
    "rotated, untagged": (Kind(tags=UNTAGGED, height=96, width=720, display=DISPLAYS["-+yx"]), 6),
    "untagged, pixels twice as high": (Kind(tags=UNTAGGED, height=400, pixel_aspect=Fraction(1, 2)), 6),
    "untagged of few lines": (Kind(suffix="mkv", tags=UNTAGGED), 6),
    "untagged of 720 lines": (Kind(suffix="mkv", matrix=1, tags=UNTAGGED, height=720), 1),
    "BT.470": (Kind(suffix="mkv", matrix=5, tags=(5, 5, 6, 1)), 5),
    "SMPTE 240": (Kind(suffix="mkv", matrix=7, tags=said(7)), 7),
    "FCC": (Kind(suffix="mkv", matrix=4, tags=said(4)), 4),
    "VP9": (Kind("libvpx-vp9", "webm", matrix=1, tags=said(1), options=GOOD), 1),
    "VP8": (Kind("libvpx", "webm", tags=UNTAGGED, options={"crf": "4", "b": "4M"}), 5),
    "AV1": (Kind("libsvtav1", pix_fmt="yuv420p10le", matrix=1, tags=said(1), options=QUICK_AV1), 1),
    "MPEG-2": (Kind("mpeg2video", "ts", matrix=1, tags=said(1), options=FINE), 1),
    "MPEG-4 in AVI": (Kind("mpeg4", "avi", tags=UNTAGGED, options=FINE), 6),
    "tags of the container alone": (Kind("mpeg4", "mp4", matrix=1, tags=said(1), options=FINE), 1),
    "Motion JPEG": (Kind("mjpeg", "avi", "yuvj422p", full=True, tags=(5, 2, 2, 2), options=FINEST), 5),
    "ProRes": (Kind("prores_ks", "mov", "yuv422p10le", matrix=1, tags=said(1)), 1),
    "rotated ProRes": (Kind("prores_ks", "mov", "yuv422p10le", matrix=1, tags=said(1), display=DISPLAYS["+-yx"]), 1),
    "v210": (Kind("v210", "mov", "yuv422p10le", matrix=1, tags=said(1)), 1),
    "JPEG 2000": (Kind("jpeg2000", "mov", "yuv444p", tags=UNTAGGED), 6),
    "16 bits, full": (Kind("ffv1", "mkv", "yuv444p16le", matrix=1, full=True, tags=said(1, True)), 1),
    "full range with alpha": (Kind("ffv1", "mkv", "yuva420p", matrix=1, full=True, tags=said(1, True)), 1),
    "the same of ten bits": (Kind("ffv1", "mkv", "yuva444p10le", matrix=9, full=True, tags=said(9, True)), 9),
    "the same of twelve": (Kind("ffv1", "mkv", "yuva422p12le", matrix=1, full=True, tags=said(1, True)), 1),
    "ProRes 4444 with alpha": (Kind("prores_ks", "mov", "yuva444p10le", matrix=1, tags=said(1)), 1),
    "4:1:1": (Kind("ffv1", "mkv", "yuv411p", tags=UNTAGGED), 6),
    "4:1:0, rotated": (Kind("ffv1", "mp4", "yuv410p", tags=UNTAGGED, display=DISPLAYS["++yx"]), 6),
    "4:4:0, rotated": (Kind("ffv1", "mp4", "yuv440p", matrix=1, tags=said(1), display=DISPLAYS["-+yx"]), 1),
    "RGB H.264": (Kind("libx264rgb", pix_fmt="rgb24", matrix=None, tags=GBR), 6),
    "RGB H.264 of 720 lines": (Kind("libx264rgb", pix_fmt="rgb24", matrix=None, tags=GBR, height=720), 1),
    "RGB HEVC of 720 lines": (Kind("libx265", pix_fmt="gbrp", matrix=None, tags=GBR, height=720), 1),
    "RGB of 720 lines": (Kind("qtrle", "mov", "rgb24", matrix=None, tags=UNTAGGED, height=720), 1),
    "PNG, rotated": (Kind("png", "mov", "rgb24", matrix=None, tags=UNTAGGED, display=DISPLAYS["--yx"]), 6),
    "luma and chroma tagged as RGB": (Kind(tags=GBR), 6),
    "the same in HEVC": (Kind("libx265", tags=(0, 1, 1, 1)), 6),
    "of odd size": (Kind("ffv1", "mkv", "yuv420p", matrix=1, tags=said(1), width=161, height=97), 1),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_colours_of_the_card_come_through(tmp_path: Path, name: str) -> None:
    kind, matrix = CASES[name]
    check(written(tmp_path, kind), kind, matrix)


STORED = [
    ("libx264", "mp4", "yuv420p", {}),
    ("libx264", "mkv", "yuv444p", {}),
    ("libx264", "mov", "yuv422p10le", {}),
    ("libx265", "mp4", "yuv420p10le", {}),
    ("libx265", "mov", "yuv420p", {}),
    ("libx265", "mkv", "yuv444p12le", {}),
    ("libvpx-vp9", "webm", "yuv420p", GOOD),
    ("libvpx-vp9", "mp4", "yuv444p", GOOD),
    ("mpeg4", "mp4", "yuv420p", FINE),
    ("ffv1", "mkv", "yuv422p", {}),
    ("ffv1", "mp4", "yuv420p16le", {}),
    ("prores_ks", "mov", "yuv422p10le", {}),
    ("libx264", "ts", "yuv420p", {}),
    ("libx264", "flv", "yuv420p", {}),
    ("mpeg2video", "mxf", "yuv420p", FINE),
    ("ffv1", "mkv", "yuva420p10le", {}),
    ("ffv1", "avi", "yuv420p9le", {}),
]
RATES = [Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(60), Fraction(120)]


@settings(max_examples=40, deadline=None)
@given(
    stored=st.sampled_from(STORED),
    matrix=st.sampled_from([1, 6, 9, 5, 7]),
    tagged=st.booleans(),
    full=st.booleans(),
    display=st.sampled_from([*DISPLAYS]),
    rate=st.sampled_from(RATES),
    width=st.sampled_from([160, 176, 162]),
    height=st.sampled_from([96, 90]),
    odd=st.booleans(),
)
def test_colours_order_and_orientation_come_through_whatever_the_clip_is(
    stored: tuple[str, str, str, dict[str, str]],
    matrix: int,
    tagged: bool,
    full: bool,
    display: str,
    rate: Fraction,
    width: int,
    height: int,
    odd: bool,
) -> None:
    codec, suffix, pix_fmt, options = stored
    tagged = tagged and suffix != "avi"  # it says nothing of colours
    full = full and tagged and codec not in ("prores_ks", "mpeg2video")
    rate = Fraction(25) if codec == "mpeg2video" else rate  # it has few
    matrix = matrix if tagged else 6
    width, height = (width + 1, height + 1) if odd and (codec == "ffv1" or "444" in pix_fmt) else (width, height)
    tags = said(matrix, full) if tagged else UNTAGGED
    turn = DISPLAYS[display] if suffix in ("mp4", "mov") else None
    with TemporaryDirectory() as folder:
        kind = Kind(codec, suffix, pix_fmt, matrix, full, tags, width, height, turn, rate=rate, options=options)
        clip = written(Path(folder), kind)
        assume(suffix != "ts" or not missing_part(clip))  # one in 184 fills its last packet, and so may be cut
        check(clip, kind, matrix)


SHORT = [
    ("rgb555", (5, 5, 5), (10, 5, 0)),
    ("bgr555", (5, 5, 5), (0, 5, 10)),
    ("rgb565", (5, 6, 5), (11, 5, 0)),
    ("bgr565", (5, 6, 5), (0, 5, 11)),
]


def frames_of(kind: Kind, count: int, first: int = 0) -> list[VideoFrame]:
    made = []
    for index in range(first, first + count):
        frame = stored_frame(card(kind.width, kind.height, index), kind.pix_fmt, kind.matrix, kind.full)
        frame.pts, frame.time_base = index, Fraction(1, 25)
        frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range = kind.tags
        made.append(frame)
    return made


def test_a_stream_that_changes_its_colours_keeps_them_in_one_matrix() -> None:
    changing = [
        Kind(matrix=1, tags=said(1)),
        Kind(pix_fmt="yuvj420p", full=True, tags=said(6, True)),
        Kind(pix_fmt="yuv444p10le", matrix=9, tags=said(9)),
        Kind(pix_fmt="rgb24", matrix=None, tags=UNTAGGED),
    ]
    frames = [frame for index, kind in enumerate(changing) for frame in frames_of(kind, 2, 2 * index)]
    made = [to_rgb(picture, 1) for picture in Conversion(160, 96, colours_of(frames[0])).pictures(frames)]
    matches(made, Kind(), PATCHES.astype(float), 8)


@pytest.mark.parametrize("order", ["le", "be"])
@pytest.mark.parametrize(("kind", "bits", "places"), SHORT)
def test_rgb_of_fifteen_or_sixteen_bits_is_wholly_white_and_black(
    kind: str, bits: tuple[int, ...], places: tuple[int, ...], order: str
) -> None:
    """QuickTime's codecs for "thousands of colours" give it, in big endian."""
    chance = np.random.default_rng(1)
    levels = [chance.integers(0, 1 << deep, (6, 10)).repeat(16, 0).repeat(16, 1) for deep in bits]
    for each in levels:
        each[:16, :16], each[:16, 16:32] = 0, each.max()
    stored = sum(each << place for each, place in zip(levels, places, strict=True))
    frame = VideoFrame(160, 96, kind + order)
    frame.planes[0].update(np.asarray(stored, "<u2" if order == "le" else ">u2").tobytes())
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    shown = np.stack([each * 255 / ((1 << deep) - 1) for each, deep in zip(levels, bits, strict=True)], 2)
    (made,) = Conversion(160, 96, colours_of(frame).limited()).pictures([frame])
    centres = np.s_[8::16, 8::16]  # a chroma sample is of four pixels, and some of its neighbours
    assert np.abs(to_rgb(made, 6)[centres] - shown[centres]).max() <= NEAR
    assert np.abs(frame_to_rgb(frame) - shown).max() <= 1


@pytest.mark.parametrize("limited", [True, False])
def test_gray_is_full_unless_it_says_that_it_is_not(tmp_path: Path, limited: bool) -> None:
    levels = np.tile(np.arange(0, 256, dtype=np.uint8).repeat(2)[None], (96, 1))
    stored = np.rint(levels * (219 / 255) + 16).astype(np.uint8) if limited else levels
    kind = Kind("ffv1", "mkv", "gray", None, tags=(2, 2, 2, 1 if limited else 0), width=512)
    clip = write_stored(tmp_path / "in.mkv", kind, [stored_frame(stored, "gray", None, False)] * 2, Fraction(1, 25))
    run = ingest(clip, tmp_path / "run")
    shown = next(read_frames(run.source))
    assert np.abs(shown.astype(int) - levels[..., None]).max() <= NEAR


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_matrix_that_nothing_here_converts_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    clip = write_card_clip(tmp_path / f"in.{suffix}", Kind(suffix=suffix, tags=(8, 1, 1, 1)))
    with pytest.raises(InputError, match=r"YCgCo \(matrix 8\).*export it as H.264 in BT.709"):
        ingest(clip, tmp_path / "run")
    with pytest.raises(InputError, match="YCgCo"):
        next(read_frames(clip))


def test_what_the_container_says_counts_where_the_frames_say_nothing(tmp_path: Path) -> None:
    """A decoder of VP9 says that nothing is said, over what the container told it."""
    kind = Kind("libvpx-vp9", matrix=1, tags=UNTAGGED, options=GOOD)
    clip = write_card_clip(tmp_path / "in.mp4", kind)
    with av.open(str(clip)) as source, av.open(str(tmp_path / "tagged.mkv"), "w") as target:
        stream = target.add_stream(kind.codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = kind.width, kind.height, kind.pix_fmt
        codec = stream.codec_context
        codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range = said(1)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    assert next(decoded(tmp_path / "tagged.mkv")).colorspace == 2
    run = ingest(tmp_path / "tagged.mkv", tmp_path / "run")
    assert {frame.colorspace for frame in decoded(run.source)} == {1}
    matches(read_frames(run.source), kind, PATCHES.astype(float), 5)
    matches(read_frames(tmp_path / "tagged.mkv"), kind, PATCHES.astype(float), 5)


def test_a_clip_written_in_other_colours_says_so_and_keeps_them(tmp_path: Path) -> None:
    picture = card(160, 96, 3)
    for matrix in (1, 6, 9):
        path = tmp_path / f"{matrix}.mp4"
        with VideoWriter(path, Fraction(25), 160, 96, crf=4, colours=Colours(matrix, *said(matrix)[1:3])) as writer:
            writer.write(picture)
        frame = next(decoded(path))
        assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == said(matrix)
        assert clip_colours(path) == Colours(*said(matrix)[:3])
        assert np.abs(read_card(to_rgb(frame, matrix))[1] - PATCHES).max() <= NEAR

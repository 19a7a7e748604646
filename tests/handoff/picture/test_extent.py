"""A picture's size is bounded before memory is taken for it, in a clip as in a file of its own."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.video.frame import VideoFrame

from handoff.errors import InputError
from handoff.ingest import ingest
from handoff.picture.extent import LONGEST_SIDE, MOST_ASPECT, MOST_PIXELS, check_size
from handoff.video import probe, read_frames


def stream(width: int, height: int, frames: int, container: str, codec: str) -> bytes:
    """A clip of black frames, which takes some hundred bytes whatever its size is."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as target:
        video = target.add_stream(codec, rate=25, options={"preset": "ultrafast"} if codec == "libx264" else {})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        black = VideoFrame(width, height, "yuv420p")
        for plane in black.planes:
            plane.update(bytes(plane.buffer_size))
        for index in range(frames):
            black.pts, black.time_base = index, Fraction(1, 25)
            target.mux(video.encode(black))
        target.mux(video.encode(None))
    return file.getvalue()


@pytest.mark.parametrize("size", [(LONGEST_SIDE + 2, 96), (6400, 6400), (64, 64 * MOST_ASPECT + 64)])
def test_a_clip_that_is_larger_than_any_is_refused_before_a_frame_is_decoded(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    path = tmp_path / "clip.mkv"
    path.write_bytes(stream(*size, 2, "matroska", "ffv1"))
    said = f"says that it is {size[0]}x{size[1]} px; pictures of up to 8192 px a side, {MOST_PIXELS} px in all"
    for read in (probe, lambda path: next(read_frames(path)), lambda path: ingest(path, tmp_path / "run")):
        with pytest.raises(InputError, match=said):
            read(path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("before", [5, 400])
def test_a_clip_that_grows_beyond_that_breaks_off_there(tmp_path: Path, before: int) -> None:
    """FFmpeg looks at the beginning of a stream that does not state its size; what comes later it meets in decoding."""
    path = tmp_path / "clip.ts"
    path.write_bytes(stream(640, 480, before, "mpegts", "libx264") + stream(6400, 6400, 2, "mpegts", "libx264"))
    with pytest.raises(InputError, match=r"breaks off or is damaged after frame \d|says that it is 6400x6400 px"):
        probe(path)


def test_the_largest_pictures_are_taken() -> None:
    for size in ((LONGEST_SIDE, 4608), (4608, LONGEST_SIDE), (7680, 4320), (2, 2), (80, 8000)):
        check_size(Path("clip.mp4"), *size)

"""Clips whose frames say their own number, so that their order and count are known, in every container."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from handoff.video import read_frames

WIDTH, HEIGHT = 128, 64
_BITS = 8
_NVOP = b"\0\0\1\xb6\x51\x2b\x7f"  # a picture that is not coded: the one before is shown on
_PACKED = b"\0\0\1\xb2DivX503b1393p"


def numbered(number: int, noise: int = 0) -> NDArray[np.uint8]:
    """Return a picture (64, 128, 3) uint8: eight bits above, below them a texture that moves; noise: levels."""
    picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    for bit in range(_BITS):
        picture[: HEIGHT // 2, bit * 16 : bit * 16 + 16] = 230 if number >> bit & 1 else 25
    texture = np.random.default_rng(3).integers(60, 190, (HEIGHT // 2, WIDTH, 3), np.uint8)
    picture[HEIGHT // 2 :] = np.roll(texture.repeat(4, 1)[:, :WIDTH], 3 * number, 1)
    if noise:
        picture[HEIGHT // 2 :] += np.random.default_rng(number).integers(0, noise, (HEIGHT // 2, WIDTH, 3), np.uint8)
    return picture


def number_of(picture: NDArray[np.uint8]) -> int:
    """Read the number of a picture that `numbered` made."""
    bits = picture[4 : HEIGHT // 2 - 4].reshape(-1, _BITS, 16, 3)[:, :, 4:-4].mean((0, 2, 3)) > 128
    return int((bits << np.arange(_BITS)).sum())


def numbers_in(clip: Path) -> list[int]:
    """Read the numbers of all frames of a clip, in order."""
    return [number_of(picture) for picture in read_frames(clip)]


def write_numbered(
    path: Path,
    pts: Sequence[int],
    *,
    time_base: Fraction = Fraction(1, 24),
    rate: Fraction = Fraction(24),
    codec: str = "libx264",
    encoder: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
    format: str | None = None,
    noise: int = 0,
) -> Path:
    """Encode a numbered frame for each time stamp."""
    usual = {"crf": "18", "preset": "veryfast", "threads": "1"} if codec == "libx264" else {"b": "2M"}
    with av.open(str(path), "w", format=format, options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=usual | (encoder or {}))
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = time_base
        for number, each in enumerate(pts):
            frame = VideoFrame.from_ndarray(numbered(number, noise), format="rgb24")
            frame.pts, frame.time_base = each, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def shift(clip: Path, ticks: int) -> Path:
    """Move all time stamps; those before 0 are hidden by an edit list."""
    moved = clip.with_name(f"moved-{clip.name}")
    with av.open(str(clip)) as container, av.open(str(moved), "w") as target:
        stream = container.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in container.demux(stream):
            if packet.pts is not None and packet.dts is not None:
                packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
                packet.stream = copy
                target.mux(packet)
    return moved


def write_packed(path: Path, frames: int, rate: int = 24) -> Path:
    """Write an AVI as XviD does: a picture and the B-frame shown before it in one packet, then an empty one."""
    packets = list(_mpeg4(frames, rate))
    begin = packets[0][0].find(b"\0\0\1\xb6")
    packets[0] = (packets[0][0][:begin] + _PACKED + packets[0][0][begin:], True)
    is_b = [data[data.find(b"\0\0\1\xb6") + 4] >> 6 == 2 for data, _ in packets]
    chunks: list[tuple[bytes, bool]] = []
    for (data, key), (after, _), packed in zip(packets, [*packets[1:], (b"", False)], [*is_b[1:], False], strict=True):
        if data[data.find(b"\0\0\1\xb6") + 4] >> 6 != 2:
            chunks += [(data + after, key), (_NVOP, False)] if packed else [(data, key)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.codec_tag = WIDTH, HEIGHT, "yuv420p", "XVID"
        for index, (data, key) in enumerate(chunks):
            packet = av.Packet(data)
            packet.pts = packet.dts = index
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, rate), stream, key
            container.mux(packet)
    return path


def _mpeg4(frames: int, rate: int) -> Iterator[tuple[bytes, bool]]:
    codec = av.CodecContext.create("mpeg4", "w")
    codec.width, codec.height, codec.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    codec.time_base, codec.framerate, codec.options = (
        Fraction(1, rate),
        Fraction(rate),
        {"bf": "1", "g": "12", "b": "2M"},
    )
    pictures: list[VideoFrame | None] = [VideoFrame.from_ndarray(numbered(i), format="rgb24") for i in range(frames)]
    for index, picture in enumerate([*pictures, None]):
        if picture is not None:
            picture.pts, picture.time_base = index, Fraction(1, rate)
        for packet in codec.encode(picture):
            yield bytes(packet), packet.is_keyframe

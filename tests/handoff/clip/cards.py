"""A test card whose colours, number and orientation are known, and clips of it that nothing of the product has made.

The card's colours become planes by the formulae of ITU-R BT.601, BT.709 and BT.2020, in numpy, and planes become
colours again by them: swscale converts nothing here. Read `Kind`, `write_card_clip` and `read_card`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Levels = NDArray[np.float64]
PATCHES = np.array(
    [
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (255, 255, 0),
        (0, 255, 255),
        (255, 0, 255),
        (128, 128, 128),
        (255, 255, 255),
        (0, 0, 0),
        (200, 140, 110),
    ]
)
RED, BLUE = (220, 40, 40), (40, 60, 220)  # left and right at the top
BITS = 4  # of the frame's number
ONE = 1 << 16
DISPLAYS = {
    f"{'-' if first < 0 else '+'}{'-' if second < 0 else '+'}{'yx' if turned else 'xy'}": (
        (0, second * ONE, 0, first * ONE, 0, 0, 0, 0, 1 << 30)
        if turned
        else (first * ONE, 0, 0, 0, second * ONE, 0, 0, 0, 1 << 30)
    )
    for turned in (False, True)
    for first in (1, -1)
    for second in (1, -1)
}
"""The eight orientations as display matrices; "-+yx" has x' = -y and y' = x."""
WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""What red and blue are of the luma, by the matrix's number in H.273."""


@dataclass(frozen=True)
class Kind:
    """How a clip of the card is stored. tags: matrix, primaries, transfer and range as the file says them.

    matrix: how its planes were made; None for RGB. display: the nine numbers of a display matrix.
    """

    codec: str = "libx264"
    suffix: str = "mp4"
    pix_fmt: str = "yuv420p"
    matrix: int | None = 6
    full: bool = False
    tags: tuple[int, int, int, int] = (2, 2, 2, 0)
    width: int = 160
    height: int = 96
    display: tuple[int, ...] | None = None
    pixel_aspect: Fraction = Fraction(1)
    rate: Fraction = Fraction(25)
    pts: tuple[int, ...] | None = None  # in 1/1000 s
    field_order: int = 0  # as FFmpeg numbers what the container says
    options: dict[str, str] = field(default_factory=dict)


def card(width: int, height: int, number: int) -> Picture:
    """Return the card, (height, width, 3) uint8 RGB: the number in binary, ten patches, a red and a blue corner."""
    picture = np.full((height, width, 3), 90, np.uint8)
    column, row = width / 10, height // 6
    picture[:row, : round(3 * column)] = RED
    picture[:row, round(7 * column) :] = BLUE
    for bit in range(BITS):
        left, right = round(2 * bit * column), round((2 * bit + 2) * column)
        picture[row : 3 * row, left:right] = 235 if number >> bit & 1 else 20
    for index, patch in enumerate(PATCHES):
        picture[3 * row : 5 * row, round(index * column) : round((index + 1) * column)] = patch
    return picture


def read_card(picture: NDArray[np.generic]) -> tuple[int, Levels, Levels]:
    """Return a card's number, the mean colours (10, 3) of its patches and those (2, 3) of its corners."""
    height, width = picture.shape[:2]
    column, row = width / 10, height // 6

    def mean(top: float, left: float, wide: float = 1.0, high: float = 1.0) -> Levels:
        part = picture[
            round((top + 0.3 * high) * row) : round((top + 0.7 * high) * row),
            round((left + 0.35 * wide) * column) : round((left + 0.65 * wide) * column),
        ]
        return part.reshape(-1, 3).astype(float).mean(0)

    bits = [mean(1, 2 * bit, 2, 2).mean() > 128 for bit in range(BITS)]
    colours = np.array([mean(3, index, 1, 2) for index in range(10)])
    return sum(1 << bit for bit, is_set in enumerate(bits) if is_set), colours, np.array([mean(0, 0, 3), mean(0, 7, 3)])


def shown_by(picture: NDArray[np.generic], display: tuple[int, ...]) -> NDArray[np.generic]:
    """Return the picture as a display matrix shows it: x' = a x + c y, y' = b x + d y (ISO 14496-12, 8.3.2).

    display: a, b, u, c, d, v and three more; of an orientation whose a to d are 0 or the same number up to its sign.
    """
    x, y = _places(picture.shape[0], picture.shape[1], display)
    shown = np.empty((y.max() + 1, x.max() + 1, *picture.shape[2:]), picture.dtype)
    shown[y, x] = picture
    return shown


def stored_by(shown: NDArray[np.generic], display: tuple[int, ...]) -> NDArray[np.generic]:
    """Return the stored picture of a shown one, the inverse of `shown_by`."""
    turned = display[0] == 0
    height, width = shown.shape[1::-1] if turned else shown.shape[:2]
    x, y = _places(height, width, display)
    return shown[y, x]


def _places(height: int, width: int, display: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    a, b, _, c, d, *_ = np.sign(display)
    down, across = np.indices((height, width))
    x, y = a * across + c * down, b * across + d * down
    return x - x.min(), y - y.min()


def write_card_clip(path: Path, kind: Kind, frames: int = 5) -> Path:
    """Write a clip of the cards 0 to frames - 1 as `kind` says."""
    time_base = 1 / kind.rate if kind.pts is None else Fraction(1, 1000)
    pictures = (card(kind.width, kind.height, number) for number in range(frames))
    stored = (stored_frame(picture, kind.pix_fmt, kind.matrix, kind.full) for picture in pictures)
    return write_stored(path, kind, stored, time_base)


def write_stored(path: Path, kind: Kind, frames: Iterable[VideoFrame], time_base: Fraction) -> Path:
    """Encode frames that are already in the kind's pixel format."""
    usual = {"libx264": {"crf": "4", "preset": "ultrafast"}, "libx265": {"crf": "4", "x265-params": "log-level=none"}}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(kind.codec, rate=kind.rate, options=usual.get(kind.codec, {}) | kind.options)
        stream.width, stream.height, stream.pix_fmt = kind.width, kind.height, kind.pix_fmt
        codec = stream.codec_context
        codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range = kind.tags
        codec.time_base, codec.thread_count, codec.field_order = time_base, 1, kind.field_order
        codec.sample_aspect_ratio = kind.pixel_aspect
        if kind.display:
            stream.set_display_matrix(kind.display)
        for index, frame in enumerate(frames):
            frame.pts, frame.time_base = index if kind.pts is None else kind.pts[index], time_base
            frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range = kind.tags
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def stored_frame(picture: Picture, pix_fmt: str, matrix: int | None, full: bool) -> VideoFrame:
    """Make a frame of RGB in a pixel format: packed RGB, or planes of luma and chroma."""
    if matrix is None:
        return VideoFrame.from_ndarray(picture, format=pix_fmt)
    height, width = picture.shape[:2]
    frame = VideoFrame(width, height, pix_fmt)
    deep = frame.format.components[0].bits
    scale = 1 << (deep - 8)
    luma, *chroma = to_planes(picture, matrix)
    planes = [luma * (255 * scale if full else 219 * scale) + (0 if full else 16 * scale)]
    planes += [each * ((256 * scale - 1) if full else 224 * scale) + 128 * scale for each in chroma]
    planes += [np.full(luma.shape, 256 * scale - 1)] if len(frame.planes) == 4 else []  # opaque
    for plane, levels in zip(frame.planes, planes, strict=True):
        down, across = -(-height // plane.height), -(-width // plane.width)
        whole = np.pad(levels, ((0, -height % down), (0, -width % across)), mode="edge")
        small = whole.reshape(plane.height, down, plane.width, across).mean((1, 3))
        kind = np.dtype("<u2") if deep > 8 else np.dtype(np.uint8)
        rows = np.zeros((plane.height, plane.line_size // kind.itemsize), kind)
        rows[:, : plane.width] = np.clip(np.rint(small), 0, 256 * scale - 1)
        plane.update(rows.tobytes())
    return frame


def to_planes(picture: Picture, matrix: int) -> tuple[Levels, Levels, Levels]:
    """Return luma 0..1 and both chroma -0.5..0.5 of RGB (H, W, 3) uint8."""
    red_part, blue_part = WEIGHTS[matrix]
    red, green, blue = np.moveaxis(picture / 255.0, 2, 0)
    luma = red_part * red + (1 - red_part - blue_part) * green + blue_part * blue
    return luma, (blue - luma) / (2 - 2 * blue_part), (red - luma) / (2 - 2 * red_part)


def to_rgb(frame: VideoFrame, matrix: int | None, full: bool = False) -> Levels:
    """Return the RGB levels 0..255, (H, W, 3) float, of a frame of planes, or of RGB (matrix None)."""
    if matrix is None:
        return frame.to_ndarray(format="rgb24").astype(float)
    deep = frame.format.components[0].bits
    kind, scale, planes = np.dtype("<u2") if deep > 8 else np.dtype(np.uint8), 1 << (deep - 8), []
    for plane in frame.planes:
        rows = np.frombuffer(memoryview(plane), kind).reshape(-1, plane.line_size // kind.itemsize)
        down, across = -(-frame.height // plane.height), -(-frame.width // plane.width)
        large = rows[:, : plane.width].astype(float).repeat(down, 0).repeat(across, 1)
        planes.append(large[: frame.height, : frame.width])
    whole = 256 * scale - 1
    luma = planes[0] / whole if full else (planes[0] - 16 * scale) / (219 * scale)
    blue_chroma, red_chroma = ((plane - 128 * scale) / (whole if full else 224 * scale) for plane in planes[1:3])
    red_part, blue_part = WEIGHTS[matrix]
    red, blue = luma + red_chroma * (2 - 2 * red_part), luma + blue_chroma * (2 - 2 * blue_part)
    green = (luma - red_part * red - blue_part * blue) / (1 - red_part - blue_part)
    return np.clip(np.stack([red, green, blue], 2) * 255, 0, 255)


def decoded(path: Path) -> Iterator[VideoFrame]:
    """Yield the frames of a file as FFmpeg decodes them."""
    with av.open(str(path)) as container:
        yield from container.decode(video=0)


def woven(frames: Iterable[VideoFrame], top_first: bool) -> Iterator[VideoFrame]:
    """Yield interlaced frames: of each two frames of planes, every other line of each plane."""
    frames = iter(frames)
    for first, second in zip(frames, frames, strict=True):
        for plane, later in zip(first.planes, second.planes, strict=True):
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size).copy()
            others = np.frombuffer(memoryview(later), np.uint8).reshape(plane.height, plane.line_size)
            rows[1 if top_first else 0 :: 2] = others[1 if top_first else 0 :: 2]
            plane.update(rows.tobytes())
        yield first


def flagged(frames: Iterable[VideoFrame], mode: str) -> Iterator[VideoFrame]:
    """Say of each frame that it is "tff", "bff" or "prog", as a camera's encoder is told."""
    graph = None
    for frame in frames:
        if graph is None:
            graph = Graph()
            source = graph.add_buffer(None, frame.width, frame.height, frame.format, time_base=Fraction(1, 25))
            graph.link_nodes(source, graph.add("setfield", f"mode={mode}"), graph.add("buffersink")).configure()
        graph.push(frame)
        yield graph.vpull()

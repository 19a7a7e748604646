"""In which colours a video is coded: the matrix, the range, primaries and transfer, by the numbers of ITU-T H.273.

One convention for what a video does not say (`usual_colours`), one reading of a frame's tags (`colours_of`), and the
names that swscale has for them. Every conversion names both of its ends: an end that is not named is BT.601 to swscale,
whatever the frame's tags say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from av.video.stream import VideoStream
from numpy.typing import NDArray

from handoff.errors import InputError

# bit-exact on every CPU, and good chroma: the composite lives on these pixels
SCALER = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT
BT709, UNSAID, BT601, BT2020 = 1, 2, 6, 9
PQ, HLG = 16, 18
_HIGH_DEFINITION = 720  # lines

_SWSCALE = {
    1: ("bt709", Colorspace.ITU709),
    4: ("fcc", Colorspace.FCC),
    5: ("bt470bg", Colorspace.ITU601),
    6: ("smpte170m", Colorspace.ITU601),
    7: ("smpte240m", Colorspace.SMPTE240M),
    9: ("bt2020nc", Colorspace.BT2020),
}
"""The matrices that can be converted: swscale's name in a filter, and PyAV's in `reformat`."""
_UNKNOWN_TO_SWSCALE = {
    8: "YCgCo",
    10: "BT.2020 with constant luminance",
    11: "SMPTE 2085",
    12: "a matrix of its own primaries",
    13: "a matrix of its own primaries with constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
_USUAL_TRANSFER = {BT2020: 14}  # in the other standards the curve has the matrix's number


@dataclass(frozen=True)
class Colours:
    """matrix, primaries, transfer: numbers of H.273. full_range: 0..255 means black to white, not 16..235."""

    matrix: int
    primaries: int
    transfer: int
    full_range: bool = False

    @property
    def matrix_name(self) -> str:
        """The matrix by the name that FFmpeg's filters have for it."""
        return _SWSCALE[self.matrix][0]

    @property
    def range_name(self) -> str:
        """The range by the name that FFmpeg's filters have for it."""
        return "pc" if self.full_range else "tv"

    @property
    def colorspace(self) -> Colorspace:
        """The matrix as PyAV's `reformat` takes it."""
        return _SWSCALE[self.matrix][1]

    @property
    def color_range(self) -> ColorRange:
        """The range as PyAV's `reformat` takes it."""
        return ColorRange.JPEG if self.full_range else ColorRange.MPEG

    def limited(self) -> Colours:
        """The same colours as H.264 is usually written: 16..235."""
        return replace(self, full_range=False)


def usual_colours(height: int) -> Colours:
    """Return what players take a video of `height` px for that says nothing: BT.709 from 720 lines on, else BT.601."""
    tag = BT709 if height >= _HIGH_DEFINITION else BT601
    return Colours(tag, tag, tag)


def colours_of(frame: VideoFrame) -> Colours:
    """Return the colours of a frame as it is stored, by its tags and, where they say nothing, by the convention.

    The matrix of RGB, which has none, is the one to convert it to. Raises InputError for a matrix that FFmpeg's scaler
    does not know.
    """
    rgb, said = _is_rgb(frame.format), frame.colorspace
    if said in _UNKNOWN_TO_SWSCALE and not rgb:
        raise InputError(
            f"the video's colours are {_UNKNOWN_TO_SWSCALE[said]} (matrix {said}), which cannot be converted here; "
            "export it as H.264 in BT.709."
        )
    usual = usual_colours(frame.height)
    # a picture of luma and chroma that says it is RGB (0) says nothing
    matrix = said if said in _SWSCALE and not rgb else usual.matrix
    return Colours(
        matrix,
        frame.color_primaries if _is_said(frame.color_primaries) else usual_for(matrix).primaries,
        frame.color_trc if _is_said(frame.color_trc) else usual_for(matrix).transfer,
        rgb or _is_full(frame),
    )


def in_full_range(frame: VideoFrame, form: str) -> NDArray[np.uint8]:
    """Return a decoded frame as an array of the packed 8-bit format `form`, such as "rgb24": (H, W, C) uint8, 0..255.

    It is converted in its own colours (`colours_of`), and not turned.
    """
    found = colours_of(frame)
    for plainer in plainer_formats(frame.format):
        frame = frame.reformat(format=plainer)
    picture = frame.reformat(
        format=form,
        src_colorspace=found.colorspace,
        src_color_range=found.color_range,
        dst_colorspace=found.colorspace,
        dst_color_range=ColorRange.JPEG,
        interpolation=SCALER,
        threads=1,
    )
    return picture.to_ndarray().astype(np.uint8, copy=False)


def has_false_matrix(frame: VideoFrame) -> bool:
    """Say whether luma and chroma are tagged as RGB, or with a reserved number: players differ in reading that."""
    return not _is_rgb(frame.format) and frame.colorspace not in _SWSCALE and frame.colorspace != UNSAID


def usual_for(matrix: int) -> Colours:
    """Return the primaries and the transfer that usually go with a matrix."""
    return Colours(matrix, matrix, _USUAL_TRANSFER.get(matrix, matrix))


def _is_said(tag: int) -> bool:
    return tag not in (0, UNSAID, 3)  # 0 and 3 are reserved


def is_gray(kind: VideoFormat) -> bool:
    """Say whether a format has no colours: gray, gray with alpha, one bit."""
    return len(kind.components) < 3 and not _is_rgb(kind)


def _is_rgb(kind: VideoFormat) -> bool:
    return kind.is_rgb or kind.has_palette


def plainer_formats(kind: VideoFormat) -> list[str]:
    """Return the formats that RGB of 15 or 16 bits is to go through: else swscale's white is 248, or big endian noise.

    Empty for all other formats.
    """
    short = kind.is_rgb and kind.bits_per_pixel in (15, 16)
    return [kind.name.replace("be", "le"), "rgb24"] if short else []


def _is_full(frame: VideoFrame) -> bool:
    """Say whether the levels are full: by the tag, else by the format (yuvj420p, and gray, as FFmpeg takes it)."""
    if frame.format.name.startswith("yuvj"):
        return True
    if frame.color_range == ColorRange.UNSPECIFIED:
        return is_gray(frame.format)
    return bool(frame.color_range == ColorRange.JPEG)


def stream_tags(stream: VideoStream) -> tuple[int, int, int, int]:
    """Return what the container says: matrix, range, primaries, transfer. Ask before the first frame is decoded.

    Some decoders (VP9, AV1) then overwrite it with what the frames say, also where these say nothing.
    """
    codec = stream.codec_context
    return codec.colorspace, codec.color_range, codec.color_primaries, codec.color_trc


def complete_tags(frame: VideoFrame, told: tuple[int, int, int, int]) -> None:
    """Tag the frame with what the container says (`stream_tags`) where the frame itself says nothing."""
    matrix, levels, primaries, transfer = told
    if frame.colorspace == UNSAID:
        frame.colorspace = matrix
    if frame.color_range == ColorRange.UNSPECIFIED:
        frame.color_range = levels
    if frame.color_primaries == UNSAID:
        frame.color_primaries = primaries
    if frame.color_trc == UNSAID:
        frame.color_trc = transfer

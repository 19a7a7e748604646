"""How the pictures that a clip stores become those that its user sees: deinterlaced, turned, of square pixels, 8 bits.

`Conversion` is what one look at the clip found of that; its `pictures` makes the pictures of source.mp4 of decoded
frames. Each swscale conversion in it names both matrices and both ranges, and the colours stay what they were: the
matrix is the frames' own, only a full range becomes the usual one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import groupby

from av.video.format import VideoFormat
from av.video.frame import VideoFrame

from handoff.clip.colours import Colours, colours_of, is_gray, plainer_formats
from handoff.clip.filters import Step, filtered
from handoff.clip.orientation import Orientation

_FLAGS = "flags=bicubic+full_chroma_inp+full_chroma_int+accurate_rnd+bitexact"


@dataclass(frozen=True)
class Conversion:
    """width, height: of the stored picture, in px. colours: what its pictures become.

    fields: "" for a progressive clip, "flagged" where interlaced frames say so themselves, "tff" or "bff" where only
    the container says that all are, top or bottom field first.
    """

    width: int
    height: int
    colours: Colours
    orientation: Orientation = field(default_factory=Orientation)
    pixel_aspect: Fraction = Fraction(1)
    fields: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in px as shown: turned, square pixels, even (an odd last row or column is cut off)."""
        width, height = self.orientation.size(*self._squared())
        return width // 2 * 2, height // 2 * 2

    def pictures(self, frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
        """Yield the picture of each decoded frame, yuv420p in `colours`, of `size`; two or so are in memory."""
        # one graph for the whole clip, and a new one where the stream changes its mind about its colours
        for (kind, found), alike in groupby(frames, lambda frame: (frame.format.name, colours_of(frame))):
            yield from filtered(alike, found, self._steps(VideoFormat(kind), found))

    def _squared(self) -> tuple[int, int]:
        if self.pixel_aspect > 1:
            return round(self.width * self.pixel_aspect), self.height
        return self.width, round(self.height / self.pixel_aspect)

    def _steps(self, kind: VideoFormat, found: Colours) -> list[Step]:
        """Return the filters that make the stored picture, of a format and in the colours `found`, the shown one."""
        width, height = self.size
        odd = bool(self.width % 2 or self.height % 2)
        steps = []
        if self.fields:
            steps += [] if self.fields == "flagged" else [("setfield", f"mode={self.fields}")]
            # bwdif takes planar formats only
            steps += [_scale(found, found), ("bwdif", "mode=send_frame:parity=auto:deint=interlaced")]
        # an odd size is cut in 4:4:4, where a chroma sample belongs to one pixel
        if is_gray(kind):  # swscale takes gray for full range whatever it is told, so its levels pass as they are
            full = replace(found, full_range=True)
            deep = "yuv444p" if kind.components[0].bits <= 8 else "yuv444p16le"
            steps += [_scale(full, full), ("format", deep), ("setrange", found.range_name)]
            kind = VideoFormat(deep)
        for plainer in plainer_formats(kind):
            steps += [_scale(found, found), ("format", plainer)]
        if found.full_range and not kind.is_rgb and not kind.has_palette:
            # yuvj420p is yuv420p that cannot be of another range; lutyuv takes an alpha of 8 or 16 bits only
            plain = [("format", f"yuv{kind.name[4:]}")] if kind.name.startswith(("yuvj", "yuva")) else []
            steps += [_scale(found, found), *plain, _limiting(kind.components[0].bits), ("setrange", "limited")]
            found = found.limited()
        steps += [_scale(found, self.colours), ("format", "yuv444p" if odd else "yuv420p"), *self.orientation.filters()]
        if self.pixel_aspect != 1:
            steps += [_scale(self.colours, self.colours, self.orientation.size(*self._squared())), ("setsar", "1")]
        steps.append(("crop", f"{width}:{height}:0:0:exact=1"))
        steps += [_scale(self.colours, self.colours), ("format", "yuv420p")] if odd else []
        return [*steps, ("sidedata", "mode=delete:type=DISPLAYMATRIX")]


def _scale(found: Colours, wanted: Colours, size: tuple[int, int] | None = None) -> Step:
    """Return swscale's step from the colours `found` to those `wanted`, and to a size in px."""
    return (
        "scale",
        ("" if size is None else f"{size[0]}:{size[1]}:")
        + f"in_color_matrix={found.matrix_name}:out_color_matrix={wanted.matrix_name}:"
        f"in_range={found.range_name}:out_range={wanted.range_name}:{_FLAGS}",
    )


def _limiting(bits: int) -> Step:
    """Make full range the usual one, rounded: swscale adds up to 0.9 to chroma of 8 bits, 3 levels of green."""
    one, most = 1 << (bits - 8), (1 << bits) - 1
    chroma = f"(val-{128 * one})*{224 * one}/{most}+{128 * one}.5"
    return "lutyuv", f"y=val*{219 * one}/{most}+{16 * one}.5:u={chroma}:v={chroma}"

"""How the pictures that a clip stores become those that its user sees: deinterlaced, turned, of square pixels, 8 bits.

`Conversion` is what one look at the clip found of that; its `pictures` makes the pictures of source.mp4 of decoded
frames. Each swscale conversion in it names both matrices and both ranges, and the colours stay what they were: the
matrix is the frames' own, only a full range becomes the usual one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, groupby

import av
from av.filter import Graph
from av.video.frame import VideoFrame

from handoff.clip.colours import UNSAID, Colours, colours_of
from handoff.clip.orientation import Orientation

_FLAGS = "flags=bicubic+full_chroma_inp+full_chroma_int+accurate_rnd+bitexact"
_Step = tuple[str, str]


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
        for (_, found), alike in groupby(frames, lambda frame: (frame.format.name, colours_of(frame))):
            yield from _filtered(alike, found, self._steps(found))

    def _squared(self) -> tuple[int, int]:
        if self.pixel_aspect > 1:
            return round(self.width * self.pixel_aspect), self.height
        return self.width, round(self.height / self.pixel_aspect)

    def _steps(self, found: Colours) -> list[_Step]:
        """Return the filters that make the stored picture, in the colours `found`, the shown one."""
        width, height = self.size
        odd = bool(self.width % 2 or self.height % 2)
        steps = []
        if self.fields:
            steps += [] if self.fields == "flagged" else [("setfield", self.fields)]
            # bwdif takes planar formats only
            steps += [_scale(found, found), ("bwdif", "mode=send_frame:parity=auto:deint=interlaced")]
        # an odd size is cut in 4:4:4, where a chroma sample belongs to one pixel
        steps += [_scale(found, self.colours), ("format", "yuv444p" if odd else "yuv420p"), *self.orientation.filters()]
        if self.pixel_aspect != 1:
            steps += [_scale(self.colours, self.colours, self.orientation.size(*self._squared())), ("setsar", "1")]
        steps.append(("crop", f"{width}:{height}:0:0:exact=1"))
        steps += [_scale(self.colours, self.colours), ("format", "yuv420p")] if odd else []
        return [*steps, ("sidedata", "mode=delete:type=DISPLAYMATRIX")]


def _scale(found: Colours, wanted: Colours, size: tuple[int, int] | None = None) -> _Step:
    """Return swscale's step from the colours `found` to those `wanted`, and to a size in px."""
    return (
        "scale",
        ("" if size is None else f"{size[0]}:{size[1]}:")
        + f"in_color_matrix={found.matrix_name}:out_color_matrix={wanted.matrix_name}:"
        f"in_range={found.range_name}:out_range={wanted.range_name}:{_FLAGS}",
    )


def _filtered(frames: Iterator[VideoFrame], found: Colours, steps: list[_Step]) -> Iterator[VideoFrame]:
    """Send frames of one format and of the colours `found` through the filters `steps`."""
    for first in frames:
        kind, matrix = first.format, "gbr" if first.format.is_rgb else found.matrix_name
        source = (
            f"video_size={first.width}x{first.height}:pix_fmt={kind.name}:time_base={first.time_base}:"
            f"pixel_aspect=1/1:colorspace={matrix}:range={found.range_name}"
        )
        graph = Graph()
        filters = [("buffer", source), *steps, ("buffersink", "")]
        nodes = [graph.add(name, arguments) if arguments else graph.add(name) for name, arguments in filters]
        graph.link_nodes(*nodes).configure()
        for frame in chain([first], frames):
            # the filters are told what was found, also where the frame says nothing or what cannot be
            frame.colorspace, frame.color_range = 0 if kind.is_rgb else found.matrix, found.color_range
            frame.color_primaries = frame.color_trc = UNSAID  # nothing converts by them
            graph.push(frame)
            yield from _drain(graph)
        graph.push(None)
        yield from _drain(graph)


def _drain(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            picture = graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return
        yield picture

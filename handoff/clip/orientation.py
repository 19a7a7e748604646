"""Which way up a stored picture is shown: the display matrix of a frame, as FFmpeg's own autorotate reads it.

A phone records as it is held, and says in the matrix how to turn the picture; a front camera may say that it is
mirrored. There are eight such orientations. Any other angle FFmpeg turns too, within the picture's size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer, Type
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from handoff.errors import InputError

_NEWER = 16
_EXACT_DEG = 1.0  # FFmpeg: nearer than this to a quarter turn is one


@dataclass(frozen=True)
class Orientation:
    """How to make the shown picture of the stored one, in this order.

    transposed: rows become columns. mirrored: left and right change sides. upended: top and bottom do. angle: degrees
    clockwise that the picture is turned by, where it is not a quarter turn; the corners are cut off.
    """

    transposed: bool = False
    mirrored: bool = False
    upended: bool = False
    angle: float = 0.0

    @property
    def rotation(self) -> int:
        """Degrees counter-clockwise to turn the stored picture by, 0, 90, 180 or 270, before it is flipped."""
        if self.transposed:
            return 90 if self.upended else 270
        return 180 if self.upended else 0

    @property
    def flipped(self) -> bool:
        """Whether left and right change sides after the turn: the picture was stored as in a mirror."""
        return (self.mirrored != self.upended) != self.transposed

    def filters(self) -> list[tuple[str, str]]:
        """Return FFmpeg's filters (name, arguments) that do it."""
        chain = [("transpose", "cclock_flip")] if self.transposed else []
        chain += [("hflip", "")] if self.mirrored else []
        chain += [("vflip", "")] if self.upended else []
        return [*chain, ("rotate", f"{self.angle}*PI/180")] if self.angle else chain

    def turn(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a stored picture (H, W) or (H, W, 3) as it is shown. Raises InputError for an odd angle."""
        if self.angle:
            raise InputError(f"the clip is to be shown turned by {self.angle:g} degrees; export it again upright.")
        turned = picture.swapaxes(0, 1) if self.transposed else picture
        turned = turned[:, ::-1] if self.mirrored else turned
        return np.ascontiguousarray(turned[::-1] if self.upended else turned)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height in px as shown of a picture that is stored as width x height."""
        return (height, width) if self.transposed else (width, height)

    def __str__(self) -> str:
        if self.angle:
            return f"turned by {self.angle:g} degrees"
        turned = f"rotation of {self.rotation} degrees"
        return f"{turned}, mirrored" if self.flipped else turned


def orientation_of(frame: VideoFrame) -> Orientation:
    """Return the orientation that a decoded frame's display matrix asks for; the stored one where it has none."""
    return stated_orientation(frame) or Orientation()


def stated_orientation(frame: VideoFrame) -> Orientation | None:
    """Return what a decoded frame's display matrix asks for; without one, None: what was said before holds."""
    try:
        data = _matrix(frame)
    except ValueError:  # side data that PyAV does not know (EXIF, the view of a second eye) hides all the rest
        data = _matrix(_with_known_data(frame))
    return None if data is None else read_matrix(np.frombuffer(data, np.int32).tolist())


def read_matrix(matrix: list[int]) -> Orientation:
    """Return the orientation of a display matrix: nine numbers by rows, of which the first two columns count."""
    across, down = math.hypot(matrix[0], matrix[3]), math.hypot(matrix[1], matrix[4])
    if not across or not down:
        return Orientation()
    angle = round(math.degrees(math.atan2(matrix[1] / down, matrix[0] / across))) % 360
    if abs(angle - 90) < _EXACT_DEG:
        return Orientation(transposed=True, mirrored=matrix[3] <= 0)
    if abs(angle - 180) < _EXACT_DEG:
        return Orientation(mirrored=matrix[0] < 0, upended=matrix[4] < 0)
    if abs(angle - 270) < _EXACT_DEG:
        return Orientation(transposed=True, mirrored=matrix[3] < 0, upended=True)
    if abs(angle) > _EXACT_DEG:
        return Orientation(angle=angle)
    return Orientation(upended=matrix[4] < 0)


def _matrix(frame: VideoFrame) -> bytes | None:
    # not frame.side_data: it and the frame hold each other, and hundreds of pictures would stay in memory
    data = SideDataContainer(frame).get("DISPLAYMATRIX")  # type: ignore[call-arg]
    return None if data is None else bytes(data)


def _with_known_data(frame: VideoFrame) -> VideoFrame:
    graph, newest = Graph(), max(int(kind.value) for kind in Type)  # type: ignore[call-overload]
    nodes = [graph.add_buffer(None, frame.width, frame.height, frame.format, time_base=Fraction(1))]
    nodes += [graph.add("sidedata", f"mode=delete:type={kind}") for kind in range(newest + 1, newest + _NEWER)]
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    graph.push(frame)
    return graph.vpull()

"""Whether a clip or a mask video that somebody else made is like a source.mp4, frame for frame and pixel for pixel.

Its frames are held against the source's by their numbers, and its pixels by their places. So what source.mp4 has by
making (square pixels, a constant rate, pictures that are stored as they are shown) these must have as they come: other
ones would be judged against the wrong place or the wrong moment. Pictures of a clip are turned as they are read.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from handoff.clip.orientation import Orientation, orientation_of
from handoff.errors import InputError
from handoff.video import decode, open_video

_STORED = Orientation()


def check_like_source(path: Path, *, mask: bool = False) -> None:
    """Raise InputError for a video with other than square pixels or of a variable rate; for a mask that is turned too.

    A folder is no video, and passes. The packets are looked at, and of a mask the first picture.
    """
    if path.is_dir():
        return
    with open_video(path) as (container, stream):
        aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        if aspect != 1:
            raise InputError(
                f"{path} has pixels of {aspect.numerator}:{aspect.denominator}, the clip's are square; export it again "
                "with square pixels, in the clip's size."
            )
        packets = (packet for packet in container.demux(stream) if packet.size and not packet.is_discard)
        late = _uneven([packet.pts for packet in packets])
        if late is not None:
            raise InputError(
                f"{path} has a variable frame rate: frame {late} lies more than half a frame from its place at a "
                "constant one; export it again at a constant rate, frame for frame."
            )
    if not mask:
        return
    with open_video(path) as (container, stream):
        first = next(decode(path, container, stream), None)
        if first is not None and orientation_of(first) != _STORED:
            raise InputError(
                f"{path} is stored otherwise than it is shown ({orientation_of(first)}); export it upright."
            )


def _uneven(stamps: list[int | None]) -> int | None:
    """Return the first frame that is nearer to another frame's place than to its own; None where all are at theirs."""
    ticks = sorted(pts for pts in stamps if pts is not None)
    if len(ticks) != len(stamps) or len(ticks) < 3:
        return None
    step = Fraction(ticks[-1] - ticks[0], len(ticks) - 1)
    places = enumerate(ticks)
    return next(
        (index for index, pts in places if 2 * abs(pts - ticks[0] - index * step) > max(step, Fraction(2))), None
    )

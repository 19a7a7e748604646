"""Where a reader may begin to decode a clip, so that a frame is reached without decoding all that is before it.

A time stamp alone does not say so: a key frame's packet has a time of decoding before its time of showing, leading
frames of an open group come after it, an edit list hides some. So all packets are looked at once, and none is decoded.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

APART = 12
"""Frames between two entries, at least."""


@dataclass(frozen=True)
class Entries:
    """A clip's frames by time stamp, and where decoding may begin.

    shown: the time stamps of all frames that are shown, rising. numbers: the frames at which decoding may begin,
    rising; no frame from there on needs an earlier one. sought: for each of them the time stamp to seek, its packet's
    time of decoding. All three are empty for a clip that has to be read from its start.
    """

    shown: tuple[int, ...] = ()
    numbers: tuple[int, ...] = ()
    sought: tuple[int, ...] = ()

    def before(self, frame: int) -> int | None:
        """Return the last entry at or before `frame`, by its place in `numbers`; None where there is none."""
        place = bisect_right(self.numbers, frame) - 1
        return None if place < 0 or frame >= len(self.shown) else place

    def number(self, pts: int | None) -> int | None:
        """Return the frame that has this time stamp; None where no frame has."""
        place = bisect_left(self.shown, pts) if pts is not None else len(self.shown)
        return place if place < len(self.shown) and self.shown[place] == pts else None


def find_entries(container: InputContainer, stream: VideoStream) -> Entries:
    """Look at all packets of a clip that was just opened, and return where decoding may begin.

    Only in H.264 in MP4 or MOV, which is what the project writes: other kinds say of key frames what is not true.
    """
    if "mp4" not in container.format.name or stream.codec_context.name != "h264":
        return Entries()
    return _entries(packet for packet in container.demux(stream) if packet.size)


def _entries(packets: Iterable[Packet[VideoStream]]) -> Entries:
    shown: list[int] = []
    keys: list[tuple[int, int]] = []  # shown, decoded
    latest = None
    for packet in packets:
        if packet.pts is None or packet.dts is None:
            return Entries()
        if packet.is_discard:
            continue
        if latest is None or packet.pts > latest:
            latest = packet.pts
            if packet.is_keyframe:
                keys.append((packet.pts, packet.dts))
        shown.append(packet.pts)
    shown.sort()
    if any(after <= before for before, after in pairwise(shown)):
        return Entries()
    numbers: list[int] = []
    sought: list[int] = []
    for pts, dts in keys:
        number = bisect_left(shown, pts)
        if number >= (numbers[-1] if numbers else 0) + APART:
            numbers.append(number)
            sought.append(dts)
    return Entries(tuple(shown), tuple(numbers), tuple(sought))

"""Whether a clip is interlaced, and which of a frame's two fields was filmed first.

The frames say it in most codecs. In others only the container does. And where a codec's frames say that they are
whole and the container that they are not, either may be wrong: an encoder that was not told, or a parser that took a
camera's picture order for fields. Then the pictures decide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby, islice

from av.video.frame import VideoFrame

from handoff.clip.colours import colours_of
from handoff.clip.filters import filtered
from handoff.errors import InputError

_SHOWN_FIRST = {2: "tff", 3: "bff", 4: "bff", 5: "tff"}
"""FFmpeg's number of a container's field order, and which field is shown first: the top one or the bottom one."""
_SAY_IT_THEMSELVES = {"h264", "hevc", "mpeg2video", "mpeg4", "vc1", "dvvideo", "prores"}
"""The codecs whose frames say whether they are interlaced."""
_ENOUGH = 200
"""Frames to look at, at most."""


def fields_of(codec: str, stated: int, interlaced: int, frames: Iterable[VideoFrame]) -> str:
    """Return how a clip is interlaced: "" not at all, "flagged" by frames that say it, "tff" or "bff" all of it.

    stated: the container's field order, as FFmpeg numbers it. interlaced: how many frames say that they are. frames:
    the clip's decoded frames, looked at only where the container and the frames differ. Raises InputError where each
    field is a picture of its own.
    """
    if interlaced and codec == "hevc":
        raise InputError(
            f"the clip is HEVC in {interlaced} single fields, not in frames; export it as progressive H.264."
        )
    if interlaced:
        return "flagged"
    order = _SHOWN_FIRST.get(stated, "")
    return _combs(frames) if order and codec in _SAY_IT_THEMSELVES else order


def _combs(frames: Iterable[VideoFrame]) -> str:
    """Return which field most pictures show first, "tff" or "bff"; "" where most are whole."""
    seen = Counter(frame.metadata.get("lavfi.idet.multiple.current_frame") for frame in _examined(frames))
    order = "tff" if seen["tff"] > seen["bff"] else "bff"
    return order if seen["tff"] + seen["bff"] > seen["progressive"] else ""


def _examined(frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
    for (_, found), alike in groupby(islice(frames, _ENOUGH), lambda frame: (frame.format.name, colours_of(frame))):
        yield from filtered(alike, found, [("idet", "")])

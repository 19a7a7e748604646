"""FFmpeg's filters, told what they are given: frames of one format and of known colours go through a chain of them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import av
from av.filter import Graph
from av.video.frame import VideoFrame

from handoff.clip.colours import UNSAID, Colours
from handoff.errors import InputError

Step = tuple[str, str]
"""A filter: its name and its arguments."""


def filtered(frames: Iterator[VideoFrame], found: Colours, steps: list[Step]) -> Iterator[VideoFrame]:
    """Send frames of one format and of the colours `found` through the filters `steps`.

    Yields what comes out, with the colours that the filters say. Raises InputError for a format that they do not take.
    """
    for first in frames:
        kind, matrix = first.format, "gbr" if first.format.is_rgb else found.matrix_name
        source = (
            f"video_size={first.width}x{first.height}:pix_fmt={kind.name}:time_base={first.time_base}:"
            f"pixel_aspect=1/1:colorspace={matrix}:range={found.range_name}"
        )
        graph = Graph()
        filters = [("buffer", source), *steps, ("buffersink", "")]
        try:
            nodes = [graph.add(name, arguments) if arguments else graph.add(name) for name, arguments in filters]
            graph.link_nodes(*nodes).configure()
        except av.FFmpegError as error:
            raise InputError(
                f"pictures of {first.width}x{first.height} px in {kind.name} cannot be converted ({error.strerror}); "
                "export the clip as H.264."
            ) from error
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

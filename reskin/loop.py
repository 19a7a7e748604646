"""The one painting loop: windows in, output.mp4 out, whoever paints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from handoff.masks import Mask
from handoff.threads import Behind
from handoff.video import Frame, VideoWriter
from reskin.clip import Clip, WindowFrames, read_windows
from reskin.composite import Changes, Layers, compose, fade
from reskin.painter import Painter
from reskin.windows import Window, later_weight

OUTPUT_CRF = 12
_WAITING = 16
"""Most frames that wait: not many, and enough that encoding goes on while the server paints the next ones."""


@dataclass(frozen=True)
class Joining:
    """How windows become one clip.

    anchored: a shared frame is the earlier window's, and the later window gets it as known pixels; else the two are
    cross-faded. locked: the source's own pixels outside the masks; else the last pass's whole pictures.
    """

    anchored: bool = False
    locked: bool = True


def paint_clip(
    clip: Clip,
    painter: Painter,
    windows: Sequence[Window],
    output: Path,
    joining: Joining,
    window_done: Callable[[Window], None],
) -> Changes:
    """Write `output`, which appears when it is complete, and return the counts of changed pixels.

    windows: in order, covering every frame, as `plan_overlapping` makes them. One window is in memory at a time, and
    the frames that it shares with the next. `window_done` is called after each window. Raises what the painter raises.
    """
    info, changes = clip.info, Changes()
    shared: list[Layers] = []  # what the window before made of this window's first frames
    later_starts = [*(window.start for window in windows[1:]), info.frames]

    def write(frames: tuple[Frame, Frame, Mask, Mask]) -> None:
        changes.feed(*frames)
        writer.write(frames[1])

    # counting and encoding go on while the server paints the next window
    with (
        VideoWriter(output, info.fps, info.width, info.height, crf=OUTPUT_CRF) as writer,
        Behind(write, _WAITING) as behind,
    ):
        for cut, later_start in zip(read_windows(clip, windows), later_starts, strict=True):
            moments = list(zip(cut.frames, cut.objects, cut.skaters, strict=True))
            if joining.anchored:
                finished = zip(moments, shared, strict=False)
                cut = replace(cut, known=[compose(frame, done, *masks) for (frame, *masks), done in finished])
            keep: list[Layers] = []
            joined = enumerate(_join(painter, cut, shared, joining.anchored), cut.window.start)
            for (source, thing, person), (index, layers) in zip(moments, joined, strict=True):
                if index >= later_start:
                    keep.append(layers)
                    continue
                painted = compose(source, layers, thing, person) if joining.locked else layers.object
                behind.put((source, painted, thing, person))
            shared = keep
            window_done(cut.window)
    return changes


def _join(painter: Painter, cut: WindowFrames, shared: list[Layers], anchored: bool) -> Iterator[Layers]:
    """Yield the window's layers, its first ones joined with those of the window before."""
    untouched = (Layers(frame, frame) for frame in cut.frames)
    for offset, layers in enumerate(untouched if cut.is_empty() else painter.generate(cut)):
        if offset >= len(shared):
            yield layers
        elif anchored:
            yield shared[offset]
        else:
            yield fade(shared[offset], layers, later_weight(offset, len(shared)))

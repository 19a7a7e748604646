"""Cut a clip into windows, so that the server's memory does not grow with the clip."""

from __future__ import annotations

from dataclasses import dataclass

MAX_FRAMES = 32
PIXEL_BUDGET = MAX_FRAMES * 640 * 360
"""Pixels in a window over all its frames. The server holds a window as float32 RGB several times over."""


@dataclass(frozen=True)
class Window:
    """Frames start..stop-1 of the clip."""

    index: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def frames_per_window(width: int, height: int) -> int:
    """Return how many frames of width x height px go into one window, at least 1."""
    return max(1, min(MAX_FRAMES, PIXEL_BUDGET // (width * height)))


def plan_windows(frames: int, width: int, height: int) -> list[Window]:
    """Return windows that cover frames 0..frames-1, each frame once, in order."""
    length = frames_per_window(width, height)
    starts = range(0, frames, length)
    return [Window(index, start, min(start + length, frames)) for index, start in enumerate(starts)]

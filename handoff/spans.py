"""Frame numbers as spans: neighbours joined."""

from __future__ import annotations

from collections.abc import Iterable

Spans = list[list[int]]
"""[[first, last], ...], both included."""


def spans_of(frames: Iterable[int]) -> Spans:
    """Join rising frame numbers: 3, 4, 5, 9 give [[3, 5], [9, 9]]."""
    spans: Spans = []
    for frame in frames:
        if spans and frame == spans[-1][1] + 1:
            spans[-1][1] = frame
        else:
            spans.append([frame, frame])
    return spans


def span_text(first: int, last: int) -> str:
    """Write one span as "3-5", or as "9" where it is one frame."""
    return f"{first}-{last}" if last > first else f"{first}"

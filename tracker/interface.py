"""What a tracker answers for a frame, and what stands behind `SkateboardTracker`.

A backend is given one shot of a clip and the places of the object in it, and yields every frame of the shot, in order,
exactly once. `embedded/backend.py` and `sam2/backend.py` have the two that there are. Importing this loads no cv2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from handoff.places import Place

if TYPE_CHECKING:
    from handoff.masks import Mask
    from handoff.video import ClipInfo

Keep = Literal["largest", "all"]
"""Which parts of a mask are kept."""


class Found(NamedTuple):
    """One frame: the object's mask (H, W) bool, all False where it is lost.

    score: logit of "the object is in this frame", at most 0 where it is absent or hidden; None where that is not known.
    human: the skater's mask, from a backend that tracks the skater and was told where.
    """

    frame_index: int
    mask: Mask
    score: float | None = None
    human: Mask | None = None


class TrackerBackend(Protocol):
    """A way to track."""

    name: str
    description: str
    params: dict[str, Any]  # what changes the result, for run.json: the name and what was chosen
    versions: tuple[str, ...]  # the packages that do the work, beside those of every stage
    tracks_skater: bool
    tracks_back: bool  # where nobody says whether to (--verify): it is fast, and wrong often enough

    def check(self, places: Sequence[Place]) -> None:
        """Raise UsageError for places that this backend cannot use, and say which one can."""
        ...

    def track(
        self, path: Path, info: ClipInfo, shot: range, places: Sequence[Place], skater: Sequence[Place]
    ) -> Iterator[Found]:
        """Yield every frame of the shot, a mask that is all False where the object is lost.

        places: where the object is, on frames of the shot; the skater's likewise. Not both are empty.
        Its memory must not grow with the length of the clip.
        """
        ...

    def retrack(self, path: Path, info: ClipInfo, start: int, mask: Mask, frames: range) -> Iterator[tuple[int, Mask]]:
        """Track a second time, in a new state that knows nothing but one mask: `quality.Retrack`.

        Yield (frame_index, mask (H, W) bool) of `frames`, ascending, each once, all False where lost. start: the frame
        on which the object is `mask` (not empty): the first of `frames`, or the last, which means tracking backward.
        Its memory must not grow with the number of frames.
        """
        ...

"""What a tracker answers for a frame, and what stands behind `SkateboardTracker`.

A backend is given one shot of a clip and the places of the object in it, and yields every frame of the shot, in order,
exactly once. `embedded/backend.py` and `sam2/backend.py` have the two that there are. Importing this loads no cv2.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Waypoints:
    """Frames behind which a track's state is kept, and where it goes on from a kept one.

    wanted: frames of the clip; `keep` is given those of them that a state of one frame is enough for, with the state.
    after, state: the frame that the track goes on behind, and what was kept there; None for a track from its start.
    """

    wanted: Collection[int]
    keep: Callable[[int, bytes], object]
    after: int | None = None
    state: bytes = b""


class Recall(Protocol):
    """What an earlier track of nearly the same clip found."""

    def begin(self, shot: range) -> Waypoints:
        """Say behind which frame the track of a shot goes on; the frames up to it are known."""
        ...

    def mask(self, index: int) -> Mask:
        """Return the mask of a known frame, as the backend gave it."""
        ...

    def put(self, mask: Mask) -> None:
        """Take the mask of the next frame, known or not, as the backend gave it."""
        ...


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
        self,
        path: Path,
        info: ClipInfo,
        shot: range,
        places: Sequence[Place],
        skater: Sequence[Place],
        waypoints: Waypoints | None = None,
    ) -> Iterator[Found]:
        """Yield every frame of the shot, a mask that is all False where the object is lost.

        places: where the object is, on frames of the shot; the skater's likewise. Not both are empty. waypoints: where
        it goes on behind a frame, only the frames behind that one are yielded: the very masks of the whole track.
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

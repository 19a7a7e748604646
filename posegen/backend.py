"""What a pose backend is: it is given frames and the skater's boxes, and gives people. There are two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from handoff.errors import InputError
from handoff.masks import Mask
from handoff.places import Box
from handoff.poses import Person
from handoff.video import Frame

Boxes = Sequence[Box | None]
"""The skater's box in each frame of a clip, px; None where nobody is."""


@dataclass(frozen=True)
class FramePose:
    """What was found in one frame.

    people: empty where nobody was found. person_mask: (H, W) bool of the same people, or None from a backend
    that makes no mask.
    """

    people: list[Person]
    person_mask: Mask | None = None


@dataclass(frozen=True)
class PoseModel:
    """What a backend is, for pose.json, run.json and the log line.

    sha256: of the weights that were used.
    """

    name: str
    version: str
    embedded: bool
    makes_masks: bool
    sha256: str | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.version}" + (" (the embedded backend)" if self.embedded else "")


class PoseBackend(Protocol):
    """What stands behind the extractor."""

    @property
    def model(self) -> PoseModel:
        """What this backend is."""
        ...

    def extract(self, frames: Iterable[Frame], boxes: Boxes | None = None) -> Iterator[FramePose]:
        """Yield one FramePose a frame, in order; each call is a clip of its own.

        boxes: where the skater is, None where nobody looked. Raises InputError for more frames than boxes.
        """
        ...


def box_on(boxes: Boxes, index: int) -> Box | None:
    """Return the skater's box on frame `index`; InputError where he was not looked for in so many frames."""
    if index >= len(boxes):
        raise InputError(f"the clip has more frames than the {len(boxes)} that the skater was looked for in.")
    return boxes[index]

"""Stand-in until the witnesses are here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class FrameWitness:
    """What the witnesses say of one frame's mask; None where one did not speak."""

    frame: int
    box_iou: float | None = None
    inside: float | None = None
    seen_where_empty: bool | None = None
    on_person: float | None = None
    cycle_iou: float | None = None


@dataclass(frozen=True)
class Standing:
    """Where a mask stands with its witnesses."""

    word: Literal["confirmed", "unconfirmed", "contradicted"]
    contradicted: list[int] = field(default_factory=list)
    spoke: int = 0
    frames: list[FrameWitness] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """Return it as a sentence."""
        return f"the mask is {self.word} in {len(self.contradicted)} of {len(self.frames)} frames"

    def as_json(self) -> dict[str, Any]:
        """Return it for a report."""
        return asdict(self) | {"sentence": self.sentence}


def rule(frames: Sequence[FrameWitness]) -> Standing:
    """Return what follows from the frames."""
    spoke = [each for each in frames if (each.box_iou, each.on_person, each.cycle_iou) != (None, None, None)]
    against = [e.frame for e in spoke if (e.box_iou is not None and e.box_iou < 0.3) or (e.on_person or 0) > 0.5]
    word: Literal["confirmed", "unconfirmed", "contradicted"] = "confirmed" if spoke else "unconfirmed"
    if spoke and len(against) > 0.1 * len(spoke):
        word = "contradicted"
    return Standing(word, against, len(spoke), list(frames))

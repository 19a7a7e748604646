"""What is painted on, read one window at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from handoff.errors import InputError
from handoff.masks import Mask, read_masks
from handoff.video import ClipInfo, Frame, read_frames
from reskin.windows import Window, plan_windows


@dataclass(frozen=True)
class Clip:
    """A source with its masks (videos or folders of PNG); without a skater's mask she is left as she is."""

    info: ClipInfo
    source: Path
    object_mask: Path
    skater_mask: Path | None


@dataclass(frozen=True)
class WindowFrames:
    """One window: frames (H, W, 3) uint8 RGB, masks (H, W) bool. No pixel is in both masks: the object is in front."""

    window: Window
    frames: list[Frame]
    objects: list[Mask]
    skaters: list[Mask]

    def is_empty(self) -> bool:
        """Say whether there is nothing to paint."""
        return not any(mask.any() for mask in (*self.objects, *self.skaters))


def read_windows(clip: Clip) -> Iterator[WindowFrames]:
    """Yield the clip's windows in order; raise InputError when the clip or a mask ends early."""
    info = clip.info
    frames, objects = read_frames(clip.source), read_masks(clip.object_mask)
    skaters = read_masks(clip.skater_mask) if clip.skater_mask else _no_masks(info)
    for window in plan_windows(info.frames, info.width, info.height):
        size = len(window)
        cut, things, people = list(islice(frames, size)), list(islice(objects, size)), list(islice(skaters, size))
        if not len(cut) == len(things) == len(people) == size:
            raise InputError(
                f"the clip or a mask ends between frames {window.start} and {window.stop - 1}; extract the clip again."
            )
        yield WindowFrames(window, cut, things, [person & ~thing for person, thing in zip(people, things, strict=True)])


def _no_masks(info: ClipInfo) -> Iterator[Mask]:
    return (np.zeros((info.height, info.width), bool) for _ in range(info.frames))

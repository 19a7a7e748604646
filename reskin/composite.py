"""Put what was generated into the source: inside the regions only, to the pixel."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from handoff.errors import InputError
from handoff.masks import Mask
from handoff.video import Frame


def compose(source: Frame, generated: Frame, object_mask: Mask, skater_mask: Mask) -> Frame:
    """Return the source with `generated` in its place on object and skater.

    source, generated: (H, W, 3) uint8 RGB. object_mask, skater_mask: (H, W) bool. Outside the union of the two
    masks every pixel is the source's own. Raises InputError when the shapes differ.
    """
    region = object_mask | skater_mask
    if not source.shape == generated.shape == (*region.shape, 3):
        raise InputError(
            f"the generated frame is {generated.shape}, the source {source.shape}, the masks {region.shape}: "
            "they must be of one size."
        )
    return np.where(region[..., None], generated, source)


@dataclass
class Changes:
    """Counts, over all frames fed, of pixels that differ from the source."""

    frames: int = 0
    outside_px: int = 0
    object_px: int = 0
    object_changed_px: int = 0
    skater_px: int = 0
    skater_changed_px: int = 0
    _frames_without_object: int = field(default=0, repr=False)

    def feed(self, source: Frame, output: Frame, object_mask: Mask, skater_mask: Mask) -> None:
        """Count one frame. The skater's region is the skater's mask minus the object's."""
        changed = (source != output).any(axis=2)
        skater_only = skater_mask & ~object_mask
        self.frames += 1
        self.outside_px += int(np.count_nonzero(changed & ~(object_mask | skater_mask)))
        self.object_px += int(np.count_nonzero(object_mask))
        self.object_changed_px += int(np.count_nonzero(changed & object_mask))
        self.skater_px += int(np.count_nonzero(skater_only))
        self.skater_changed_px += int(np.count_nonzero(changed & skater_only))
        self._frames_without_object += not object_mask.any()

    def as_dict(self) -> dict[str, int]:
        """Return the counts for output.json."""
        return {
            "frames": self.frames,
            "frames_without_object": self._frames_without_object,
            "changed_outside_px": self.outside_px,
            "object_px": self.object_px,
            "object_changed_px": self.object_changed_px,
            "skater_px": self.skater_px,
            "skater_changed_px": self.skater_changed_px,
        }

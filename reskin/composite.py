"""Put what was generated into the source: inside the regions only, to the pixel. This is the lock."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.errors import InputError
from handoff.masks import Mask
from handoff.video import Frame


@dataclass(frozen=True)
class Layers:
    """What a painter made of one frame, two pictures (H, W, 3) uint8 RGB: where the object and the skater come from.

    They are one picture where both were painted in one pass. `object` is that of the last pass: what the model made
    of the whole frame.
    """

    object: Frame
    skater: Frame


def compose(source: Frame, layers: Layers, object_mask: Mask, skater_mask: Mask) -> Frame:
    """Return the source with the object's layer in the object's mask and the skater's layer in the skater's.

    source: (H, W, 3) uint8 RGB. object_mask, skater_mask: (H, W) bool; where both are, the object is in front. Outside
    the union of the two masks every pixel is the source's own. Raises InputError when the shapes differ.
    """
    shape = (*object_mask.shape, 3)
    if (
        not source.shape == layers.object.shape == layers.skater.shape == shape
        or object_mask.shape != skater_mask.shape
    ):
        raise InputError(
            f"the generated frame is {layers.object.shape}, the source {source.shape}, the masks {object_mask.shape}: "
            "they must be of one size."
        )
    skater = np.where(skater_mask[..., None], layers.skater, source)
    return np.where(object_mask[..., None], layers.object, skater)


def fade(earlier: Layers, later: Layers, weight: float) -> Layers:
    """Return the mean of two layers of one frame; `weight`, 0..1, is the later one's part. Equal pixels stay equal."""
    return Layers(_mix(earlier.object, later.object, weight), _mix(earlier.skater, later.skater, weight))


def _mix(earlier: Frame, later: Frame, weight: float) -> NDArray[np.uint8]:
    return cv2.addWeighted(earlier, 1.0 - weight, later, weight, 0.0).astype(np.uint8, copy=False)


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

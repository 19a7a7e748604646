"""Where the model may paint: the masks grown, and joined over the neighbouring frames.

The model needs room around the old outline, and its latent time joins four frames to one, of which it reads one mask:
a fast board would leave that mask. The composite (reskin/composite.py) uses the exact masks all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from handoff.masks import Mask
from reskin.windows import LATENT_FRAMES

GROW_PX = 8
"""Growth, px of the source, where the user names none."""


def grow(mask: Mask, px: int) -> Mask:
    """Return the mask with everything that is within `px` of it (a disc)."""
    if px == 0 or not mask.any():
        return mask
    side = 2 * px + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.dilate(mask.astype(np.uint8), disc).astype(bool)


def join_over_time(masks: Sequence[Mask], frames: int = LATENT_FRAMES) -> list[Mask]:
    """Return for each frame the union of the masks from `frames` before it to `frames` after it."""
    return [
        np.logical_or.reduce(masks[max(index - frames, 0) : index + frames + 1]).astype(bool)
        for index in range(len(masks))
    ]


def object_regions(objects: Sequence[Mask], px: int) -> list[Mask]:
    """Return where the object may be painted, one (H, W) bool mask a frame."""
    return [grow(mask, px) for mask in join_over_time(objects)]


def skater_regions(skaters: Sequence[Mask], objects: Sequence[Mask], px: int) -> list[Mask]:
    """Return where the skater may be painted: never on the frame's own object."""
    joined = join_over_time(skaters)
    return [grow(mask, px) & ~thing for mask, thing in zip(joined, objects, strict=True)]

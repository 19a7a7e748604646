"""Where in which picture the model may paint: the regions, and the clip at the model's size.

`Fit` goes from the clip's size to one that the model likes, and back: scaled with its own aspect, padded, never
cropped. The regions are the masks grown, and joined over the neighbouring frames. The model needs room around the old
outline, and its latent time joins four frames to one, of which it reads one mask: a fast board would leave that mask.
The composite (reskin/painting.py) uses the exact masks all the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.masks import Mask
from handoff.video import Frame
from reskin.settings import MULTIPLE
from reskin.windows import LATENT_FRAMES

AREA = 832 * 480
"""px of a frame that Wan 2.1 VACE 1.3B was made for; the 14B model also likes 1280x720."""

BLACK, WHITE = 0, 255


@dataclass(frozen=True)
class Fit:
    """How a clip of `source` lies in the model's picture of `model` px: at `offset`, `inner` px large. (width, height)

    The inner part has the clip's aspect to the nearest px; what is left is padding. A px of the one lies over the same
    part of the other in both directions, because edges are mapped to edges.
    """

    source: tuple[int, int]
    model: tuple[int, int]
    inner: tuple[int, int]
    offset: tuple[int, int]

    def to_model(self, frame: Frame, *, border: int | None = None) -> Frame:
        """Return (H, W, 3) uint8 RGB of the model's size; the padding repeats the edge, or is of one gray 0..255."""
        return self._pad(_scale(frame, self.inner), border)

    def mask_to_model(self, mask: Mask, *, part: float) -> Mask:
        """Return (H, W) bool of the model's size: True where more than `part`, 0..1, of a px is in the mask."""
        covered = _scale(mask.astype(np.float32), self.inner) > max(part, 1e-4)
        return self._pad(covered.astype(np.uint8), BLACK).astype(bool)

    def to_source(self, picture: Frame) -> Frame:
        """Return (H, W, 3) uint8 RGB of the clip's size from a picture of the model's; the padding goes."""
        (x, y), (width, height) = self.offset, self.inner
        return _scale(picture[y : y + height, x : x + width], self.source)

    def _pad(self, image: Frame, border: int | None) -> Frame:
        (left, top), (width, height) = self.offset, self.inner
        right, bottom = self.model[0] - width - left, self.model[1] - height - top
        if border is None:
            padded = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_REPLICATE)
        else:
            padded = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(border,) * 3)
        return padded.astype(np.uint8, copy=False)


def _scale(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    if (image.shape[1], image.shape[0]) == size:
        return image
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    # the mean over the area when it gets smaller; when it gets larger, masks are soft ramps and pictures sharp
    larger = cv2.INTER_LINEAR if image.dtype == np.float32 else cv2.INTER_CUBIC
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else larger)


def fit_into(width: int, height: int, model_width: int, model_height: int) -> Fit:
    """Return how a clip of width x height px lies in the middle of a model's picture, as large as it goes."""
    scale = min(model_width / width, model_height / height)
    inner_width = min(model_width, max(1, round(width * scale)))
    inner_height = min(model_height, max(1, round(height * scale)))
    offset = ((model_width - inner_width) // 2, (model_height - inner_height) // 2)
    return Fit((width, height), (model_width, model_height), (inner_width, inner_height), offset)


def fit_to_area(width: int, height: int) -> Fit:
    """Return the clip's own aspect at about `AREA` px, each side the nearest multiple of 16."""
    scale = math.sqrt(AREA / (width * height))
    sides = (max(MULTIPLE, round(side * scale / MULTIPLE) * MULTIPLE) for side in (width, height))
    return fit_into(width, height, *sides)


def grow_region(mask: Mask, px: int) -> Mask:
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
    return [grow_region(mask, px) for mask in join_over_time(objects)]


def skater_regions(skaters: Sequence[Mask], objects: Sequence[Mask], px: int) -> list[Mask]:
    """Return where the skater may be painted: never on the frame's own object."""
    joined = join_over_time(skaters)
    return [grow_region(mask, px) & ~thing for mask, thing in zip(joined, objects, strict=True)]

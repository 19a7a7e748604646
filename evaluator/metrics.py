"""What a frame's two masks say beside the gate's IoU: G, the original outline, and P, the new object's.

Masks are (H, W) bool. Where a figure is not defined (nothing to divide by), it is None.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluator.boundary import boundary_f, crop_around, tolerance_px
from handoff.errors import InputError
from handoff.masks import Mask

_CACHED_BYTES = 700_000


def as_bytes(mask: Mask) -> NDArray[np.uint8]:
    """Return the same memory as uint8, 0 or 1, for OpenCV."""
    return mask.view(np.uint8)


def count(mask: Mask) -> int:
    """Return the number of True pixels of a mask (H, W) bool.

    The L1 norm of bytes that are 0 or 1 is their number: a whole number, summed as such, and OpenCV's quickest count.
    """
    return int(cv2.norm(as_bytes(mask), cv2.NORM_L1)) if mask.size else 0


@dataclass(frozen=True)
class Overlap:
    """The areas of G and P, and of G xor P, px. Everything that the gate needs."""

    original_px: int
    generated_px: int
    differing_px: int

    @property
    def union_px(self) -> int:
        """|G or P|."""
        return (self.original_px + self.generated_px + self.differing_px) // 2

    @property
    def common_px(self) -> int:
        """|G and P|."""
        return (self.original_px + self.generated_px - self.differing_px) // 2

    @property
    def iou(self) -> float:
        """|G and P| / |G or P|; 1.0 when both are empty (DAVIS's convention)."""
        return self.common_px / self.union_px if self.union_px else 1.0

    @property
    def leak(self) -> float:
        """The share of P that lies outside G; 0 where P is empty."""
        return (self.generated_px - self.common_px) / self.generated_px if self.generated_px else 0.0

    @property
    def gap(self) -> float:
        """The share of G that P does not cover; 0 where G is empty."""
        return (self.original_px - self.common_px) / self.original_px if self.original_px else 0.0

    @property
    def area_ratio(self) -> float | None:
        """|P| / |G|."""
        return self.generated_px / self.original_px if self.original_px else None


def overlap(original: Mask, generated: Mask) -> Overlap:
    """Count the pixels of two masks (H, W) bool; raise InputError when the sizes differ.

    G xor P is counted in one pass over both, with no third mask; rows above both objects are skipped, and the rest is
    taken in pieces that stay in the processor's cache while they are counted.
    """
    if original.shape != generated.shape:
        raise InputError(f"masks of {original.shape} and {generated.shape} (H, W) px cannot be compared.")
    height, width = original.shape
    if not original.size:
        return Overlap(0, 0, 0)
    start = min(int(original.argmax()), int(generated.argmax())) // width
    rows = max(1, _CACHED_BYTES // width)
    first_px = second_px = differing_px = 0
    for top in range(start, height, rows):
        first, second = as_bytes(original[top : top + rows]), as_bytes(generated[top : top + rows])
        differing = int(cv2.norm(first, second, cv2.NORM_L1))
        here = int(cv2.norm(first, cv2.NORM_L1))
        first_px, differing_px = first_px + here, differing_px + differing
        second_px += int(cv2.norm(second, cv2.NORM_L1)) if differing else here
    return Overlap(first_px, second_px, differing_px)


def intersection_over_union(original: Mask, generated: Mask) -> float:
    """Return |G and P| / |G or P| of two masks (H, W) bool; 1.0 when both are empty. InputError when sizes differ."""
    return overlap(original, generated).iou


def _centroid(mask: Mask) -> tuple[float, float]:
    moments = cv2.moments(as_bytes(mask), binaryImage=True)
    return moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]


def _shifted_iou(mask: Mask) -> float:
    """Return the lowest IoU of a mask with itself moved by one pixel, of the four directions.

    mask: with an empty row and column on every side. Left and right lose the same pixels, and so do up and down.
    """
    pairs = ((mask[:, 1:], mask[:, :-1]), (mask[1:], mask[:-1]))
    area = count(mask)
    shared = min(count(here & there) for here, there in pairs)
    return shared / (2 * area - shared)


@dataclass(frozen=True)
class Shape:
    """What outlines say.

    boundary_f: DAVIS's boundary measure, 0..1. drift_px: from G's centroid to P's. one_px_iou: the IoU that G itself
    has after a move by one pixel (the worst of four directions): what one pixel of error costs in this frame.
    clip: the share of P that lies on the skater.
    """

    boundary_f: float
    drift_px: float | None
    one_px_iou: float | None
    clip: float | None


def shape(original: Mask, generated: Mask, skater: Mask | None) -> Shape:
    """Measure two masks, and a mask of the skater where there is one, all (H, W) bool of one size."""
    box = cv2.boundingRect(cv2.bitwise_or(as_bytes(original), as_bytes(generated)))
    crop = crop_around((box[0], box[1], box[2], box[3]))
    first, second = np.ascontiguousarray(original[crop]), np.ascontiguousarray(generated[crop])
    seen, found = count(first), count(second)
    drift = None
    if seen and found:
        (ax, ay), (bx, by) = _centroid(first), _centroid(second)
        drift = float(np.hypot(ax - bx, ay - by))
    clip = None
    if skater is not None:
        clip = count(second & skater[crop]) / found if found else 0.0
    return Shape(
        boundary_f=boundary_f(first, second, tolerance_px(*original.shape)),
        drift_px=drift,
        one_px_iou=_shifted_iou(np.pad(first, 1)) if seen else None,
        clip=clip,
    )

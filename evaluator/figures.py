"""A frame's figures beside the gate's IoU, each as its definition has it. Nothing here decides anything.

G is the original outline, P the new object's; masks are (H, W) bool, pictures (H, W, 3) uint8 RGB. A figure that is not
defined (nothing to divide by) is None. In this order:

    shape                   what the two outlines say: boundary F, drift, what one pixel costs, clip
    boundary_f              DAVIS's boundary measure
    psnr_db, ssim           the background kept: two pictures where neither object nor skater is
    compare_skeletons       the skater kept: OKS and PCK of his skeleton in both clips
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.masks import Mask, as_bytes, count
from handoff.poses import Person
from handoff.video import Frame
from tracker.witness.body import N_BODY, SEEN, surest


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


TOLERANCE = 0.008
"""Of the frame's diagonal (davis2017-evaluation, bound_th)."""

_Bytes = NDArray[np.uint8]


def tolerance_px(height: int, width: int) -> int:
    """Return how far two outlines may lie apart in a frame of that size, px."""
    return math.ceil(TOLERANCE * math.hypot(height, width))


def boundary(mask: Mask) -> Mask:
    """Return the boundary pixels of a mask (H, W) bool: those unlike their right, lower or lower right neighbour.

    A neighbour outside the frame counts as alike (DAVIS).
    """
    height, width = mask.shape
    padded = np.empty((height + 1, width + 1), bool)
    padded[:-1, :-1] = mask
    padded[-1], padded[:, -1] = padded[-2], padded[:, -2]
    here, right, below, both = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return np.asarray((here ^ right) | (here ^ below) | (here ^ both))


def crop_around(box: tuple[int, int, int, int]) -> tuple[slice, slice]:
    """Return the rows and columns that hold every boundary pixel of masks inside a box x, y, width, height.

    One empty row and column on each side, where the frame has one: the boundary lies partly outside the mask.
    """
    x, y, width, height = box
    return slice(max(0, y - 1), y + height + 1), slice(max(0, x - 1), x + width + 1)


@functools.cache
def _rectangles(reach: int) -> tuple[tuple[int, int], ...]:
    """Return half widths and half heights of the rectangles that together are the disk of `reach` px, largest first."""
    tallest: dict[int, int] = {}
    for half_height in range(reach + 1):
        tallest[math.isqrt(reach * reach - half_height * half_height)] = half_height
    return tuple(sorted(tallest.items(), key=lambda each: -(2 * each[0] + 1) * (2 * each[1] + 1)))


def _matched(points: _Bytes, other: _Bytes, reach: int) -> float:
    """Return the share of `points` that have a pixel of `other` within `reach` px; both have at least one.

    Rectangles are quick to dilate with, and after the first one few points are left.
    """
    total = undecided = cv2.countNonZero(points)
    for half_width, half_height in _rectangles(reach):
        rectangle = np.ones((2 * half_height + 1, 2 * half_width + 1), np.uint8)
        points = np.asarray(cv2.bitwise_and(points, 1 - np.asarray(cv2.dilate(other, rectangle))), np.uint8)
        undecided = cv2.countNonZero(points)
        if not undecided:
            break
    return (total - undecided) / total


def boundary_f(original: Mask, generated: Mask, reach: int) -> float:
    """Return the boundary F, 0..1, of two masks (h, w) bool: how well their outlines agree, within `reach` px.

    davis2017-evaluation's `db_eval_boundary` (Perazzi et al., CVPR 2016): a pixel of a `boundary` is matched where the
    other boundary has a pixel within a disk around it; F is the harmonic mean of the two matched shares. The values
    are the same, only sooner: the disk is looked through only where rectangles cannot tell, and the masks may be cut
    out of the frame with `crop_around`. Two masks without a boundary agree (1.0); one without and one with do not
    (0.0).

    reach: `tolerance_px` of the whole frame.
    """
    first, second = boundary(generated).view(np.uint8), boundary(original).view(np.uint8)
    some = bool(cv2.countNonZero(first)), bool(cv2.countNonZero(second))
    if some != (True, True):
        return 1.0 if some == (False, False) else 0.0
    precision, recall = _matched(first, second, reach), _matched(second, first, reach)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


MOST_DB = 100.0
"""What stands for the PSNR of two equal pictures, which is infinite."""
WINDOW, SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_GRAY = np.float32(128)
_CACHED_PX = 120_000

_Float32s = NDArray[np.float32]


def psnr_db(first: Frame, second: Frame, where: Mask) -> float | None:
    """Return the PSNR over the pixels `where` (H, W) of two pictures (H, W, 3) uint8, dB; None where there are none."""
    pixels = cv2.countNonZero(where.view(np.uint8))
    if not pixels:
        return None
    error = cv2.norm(first, second, cv2.NORM_L2SQR, where.view(np.uint8)) / (3 * pixels)
    return min(MOST_DB, 10 * math.log10(255**2 / error)) if error else MOST_DB


def _blur(image: _Float32s) -> _Float32s:
    return np.asarray(cv2.GaussianBlur(image, (WINDOW, WINDOW), SIGMA), np.float32)


def ssim_map(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> _Float32s:
    """Return the SSIM at every pixel of two gray pictures (h, w) uint8, (h, w) float32.

    Wang, Bovik, Sheikh and Simoncelli (2004): a Gaussian window of 11x11 px with sigma 1.5, K1 = 0.01, K2 = 0.03.
    Within 5 px of the edge the window reaches outside, and the values mean little.
    """
    # with d = x - y the formula's two factors are 1 - var d / (var x + var y + C2) and 1 - (mean d)^2 / (mean x^2 +
    # mean y^2 + C1): what is subtracted is small where the pictures are alike, and single precision is enough
    x, y = (np.subtract(image, _GRAY, dtype=np.float32) for image in (first, second))
    difference = x - y
    mean_x, mean_difference = _blur(x), _blur(difference)
    mean_y = mean_x - mean_difference
    between = _blur(difference * difference) - mean_difference * mean_difference
    variances = _blur(x * x + y * y) - mean_x * mean_x - mean_y * mean_y
    mean_x, mean_y = mean_x + _GRAY, mean_y + _GRAY
    luminance = 1 - mean_difference * mean_difference / (mean_x * mean_x + mean_y * mean_y + _C1)
    return np.asarray(luminance * (1 - between / (variances + _C2)))


def ssim(first: Frame, second: Frame, where: Mask) -> float | None:
    """Return the mean SSIM of the luma of two pictures (H, W, 3) uint8 RGB; see `ssim_map`.

    The mean is over the pixels whose whole window lies in `where` and in the frame; None where there is none. Rows are
    taken a few at a time, so that they stay in the processor's cache.
    """
    window = np.ones((WINDOW, WINDOW), np.uint8)
    inside = cv2.erode(where.view(np.uint8), window, borderType=cv2.BORDER_CONSTANT, borderValue=(0,))
    pixels = cv2.countNonZero(inside)
    if not pixels:
        return None
    x, y = (np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8) for image in (first, second))
    height, width = inside.shape
    reach, rows, total = WINDOW // 2, max(1, _CACHED_PX // width), 0.0
    for top in range(reach, height - reach, rows):
        bottom = min(top + rows, height - reach)
        around = slice(top - reach, bottom + reach)
        values = ssim_map(x[around], y[around])[reach:-reach]
        total += float(values.sum(where=inside[top:bottom].view(bool), dtype=np.float64))
    return total / pixels


SIGMAS = np.array(
    [26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89], np.float64
) / 1000  # fmt: skip
"""Per-keypoint spread of human annotators: COCO's, which COCO-WholeBody takes over for the body."""
PCK_SHARE = 0.2

Floats = NDArray[np.float64]


def _distances(source: Person, generated: Person) -> tuple[Floats, NDArray[np.bool_]]:
    """Return how far each body keypoint moved, px, inf where it is gone; and which of them count."""
    counts = source.scores[:N_BODY] > SEEN
    moved = np.linalg.norm(source.keypoints[:N_BODY].astype(np.float64) - generated.keypoints[:N_BODY], axis=1)
    return np.where(generated.scores[:N_BODY] > 0, moved, np.inf), counts


def _size(person: Person) -> tuple[float, float]:
    return max(person.box.width, 1.0), max(person.box.height, 1.0)


def oks(source: Person, generated: Person) -> float:
    """Return the object keypoint similarity of two skeletons, 0..1; `source` must show a keypoint.

    COCO's (cocodataset.org/#keypoints-eval): the mean over keypoints of exp(-d^2 / (2 s^2 k^2)) with k = 2 sigma, here
    over the 17 body keypoints, with s^2 the area of the person's box.
    """
    distances, counts = _distances(source, generated)
    width, height = _size(source)
    similarity = np.exp(-(distances**2) / (2 * width * height * (2 * SIGMAS) ** 2))
    return float(similarity[counts].mean())


def pck(source: Person, generated: Person) -> float:
    """Return PCK@0.2, 0..1: the share of keypoints that moved by at most 0.2 of the box's longer side.

    Yang and Ramanan (2013), over the 17 body keypoints; `source` must show one.
    """
    distances, counts = _distances(source, generated)
    return float((distances <= PCK_SHARE * max(_size(source)))[counts].mean())


def compare_skeletons(source: Sequence[Person], generated: Sequence[Person]) -> tuple[float | None, float | None]:
    """Return OKS and PCK@0.2 of a frame's skater; both None where the source shows no skater.

    The skater is the source's surest person, and of the generated clip's people the one that is nearest to him by OKS;
    0.0 where there is nobody. Only keypoints that the source shows count; one that the generated clip does not show is
    wrong.
    """
    skater = surest(source)
    if skater is None or not (skater.scores[:N_BODY] > SEEN).any():
        return None, None
    if not generated:
        return 0.0, 0.0
    nearest = max(generated, key=lambda person: oks(skater, person))
    return oks(skater, nearest), pck(skater, nearest)

"""Where an outline runs: from a box to the first mask, masks brought to the picture's own edges, and what both need.

In this order: `cut_out` (the first mask), `snap_to_edges` and `settle_edge` (the picture's edges), `keep_parts` and
`fill_holes` (which parts, which holes), then distances, growing and windows.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.masks import Mask
from handoff.places import Box
from tracker.embedded.cues import ColourModel, shade_and_hue

Field = NDArray[np.float32]  # (H, W)
Window = tuple[slice, slice]  # rows, columns of the frame

_ROUNDS = 6  # of GrabCut
_SMALL_PX = 64  # a box of fewer pixels teaches GrabCut nothing
_CHROMA_SHARE = 0.5  # video halves the chroma's resolution, so lightness says more about where an edge is
_CLEAR = 24.0  # levels of contrast below which an edge is not moved


def cut_out(frame: NDArray[np.uint8], box: Box) -> Mask:
    """Mask (H, W) of the object that `box`, which lies inside the frame, encloses in an RGB frame.

    GrabCut (Rother, Kolmogorov, Blake 2004, OpenCV's) on a crop of the frame. Where it finds nothing, the whole box:
    the user said that the object is there.
    """
    x1, y1, x2, y2 = box.rounded_out()
    mask = np.zeros(frame.shape[:2], bool)
    mask[y1:y2, x1:x2] = True
    window = window_around(Box(x1, y1, x2, y2), max(20, (x2 - x1) // 3, (y2 - y1) // 3), mask.shape)
    inside_box = mask[window]
    if np.count_nonzero(inside_box) < _SMALL_PX or inside_box.all():
        return mask
    rgb = np.ascontiguousarray(frame[window])
    look = shade_and_hue(rgb)
    inside = _grab_cut(look, inside_box)
    outside = ~grow(inside_box, 3)
    for _ in range(2):  # GrabCut's few Gaussians let ground between the wheels pass: a finer look at the colours
        if inside.any() and outside.any():
            odds = ColourModel(look, inside, outside).odds(look)
            inside = inside & (cv2.GaussianBlur(odds, (5, 5), 0) >= -0.3)
    equal = np.zeros(inside.shape, np.float32)
    inside = settle_edge(fill_holes(keep_parts(inside, equal + 1, 0.1), equal, 12), rgb)
    if inside.any():
        mask[window] = inside
    return mask


def _grab_cut(look: NDArray[np.uint8], inside_box: Mask) -> Mask:
    picture = look.copy()
    picture[..., 0] //= 2  # hue decides: a shadow may be as dark as the object, but it has the ground's hue
    labels = np.where(inside_box, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    cv2.setRNGSeed(0)
    cv2.grabCut(  # type: ignore[call-overload]
        picture, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), _ROUNDS, cv2.GC_INIT_WITH_MASK
    )
    return np.asarray((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD))


def snap_to_edges(field: Field, guide: NDArray[np.uint8], radius: int, eps: float) -> Field:
    """Guided filter (He, Sun, Tang 2013) of `field` (H, W) by a colour `guide` (H, W, 3), eps in squared levels.

    Makes the field smooth where the guide is smooth and lets it jump only where the guide does.
    """
    size = (2 * radius + 1, 2 * radius + 1)

    def mean(image: NDArray[np.float32]) -> NDArray[np.float32]:
        return cv2.boxFilter(image, -1, size, borderType=cv2.BORDER_REFLECT).astype(np.float32, copy=False)

    colour = guide.astype(np.float32)
    mean_i, mean_p = mean(colour), mean(field)
    cov_ip = mean(colour * field[..., None]) - mean_i * mean_p[..., None]
    pairs = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    products = np.stack([colour[..., a] * colour[..., b] for a, b in pairs], -1)
    means = np.stack([mean_i[..., a] * mean_i[..., b] for a, b in pairs], -1)
    squares = np.concatenate([mean(products[..., :3]), mean(products[..., 3:])], -1) - means
    rr, rg, rb, gg, gb, bb = (squares[..., k] for k in range(6))
    rr, gg, bb = rr + eps, gg + eps, bb + eps
    # inverse of the symmetric 3 x 3 covariance by cofactors
    c_rr, c_rg, c_rb = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    c_gg, c_gb, c_bb = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    det = rr * c_rr + rg * c_rg + rb * c_rb
    x, y, z = (cov_ip[..., k] for k in range(3))
    slope = (
        np.stack([c_rr * x + c_rg * y + c_rb * z, c_rg * x + c_gg * y + c_gb * z, c_rb * x + c_gb * y + c_bb * z], -1)
        / det[..., None]
    )
    offset = mean_p - np.sum(slope * mean_i, -1)
    smooth = np.sum(mean(slope.astype(np.float32)) * colour, -1) + mean(offset.astype(np.float32))
    return np.asarray(smooth, np.float32)


def settle_edge(mask: Mask, rgb: NDArray[np.uint8], reach: int = 2) -> Mask:
    """Move the outline, by at most `reach` px, to where the colour is half object, half surroundings.

    Both are means over the neighbourhood, the outline's own pixels left out. Half-way is where an edge lies however
    it was blurred (motion, chroma subsampling), so two renderings of one outline give the same mask.
    """
    red, green, blue = (rgb[..., k].astype(np.float32) for k in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    colour = np.stack([luma, _CHROMA_SHARE * (red - luma), _CHROMA_SHARE * (blue - luma)], -1)
    solid = mask.astype(np.uint8)
    kernel = np.ones((2 * reach + 1, 2 * reach + 1))
    wide, narrow = cv2.dilate(solid, kernel), cv2.erode(solid, kernel)
    core, far, band = cv2.erode(solid, np.ones((3, 3))), 1 - wide, wide > narrow
    inner, has_inner = _local_mean(colour, core, 3)
    outer, has_outer = _local_mean(colour, far, 4)
    axis = inner - outer
    contrast = np.sum(axis * axis, -1)
    share = np.sum((colour - outer) * axis, -1) / np.maximum(contrast, 1.0)
    clear = band & has_inner & has_outer & (contrast > _CLEAR**2)
    settled = np.where(clear, share > 0.5, mask)
    return np.asarray(cv2.medianBlur(settled.astype(np.uint8), 3) > 0)


def _local_mean(colour: Field, where: NDArray[Any], radius: int) -> tuple[Field, Mask]:
    size = (2 * radius + 1, 2 * radius + 1)
    here = np.asarray(where, np.float32)
    weight = cv2.boxFilter(here, -1, size)
    total = cv2.boxFilter(colour * here[..., None], -1, size)
    return np.asarray(total / np.maximum(weight, 1e-6)[..., None], np.float32), np.asarray(weight > 0.02)


def keep_parts(mask: Mask, odds: Field, share: float) -> Mask:
    """Drop the parts whose summed evidence (`odds`, positive ones) is under `share` of the largest part's."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    if count <= 2:
        return mask
    weight = np.bincount(labels.ravel(), weights=np.where(mask, np.maximum(odds, 0), 0).ravel(), minlength=count)
    weight[0] = 0
    kept = weight >= share * weight.max()
    kept[0] = False
    return np.asarray(kept[labels])


def fill_holes(mask: Mask, odds: Field, px: int) -> Mask:
    """Fill holes of at most `px` pixels, and larger ones whose mean evidence (`odds`) is for the object."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    if count <= 2:
        return mask
    area = stats[:, cv2.CC_STAT_AREA]
    evidence = np.bincount(labels.ravel(), weights=odds.ravel(), minlength=count) / np.maximum(area, 1)
    filled = (area <= px) | (evidence > 0.3)
    left, top = stats[:, cv2.CC_STAT_LEFT], stats[:, cv2.CC_STAT_TOP]
    right, bottom = left + stats[:, cv2.CC_STAT_WIDTH], top + stats[:, cv2.CC_STAT_HEIGHT]
    filled &= (left > 0) & (top > 0) & (right < mask.shape[1]) & (bottom < mask.shape[0])
    filled[0] = False
    return np.asarray(mask | filled[labels])


def signed_distance(mask: Mask) -> Field:
    """(H, W) float32 distance in px to the mask's outline, positive inside."""
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)
    return np.asarray(inside - outside, np.float32)


def grow(mask: Mask, px: int) -> Mask:
    """Dilate by a disc of radius `px`."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    near = slice(max(0, y - px), y + height + px), slice(max(0, x - px), x + width + px)
    grown = np.zeros(mask.shape, bool)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * px + 1, 2 * px + 1))
    if width:
        grown[near] = cv2.dilate(mask[near].astype(np.uint8), kernel) > 0
    return grown


def ring(mask: Mask, inner: int, outer: int) -> Mask:
    """Pixels between `inner` and `outer` px away from the mask."""
    return grow(mask, outer) & ~grow(mask, inner)


def grow_within(mask: Mask, allowed: Mask, steps: int) -> Mask:
    """Dilate `mask` by 3 px a step, each step only into `allowed`."""
    grown, kernel = mask.astype(np.uint8), np.ones((7, 7))
    field = (allowed | mask).astype(np.uint8)
    for _ in range(steps):
        wider = np.asarray(cv2.bitwise_and(cv2.dilate(grown, kernel), field), np.uint8)
        if np.array_equal(wider, grown):
            break
        grown = wider
    return np.asarray(grown > 0)


def window_around(box: Box, margin: float, shape: tuple[int, ...]) -> Window:
    """Slices of the box grown by `margin` px, cut at the frame of (height, width), at least 2 px each way."""
    height, width = shape[:2]
    near = box.grown(margin)
    x1, y1 = int(np.clip(near.x1, 0, width - 2)), int(np.clip(near.y1, 0, height - 2))
    x2, y2 = int(np.clip(near.x2, x1 + 2, width)), int(np.clip(near.y2, y1 + 2, height))
    return slice(y1, y2), slice(x1, x2)

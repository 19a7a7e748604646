"""Where exactly an outline runs: masks and log odds brought to the picture's own edges."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.shape import Field, Mask

_CHROMA_SHARE = 0.5  # video halves the chroma's resolution, so lightness says more about where an edge is
_CLEAR = 24.0  # levels of contrast below which an edge is not moved


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

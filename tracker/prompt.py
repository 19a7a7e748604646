"""From a box to the first mask."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.cues import ColourModel, shade_and_hue
from tracker.edges import settle_edge
from tracker.shape import Mask, fill_holes, grow, keep_parts, window_around

_ROUNDS = 6  # of GrabCut
_SMALL_PX = 64  # a box of fewer pixels teaches GrabCut nothing


def cut_out(frame: NDArray[np.uint8], box: tuple[int, int, int, int]) -> Mask:
    """Mask (H, W) of the object that `box` (x1, y1, x2, y2 px) encloses in an RGB frame.

    GrabCut (Rother, Kolmogorov, Blake 2004, OpenCV's) on a crop of the frame. Where it finds nothing, the whole box:
    the user said that the object is there.
    """
    x1, y1, x2, y2 = box
    mask = np.zeros(frame.shape[:2], bool)
    mask[y1:y2, x1:x2] = True
    window = window_around(box, max(20, (x2 - x1) // 3, (y2 - y1) // 3), mask.shape)
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

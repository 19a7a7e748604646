"""Logits to masks that never share a pixel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def exclusive_masks(logits: Mapping[int, NDArray[np.float32]]) -> dict[int, NDArray[np.bool_]]:
    """{object: logits (H, W) float32} to {object: mask (H, W) bool}.

    A pixel belongs to the object with the highest logit there, if that is above 0; of two equal ones to the earlier
    in the mapping. The rule of upstream's non_overlap_masks (sam2_base.py, _apply_non_overlapping_constraints).
    """
    masks: dict[int, NDArray[np.bool_]] = {}
    best: NDArray[np.float32] | None = None
    for identity, values in logits.items():
        mask = values > 0
        if best is None:
            best = values
        else:
            wins = values > best
            mask &= wins
            for earlier in masks.values():
                earlier &= ~wins
            best = np.maximum(best, values)
        masks[identity] = mask
    return masks

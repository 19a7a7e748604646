"""Outlines of objects in real clips, drawn by hand on some of their frames, as masks; and masks carried between them.

The file (tests/tracker/witness/outlines.json) says how they were drawn, and of which clips. Only what was drawn is
truth. `carried` fills the frames between: the nearest outline is moved, turned and scaled with the optical flow
of what it holds, so that there is a mask for every frame. Those masks are never scored.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.errors import InputError
from handoff.files import sha256_file
from handoff.masks import Mask
from handoff.video import Frame, read_frames

_FINER = 4
"""A pixel is the object's where at least half of its _FINER x _FINER parts are."""
_FLOW_HEIGHT = 360  # px: flow is found in a clip of that height


@dataclass(frozen=True)
class Outlines:
    """What was drawn of one clip: the object's class, and its mask (H, W) bool on some frames."""

    label: str
    frames: int
    masks: dict[int, Mask]


def read_outlines(file: Path, clip: Path) -> Outlines:
    """Return what `file` says of a clip; InputError where the clip is not the one that it was drawn on."""
    known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["clips"]
    drawn = known.get(clip.name)
    if drawn is None or drawn["sha256"] != sha256_file(clip):
        raise InputError(f"{clip} is none of the clips whose outlines {file.name} has: {', '.join(known)}.")
    size = drawn["width"], drawn["height"]
    masks = {each["frame"]: filled(each["polygons"], each["holes"], *size) for each in drawn["outlines"]}
    return Outlines(drawn["object"], drawn["frames"], masks)


def filled(
    polygons: Sequence[Sequence[Sequence[float]]], holes: Sequence[Sequence[Sequence[float]]], width: int, height: int
) -> Mask:
    """Return the mask (H, W) bool of polygons of x, y in px, without the holes; pixel k reaches from k to k + 1."""
    canvas = np.zeros((height * _FINER, width * _FINER), np.uint8)
    for rings, value in ((polygons, 1), (holes, 0)):
        for ring in rings:
            cv2.fillPoly(canvas, [np.rint(np.array(ring) * _FINER - 0.5).astype(np.int32)], (value,))
    parts = canvas.reshape(height, _FINER, width, _FINER).sum((1, 3), dtype=np.uint16)
    return np.asarray(2 * parts >= _FINER * _FINER)


def carried(clip: Path, outlines: dict[int, Mask], frames: int) -> list[Mask]:
    """Return a mask for every frame of a clip: an outline where there is one, else the nearest, carried by flow."""
    gray = [_small(frame) for frame in read_frames(clip)]
    if len(gray) != frames:
        raise InputError(f"{clip} has {len(gray)} frames and not {frames}.")
    drawn = sorted(outlines)
    masks: list[Mask | None] = [outlines.get(index) for index in range(frames)]
    for at, start in enumerate(drawn):
        before = (drawn[at - 1] + start) // 2 if at else -1
        after = (start + drawn[at + 1]) // 2 if at + 1 < len(drawn) else frames - 1
        for steps, step in ((range(start + 1, after + 1), 1), (range(start - 1, before, -1), -1)):
            mask = outlines[start]
            for index in steps:
                mask = masks[index] = _carried(mask, gray[index - step], gray[index])
    return [np.zeros_like(outlines[drawn[0]]) if mask is None else mask for mask in masks]


def _carried(mask: Mask, here: NDArray[np.uint8], there: NDArray[np.uint8]) -> Mask:
    """Return the mask in the next picture: moved, turned and scaled as most of what it holds was."""
    height, width = mask.shape
    scale = width / here.shape[1]
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(here, there, None)
    held = cv2.resize(mask.astype(np.uint8), here.shape[::-1], interpolation=cv2.INTER_NEAREST).astype(bool)
    rows, columns = np.nonzero(held)
    if len(rows) < 3:
        return mask
    points = np.column_stack([columns, rows]).astype(np.float32)
    cv2.setRNGSeed(0)
    matrix, _ = cv2.estimateAffinePartial2D(points, points + flow[held], ransacReprojThreshold=1.0)
    if matrix is None:
        return mask
    matrix[:, 2] *= scale
    return cv2.warpAffine(mask.astype(np.uint8), matrix, (width, height), flags=cv2.INTER_NEAREST).astype(bool)


def _small(frame: Frame) -> NDArray[np.uint8]:
    height, width = frame.shape[:2]
    scale = _FLOW_HEIGHT / height
    small = cv2.resize(frame, (round(width * scale), _FLOW_HEIGHT), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)

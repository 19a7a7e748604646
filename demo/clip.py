"""The whole recipe, frame by frame: the board laid into the footage, and the truth that follows from it.

The truth of a frame is the set of pixels to which the board gives at least half: its coverage, averaged over the
exposure and the pixel's area, times the share that her body leaves free, is >= 0.5. Both are whole numbers, so the
comparison is exact. The shadow is no part of the board. A frame shows all of this or, below SLIVER_PX, none of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from demo.board import build_board
from demo.choreography import Choreography
from demo.person import person_cover
from demo.render import FULL_COVERAGE, Layer, render, shadow
from demo.source import Footage

PROMPT_FRAME = 4
NOISE_LEVELS = 2.6  # gray levels of grain on the board, before it is softened like the footage's
ALPHA_FULL = FULL_COVERAGE * 255

# The board is left out of a frame where less than this would show (4 percent of it): scraps at the edge of a leg
# or of the frame, which no eye would miss and no tracker could be held to.
SLIVER_PX = 150

State = Literal["visible", "partly_hidden", "hidden", "out"]


@dataclass(frozen=True)
class TrueFrame:
    """One frame of the clip: `frame` (H, W, 3) uint8 RGB, `mask` (H, W) bool, what became of the board."""

    frame: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    state: State


@dataclass(frozen=True)
class Composite:
    """`frame` (H, W, 3) uint8 RGB; `mask` (H, W) bool, the truth; `whole_px` what the mask would count with
    nothing in front and no frame edge; `inside_px` the same cut at the frame's edge."""

    frame: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    whole_px: int
    inside_px: int


def make_clip(footage: Footage, seed: int) -> Iterator[TrueFrame]:
    """Yield every frame with its truth; the same seed gives the same bytes."""
    rng = np.random.default_rng(seed)
    motion = Choreography.draw(rng)
    mesh = build_board(rng)
    height, width = footage.plate.shape[:2]
    for index, frame in enumerate(footage.frames):
        result = composite(
            frame,
            layer=_with_grain(render(mesh, motion, index), rng),
            cover=person_cover(frame, footage.plate),
            shade=shadow(mesh, motion, index, width, height),
        )
        yield TrueFrame(result.frame, result.mask, state_of(result))


def state_of(result: Composite) -> State:
    """What became of the board in a frame.

    "out": less than SLIVER_PX of it lie in the frame; "hidden": they do, but her body leaves less than that;
    "partly_hidden": some of it is behind her or beyond the frame's edge; "visible": all of it shows.
    """
    if result.inside_px < SLIVER_PX:
        return "out"
    shown = int(np.count_nonzero(result.mask))
    if shown == 0:
        return "hidden"
    return "visible" if shown == result.whole_px else "partly_hidden"


def _with_grain(layer: Layer, rng: np.random.Generator) -> Layer:
    """The board with soft grain, mostly the same in the three channels; the footage has its own."""
    rows, columns = layer.coverage.shape
    gray = rng.normal(0.0, NOISE_LEVELS, (rows, columns, 1))
    tint = rng.normal(0.0, NOISE_LEVELS * 0.4, (rows, columns, 3))
    grain = np.asarray(cv2.GaussianBlur(gray + tint, (3, 3), 0), dtype=np.float64)
    return replace(layer, colour=layer.colour + grain * (layer.coverage[..., None] / FULL_COVERAGE))


def composite(
    frame: NDArray[np.uint8], layer: Layer, cover: NDArray[np.uint8], shade: NDArray[np.float32]
) -> Composite:
    """Put `layer` behind what `cover` (H, W) uint8 hides; `shade` (H, W) float32 0..1 darkens the ground."""
    height, width = cover.shape
    inside, patch = _overlap(layer, height, width)
    free = 255 - cover.astype(np.int64)
    alpha = np.zeros((height, width), np.int64)
    alpha[inside] = layer.coverage[patch] * free[inside]
    mask = 2 * alpha >= ALPHA_FULL

    # Not multiplied out where no shadow falls: most of the frame is the footage's own bytes.
    mixed = frame.astype(np.float32)
    darker = np.flatnonzero((shade > 0).any(axis=1))
    if darker.size:
        rows = slice(darker[0], darker[-1] + 1)
        mixed[rows] *= (1.0 - shade[rows] * (free[rows] / np.float32(255)))[..., None]
    if np.count_nonzero(mask) < SLIVER_PX:
        mask = np.zeros_like(mask)
    else:
        share = alpha[inside][..., None] / ALPHA_FULL
        mixed[inside] = mixed[inside] * (1.0 - share) + layer.colour[patch] * (free[inside] / 255)[..., None]
    return Composite(
        frame=np.clip(mixed + 0.5, 0, 255).astype(np.uint8),
        mask=mask,
        whole_px=int(np.count_nonzero(2 * layer.coverage >= FULL_COVERAGE)),
        inside_px=int(np.count_nonzero(2 * layer.coverage[patch] >= FULL_COVERAGE)),
    )


def _overlap(layer: Layer, height: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the frame under the patch, and the part of the patch inside the frame; empty when apart."""
    rows, columns = layer.coverage.shape
    left, right = np.clip((layer.x, layer.x + columns), 0, width)
    top, bottom = np.clip((layer.y, layer.y + rows), 0, height)
    inside = (slice(top, bottom), slice(left, right))
    return inside, (
        slice(top - layer.y, bottom - layer.y) if top < bottom else slice(0, 0),
        slice(left - layer.x, right - layer.x) if left < right else slice(0, 0),
    )

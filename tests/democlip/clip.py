"""The whole recipe: footage, board, truth, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from .board import build_board
from .composite import SLIVER_PX, Composite, composite
from .motion import Choreography
from .person import person_cover
from .render import FULL_COVERAGE, Layer, render, shadow
from .source import Footage

PROMPT_FRAME = 4
NOISE_LEVELS = 2.6  # gray levels of grain on the board, before it is softened like the footage's

State = Literal["visible", "partly_hidden", "hidden", "out"]


@dataclass(frozen=True)
class TrueFrame:
    """One frame of the clip: `frame` (H, W, 3) uint8 RGB, `mask` (H, W) bool, what became of the board."""

    frame: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    state: State


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

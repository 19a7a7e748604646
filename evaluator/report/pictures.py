"""Frames with both outlines drawn on them, for a person to look at. Pictures are (H, W, 3) uint8 RGB.

The original outline G is green, the outline P of the object that was tracked in the generated clip is white; where the
two coincide, white is seen. `OverlayWriter` writes every frame, `WorstFrames` keeps a handful for iou.png, however long
the clip is.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from evaluator.gate import FrameScore
from handoff.masks import Mask, draw_outline
from handoff.video import Frame, VideoWriter

Colour = tuple[int, int, int]
GREEN, RED, WHITE = (0, 255, 0), (255, 60, 60), (255, 255, 255)
ORIGINAL, GENERATED = GREEN, WHITE
"""The colours of G's and of P's outline."""

MAX_WIDTH = 1920
KEEP = 4
APART = 5
"""Frames that lie nearer than this show the same thing: only the worse one is kept."""
THUMB_WIDTH, THUMB_HEIGHT = 272, 153
_BAR_PX = 28
_MARGIN = 0.6  # of the outlines' size, shown around them


def draw_text(image: Frame, text: str, x: int, y: int, colour: Colour = WHITE, size: float = 0.5) -> None:
    """Write a line of text, its left lower corner at (x, y)."""
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)


class OverlayWriter:
    """Write overlay.mp4 of a clip of width x height px; use it as a context manager.

    Left the source, right the generated clip, above them the frame's number and IoU. with_source: whether the source
    is known, which outside a run it is not; then the generated clip stands alone.
    """

    def __init__(self, path: Path, fps: Fraction, width: int, height: int, *, with_source: bool) -> None:
        self._with_source = with_source
        sides = 1 + with_source
        self._scale = min(1.0, MAX_WIDTH / (sides * width))
        self._size = (round(width * self._scale) // 2 * 2, round(height * self._scale) // 2 * 2)
        self._video = VideoWriter(path, fps, sides * self._size[0], self._size[1] + _BAR_PX, crf=20, preset="ultrafast")

    def __enter__(self) -> OverlayWriter:
        self._video.__enter__()
        return self

    def write(self, source: Frame | None, output: Frame, original: Mask, generated: Mask, score: FrameScore) -> None:
        """Add one frame: source (None without one) and output (H, W, 3) uint8 RGB, G and P (H, W) bool."""
        width, height = self._size
        pictures = [output] if source is None else [source, output]
        canvas = np.zeros((height + _BAR_PX, len(pictures) * width, 3), np.uint8)
        for index, picture in enumerate(pictures):
            half = canvas[_BAR_PX:, index * width : (index + 1) * width]
            fits = picture.shape[1::-1] == self._size
            small = np.array(picture if fits else cv2.resize(picture, self._size, None, 0, 0, cv2.INTER_AREA), np.uint8)
            draw_outline(small, original, ORIGINAL, scale=self._scale)
            draw_outline(small, generated, GENERATED, scale=self._scale)
            half[:] = small
        verdict = f"IoU {score.iou:.4f} {score.state}, F {score.boundary_f:.3f}"
        if self._with_source:
            draw_text(canvas, f"source, frame {score.frame}: G green, P white", 8, 20, size=0.55)
            verdict = f"output: {verdict}"
        else:
            verdict = f"frame {score.frame}: {verdict}; G green, P white"
        draw_text(canvas, verdict, canvas.shape[1] - width + 8, 20, WHITE if score.passed else RED, 0.55)
        self._video.write(canvas)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._video.__exit__(kind, error, trace)


@dataclass(frozen=True)
class Thumbnail:
    """A cut-out of a generated frame with both outlines, (THUMB_HEIGHT, THUMB_WIDTH, 3) uint8 RGB."""

    score: FrameScore
    picture: Frame


class WorstFrames:
    """Offer it every frame; `thumbnails` are the worst, frames that fail first, then by IoU, in the clip's order."""

    def __init__(self) -> None:
        self._kept: list[Thumbnail] = []

    @property
    def thumbnails(self) -> list[Thumbnail]:
        """The kept ones, by frame."""
        return sorted(self._kept, key=lambda each: each.score.frame)

    def offer(self, picture: Frame, original: Mask, generated: Mask, score: FrameScore) -> None:
        """Show it a frame of the generated clip (H, W, 3) uint8 RGB, G, P and their score."""
        if not (score.original_px or score.generated_px):
            return
        near = [each for each in self._kept if abs(each.score.frame - score.frame) < APART]
        rivals = near or (self._kept if len(self._kept) >= KEEP else [])
        if rivals:
            best = max(rivals, key=lambda each: _goodness(each.score))
            if _goodness(score) >= (min(_goodness(each.score) for each in near) if near else _goodness(best.score)):
                return
            self._kept = [each for each in self._kept if each not in (near or [best])]
        self._kept.append(Thumbnail(score, thumbnail_of(picture, original, generated)))


def _goodness(score: FrameScore) -> tuple[bool, float]:
    return score.passed, score.iou


def thumbnail_of(picture: Frame, original: Mask, generated: Mask) -> Frame:
    """Return the surroundings of G and P in a picture (H, W, 3) uint8 RGB, scaled to a thumbnail, outlines drawn."""
    height, width = original.shape
    x, y, w, h = cv2.boundingRect(cv2.bitwise_or(original.view(np.uint8), generated.view(np.uint8)))
    if not w:
        x, y, w, h = 0, 0, width, height
    wide = min(width, max(w, h * THUMB_WIDTH / THUMB_HEIGHT, 32.0) * (1 + _MARGIN))
    high = wide * THUMB_HEIGHT / THUMB_WIDTH
    left = round(min(max(0.0, x + w / 2 - wide / 2), width - wide))
    top = round(min(max(0.0, y + h / 2 - high / 2), max(0.0, height - high)))
    part = picture[top : top + max(1, round(high)), left : left + max(1, round(wide))]
    scale = min(THUMB_WIDTH / part.shape[1], THUMB_HEIGHT / part.shape[0])
    small = np.asarray(cv2.resize(part, None, None, scale, scale, cv2.INTER_LINEAR), np.uint8)
    draw_outline(small, original, ORIGINAL, left=left, top=top, scale=scale)
    draw_outline(small, generated, GENERATED, left=left, top=top, scale=scale)
    canvas = np.zeros((THUMB_HEIGHT, THUMB_WIDTH, 3), np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small[:THUMB_HEIGHT, :THUMB_WIDTH]
    return canvas

"""Pictures of the worst frames, kept while the clip goes by: a handful, however long it is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from evaluator.gate import FrameScore
from evaluator.outline import GENERATED, ORIGINAL, draw_outline
from handoff.masks import Mask
from handoff.video import Frame

KEEP = 4
APART = 5
"""Frames that lie nearer than this show the same thing: only the worse one is kept."""
WIDTH, HEIGHT = 272, 153
_MARGIN = 0.6  # of the outlines' size, shown around them


@dataclass(frozen=True)
class Thumbnail:
    """A cut-out of a generated frame with both outlines, (HEIGHT, WIDTH, 3) uint8 RGB."""

    score: FrameScore
    picture: Frame


def cut_out(picture: Frame, original: Mask, generated: Mask) -> Frame:
    """Return the surroundings of G and P in a picture (H, W, 3) uint8 RGB, scaled to a thumbnail, outlines drawn."""
    height, width = original.shape
    x, y, w, h = cv2.boundingRect(cv2.bitwise_or(original.view(np.uint8), generated.view(np.uint8)))
    if not w:
        x, y, w, h = 0, 0, width, height
    wide = min(width, max(w, h * WIDTH / HEIGHT, 32.0) * (1 + _MARGIN))
    high = wide * HEIGHT / WIDTH
    left = round(min(max(0.0, x + w / 2 - wide / 2), width - wide))
    top = round(min(max(0.0, y + h / 2 - high / 2), max(0.0, height - high)))
    part = picture[top : top + max(1, round(high)), left : left + max(1, round(wide))]
    scale = min(WIDTH / part.shape[1], HEIGHT / part.shape[0])
    small = np.asarray(cv2.resize(part, None, None, scale, scale, cv2.INTER_LINEAR), np.uint8)
    draw_outline(small, original, ORIGINAL, left=left, top=top, scale=scale)
    draw_outline(small, generated, GENERATED, left=left, top=top, scale=scale)
    canvas = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small[:HEIGHT, :WIDTH]
    return canvas


class WorstFrames:
    """Offer it every frame; `thumbnails` are the worst by IoU, in the clip's order."""

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
            best = max(rivals, key=lambda each: each.score.iou)
            if score.iou >= (min(each.score.iou for each in near) if near else best.score.iou):
                return
            self._kept = [each for each in self._kept if each not in (near or [best])]
        self._kept.append(Thumbnail(score, cut_out(picture, original, generated)))

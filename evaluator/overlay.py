"""overlay.mp4: the source and the generated clip side by side, with both outlines and the IoU, for a person to look at.

Left the source, right the generated clip; on both, the original outline G in green and the outline P of the object that
was tracked in the generated clip in white. Where the two coincide, white is seen. Outside a run the source is not
known, and the generated clip stands alone.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from evaluator.gate import FrameScore
from evaluator.outline import GENERATED, ORIGINAL, RED, WHITE, draw_outline, draw_text
from handoff.masks import Mask
from handoff.video import Frame, VideoWriter

MAX_WIDTH = 1920
_BAR_PX = 28


class OverlayWriter:
    """Write overlay.mp4 of a clip of width x height px; use it as a context manager.

    with_source: whether there is a source to show beside the generated clip.
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
        verdict = f"IoU {score.iou:.4f} {'PASS' if score.passed else 'FAIL'}, F {score.boundary_f:.3f}"
        if self._with_source:
            draw_text(canvas, f"source, frame {score.frame}: G green, P white", 8, 20, size=0.55)
            verdict = f"output: {verdict}"
        else:
            verdict = f"frame {score.frame}: {verdict}; G green, P white"
        draw_text(canvas, verdict, canvas.shape[1] - width + 8, 20, WHITE if score.passed else RED, 0.55)
        self._video.write(canvas)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._video.__exit__(kind, error, trace)

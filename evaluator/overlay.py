"""overlay.mp4: the source and the generated clip side by side, with both outlines and the IoU, for a person to look at.

Left: the source with the original outline G (green). Right: the generated clip with G (green) and the outline P of the
object that was tracked in it (white).
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from evaluator.gate import FrameScore
from handoff.masks import Mask
from handoff.video import Frame, VideoWriter

GREEN, RED, WHITE = (0, 255, 0), (255, 60, 60), (255, 255, 255)
MAX_WIDTH = 1920
_BAR_PX = 28


def draw_outline(image: Frame, mask: Mask, colour: tuple[int, int, int]) -> None:
    """Draw a mask's outline, 1 px wide, into an image (H, W, 3) uint8 RGB, in place."""
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, contours, -1, colour, 1)


def _text(image: Frame, text: str, x: int, colour: tuple[int, int, int]) -> None:
    cv2.putText(image, text, (x, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, colour, 1, cv2.LINE_AA)


class OverlayWriter:
    """Write overlay.mp4 of a clip of width x height px; use it as a context manager."""

    def __init__(self, path: Path, fps: Fraction, width: int, height: int) -> None:
        scale = min(1.0, MAX_WIDTH / (2 * width))
        self._size = (round(width * scale) // 2 * 2, round(height * scale) // 2 * 2)
        self._video = VideoWriter(path, fps, 2 * self._size[0], self._size[1] + _BAR_PX, crf=18)

    def __enter__(self) -> OverlayWriter:
        self._video.__enter__()
        return self

    def write(self, source: Frame, output: Frame, original: Mask, generated: Mask, score: FrameScore) -> None:
        """Add one frame: source and output (H, W, 3) uint8 RGB, G and P (H, W) bool."""
        left, right = source.copy(), output.copy()
        draw_outline(left, original, GREEN)
        draw_outline(right, original, GREEN)
        draw_outline(right, generated, WHITE)
        width, height = self._size
        canvas = np.zeros((height + _BAR_PX, 2 * width, 3), np.uint8)
        for index, half in enumerate((left, right)):
            fitted = (
                half if half.shape[1::-1] == self._size else cv2.resize(half, self._size, None, 0, 0, cv2.INTER_AREA)
            )
            canvas[_BAR_PX:, index * width : (index + 1) * width] = fitted
        _text(canvas, f"source, frame {score.frame}: original outline (green)", 8, WHITE)
        verdict = f"IoU {score.iou:.4f} {'PASS' if score.passed else 'FAIL'}: re-tracked outline (white)"
        _text(canvas, verdict, width + 8, WHITE if score.passed else RED)
        self._video.write(canvas)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._video.__exit__(kind, error, trace)

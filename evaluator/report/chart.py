"""iou.png: the figures over time, and the worst frames. Drawn with OpenCV, which the tracker brings along anyway.

From the bottom of the file up: `write_chart`, `draw_chart`, the two panels of `_draw_curves`, one `_Panel`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from evaluator.report.pictures import THUMB_HEIGHT, THUMB_WIDTH, Colour, Thumbnail, draw_text
from evaluator.report.result import Result
from handoff.files import atomic_file
from handoff.masks import write_png
from handoff.video import Frame

WIDTH = 1200
_LEFT, _RIGHT, _GAP = 60, 20, 40
_MAIN, _SECOND = 300, 130
_BLACK, _GRAY, _GRID, _SHADE = (20, 20, 20), (110, 110, 110), (222, 222, 222), (228, 232, 240)
_IOU, _FLOOR, _F, _THRESHOLD, _FAIL = (20, 90, 200), (235, 140, 30), (150, 150, 150), (200, 30, 30), (220, 0, 0)
_LEAK, _GAPS, _CLIP = (190, 30, 140), (30, 130, 60), (120, 80, 20)

Values = Sequence[float | None]


@dataclass(frozen=True)
class _Panel:
    """A plot of frames 0..frames-1 across, low..high upward, in the picture's rows top..top+height."""

    canvas: Frame
    top: int
    height: int
    frames: int
    low: float
    high: float

    def x(self, frame: float) -> float:
        return _LEFT + (frame + 0.5) * (WIDTH - _LEFT - _RIGHT) / self.frames

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.top + self.height * (1 - share)

    def shade(self, shaded: Sequence[bool]) -> None:
        for frame, dark in enumerate(shaded):
            if dark:
                corners = (round(self.x(frame - 0.5)), self.top), (round(self.x(frame + 0.5)), self.top + self.height)
                cv2.rectangle(self.canvas, *corners, _SHADE, cv2.FILLED)

    def frame_it(self, step: float) -> None:
        for value in np.arange(self.low, self.high + step / 2, step):
            y = round(self.y(float(value)))
            cv2.line(self.canvas, (_LEFT, y), (WIDTH - _RIGHT, y), _GRID, 1)
            draw_text(self.canvas, f"{value:.2f}", 14, y + 5, _GRAY, 0.42)
        for frame in range(0, self.frames, _tick(self.frames)):
            x = round(self.x(frame))
            cv2.line(self.canvas, (x, self.top + self.height), (x, self.top + self.height + 4), _GRAY, 1)
            draw_text(self.canvas, str(frame), x - 6, self.top + self.height + 18, _GRAY, 0.42)

    def curve(self, values: Values, colour: Colour, width: int = 1) -> None:
        """Draw a curve that breaks where there is no value; a value between two gaps is a dot."""
        before: tuple[int, int] | None = None
        for frame, value in enumerate(values):
            point = None if value is None else (round(self.x(frame) * 16), round(self.y(value) * 16))
            if point is not None:
                cv2.line(self.canvas, before or point, point, colour, width, cv2.LINE_AA, 4)
            before = point

    def dashes(self, value: float, colour: Colour) -> None:
        y = round(self.y(value))
        for x in range(_LEFT, WIDTH - _RIGHT, 12):
            cv2.line(self.canvas, (x, y), (x + 6, y), colour, 1)

    def dots(self, values: Values, wanted: Sequence[bool], colour: Colour) -> None:
        for frame, (value, dot) in enumerate(zip(values, wanted, strict=True)):
            if dot and value is not None:
                cv2.circle(self.canvas, (round(self.x(frame)), round(self.y(value))), 4, colour, cv2.FILLED)


def _tick(frames: int) -> int:
    return next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**3, 10**4, 10**9) if frames / step <= 20)


def _legend(canvas: Frame, y: int, names: Sequence[tuple[str, Colour]]) -> None:
    x = _LEFT
    for name, colour in names:
        cv2.rectangle(canvas, (x, y - 9), (x + 14, y - 1), colour, cv2.FILLED)
        draw_text(canvas, name, x + 20, y, _BLACK, 0.45)
        x += 20 + cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0] + 26


def _draw_curves(canvas: Frame, result: Result, top: int) -> int:
    """Draw both panels; returns the row under them."""
    scores, frames = result.scores, result.expected
    floor = [score.floor_iou for score in scores]
    lowest = min([result.threshold, *(s.iou for s in scores), *(each for each in floor if each is not None)])
    low = max(0.0, np.floor(lowest * 10 - 0.5) / 10)
    absent = [not score.original_px for score in scores]
    panel = _Panel(canvas, top, _MAIN, frames, low, 1.0)
    panel.shade(absent)
    panel.frame_it(0.05 if low >= 0.6 else 0.1)
    panel.dashes(result.threshold, _THRESHOLD)
    panel.curve([score.boundary_f for score in scores], _F)
    panel.curve(floor, _FLOOR)
    panel.curve([score.iou for score in scores], _IOU, 2)
    panel.dots([score.iou for score in scores], [not score.passed for score in scores], _FAIL)
    names = [("IoU", _IOU), (f"threshold {result.threshold:g}", _THRESHOLD), ("boundary F", _F)]
    names += [("noise floor", _FLOOR)] if result.calibrated else []
    _legend(canvas, top - 12, [*names, ("failing frame", _FAIL), ("no object in the original", _SHADE)])
    top += _MAIN + _GAP + 24
    shares = {"leak": _LEAK, "gap": _GAPS, "clip": _CLIP}
    values: dict[str, Values] = {name: [getattr(score, name) for score in scores] for name in shares}
    highest = max([0.1, *(value for each in values.values() for value in each if value is not None)])
    panel = _Panel(canvas, top, _SECOND, frames, 0.0, float(np.ceil(highest * 10) / 10))
    panel.shade(absent)
    panel.frame_it(panel.high / 2)
    for name, colour in shares.items():
        panel.curve(values[name], colour)
    _legend(canvas, top - 12, [(name, colour) for name, colour in shares.items()])
    return top + _SECOND + _GAP


def draw_chart(result: Result, worst: Sequence[Thumbnail]) -> Frame:
    """Return the chart, (H, WIDTH, 3) uint8 RGB."""
    height = 70 + _MAIN + _GAP + 24 + _SECOND + _GAP + (THUMB_HEIGHT + 40 if worst else 0)
    canvas = np.full((height, WIDTH, 3), 255, np.uint8)
    verdict = result.verdict
    said = "PASS" if result.passed else "FAIL" if result.complete else f"cut short after {len(result.scores)} frames"
    title = (
        f"Gate: {said}.  IoU mean {verdict.mean:.4f}, minimum {verdict.minimum:.4f} at frame {verdict.minimum_frame}, "
        f"{verdict.failed} of {verdict.frames} frames fail"
    )
    draw_text(canvas, title, 14, 26, _BLACK if result.passed else _FAIL, 0.6)
    top = _draw_curves(canvas, result, 70)
    for index, each in enumerate(worst):
        x = _LEFT + index * (THUMB_WIDTH + 8)
        text = f"frame {each.score.frame}: IoU {each.score.iou:.4f}"
        draw_text(canvas, text, x, top + 12, _BLACK if each.score.passed else _FAIL, 0.45)
        part = canvas[top + 20 : top + 20 + THUMB_HEIGHT, x : x + THUMB_WIDTH]
        part[:] = each.picture[:, : part.shape[1]]
    return canvas


def write_chart(path: Path, result: Result, worst: Sequence[Thumbnail]) -> None:
    """Write iou.png, atomically."""
    with atomic_file(path) as partial:
        write_png(partial, draw_chart(result, worst))

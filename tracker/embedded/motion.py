"""How the picture moved between two frames: dense flow, and the camera's share of it as a homography."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.embedded.outline import Field, Window

_FLOW_WIDTH = 320  # px; half of the demo's 640, where DIS costs about 8 ms of CPU


class Motion:
    """Dense optical flow (DIS, Kroeger et al. 2016, OpenCV's implementation) on a reduced gray picture."""

    def __init__(self, gray: NDArray[np.uint8]) -> None:
        self._height, self._width = gray.shape
        self._scale = min(1.0, _FLOW_WIDTH / self._width)
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._last = self._reduce(gray)

    def _reduce(self, gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
        size = (max(16, round(self._width * self._scale)), max(16, round(self._height * self._scale)))
        return cv2.resize(gray, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)

    def advance(self, gray: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Flow (h, w, 2) in reduced pixels from each pixel of this frame back to the last frame."""
        now = self._reduce(gray)
        flow = self._dis.calc(now, self._last, None)  # type: ignore[call-overload]
        self._last = now
        result: NDArray[np.float32] = np.asarray(flow, np.float32)
        return result

    def carry(
        self, field: NDArray[np.float32], flow: NDArray[np.float32], window: tuple[slice, slice]
    ) -> NDArray[np.float32]:
        """Move a (H, W) field of the last frame to this one, inside `window`; from outside the frame comes -50."""
        height, width = field.shape
        scale_x, scale_y = width / flow.shape[1], height / flow.shape[0]
        x, y = np.meshgrid(
            np.arange(window[1].start, window[1].stop, dtype=np.float32),
            np.arange(window[0].start, window[0].stop, dtype=np.float32),
        )
        here_x, here_y = ((x + 0.5) / scale_x - 0.5).astype(np.float32), ((y + 0.5) / scale_y - 0.5).astype(np.float32)
        step = cv2.remap(flow, here_x, here_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        x += step[..., 0] * np.float32(scale_x)
        y += step[..., 1] * np.float32(scale_y)
        moved = cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(-50.0,))
        return np.asarray(moved, np.float32)

    def camera(self, flow: NDArray[np.float32], outside: NDArray[np.bool_]) -> NDArray[np.float64] | None:
        """Homography (3, 3) from this frame's pixels to the last frame's; None for a camera that stood still.

        `outside` (H, W) are pixels not on the object. Fitted by RANSAC, so people walking by do no harm.
        """
        small_h, small_w = flow.shape[:2]
        free = cv2.resize(outside.astype(np.uint8), (small_w, small_h), interpolation=cv2.INTER_NEAREST) > 0
        grad = cv2.absdiff(self._last, cv2.blur(self._last, (5, 5)))
        ys, xs = (axis.ravel() for axis in np.mgrid[4 : small_h - 4 : 6, 4 : small_w - 4 : 6])
        good = free[ys, xs] & (cv2.dilate(grad, np.ones((3, 3)))[ys, xs] > 4)
        xs, ys = xs[good], ys[good]
        if len(xs) < 24:
            return None
        vectors = flow[ys, xs]
        if np.mean(np.hypot(vectors[:, 0], vectors[:, 1]) < 0.12) > 0.5:
            return None
        scale = np.array([self._width / small_w, self._height / small_h])
        here = (np.stack([xs, ys], 1) + 0.5) * scale - 0.5
        there = here + vectors * scale
        matrix, inliers = cv2.findHomography(here, there, cv2.RANSAC, 1.0, maxIters=300)
        if matrix is None or int(inliers.sum()) < 0.3 * len(xs):
            return None
        result: NDArray[np.float64] = np.asarray(matrix, np.float64)
        return result


def best_shift(odds: Field, distance: Field, speed: NDArray[np.float64], window: Window, reach: int) -> Field:
    """The last mask's signed distance, moved by the whole-pixel shift under which `odds` fits it best, in `window`.

    odds: log odds in `window` of this frame. speed: x, y px a frame; shifts within `reach` px of it are tried.
    """
    rows, columns = np.nonzero(distance > -3)
    top, left = rows.min(), columns.min()
    patch = np.clip(distance[top : rows.max() + 1, left : columns.max() + 1], -3, 3)
    guess = np.round(speed).astype(int)
    first_y, first_x = top + guess[1] - reach - window[0].start, left + guess[0] - reach - window[1].start
    height, width = patch.shape[0] + 2 * reach, patch.shape[1] + 2 * reach
    field = _cut(np.clip(odds, -3, 3), first_y, first_x, height, width)
    score = cv2.matchTemplate(field, np.ascontiguousarray(patch), cv2.TM_CCORR)
    y, x = np.unravel_index(int(np.argmax(score)), score.shape)
    shift_x, shift_y = guess[0] - reach + x, guess[1] - reach + y
    matrix = np.array([[1, 0, shift_x - window[1].start], [0, 1, shift_y - window[0].start]], np.float64)
    moved = cv2.warpAffine(
        distance,
        matrix,
        (odds.shape[1], odds.shape[0]),
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(-50.0,),
    )
    return np.asarray(moved, np.float32)


def _cut(field: Field, top: int, left: int, height: int, width: int) -> Field:
    """A (height, width) piece of `field` from (top, left), which may lie outside; 0 there."""
    piece = np.zeros((height, width), np.float32)
    y1, x1 = max(0, top), max(0, left)
    y2, x2 = min(field.shape[0], top + height), min(field.shape[1], left + width)
    if y2 > y1 and x2 > x1:
        piece[y1 - top : y2 - top, x1 - left : x2 - left] = field[y1:y2, x1:x2]
    return piece

"""YOLOX (Ge, Liu, Wang, Li, Sun 2021) on ONNX Runtime: frames in, detections of all 80 COCO classes out.

The official ONNX files (release 0.1.1rc0) take BGR in 0..255, scaled to fit and padded with gray at the right and the
bottom, and give one row a cell of three grids: the box in cells, an objectness and 80 class scores, decoded here.
Read `YoloxDetector`; what it is made of stands above it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.detections.coco import CLASSES
from handoff.detections.samples import Detection
from handoff.errors import InputError
from handoff.places import Box
from handoff.video import Frame
from handoff.weights import find_with_digest
from posegen.models import DETECTORS
from posegen.onnx_session import open_session

Floats = NDArray[np.float32]

SCORE_THR = 0.1
"""Detections below this are not kept. Low, so that near-misses can be told and another object needs no new pass."""

NMS_IOU = 0.45
"""Of two boxes of one class that overlap more than this, the surer one stays (YOLOX's own value)."""

_STRIDES = (8, 16, 32)
_PAD = 114


def letterbox(frame: Frame, height: int, width: int) -> tuple[Floats, float]:
    """Return an RGB frame as (3, height, width) float32 BGR in 0..255, and the factor it was scaled by.

    The picture is at the left upper corner, as YOLOX was trained; what is left over is gray.
    """
    ratio = min(height / frame.shape[0], width / frame.shape[1])
    size = max(1, int(frame.shape[1] * ratio)), max(1, int(frame.shape[0] * ratio))
    scaled = cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
    canvas = np.full((3, height, width), _PAD, np.float32)
    canvas[:, : size[1], : size[0]] = scaled[..., ::-1].transpose(2, 0, 1)
    return canvas, ratio


def grid(height: int, width: int) -> tuple[Floats, Floats]:
    """Return the cells' left upper corners (N, 2), in cells, and their sizes (N, 1), in px, of all three grids."""
    corners, sizes = [], []
    for stride in _STRIDES:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        cells = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float32)
        corners.append(cells)
        sizes.append(np.full((len(cells), 1), stride, np.float32))
    return np.concatenate(corners), np.concatenate(sizes)


def suppress(boxes: Floats, scores: Floats, iou_thr: float = NMS_IOU) -> list[int]:
    """Return the indices of the boxes (N, 4: x1, y1, x2, y2) that stay, the surest first.

    Lengths are counted as whole pixels (x2 - x1 + 1), as YOLOX's own code does.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    areas = (high - low + 1).prod(axis=1)
    left = scores.argsort()[::-1]
    kept = []
    while left.size:
        best, left = int(left[0]), left[1:]
        kept.append(best)
        overlap = np.maximum(0, np.minimum(high[best], high[left]) - np.maximum(low[best], low[left]) + 1)
        shared = overlap.prod(axis=1)
        left = left[shared / (areas[best] + areas[left] - shared) <= iou_thr]
    return kept


class YoloxDetector:
    """A YOLOX model of an ONNX file.

    path: the file. sha256: its digest, in hex: no other bytes are loaded. device: "auto", "cuda" or "cpu", see
    posegen.onnx_session. Raises InputError for a file that is no YOLOX model of 80 classes, DigestError for another.
    """

    def __init__(self, path: Path, sha256: str, device: str = "auto") -> None:
        self.path, self.sha256 = path, sha256
        self._session = open_session(path, device, sha256)
        inputs, outputs = self._session.inputs, self._session.outputs
        shape = inputs[0].shape if len(inputs) == 1 and inputs[0].type == "tensor(float)" else ()
        sides = [side for side in shape[2:] if side is not None and side % _STRIDES[-1] == 0]
        if len(shape) != 4 or shape[1] != 3 or len(sides) != 2 or len(outputs) != 1:
            raise InputError(_not_yolox(path, f"it has {', '.join(map(str, [*inputs, *outputs]))}"))
        self.height, self.width = sides
        self.batch = shape[0]
        self._corners, self._sizes = grid(self.height, self.width)

    @property
    def device(self) -> str:
        """Where it runs: "cuda" or "cpu"."""
        return self._session.device

    def detect(self, frames: Sequence[Frame], score_thr: float = SCORE_THR) -> list[list[Detection]]:
        """Return what is in each frame ((H, W, 3) uint8 RGB), the surest first; scores above `score_thr`.

        Frames go through the network together where the file's batch axis allows, else one by one.
        """
        pictures, ratios = zip(*(letterbox(frame, self.height, self.width) for frame in frames), strict=True)
        size = self.batch or len(frames)
        rows = [row for start in range(0, len(frames), size) for row in self._run(pictures[start : start + size])]
        return [
            self._decode(row, ratio, frame.shape[:2], score_thr)
            for row, ratio, frame in zip(rows, ratios, frames, strict=True)
        ]

    def _run(self, pictures: Sequence[Floats]) -> Floats:
        batch = np.stack(pictures)
        short = (self.batch or len(batch)) - len(batch)
        if short:  # a fixed batch is filled up, and what was filled in is cut off
            batch = np.concatenate([batch, np.zeros((short, *batch.shape[1:]), np.float32)])
        output = self._session.run(batch)[0]
        if output.shape[1:] != (len(self._corners), 5 + len(CLASSES)):
            raise InputError(_not_yolox(self.path, f"its output is {list(output.shape)}"))
        return output[: len(pictures)]

    def _decode(self, output: Floats, ratio: float, shape: tuple[int, ...], score_thr: float) -> list[Detection]:
        """Return the detections of one frame of `shape` (height, width) from its rows (N, 85)."""
        scores = output[:, 4:5] * output[:, 5:]
        # nan (a broken model or picture) is above nothing, so it is never a detection
        seen = np.flatnonzero((scores > score_thr).any(axis=1))
        output, scores = output[seen], scores[seen]
        centre = (output[:, :2] + self._corners[seen]) * self._sizes[seen]
        half = np.exp(output[:, 2:4]) * self._sizes[seen] / 2
        boxes = np.concatenate([centre - half, centre + half], axis=1) / ratio
        found = []
        for label in range(len(CLASSES)):
            mine = np.flatnonzero((scores[:, label] > score_thr) & np.isfinite(boxes).all(axis=1))
            kept = mine[suppress(boxes[mine], scores[mine, label])]
            found += [(label, float(scores[row, label]), boxes[row]) for row in kept]
        height, width = shape
        edges = np.array([width, height, width, height], np.float32)
        cut = ((label, score, np.clip(box, 0, edges)) for label, score, box in sorted(found, key=lambda each: -each[1]))
        return [
            Detection(label, score, Box(*(float(side) for side in box)))
            for label, score, box in cut
            if box[2] - box[0] >= 1 and box[3] - box[1] >= 1
        ]


def open_detector(size: str, device: str = "auto") -> YoloxDetector:
    """Return the detector of a size (a key of posegen.models.DETECTORS), its weights verified.

    Raises MissingError where they or the device are not there, DigestError where they are others.
    """
    path, sha256 = find_with_digest(DETECTORS[size])
    return YoloxDetector(path, sha256, device)


def _not_yolox(path: Path, why: str) -> str:
    return (
        f"{path} is no YOLOX detector of the {len(CLASSES)} COCO classes ({why}); use one of the official files "
        "(make weights PROFILE=detect)."
    )

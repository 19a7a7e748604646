"""Pictures for benchmarks: smooth random texture, and a square that crosses it. Frames are (H, W, 3) uint8 RGB."""

from __future__ import annotations

import cv2
import numpy as np

from handoff.video import Frame


def textured(height: int, width: int, seed: int = 0) -> Frame:
    """A picture with smooth random texture, the same for the same seed."""
    small = np.random.default_rng(seed).integers(30, 220, (height // 8 + 2, width // 8 + 2, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def moving_scene(count: int, width: int = 96, height: int = 72) -> list[Frame]:
    """Frames in which a textured square crosses a textured ground that pans."""
    ground, patch = textured(height, width + 2 * count, 1), 255 - textured(24, 24, 2)
    frames = []
    for index in range(count):
        frame = ground[:, index : index + width].copy()
        x, y = (7 * index) % (width - 24), 20 + index % 17
        frame[y : y + 24, x : x + 24] = patch
        frames.append(frame)
    return frames

"""Frames for SAM 2.1 in memory and in a folder, and upstream's own plain loop to compare with.

The small SAM 2.1 that stands in for the real one is the benchmark's, bench/standin.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.scenes import moving_scene
from bench.standin import SMALL, small_predictor, write_checkpoint
from handoff.video import Frame
from tracker.sam2.predictor import Predictor

__all__ = ["SMALL", "moving_scene", "small_predictor", "write_checkpoint"]


class ArrayFrames:
    """Frames that are already in memory, as a source."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.height, self.width = frames[0].shape[:2]
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, start: int, stop: int) -> Iterator[Frame]:
        return iter(self.frames[start:stop])


def write_frame_folder(folder: Path, frames: Sequence[Frame]) -> Path:
    """A folder as upstream wants it, without loss: PNG data in files named .jpg (Pillow goes by the content)."""
    folder.mkdir(parents=True)
    for index, frame in enumerate(frames):
        data = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))[1]
        (folder / f"{index:05d}.jpg").write_bytes(data.tobytes())
    return folder


Logits = dict[int, dict[int, NDArray[np.float32]]]  # frame to object to (H, W)


def upstream_logits(predictor: Predictor, folder: Path, prompts: Sequence[dict[str, object]]) -> Logits:
    """Upstream's plain loop: all prompts into one state, forward from the first one, then backward."""
    state = predictor.init_state(str(folder))  # type: ignore[attr-defined]
    for prompt in prompts:
        add = predictor.add_new_mask if "mask" in prompt else predictor.add_new_points_or_box
        add(state, **prompt)
    result: Logits = {}
    for reverse in (False, True):
        for index, ids, logits in predictor.propagate_in_video(state, start_frame_idx=None, reverse=reverse):  # type: ignore[arg-type]
            result[index] = {identity: logits[row, 0].numpy().copy() for row, identity in enumerate(ids)}
    return result

"""`SkateboardTracker`: from a clip and one box to a mask for every frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handoff.box import Box, check_box
from handoff.errors import InputError, UsageError
from handoff.masks import MaskSequenceWriter
from handoff.progress import progress
from handoff.video import ClipInfo, probe
from tracker.backends import Prompt, make_backend

Mask = NDArray[np.bool_]  # (H, W), True on the object

MASK_VIDEO = "mask.mp4"
MASK_FOLDER = "mask_skateboard"


class SkateboardTracker:
    """Track one object through a clip.

        tracker = SkateboardTracker()
        tracker.init_video("source.mp4")
        tracker.add_initial_prompt(0, (120, 200, 260, 240))
        for frame_index, mask in tracker.propagate():
            ...

    `lost_frames` lists the frames in which the last propagation found no object.
    """

    def __init__(self, backend: str = "embedded") -> None:
        self._backend = make_backend(backend)
        self._path: Path | None = None
        self._info: ClipInfo | None = None
        self._prompt: Prompt | None = None
        self.lost_frames: list[int] = []

    @property
    def description(self) -> str:
        """What tracks, in words: for log lines, run.json and reports."""
        return self._backend.description

    @property
    def info(self) -> ClipInfo:
        """Size, rate and decoded frame count of the clip."""
        if self._info is None:
            raise UsageError("no clip was given: call init_video(path) first.")
        return self._info

    def init_video(self, path: str | Path) -> ClipInfo:
        """Choose the clip (constant rate, as ingest writes it); forgets an earlier prompt. InputError if unreadable."""
        self._path = Path(path)
        self._info = probe(self._path)
        self._prompt, self.lost_frames = None, []
        return self._info

    def add_initial_prompt(self, frame_idx: int, bbox: Box | tuple[float, float, float, float]) -> None:
        """Say where the object is: `bbox` x1, y1, x2, y2 in px on frame `frame_idx` (counted from 0).

        Raises InputError, with the values seen, for a frame the clip does not have and for a box that is reversed,
        empty or not inside the frame.
        """
        info = self.info
        box = bbox if isinstance(bbox, Box) else Box(*bbox)
        if not 0 <= frame_idx < info.frames:
            raise InputError(
                f"frame {frame_idx} is not in the clip: it has {info.frames} frames, 0 to {info.frames - 1}."
            )
        self._prompt = Prompt(frame_idx, check_box(box, info.width, info.height))

    def propagate(self) -> Iterator[tuple[int, Mask]]:
        """Yield (frame_index, mask (H, W) bool) for every frame of the clip, 0 to n-1, each exactly once.

        The prompt may lie anywhere: the object is followed forward and backward from it. A frame where it is lost
        has an all-False mask.
        """
        info = self.info
        if self._prompt is None or self._path is None:
            raise UsageError("the object's place is not known: call add_initial_prompt(frame_idx, bbox) first.")
        self.lost_frames = []
        count = 0
        for index, mask in self._backend.track(self._path, info, self._prompt):
            if not mask.any():
                self.lost_frames.append(index)
            count += 1
            yield index, mask
        if count != info.frames:
            raise InputError(
                f"{self._path} gave {count} frames while tracking and {info.frames} before; was it replaced?"
            )

    def propagate_and_save(self, output_dir: str | Path) -> tuple[Path, Path]:
        """Write mask.mp4 (lossless) and mask_skateboard/frame_00000.png in `output_dir`; returns both paths."""
        folder, info = Path(output_dir), self.info
        video, pngs = folder / MASK_VIDEO, folder / MASK_FOLDER
        with MaskSequenceWriter(video, pngs, info.fps, info.width, info.height) as writer:
            for _, mask in progress(self.propagate(), total=info.frames, desc="tracker"):
                writer.write(mask)
        return video, pngs

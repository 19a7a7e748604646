"""Pictures on their way to the server: lossless videos."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from handoff.masks import Mask
from handoff.video import Frame, VideoWriter

_LOSSLESS_CRF = 0


def input_path(folder: Path, title: str) -> Path:
    """Return where the video for the node `title` is written."""
    return folder / f"{title.replace(',', '').replace(' ', '_')}.mp4"


def write_pictures(path: Path, pictures: Iterable[Frame], fps: Fraction, width: int, height: int) -> None:
    """Write (H, W, 3) RGB or (H, W) gray pictures as a lossless video (of 4:2:0 colours, as the source's own are)."""
    with contextlib.ExitStack() as stack:
        writer: VideoWriter | None = None
        for picture in pictures:
            if writer is None:
                mode: Literal["mask", "rgb"] = "mask" if picture.ndim == 2 else "rgb"
                made = VideoWriter(path, fps, width, height, mode=mode, crf=_LOSSLESS_CRF, preset="ultrafast")
                writer = stack.enter_context(made)
            writer.write(picture)


def to_gray(mask: Mask) -> Frame:
    """Return a mask as 0 and 255."""
    return mask.astype(np.uint8) * np.uint8(255)

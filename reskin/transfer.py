"""Pictures on their way to the server and back: lossless videos there, PNG files here."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from handoff.masks import Mask
from handoff.video import Frame, VideoWriter
from reskin.errors import BadResult
from reskin.orchestrator import ComfyOrchestrator
from reskin.server import ServerFile

OUTPUT = ("output", "SaveImage")
"""Title and class of the node that gives a window's pictures."""

_LOSSLESS_CRF = 0
_PNG_HEADER = struct.Struct(">8s4s4sII")


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


def fetch_picture(comfy: ComfyOrchestrator, file: ServerFile, path: Path, width: int, height: int) -> None:
    """Bring one picture to `path`; raise BadResult unless it is a PNG of this size, in px."""
    # a PNG of noise is no larger than its pixels and a little more
    comfy.fetch(file, path, 4 * width * height + 2**16)
    size = png_size(path)
    if size != (width, height):
        given = "no PNG" if size is None else f"{size[0]}x{size[1]} px"
        raise BadResult(f"the server gave {given} for a frame of {width}x{height} px; nothing was kept.")


def png_size(path: Path) -> tuple[int, int] | None:
    """Return (width, height) in px of a PNG file by its header, None when it is none."""
    with path.open("rb") as file:
        head = file.read(_PNG_HEADER.size)
    if len(head) < _PNG_HEADER.size:
        return None
    magic, _, chunk, width, height = _PNG_HEADER.unpack(head)
    return (width, height) if magic == b"\x89PNG\r\n\x1a\n" and chunk == b"IHDR" else None

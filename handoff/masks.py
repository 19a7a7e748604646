"""Mask sequences: one lossless MP4 and one folder of PNG files that say the same.

A mask is (H, W) bool, True on the object. On disk it is 8-bit gray, 0 or 255.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.errors import InputError, UsageError
from handoff.files import atomic_dir
from handoff.video import ClipInfo, Frame, VideoWriter, read_gray

Mask = NDArray[np.bool_]
"""(H, W) bool, True on the object."""

THRESHOLD = 128
"""Luma at or above this is object: a mask that went through a lossy encoder comes back whole (tested at CRF 23)."""


def frame_name(index: int, suffix: str = ".png") -> str:
    """Return the name of frame `index` in a folder of frames: frame_00000.png."""
    return f"frame_{index:05d}{suffix}"


def write_png(path: Path, image: Frame) -> None:
    """Write (H, W) gray or (H, W, 3) RGB uint8 as PNG."""
    picture = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", picture)
    if not done:
        raise UsageError(f"{path.name}: an array of shape {image.shape} cannot be a PNG.")
    path.write_bytes(data.tobytes())


def read_png(path: Path) -> Frame:
    """Return a picture as (H, W, 3) uint8 RGB; raise InputError when it is none."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path} is not a picture that can be read; make it again.")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


class FrameFolderWriter:
    """Write a folder of frame_00000.png that gets its name only when it is complete."""

    def __init__(self, folder: Path) -> None:
        self._atomic = atomic_dir(folder)
        self._count = 0

    def __enter__(self) -> FrameFolderWriter:
        self._folder = self._atomic.__enter__()
        return self

    def write(self, image: Frame) -> None:
        """Add one picture, (H, W) or (H, W, 3) RGB uint8."""
        write_png(self._folder / frame_name(self._count), image)
        self._count += 1

    def write_text(self, text: str, suffix: str) -> None:
        """Add one text file in place of a picture: frame_00000 + suffix."""
        (self._folder / frame_name(self._count, suffix)).write_text(text, encoding="utf-8")
        self._count += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool | None:
        return self._atomic.__exit__(kind, error, None)


class MaskSequenceWriter:
    """Write masks, (H, W) bool, to a lossless MP4 and a folder of PNG files; both appear only when complete."""

    def __init__(self, video_path: Path, png_dir: Path, fps: Fraction, width: int, height: int) -> None:
        self._video = VideoWriter(video_path, fps, width, height, mode="mask")
        self._folder = FrameFolderWriter(png_dir)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> MaskSequenceWriter:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._video)
            stack.enter_context(self._folder)
            self._stack = stack.pop_all()
        return self

    def write(self, mask: Mask) -> None:
        """Add the next frame's mask."""
        image = mask.astype(np.uint8) * np.uint8(255)
        self._video.write(image)
        self._folder.write(image)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool | None:
        return self._stack.__exit__(kind, error, None)


def _read_pngs(folder: Path) -> Iterator[Mask]:
    for index, path in enumerate(sorted(folder.glob("frame_*.png"))):
        if path.name != frame_name(index):
            raise InputError(f"{folder} has {path.name} where {frame_name(index)} should be: a frame is missing.")
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise InputError(f"{path} is not a picture that can be read; make the masks again.")
        yield image >= THRESHOLD


def read_masks(path: Path) -> Iterator[Mask]:
    """Yield the masks of a mask video or of a folder of frame_00000.png, (H, W) bool, in order."""
    if path.is_dir():
        return _read_pngs(path)
    return (image >= THRESHOLD for image in read_gray(path))


def check_mask_sequence(path: Path, info: ClipInfo) -> None:
    """Raise InputError unless `path` has exactly the clip's frame count and size."""
    count = 0
    for mask in read_masks(path):
        if mask.shape != (info.height, info.width):
            raise InputError(
                f"{path} is {mask.shape[1]}x{mask.shape[0]} px, the clip is {info.width}x{info.height} px; "
                "give the mask that was made from this clip."
            )
        count += 1
    if count != info.frames:
        raise InputError(
            f"{path} has {count} frames, the clip has {info.frames}; give the mask that was made from this clip."
        )

"""Masks, their areas, IoU and bounds; mask sequences: one lossless MP4 and one folder of PNG files that say the same.

In reading order: counting (`Overlap` is where every IoU comes from), pictures and folders of frames, then writing and
reading mask sequences. A mask is (H, W) bool, True on the object. We write it as 8-bit gray, 0 or 255; what others
write is read by the rules of handoff/picture/levels.py, for every stage.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.errors import InputError, UsageError
from handoff.files import atomic_dir
from handoff.picture.levels import check_alpha_is_decoded, frame_to_samples, read_objects
from handoff.picture.numbering import numbered_pngs
from handoff.picture.png import Samples, read_rgb, read_samples
from handoff.places import Box
from handoff.video import ClipInfo, Frame, VideoWriter, read_pictures

Mask = NDArray[np.bool_]
"""(H, W) bool, True on the object."""

_CACHED_BYTES = 700_000
_SHIFT = 4  # OpenCV's fixed-point places: a sixteenth of a pixel


def as_bytes(mask: Mask) -> NDArray[np.uint8]:
    """Return the same memory as uint8, 0 or 1, for OpenCV."""
    return mask.view(np.uint8)


def count(mask: Mask) -> int:
    """Return the number of True pixels of a mask (H, W) bool.

    The L1 norm of bytes that are 0 or 1 is their number: a whole number, summed as such, and OpenCV's quickest count.
    """
    return int(cv2.norm(as_bytes(mask), cv2.NORM_L1)) if mask.size else 0


@dataclass(frozen=True)
class Overlap:
    """The areas of two masks, and of their difference, px: G, the original outline, and P, the new object's."""

    original_px: int
    generated_px: int
    differing_px: int

    @property
    def union_px(self) -> int:
        """|G or P|."""
        return (self.original_px + self.generated_px + self.differing_px) // 2

    @property
    def common_px(self) -> int:
        """|G and P|."""
        return (self.original_px + self.generated_px - self.differing_px) // 2

    @property
    def iou(self) -> float:
        """|G and P| / |G or P|; 1.0 when both are empty (DAVIS's convention)."""
        return self.common_px / self.union_px if self.union_px else 1.0

    @property
    def leak(self) -> float:
        """The share of P that lies outside G; 0 where P is empty."""
        return (self.generated_px - self.common_px) / self.generated_px if self.generated_px else 0.0

    @property
    def gap(self) -> float:
        """The share of G that P does not cover; 0 where G is empty."""
        return (self.original_px - self.common_px) / self.original_px if self.original_px else 0.0

    @property
    def area_ratio(self) -> float | None:
        """|P| / |G|."""
        return self.generated_px / self.original_px if self.original_px else None


def overlap(original: Mask, generated: Mask) -> Overlap:
    """Count the pixels of two masks (H, W) bool; raise InputError for other arrays and where the sizes differ.

    G xor P is counted in one pass over both, with no third mask; rows above both objects are skipped, and the rest is
    taken in pieces that stay in the processor's cache while they are counted.
    """
    if not original.dtype == generated.dtype == np.bool_ or original.ndim != 2:
        raise InputError(
            f"a mask is an array (H, W) of bool, not {original.dtype} {original.shape} and {generated.dtype} "
            f"{generated.shape}; of a gray picture take the pixels that are the object, such as picture > 127."
        )
    if original.shape != generated.shape:
        raise InputError(f"masks of {original.shape} and {generated.shape} (H, W) px cannot be compared.")
    height, width = original.shape
    if not original.size:
        return Overlap(0, 0, 0)
    start = min(int(original.argmax()), int(generated.argmax())) // width
    rows = max(1, _CACHED_BYTES // width)
    first_px = second_px = differing_px = 0
    for top in range(start, height, rows):
        first, second = as_bytes(original[top : top + rows]), as_bytes(generated[top : top + rows])
        differing = int(cv2.norm(first, second, cv2.NORM_L1))
        here = int(cv2.norm(first, cv2.NORM_L1))
        first_px, differing_px = first_px + here, differing_px + differing
        second_px += int(cv2.norm(second, cv2.NORM_L1)) if differing else here
    return Overlap(first_px, second_px, differing_px)


def mask_iou(first: Mask, second: Mask) -> float:
    """Return |A and B| / |A or B| of two masks (H, W) bool, 1.0 when both are empty; the errors are `overlap`'s."""
    return overlap(first, second).iou


def bounds(mask: Mask) -> Box | None:
    """Return the tightest box around a mask (H, W) bool, on whole pixels; None when the mask is empty."""
    x, y, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    return Box(x, y, x + width, y + height) if width else None


def draw_outline(
    image: Frame,
    mask: Mask,
    colour: tuple[int, int, int],
    *,
    left: int = 0,
    top: int = 0,
    scale: float = 1.0,
    thick: int = 1,
) -> None:
    """Draw a mask's outline, `thick` px wide, into a picture (h, w, 3) uint8 RGB.

    image: what `scale` made of the part of the frame that begins at (left, top); mask (H, W) bool: of the whole frame.
    """
    contours, _ = cv2.findContours(as_bytes(mask), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    # pixel centres: a mask's pixel (x, y) covers scale x scale px around its middle
    moved = [((each - (left, top) + 0.5) * scale - 0.5) * (1 << _SHIFT) for each in contours]
    cv2.polylines(image, [np.rint(each).astype(np.int32) for each in moved], True, colour, thick, cv2.LINE_8, _SHIFT)


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
    """Return a PNG file as (H, W, 3) uint8 RGB, without its alpha; InputError when it is none, damaged or too large."""
    return read_rgb(path)


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


def read_masks(path: Path) -> Iterator[Mask]:
    """Yield the masks (H, W) bool of a clip, or of a folder of PNG files in the order of their numbers.

    What the object is in a picture: handoff/picture/levels.py. Raises InputError for pictures that are no masks, for
    frames that are missing, and at the end for a sequence that numbers its objects.
    """
    return read_objects(str(path), functools.partial(_pictures_of, path))


def _pictures_of(path: Path) -> Iterator[tuple[str, Samples]]:
    if path.is_dir():
        for file in numbered_pngs(path):
            yield str(file), read_samples(file)
    else:
        check_alpha_is_decoded(path)
        for index, frame in enumerate(read_pictures(path)):
            where = f"frame {index} of {path}"
            yield where, frame_to_samples(frame, where)


@dataclass(frozen=True)
class MaskSequence:
    """What a mask sequence is: size in px, frames, and the number of frames that are not empty."""

    width: int
    height: int
    frames: int
    seen: int


def measure_masks(path: Path) -> MaskSequence:
    """Read a whole mask sequence, keeping nothing; raise InputError where it is none, or changes its size."""
    width = height = frames = seen = 0
    for mask in read_masks(path):
        if frames and mask.shape != (height, width):
            raise InputError(f"{path} changes its size to {mask.shape[1]}x{mask.shape[0]} px at frame {frames}.")
        height, width = mask.shape
        frames, seen = frames + 1, seen + bool(mask.any())
    return MaskSequence(width, height, frames, seen)


def check_mask_sequence(path: Path, info: ClipInfo | MaskSequence, whose: str = "the clip") -> MaskSequence:
    """Return what a mask sequence is; raise InputError unless it has exactly that frame count and size."""
    found = measure_masks(path)
    if (found.width, found.height) != (info.width, info.height):
        raise InputError(
            f"{path} is {found.width}x{found.height} px, {whose} is {info.width}x{info.height} px; "
            "give the mask that was made from this clip."
        )
    if found.frames != info.frames:
        raise InputError(
            f"{path} has {found.frames} frames, {whose} has {info.frames}; give the mask that was made from this clip."
        )
    return found

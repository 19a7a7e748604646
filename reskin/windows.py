"""A clip in windows, so that the server's memory does not grow with the clip: planned, joined, kept.

First the plan, for the draft by pixels and for a model by its own length. Then `KeptWindows`, the finished windows of a
reskin that is not finished: a killed command goes on with the next one. Their pictures lie as the server gave them in
reskins/NAME/.windows/0003-KEY/, where KEY is the SHA-256 of all that the server was given for that window, its seed
too, and are removed when run.json has the reskin, unless they are to be kept: then each seed's stay. At most 3 bytes a
px of the model's picture, for each frame of each window and each pass: 1.2 MB a picture of 832x480.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from handoff.errors import UsageError
from handoff.files import atomic_dir
from handoff.links import check_way


@dataclass(frozen=True)
class Window:
    """Frames start..stop-1 of the clip."""

    index: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


MAX_FRAMES = 32
PIXEL_BUDGET = MAX_FRAMES * 640 * 360
"""Pixels in a window over all its frames. The server holds a window as float32 RGB several times over."""


def plan_windows(frames: int, width: int, height: int) -> list[Window]:
    """Return windows that cover frames 0..frames-1, each frame once, in order."""
    return plan_overlapping(frames, frames_per_window(width, height), 0)


def frames_per_window(width: int, height: int) -> int:
    """Return how many frames of width x height px go into one window, at least 1."""
    return max(1, min(MAX_FRAMES, PIXEL_BUDGET // (width * height)))


MODEL_FRAMES, MODEL_OVERLAP = 81, 21
"""Wan's own clip length, and how many of its frames the next window paints again."""

LATENT_FRAMES = 4
"""Frames in one step of Wan's latent time; the first frame is a step by itself, hence lengths of 4n+1."""


def plan_overlapping(frames: int, length: int, overlap: int) -> list[Window]:
    """Return windows of `length` frames (the last may be shorter), each sharing `overlap` frames with the next.

    With 81 and 21: 0-80, 60-140, 120-200 and so on. `overlap` is at most half of `length`, so that no frame is in
    three windows; every window has at least one frame of its own.
    """
    step = length - overlap
    starts = range(0, max(frames - overlap, 1), step)
    return [Window(index, start, min(start + length, frames)) for index, start in enumerate(starts)]


def check_model_windows(length: int, overlap: int) -> None:
    """Raise UsageError unless a window of `length` frames with `overlap` shared ones suits the model's latent time."""
    if length < 1 + LATENT_FRAMES or length % LATENT_FRAMES != 1:
        near = padded_length(max(length, 1 + LATENT_FRAMES))
        raise UsageError(f"--window {length} is not 4n+1 frames; give {near}, for example.")
    if overlap != 0 and (overlap < 0 or overlap != fitting_overlap(length, overlap)):
        raise UsageError(
            f"--overlap {overlap} is neither 0 nor 4n+1 frames up to half of --window {length}; "
            f"give {fitting_overlap(length, MODEL_OVERLAP)}, for example."
        )


def fitting_overlap(length: int, wanted: int) -> int:
    """Return the largest 4n+1 that is at most `wanted` and at most half of `length`: whole steps of latent time."""
    return (min(wanted, length // 2) - 1) // LATENT_FRAMES * LATENT_FRAMES + 1


def padded_length(frames: int) -> int:
    """Return the next 4n+1 at or above `frames`: what a window is padded to by repeating its last frame."""
    return -(-(frames - 1) // LATENT_FRAMES) * LATENT_FRAMES + 1


def later_weight(offset: int, overlap: int) -> float:
    """Return how much the later of two windows counts in frame `offset` of their `overlap` shared ones, 0..1.

    The rest is the earlier one's. It rises in equal steps and is neither 0 nor 1: both windows count in all of them.
    """
    return (offset + 1) / (overlap + 1)


FOLDER = ".windows"


class KeptWindows:
    """The finished windows below `folder`, a reskin's own. all_seeds: keep one of each seed, and at the end too."""

    def __init__(self, folder: Path, *, all_seeds: bool = False) -> None:
        self.folder = folder / FOLDER
        self.all_seeds = all_seeds

    def place(self, index: int, key: str) -> Path:
        """Return where window `index` made from this input lies; a folder of that name is complete."""
        return self.folder / f"{index:04d}-{key[:32]}"

    def job(self, index: int, key: str) -> Path:
        """Return where it is noted which server was asked for it, while it is painted."""
        return self.folder / f".{index:04d}-{key[:32]}.job"

    @contextlib.contextmanager
    def make(self, index: int, key: str) -> Iterator[Path]:
        """Yield a folder for the window's pictures that gets its name on a clean exit; older ones of it go before."""
        check_way(self.folder)
        for old in [] if self.all_seeds else self.folder.glob(f"{index:04d}-*"):
            shutil.rmtree(old, ignore_errors=True)
        with atomic_dir(self.place(index, key)) as folder:
            yield folder

    def close(self) -> None:
        """Remove their folder where it holds none."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def done(self) -> None:
        """The reskin is there: remove what is not to be kept."""
        if not self.all_seeds:
            self.clear()

    def clear(self) -> None:
        """Remove all of them. LinkError where a link has their folder's name."""
        check_way(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)

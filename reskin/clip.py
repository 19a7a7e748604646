"""What is painted on, read one window at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from handoff.errors import InputError
from handoff.masks import Mask, frame_name, read_masks
from handoff.video import ClipInfo, Frame, read_frames
from reskin.windows import Window


@dataclass(frozen=True)
class Clip:
    """A source with its masks (videos or folders of PNG); without a skater's mask the skater is left as is.

    skeleton: the drawn skeletons on black, a video or a folder of PNG; only what generates with a pose reads them.
    """

    info: ClipInfo
    source: Path
    object_mask: Path
    skater_mask: Path | None
    skeleton: Path | None = None


@dataclass(frozen=True)
class WindowFrames:
    """One window: frames (H, W, 3) uint8 RGB, masks (H, W) bool. No pixel is in both masks: the object is in front.

    skeletons: pictures (H, W, 3) uint8 RGB, black where the clip has none. known: the finished pictures of the
    window's first frames, where these are not to be painted again.
    """

    window: Window
    frames: list[Frame]
    objects: list[Mask]
    skaters: list[Mask]
    skeletons: list[Frame]
    known: list[Frame] = field(default_factory=list)

    def is_empty(self) -> bool:
        """Say whether there is nothing to paint."""
        return not any(mask.any() for mask in (*self.objects, *self.skaters))


_Moment = tuple[Frame, Mask, Mask, Frame]


def read_windows(clip: Clip, windows: Iterable[Window]) -> Iterator[WindowFrames]:
    """Yield the clip's windows in order; raise InputError when the clip, a mask or the skeleton ends early.

    Everything is decoded once; one window is in memory, with the frames that it shares with the next.
    """
    moments, held, start = _read_moments(clip), list[_Moment](), 0
    for window in windows:
        held = held[window.start - start :]
        start = window.start
        held.extend(islice(moments, len(window) - len(held)))
        if len(held) != len(window):
            raise InputError(
                f"the clip, a mask or the skeleton ends between frames {window.start} and {window.stop - 1}; "
                "extract the clip again."
            )
        frames, objects, skaters, skeletons = (list(each) for each in zip(*held, strict=True))
        yield WindowFrames(window, frames, objects, skaters, skeletons)


def _read_moments(clip: Clip) -> Iterator[_Moment]:
    info = clip.info
    frames, objects = read_frames(clip.source), read_masks(clip.object_mask)
    nobody, black = np.zeros((info.height, info.width), bool), np.zeros((info.height, info.width, 3), np.uint8)
    skaters = read_masks(clip.skater_mask) if clip.skater_mask else (nobody for _ in range(info.frames))
    skeletons = read_pictures(clip.skeleton) if clip.skeleton else (black for _ in range(info.frames))
    for frame, thing, person, skeleton in zip(frames, objects, skaters, skeletons, strict=False):
        yield frame, thing, person & ~thing, skeleton


def read_pictures(path: Path) -> Iterator[Frame]:
    """Yield the pictures, (H, W, 3) uint8 RGB, of a video or of a folder of frame_00000.png."""
    if not path.is_dir():
        yield from read_frames(path)
        return
    for index in range(len(list(path.glob("frame_*.png")))):
        yield read_png(path / frame_name(index))


def read_png(path: Path) -> Frame:
    """Return a picture as (H, W, 3) uint8 RGB; raise InputError when it is none."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path} is not a picture that can be read; make it again.")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)

"""The one painting loop: a clip's windows in, output.mp4 out, whoever paints.

First what goes through it: the `Clip`, its `WindowFrames`, a painter's `Layers`. Then what a `Painter` is (it gets a
window and makes pictures of it; the loop does all the rest), and the loop, `paint_clip`. Then its steps: `compose` puts
what was generated into the source inside the regions only, to the pixel (this is the lock); `fade` joins windows;
`Changes` counts; `read_windows` reads the clip one window at a time; and, for painters, `write_pictures` makes the
lossless videos that go to the server.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.errors import InputError
from handoff.masks import Mask, frame_name, read_masks, read_png
from handoff.threads import Behind
from handoff.video import ClipInfo, Frame, VideoWriter, clip_colours, read_frames
from reskin.windows import Window, later_weight


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


@dataclass(frozen=True)
class Layers:
    """What a painter made of one frame, two pictures (H, W, 3) uint8 RGB: where the object and the skater come from.

    They are one picture where both were painted in one pass. `object` is that of the last pass: what the model made
    of the whole frame.
    """

    object: Frame
    skater: Frame


class Painter(Protocol):
    """Makes the pictures of one window. It knows nothing of output files, of other windows, or of the composite."""

    def generate(self, cut: WindowFrames) -> Iterator[Layers]:
        """Yield one `Layers` for each of the window's frames, in order, of the frames' own size.

        What it paints outside the masks is not used. Raises BadResult for another number or size of pictures, and
        whatever the server's job raises.
        """
        ...


@dataclass(frozen=True)
class Joining:
    """How windows become one clip.

    anchored: a shared frame is the earlier window's, and the later window gets it as known pixels; else the two are
    cross-faded. locked: the source's own pixels outside the masks; else the last pass's whole pictures.
    """

    anchored: bool = False
    locked: bool = True


OUTPUT_CRF = 12
_WAITING = 16
"""Most frames that wait: not many, and enough that encoding goes on while the server paints the next ones."""


def paint_clip(
    clip: Clip,
    painter: Painter,
    windows: Sequence[Window],
    output: Path,
    joining: Joining,
    window_done: Callable[[Window], None],
) -> Changes:
    """Write `output`, which appears when it is complete, and return the counts of changed pixels.

    windows: in order, covering every frame, as `plan_overlapping` makes them. One window is in memory at a time, and
    the frames that it shares with the next. `window_done` is called after each window. Raises what the painter raises.
    """
    info, colours, changes = clip.info, clip_colours(clip.source), Changes()
    shared: list[Layers] = []  # what the window before made of this window's first frames
    later_starts = [*(window.start for window in windows[1:]), info.frames]

    def write(frames: tuple[Frame, Frame, Mask, Mask]) -> None:
        changes.feed(*frames)
        writer.write(frames[1])

    # counting and encoding go on while the server paints the next window
    with (
        VideoWriter(output, info.fps, info.width, info.height, crf=OUTPUT_CRF, colours=colours) as writer,
        Behind(write, _WAITING) as behind,
    ):
        for cut, later_start in zip(read_windows(clip, windows), later_starts, strict=True):
            moments = list(zip(cut.frames, cut.objects, cut.skaters, strict=True))
            if joining.anchored:
                finished = zip(moments, shared, strict=False)
                cut = replace(cut, known=[compose(frame, done, *masks) for (frame, *masks), done in finished])
            keep: list[Layers] = []
            joined = enumerate(_join(painter, cut, shared, joining.anchored), cut.window.start)
            for (source, thing, person), (index, layers) in zip(moments, joined, strict=True):
                if index >= later_start:
                    keep.append(layers)
                    continue
                painted = compose(source, layers, thing, person) if joining.locked else layers.object
                behind.put((source, painted, thing, person))
            shared = keep
            window_done(cut.window)
    return changes


def _join(painter: Painter, cut: WindowFrames, shared: list[Layers], anchored: bool) -> Iterator[Layers]:
    """Yield the window's layers, its first ones joined with those of the window before."""
    untouched = (Layers(frame, frame) for frame in cut.frames)
    for offset, layers in enumerate(untouched if cut.is_empty() else painter.generate(cut)):
        if offset >= len(shared):
            yield layers
        elif anchored:
            yield shared[offset]
        else:
            yield fade(shared[offset], layers, later_weight(offset, len(shared)))


def compose(source: Frame, layers: Layers, object_mask: Mask, skater_mask: Mask) -> Frame:
    """Return the source with the object's layer in the object's mask and the skater's layer in the skater's.

    source: (H, W, 3) uint8 RGB. object_mask, skater_mask: (H, W) bool; where both are, the object is in front. Outside
    the union of the two masks every pixel is the source's own. Raises InputError when the shapes differ.
    """
    shape = (*object_mask.shape, 3)
    if (
        not source.shape == layers.object.shape == layers.skater.shape == shape
        or object_mask.shape != skater_mask.shape
    ):
        raise InputError(
            f"the generated frame is {layers.object.shape}, the source {source.shape}, the masks {object_mask.shape}: "
            "they must be of one size."
        )
    skater = np.where(skater_mask[..., None], layers.skater, source)
    return np.where(object_mask[..., None], layers.object, skater)


def fade(earlier: Layers, later: Layers, weight: float) -> Layers:
    """Return the mean of two layers of one frame; `weight`, 0..1, is the later one's part. Equal pixels stay equal."""
    return Layers(_mix(earlier.object, later.object, weight), _mix(earlier.skater, later.skater, weight))


def _mix(earlier: Frame, later: Frame, weight: float) -> NDArray[np.uint8]:
    return cv2.addWeighted(earlier, 1.0 - weight, later, weight, 0.0).astype(np.uint8, copy=False)


@dataclass
class Changes:
    """Counts, over all frames fed, of pixels that differ from the source."""

    frames: int = 0
    outside_px: int = 0
    object_px: int = 0
    object_changed_px: int = 0
    skater_px: int = 0
    skater_changed_px: int = 0
    _frames_without_object: int = field(default=0, repr=False)

    def feed(self, source: Frame, output: Frame, object_mask: Mask, skater_mask: Mask) -> None:
        """Count one frame. The skater's region is the skater's mask minus the object's."""
        changed = (source != output).any(axis=2)
        skater_only = skater_mask & ~object_mask
        self.frames += 1
        self.outside_px += int(np.count_nonzero(changed & ~(object_mask | skater_mask)))
        self.object_px += int(np.count_nonzero(object_mask))
        self.object_changed_px += int(np.count_nonzero(changed & object_mask))
        self.skater_px += int(np.count_nonzero(skater_only))
        self.skater_changed_px += int(np.count_nonzero(changed & skater_only))
        self._frames_without_object += not object_mask.any()

    def as_dict(self) -> dict[str, int]:
        """Return the counts for output.json."""
        return {
            "frames": self.frames,
            "frames_without_object": self._frames_without_object,
            "changed_outside_px": self.outside_px,
            "object_px": self.object_px,
            "object_changed_px": self.object_changed_px,
            "skater_px": self.skater_px,
            "skater_changed_px": self.skater_changed_px,
        }


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
        if skeleton.shape != frame.shape:
            raise InputError(
                f"{clip.skeleton} has pictures of {skeleton.shape[1]}x{skeleton.shape[0]} px, the clip is {info.width}x"
                f"{info.height} px; give the pose that was made from this clip."
            )
        yield frame, thing, person & ~thing, skeleton


def read_pictures(path: Path) -> Iterator[Frame]:
    """Yield the pictures, (H, W, 3) uint8 RGB, of a video or of a folder of frame_00000.png."""
    if not path.is_dir():
        yield from read_frames(path)
        return
    for index in range(len(list(path.glob("frame_*.png")))):
        yield read_png(path / frame_name(index))


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

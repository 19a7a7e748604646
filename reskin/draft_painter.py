"""The draft: paint the object and tint the skater on a real ComfyUI server, window by window, without weights.

`decide_looks` looks through the clip once, `DraftPainter` paints each window. Then what a look is made of: the palette
(the same nouns, seed and clip give the same colours, and the object one that its surroundings have least of), the
texture's tile, and the texture's pose.

The texture is fixed to the object, not to the screen. A texture that stands still inside a moving outline looks like a
pattern seen through a moving hole, and tells every motion estimate a lie. So each frame gets a pose from its mask (the
centre of area and the angle of the longer axis, both from the mask's moments) and the texture moves and turns with it.
"""

from __future__ import annotations

import colorsys
import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.files import sha256_file
from handoff.masks import Mask, frame_name, read_masks, read_png
from handoff.video import ClipInfo, Frame, read_frames
from reskin.comfy.orchestrator import ComfyOrchestrator
from reskin.comfy.progress import Listener
from reskin.comfy.results import keep_pictures
from reskin.nouns import Nouns
from reskin.painting import Clip, Layers, WindowFrames, input_path, to_gray, write_pictures
from reskin.sharing import WindowOrder
from reskin.workflow import Graph, Slot, Workflow, fill, graph_sha256

_LOADERS = {
    title: Slot(title, ("file",), "LoadVideo", needed=True)
    for title in ("source", "object mask", "skater mask", "texture")
}
_FRAMES = Slot("canvas", ("batch_size",), "EmptyImage", needed=True)
_OUTPUT = Slot("output", ("filename_prefix",), "SaveImage", needed=True)


@dataclass(frozen=True)
class DraftLook:
    """What is decided once for the whole clip, so that every window of one seed looks alike."""

    palette: Palette
    tile: NDArray[np.uint8]
    poses: list[Pose]  # one a frame: where the texture lies


def decide_looks(clip: Clip, prompt: Nouns, seeds: Iterable[int]) -> dict[int, DraftLook]:
    """Look through the clip once, and return the look of each seed."""
    poses = locate(read_masks(clip.object_mask))
    surroundings = surrounding_hues(read_frames(clip.source), read_masks(clip.object_mask))
    return {
        seed: DraftLook(choose_palette(prompt, seed, surroundings), make_tile(prompt.object, seed), poses)
        for seed in seeds
    }


def fill_look(workflow: Workflow, look: DraftLook, info: ClipInfo) -> Graph:
    """Return the template with all that is the same in every window (and is hashed into output.json)."""
    # the canvas is black: what lies outside the regions is not used, and black PNGs are small and quick
    colours = {"object colour": look.palette.object, "skater colour": look.palette.skater, "canvas": 0}
    values = {
        Slot(title, (name,), "EmptyImage", needed=True): value
        for title, colour in colours.items()
        for name, value in (("color", colour), ("width", info.width), ("height", info.height))
    }
    return fill(workflow.graph, values, name=workflow.name)


@dataclass
class DraftPainter:
    """Paints with the draft's graph, object and skater in one picture: a `WindowPainter`. looks: one a window."""

    workflow: Workflow
    looks: Sequence[DraftLook]
    info: ClipInfo

    def prepare(self, cut: WindowFrames, folder: Path) -> WindowOrder:
        """Write the window's four inputs into `folder` as lossless videos."""
        count, look = len(cut.window), self.looks[cut.window.index]
        inputs, graph = self._write_inputs(cut, look, folder), fill_look(self.workflow, look, self.info)
        files = {_LOADERS[title]: sha256_file(path) for title, path in inputs.items()}
        key = graph_sha256(fill(graph, {**files, _FRAMES: count, _OUTPUT: ""}))
        return WindowOrder(cut.window, count, key, inputs, graph)

    def _write_inputs(self, cut: WindowFrames, look: DraftLook, folder: Path) -> dict[str, Path]:
        info, poses = self.info, look.poses[cut.window.start : cut.window.stop]
        inputs: dict[str, Iterable[Frame]] = {
            "source": cut.frames,
            "object mask": map(to_gray, cut.objects),
            "skater mask": map(to_gray, cut.skaters),
            "texture": (lay_texture(look.tile, pose, info.width, info.height) for pose in poses),
        }
        written = {title: input_path(folder, title) for title in inputs}

        def write(title: str) -> None:
            write_pictures(written[title], inputs[title], info.fps, info.width, info.height)

        with ThreadPoolExecutor(len(inputs)) as pool:
            list(pool.map(write, inputs))  # raises what one of them raised
        return written

    def paint(self, order: WindowOrder, comfy: ComfyOrchestrator, folder: Path, listener: Listener) -> None:
        """Run one window on the server in one job; put its pictures into `folder`."""
        count = order.pictures
        # the client's id makes every run's results new files; a cached rerun would write none
        values: dict[Slot, Any] = {_FRAMES: count, _OUTPUT: f"preserver/{comfy.client_id}"}
        for title, path in order.inputs.items():
            # one set of names for all windows: the server's input folder does not grow with the clip
            values[_LOADERS[title]] = comfy.upload(path, f"preserver_{comfy.client_id}_{path.name}")
        output, size = (_OUTPUT.title, "SaveImage"), (self.info.width, self.info.height)
        files = comfy.run(fill(order.graph, values), output, listener)
        for _ in keep_pictures(comfy.fetch, output, files, count, range(count), size, folder):
            pass  # read again when all of them are there

    def layers(self, folder: Path, frames: int) -> Iterator[Layers]:
        """Yield the window's layers: one picture is both."""
        pictures = (read_png(folder / frame_name(index)) for index in range(frames))
        return (Layers(picture, picture) for picture in pictures)


CANDIDATES = 6
"""Hues a noun may choose from, evenly spread from the noun's own."""


@dataclass(frozen=True)
class Palette:
    """The two colours, 0xRRGGBB."""

    object: int
    skater: int

    def as_dict(self) -> dict[str, str]:
        """Return the colours as web colours, for output.json."""
        return {"object": f"#{self.object:06x}", "skater": f"#{self.skater:06x}"}


def choose_palette(prompt: Nouns, seed: int, surroundings: NDArray[np.float64]) -> Palette:
    """Choose vivid colours by the nouns' hashes.

    surroundings: (n,) weights of the hues around the object, hue 0..1 from first to last. The object takes that
    one of its noun's CANDIDATES hues which its surroundings have least of; the skater's hue lies in the third of the
    circle that is opposite to the object's.
    """
    own = _unit(prompt.object, seed, "hue")
    hues = [(own + step / CANDIDATES) % 1.0 for step in range(CANDIDATES)]
    hue = min(hues, key=lambda each: surroundings[int(each * len(surroundings))])
    opposite = (hue + 0.33 + 0.34 * _unit(prompt.skater or "", seed, "hue")) % 1.0
    return Palette(_colour(hue, 0.95, 0.95), _colour(opposite, 0.75, 0.85))


def _unit(noun: str, seed: int, purpose: str) -> float:
    """Return a number in 0..1, 1 not included, that the noun and the seed alone decide."""
    return int.from_bytes(_digest(noun, seed, purpose)[:4], "big") / 2**32


def _digest(noun: str, seed: int, purpose: str) -> bytes:
    return hashlib.sha256(f"{purpose}\n{noun.casefold()}\n{seed}".encode()).digest()


def _colour(hue: float, saturation: float, value: float) -> int:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
    return red << 16 | green << 8 | blue


BINS = 36
RING_PX = 64
"""How far around the object its surroundings reach, in px."""

SAMPLE_EVERY = 4
"""Frames from one look to the next; colours change slowly."""

_OPENCV_HUES = 180
_SMOOTHING_BINS = 2


def surrounding_hues(frames: Iterable[Frame], masks: Iterable[Mask]) -> NDArray[np.float64]:
    """Return (BINS,) weights that sum to 1 (or are all 0): how much of each hue lies around the object.

    frames: (H, W, 3) uint8 RGB. A pixel counts by its chroma (saturation times value), so that gray has no say. The
    circle of hues is smoothed over neighbouring bins.
    """
    weights = np.zeros(BINS)
    for index, (frame, mask) in enumerate(zip(frames, masks, strict=False)):
        if index % SAMPLE_EVERY == 0 and mask.any():
            weights += _around(frame, mask)
    shifts = range(-_SMOOTHING_BINS, _SMOOTHING_BINS + 1)
    smooth = np.sum([np.roll(weights, shift) for shift in shifts], axis=0)
    total = smooth.sum()
    return smooth / total if total > 0 else weights


def _around(frame: Frame, mask: Mask) -> NDArray[np.float64]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = max(rows[0] - RING_PX, 0), max(columns[0] - RING_PX, 0)
    window = (slice(top, rows[-1] + RING_PX + 1), slice(left, columns[-1] + RING_PX + 1))
    hsv = cv2.cvtColor(frame[window], cv2.COLOR_RGB2HSV)[~mask[window]].astype(np.float64)
    bins = (hsv[:, 0] * BINS / _OPENCV_HUES).astype(np.intp)
    return np.bincount(bins, weights=hsv[:, 1] * hsv[:, 2] / 255**2, minlength=BINS)[:BINS].astype(np.float64)


TILE_PX = 128
"""Side of the texture's period, in px; the texture repeats seamlessly."""

_CELLS = 16
_LEVELS = 4
_SEAM = 40
_DARKEST, _BRIGHTEST = 70, 225


def make_tile(noun: str, seed: int) -> NDArray[np.uint8]:
    """Return a seamless (TILE_PX, TILE_PX) uint8 gray texture of flat panels with dark seams."""
    rng = np.random.default_rng(int.from_bytes(_digest(noun, seed, "texture")[:8], "big"))
    cells = rng.random((_CELLS, _CELLS)).astype(np.float32)
    # enlarged from a 3x3 repetition and cut from its middle, the interpolation wraps around
    smooth = cv2.resize(np.tile(cells, (3, 3)), (3 * TILE_PX, 3 * TILE_PX), interpolation=cv2.INTER_CUBIC)
    middle = smooth[TILE_PX : 2 * TILE_PX, TILE_PX : 2 * TILE_PX]
    levels = np.clip(np.floor(middle * _LEVELS), 0, _LEVELS - 1)
    seams = (levels != np.roll(levels, 1, axis=0)) | (levels != np.roll(levels, 1, axis=1))
    panels = _DARKEST + levels * (_BRIGHTEST - _DARKEST) / (_LEVELS - 1)
    return np.where(seams, _SEAM, panels).astype(np.uint8)


MIN_ELONGATION = 1.3
"""Longer over shorter axis; a rounder mask has no angle worth following."""


@dataclass(frozen=True)
class Pose:
    """Where the object is: centre in px, angle of its longer axis in radians, continuous from frame to frame."""

    x: float
    y: float
    angle: float


def locate(masks: Iterable[Mask]) -> list[Pose]:
    """Return one pose a frame; an empty mask keeps the pose of the frame before."""
    poses: list[Pose] = []
    last = Pose(0.0, 0.0, 0.0)
    for mask in masks:
        last = _pose(mask, last)
        poses.append(last)
    return poses


def _pose(mask: Mask, last: Pose) -> Pose:
    moments = cv2.moments(mask.view(np.uint8), binaryImage=True)
    area = moments["m00"]
    if area == 0:
        return last
    xx, yy, xy = moments["mu20"] / area, moments["mu02"] / area, moments["mu11"] / area
    spread = math.hypot(xx - yy, 2 * xy)
    longer, shorter = (xx + yy + spread) / 2, (xx + yy - spread) / 2
    angle = last.angle
    if longer > MIN_ELONGATION**2 * max(shorter, 1e-6):
        axis = 0.5 * math.atan2(2 * xy, xx - yy)
        # an axis has no head and no tail: of the two angles take the one nearer to the frame before
        angle = axis + math.pi * round((last.angle - axis) / math.pi)
    return Pose(moments["m10"] / area, moments["m01"] / area, angle)


def lay_texture(tile: NDArray[np.uint8], pose: Pose, width: int, height: int) -> NDArray[np.uint8]:
    """Return (height, width) uint8: the tile repeated over the frame, its origin and its turn at `pose`."""
    cosine, sine = math.cos(pose.angle), math.sin(pose.angle)
    x = np.arange(width, dtype=np.float32)[None, :] - np.float32(pose.x)
    y = np.arange(height, dtype=np.float32)[:, None] - np.float32(pose.y)
    side = np.float32(tile.shape[0])
    u = np.mod(cosine * x + sine * y, side).astype(np.float32)
    v = np.mod(cosine * y - sine * x, side).astype(np.float32)
    return cv2.remap(tile, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP).astype(np.uint8, copy=False)

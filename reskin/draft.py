"""The draft: paint the object and tint the skater on a real ComfyUI server, window by window, without weights."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from handoff.masks import Mask, frame_name, read_masks
from handoff.video import ClipInfo, Frame, VideoWriter, read_frames
from reskin.anchor import Pose, lay_texture, locate
from reskin.clip import Clip, WindowFrames, read_windows
from reskin.composite import Changes, compose
from reskin.errors import BadResult
from reskin.follow import Listener
from reskin.orchestrator import ComfyOrchestrator
from reskin.palette import Gray, Palette, choose_palette, make_tile
from reskin.prompt import Prompt
from reskin.surroundings import surrounding_hues
from reskin.workflow import Graph, Slot, Workflow, fill

OUTPUT_CRF = 12
_LOSSLESS_CRF = 0
_OUTPUT = ("output", "SaveImage")
_INPUTS = ("source", "object mask", "skater mask", "texture")


@dataclass(frozen=True)
class Look:
    """What is decided once for the whole clip, so that every window looks alike."""

    palette: Palette
    tile: Gray
    poses: list[Pose]  # one a frame: where the texture lies


def decide_look(clip: Clip, prompt: Prompt, seed: int) -> Look:
    """Look through the clip once."""
    poses = locate(read_masks(clip.object_mask))
    surroundings = surrounding_hues(read_frames(clip.source), read_masks(clip.object_mask))
    return Look(choose_palette(prompt, seed, surroundings), make_tile(prompt.object, seed), poses)


def fill_look(workflow: Workflow, look: Look, info: ClipInfo) -> Graph:
    """Return the template with all that is the same in every window (and is hashed into output.json)."""
    values: dict[Slot, Any] = {}
    # the canvas is black: what lies outside the regions is not used, and black PNGs are small and quick
    colours = {"object colour": look.palette.object, "skater colour": look.palette.skater, "canvas": 0}
    for title, colour in colours.items():
        values[Slot(title, "EmptyImage", "color")] = colour
        values[Slot(title, "EmptyImage", "width")] = info.width
        values[Slot(title, "EmptyImage", "height")] = info.height
    return fill(workflow.graph, values)


def paint(
    comfy: ComfyOrchestrator,
    graph: Graph,
    look: Look,
    clip: Clip,
    output: Path,
    scratch: Path,
    listener: Listener,
    window_done: Callable[[WindowFrames], None],
) -> Changes:
    """Write `output`, which appears when it is complete, and return the counts of changed pixels.

    One window is in memory at a time, here and on the server. `scratch` is an empty folder; `window_done` is called
    after each window. Raises whatever `ComfyOrchestrator.run` raises, and BadResult for another number or size of
    frames.
    """
    info, changes, job = clip.info, Changes(), uuid.uuid4().hex
    with VideoWriter(output, info.fps, info.width, info.height, crf=OUTPUT_CRF) as writer:
        for cut in read_windows(clip):
            generated = iter(cut.frames)
            if not cut.is_empty():
                _write_inputs(cut, look, info, scratch)
                generated = _generate(comfy, graph, cut, info, scratch, job, listener)
            for source, new, thing, person in zip(cut.frames, generated, cut.objects, cut.skaters, strict=True):
                painted = compose(source, new, thing, person)
                changes.feed(source, painted, thing, person)
                writer.write(painted)
            window_done(cut)
    return changes


def _input_path(scratch: Path, title: str) -> Path:
    return scratch / f"{title.replace(' ', '_')}.mp4"


def _write_inputs(cut: WindowFrames, look: Look, info: ClipInfo, scratch: Path) -> None:
    """Write the window's four inputs as lossless videos."""
    size = (info.fps, info.width, info.height)
    with VideoWriter(_input_path(scratch, "source"), *size, crf=_LOSSLESS_CRF, preset="ultrafast") as writer:
        for frame in cut.frames:
            writer.write(frame)
    poses = look.poses[cut.window.start : cut.window.stop]
    textures = (lay_texture(look.tile, pose, info.width, info.height) for pose in poses)
    for title, pictures in (
        ("object mask", map(_to_gray, cut.objects)),
        ("skater mask", map(_to_gray, cut.skaters)),
        ("texture", textures),
    ):
        with VideoWriter(_input_path(scratch, title), *size, mode="mask", preset="ultrafast") as writer:
            for picture in pictures:
                writer.write(picture)


def _generate(
    comfy: ComfyOrchestrator,
    graph: Graph,
    cut: WindowFrames,
    info: ClipInfo,
    scratch: Path,
    job: str,
    listener: Listener,
) -> Iterator[Frame]:
    """Run one window on the server and yield its frames, (H, W, 3) uint8 RGB."""
    values: dict[Slot, Any] = {}
    for title in _INPUTS:
        path = _input_path(scratch, title)
        # one set of names for all windows: the server's input folder does not grow with the clip
        values[Slot(title, "LoadVideo", "file")] = comfy.upload(path, f"preserver_{job}_{path.name}")
    values[Slot("canvas", "EmptyImage", "batch_size")] = len(cut.frames)
    # the job id makes every run's results new files; a cached rerun would write none
    values[Slot(*_OUTPUT, "filename_prefix")] = f"preserver/{job}"
    files = comfy.run(fill(graph, values), _OUTPUT, listener)
    if len(files) != len(cut.frames):
        raise BadResult(f"the server gave {len(files)} frames for a window of {len(cut.frames)}; nothing was kept.")
    # a PNG of noise is no larger than its pixels and a little more
    max_bytes = 4 * info.width * info.height + 2**16
    for index, file in enumerate(files):
        path = scratch / frame_name(index)
        comfy.fetch(file, path, max_bytes)
        yield _read_png(path, info)
        path.unlink()


def _to_gray(mask: Mask) -> Frame:
    return mask.astype(np.uint8) * np.uint8(255)


def _read_png(path: Path, info: ClipInfo) -> Frame:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None or image.shape != (info.height, info.width, 3):
        size = "no picture" if image is None else f"{image.shape[1]}x{image.shape[0]} px"
        raise BadResult(f"the server gave {size} for a frame of {info.width}x{info.height} px; nothing was kept.")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)

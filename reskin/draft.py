"""The draft: paint the object and tint the skater on a real ComfyUI server, window by window, without weights."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handoff.masks import frame_name, read_masks
from handoff.video import ClipInfo, Frame, read_frames
from reskin.anchor import Pose, lay_texture, locate
from reskin.clip import Clip, WindowFrames
from reskin.composite import Layers
from reskin.listen import Listener
from reskin.orchestrator import ComfyOrchestrator
from reskin.palette import Gray, Palette, choose_palette, make_tile
from reskin.prompt import Prompt
from reskin.results import keep_pictures
from reskin.surroundings import surrounding_hues
from reskin.transfer import input_path, to_gray, write_pictures
from reskin.workflow import Graph, Slot, Workflow, fill

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


@dataclass(frozen=True)
class DraftPainter:
    """Paints with the draft's graph: a `Painter`. graph: from `fill_look`. scratch: an empty folder."""

    comfy: ComfyOrchestrator
    graph: Graph
    look: Look
    info: ClipInfo
    scratch: Path
    listener: Listener
    job: str = field(default_factory=lambda: uuid.uuid4().hex)

    def generate(self, cut: WindowFrames) -> Iterator[Layers]:
        """Paint one window in one job, object and skater in one picture."""
        _write_inputs(cut, self.look, self.info, self.scratch)
        for picture in _generate(self.comfy, self.graph, cut, self.info, self.scratch, self.job, self.listener):
            yield Layers(picture, picture)


def _write_inputs(cut: WindowFrames, look: Look, info: ClipInfo, scratch: Path) -> None:
    """Write the window's four inputs as lossless videos."""
    poses = look.poses[cut.window.start : cut.window.stop]
    inputs: dict[str, Iterable[Frame]] = {
        "source": cut.frames,
        "object mask": map(to_gray, cut.objects),
        "skater mask": map(to_gray, cut.skaters),
        "texture": (lay_texture(look.tile, pose, info.width, info.height) for pose in poses),
    }

    def write(title: str) -> None:
        write_pictures(input_path(scratch, title), inputs[title], info.fps, info.width, info.height)

    with ThreadPoolExecutor(len(inputs)) as pool:
        list(pool.map(write, inputs))  # raises what one of them raised


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
        path = input_path(scratch, title)
        # one set of names for all windows: the server's input folder does not grow with the clip
        values[Slot(title, "LoadVideo", "file")] = comfy.upload(path, f"preserver_{job}_{path.name}")
    values[Slot("canvas", "EmptyImage", "batch_size")] = len(cut.frames)
    # the job id makes every run's results new files; a cached rerun would write none
    values[Slot(*_OUTPUT, "filename_prefix")] = f"preserver/{job}"
    files = comfy.run(fill(graph, values), _OUTPUT, listener)
    count, size = len(cut.frames), (info.width, info.height)
    for index, picture in enumerate(keep_pictures(comfy.fetch, _OUTPUT, files, count, range(count), size, scratch)):
        yield picture
        (scratch / frame_name(index)).unlink()

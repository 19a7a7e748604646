"""What tests of the reskin stage share: small clips and masks, the command in this process, graphs, and VACE runs."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from handoff.files import sha256_file
from handoff.masks import FrameFolderWriter, Mask, frame_name, read_png
from handoff.run import Run
from handoff.video import Frame, VideoWriter
from reskin.cli import command
from reskin.comfy.orchestrator import ComfyOrchestrator
from reskin.painting import Layers, WindowFrames
from reskin.regions import fit_into
from reskin.windows import FOLDER, KeptWindows
from reskin.workflow import Graph
from runner.process import ROOT
from tests.helpers import HANG_S, records, square_position, until, vouch_for
from tests.reskin.servers import history, queue

WIDTH, HEIGHT, SIDE = 160, 120, 32
FPS = Fraction(30000, 1001)


def square_mask(index: int) -> Mask:
    """The moving square's own pixels: the object."""
    x, y = square_position(index)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + SIDE, x : x + SIDE] = True
    return mask


def disc_mask(index: int) -> Mask:
    """A disc that overlaps the square: the skater."""
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    return np.asarray((rows - 60) ** 2 + (columns - 70) ** 2 < 30**2)


def write_masks(path: Path, frames: int, mask: Callable[[int], Mask]) -> Path:
    with VideoWriter(path, FPS, WIDTH, HEIGHT, mode="mask") as writer:
        for index in range(frames):
            writer.write(mask(index).astype(np.uint8) * np.uint8(255))
    vouch_for(path)
    return path


def write_skeletons(folder: Path, frames: int) -> None:
    """A body of one limb, which swings inside the disc."""
    with FrameFolderWriter(folder) as writer:
        for index in range(frames):
            picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            writer.write(cv2.line(picture, (70, 40), (65 + 2 * (index % 6), 85), (255, 85, 0), 4))
    vouch_for(folder)


def write_ffv1(path: Path, pictures: list[Frame]) -> None:
    """The same as VideoHelperSuite has ffmpeg do: FFV1 level 3 in bgra, every frame on its own, in Matroska."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=16, options={"level": "3", "g": "1", "slicecrc": "1"})
        stream.width, stream.height, stream.pix_fmt = pictures[0].shape[1], pictures[0].shape[0], "bgra"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="bgra")))
        container.mux(stream.encode())


class OneGray:
    """A painter whose window k is all of one gray: the object's layer `objects[k]`, the skater's `skaters[k]`."""

    def __init__(self, objects: list[int], skaters: list[int]) -> None:
        self.objects, self.skaters = objects, skaters
        self.cuts: list[WindowFrames] = []

    def generate(self, cut: WindowFrames) -> Iterator[Layers]:
        self.cuts.append(cut)
        for _ in cut.frames:
            yield Layers(gray(self.objects[cut.window.index]), gray(self.skaters[cut.window.index]))


def gray(value: int) -> Frame:
    return np.full((HEIGHT, WIDTH, 3), value, np.uint8)


def arguments(run: Run, *options: str, name: str) -> list[str]:
    return ["--run", str(run.dir), "--prompt", "drone, samurai", "--name", name, *options]


def reskin(run: Run, *options: str, name: str = "drone") -> int:
    """The command in this process: the exit code of one that succeeds; an error is raised."""
    given = arguments(run, *options, name=name)
    return CliRunner().invoke(command, given, catch_exceptions=False, standalone_mode=False).return_value


def reskin_fails(run: Run, *options: str) -> tuple[int, str]:
    """The command as it is typed: its exit code, and the last line that it prints."""
    given = [sys.executable, "-m", "reskin", *arguments(run, *options, name="drone")]
    done = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr.strip().splitlines()[-1]


def output(run: Run, name: str = "drone") -> Path:
    return run.path(f"reskins/{name}/output.mp4")


def new_jobs(address: str, before: set[str]) -> int:
    """How many jobs the server has ended since, by its own history."""
    return len(history(address).keys() - before)


_UNDISTURBED: dict[int, str] = {}


def whole(run: Run, address: str, name: str = "drone") -> bool:
    """Whether a result is to the byte what an undisturbed command makes, with nothing half-written about."""
    frames = run.info.frames
    if frames not in _UNDISTURBED:
        assert reskin(run, "--server", address, name="undisturbed") == 0
        _UNDISTURBED[frames] = sha256_file(output(run, "undisturbed"))
    same = sha256_file(output(run, name)) == _UNDISTURBED[frames]
    return same and not list(run.dir.rglob("*.partial")) and f"reskin/{name}" in records(run.dir)


def nothing_written(run: Run, name: str = "drone") -> bool:
    folder = run.path(f"reskins/{name}")
    return not folder.exists() and not list(run.dir.rglob("*.partial")) and "reskin/drone" not in records(run.dir)


OUTPUT = ("output", "SaveImage")


PATIENCE_S = 300
"""For what always comes, late on a machine that has much else to do."""


def slow_graph(steps: int = 400) -> Graph:
    """A chain of blurs: each takes a moment, and between two of them the server looks whether to stop."""
    # a colour of its own for each graph, or the server would have its nodes in its cache
    colour = uuid.uuid4().int % 2**24
    size: dict[str, Any] = {"width": 192, "height": 192, "batch_size": 4, "color": colour}
    graph: Graph = {"0": {"class_type": "EmptyImage", "inputs": size}}
    for step in range(1, steps + 1):
        # a strength of its own for each, or the server would see equal nodes
        inputs = {"image": [str(step - 1), 0], "blur_radius": 31, "sigma": 1.0 + step / 100}
        graph[str(step)] = {"class_type": "ImageBlur", "inputs": inputs}
    save = {"images": [str(steps), 0], "filename_prefix": uuid.uuid4().hex}
    graph["save"] = {"class_type": "SaveImage", "inputs": save, "_meta": {"title": "output"}}
    return graph


def queue_of(comfy: ComfyOrchestrator) -> dict[str, list[Any]]:
    return queue(comfy.server.address)


def wait_until_idle(comfy: ComfyOrchestrator) -> None:
    until("the server has no job left", lambda: not any(queue_of(comfy).values()), PATIENCE_S)


def wait_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have our side wait longer than a user's does for a socket and for a job's end, on a machine that is busy."""
    monkeypatch.setattr("reskin.comfy.progress._OPEN_S", 60.0)
    monkeypatch.setattr("reskin.comfy.client._CANCEL_S", 60.0)


MODEL = (80, 64)


FIT = fit_into(WIDTH, HEIGHT, *MODEL)


SMALL = ("--size", "80x64", "--steps", "2")


TWO = ("--window", "21", "--overlap", "5")
"""Two windows of 33 frames: 0-20 and 16-32."""


NAME = "reskins/drone-samurai"


def vace_arguments(run: Run, server: str, *options: str, prompt: str = "drone, samurai") -> list[str]:
    return ["--run", str(run.dir), "--prompt", prompt, "--server", server, *SMALL, *options]


def paint_vace(run: Run, server: str, *options: str, prompt: str = "drone, samurai") -> Result:
    given = vace_arguments(run, server, *options, prompt=prompt)
    return CliRunner().invoke(command, given, catch_exceptions=False, standalone_mode=False)


@contextmanager
def kept_open() -> Iterator[list[Frame]]:
    """Keep the windows' pictures, which a finished reskin removes, and every frame as it goes into output.mp4."""
    written: list[Frame] = []
    encode = VideoWriter.write

    def write(self: VideoWriter, frame: Frame) -> None:
        if self.path.name == "output.mp4":
            written.append(frame.copy())
        encode(self, frame)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VideoWriter, "write", write)
        patch.setattr(KeptWindows, "clear", lambda self: None)
        yield written


def pictures(run: Run, window: int, first: int, count: int) -> list[Frame]:
    """What the server gave for a window, from picture `first` on, at the clip's size."""
    (folder,) = run.path(f"{NAME}/{FOLDER}").glob(f"{window:04d}-*")
    return [FIT.to_source(read_png(folder / frame_name(first + index))) for index in range(count)]

"""A real ComfyUI server for the tests marked `server`, and small runs to paint."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from handoff.ingest import ingest
from handoff.masks import FrameFolderWriter, Mask
from handoff.run import Run
from handoff.video import VideoWriter
from reskin.comfy.orchestrator import ComfyOrchestrator, JobLimits
from runner.comfy.comfyserver import serve
from runner.comfy.comfysource import ensure_source
from runner.envs import ensure_env
from runner.process import ROOT
from runner.runs import cache_dir
from tests.helpers import moving_square, square_position, write_clip
from tests.reskin.proxy import Proxy, proxy_to

WIDTH, HEIGHT, SIDE = 160, 120, 32
FPS = Fraction(30000, 1001)


def comfy_python() -> Path:
    """The interpreter of ComfyUI's environment: $COMFY_PYTHON, or the runner's."""
    python = os.environ.get("COMFY_PYTHON")
    return Path(python) if python else ensure_env("comfyui")


def comfy_source() -> Path:
    """ComfyUI's tree: $COMFY_SOURCE, or the runner's."""
    source = os.environ.get("COMFY_SOURCE")
    return Path(source) if source else ensure_source(ROOT / "comfyui" / "pins.toml", cache_dir())


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with tiny checkpoints of Wan 2.1 VACE, random weights under the real names."""
    folder = tmp_path_factory.mktemp("models")
    script = Path(__file__).with_name("tinymodels.py")
    subprocess.run([comfy_python(), script, comfy_source(), folder], check=True, timeout=300)
    return folder


@pytest.fixture(scope="session")
def comfy_server(tmp_path_factory: pytest.TempPathFactory, tiny_models: Path) -> Iterator[str]:
    """The address of a real server with the tiny models, one for the whole session.

    That is $COMFY_SERVER, or one that the runner starts; so are its environment and its source, unless
    $COMFY_PYTHON and $COMFY_SOURCE name others.
    """
    address = os.environ.get("COMFY_SERVER")
    if address:
        yield address
        return
    folder = tmp_path_factory.mktemp("comfyui")
    with serve(
        comfy_python(),
        comfy_source(),
        folder / "work",
        folder / "comfyui.log",
        models=tiny_models,
    ) as started:
        yield started


def wait_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have our side wait longer than a user's does for a socket and for a job's end, on a machine that is busy."""
    monkeypatch.setattr("reskin.comfy.progress._OPEN_S", 60.0)
    monkeypatch.setattr("reskin.comfy.client._CANCEL_S", 60.0)


@pytest.fixture
def comfy(comfy_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ComfyOrchestrator]:
    wait_long(monkeypatch)
    with ComfyOrchestrator(comfy_server, limits=JobLimits(300, patience_s=60)) as orchestrator:
        yield orchestrator


@pytest.fixture
def proxy(comfy_server: str) -> Iterator[Proxy]:
    """A proxy before the real server, which loses and breaks what it is told to."""
    with proxy_to(comfy_server) as made:
        yield made


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
    return path


def write_skeletons(folder: Path, frames: int) -> None:
    """A body of one limb, which swings inside the disc."""
    with FrameFolderWriter(folder) as writer:
        for index in range(frames):
            picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            writer.write(cv2.line(picture, (70, 40), (65 + 2 * (index % 6), 85), (255, 85, 0), 4))


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Make a run of a moving square, with exact masks of the object and (unless told otherwise) of the skater."""

    def make(frames: int = 8, name: str = "run", *, skater: bool = True) -> Run:
        clip = write_clip(tmp_path / f"{name}.mp4", moving_square(frames, WIDTH, HEIGHT, SIDE), fps=FPS)
        run = ingest(clip, tmp_path / name)
        write_masks(run.path("mask.mp4"), frames, square_mask)
        if skater:
            write_masks(run.path("human_mask.mp4"), frames, disc_mask)
            write_skeletons(run.path("pose_skater"), frames)
        return run

    return make

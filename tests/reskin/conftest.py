"""A real ComfyUI server for the tests marked `server`, and small runs to paint."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from handoff.ingest import ingest
from handoff.run import Run
from reskin.comfy.orchestrator import ComfyOrchestrator, JobLimits
from runner.comfy.comfyserver import serve
from tests.helpers import HANG_S, moving_square, write_clip
from tests.reskin.helpers import (
    FPS,
    HEIGHT,
    SIDE,
    WIDTH,
    disc_mask,
    square_mask,
    wait_long,
    write_masks,
    write_skeletons,
)
from tests.reskin.proxy import Proxy, proxy_to
from tests.reskin.servers import comfy_python, comfy_source


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with tiny checkpoints of Wan 2.1 VACE, random weights under the real names."""
    folder = tmp_path_factory.mktemp("models")
    script = Path(__file__).with_name("tinymodels.py")
    subprocess.run([comfy_python(), script, comfy_source(), folder], check=True, timeout=HANG_S)
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
        return Run.open(run.dir)

    return make

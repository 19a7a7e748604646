"""A small run that is ready for its gate: a board that rolls, tracked with the embedded tracker, painted blue."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from evaluator.cli import evaluate
from handoff.box import Box
from handoff.ingest import ingest
from handoff.masks import read_masks
from handoff.poses import N_KEYPOINTS, Person, PoseWriter
from handoff.run import Run
from handoff.video import Frame, VideoWriter, read_frames
from tests.tracker.helpers import Scene, bouncing_board, invoke, make_scene, repaint, text

FRAMES, CRF, BLUE = 14, 12, (30, 60, 230)
REPORTS = {"iou.csv", "iou.json", "junit.xml", "summary.md", "iou.png", "overlay.mp4"}


def stick_figure(dx: float = 0.0, seen: float = 0.9) -> Person:
    """A standing person of 100 px around (120, 60): all body and foot keypoints, moved by dx px."""
    xs = [0, 2, -2, 4, -4, 10, -10, 14, -14, 15, -15, 7, -7, 8, -8, 8, -8, 12, 13, 6, -12, -13, -6]
    ys = [8, 6, 6, 7, 7, 22, 22, 38, 38, 52, 52, 55, 55, 75, 75, 96, 96, 100, 100, 99, 100, 100, 99]
    keypoints, scores = np.zeros((N_KEYPOINTS, 2), np.float32), np.zeros(N_KEYPOINTS, np.float32)
    keypoints[:23] = np.stack([np.array(xs) + 120 + dx, np.array(ys) + 10], axis=1)
    scores[:23] = seen
    return Person(Box(100 + dx, 10, 140 + dx, 112), keypoints, scores)


def write_poses(path: Path, people: Iterable[list[Person]]) -> Path:
    with PoseWriter(path, {"model": "test"}) as writer:
        for each in people:
            writer.write(each)
    return path


def write_output(run: Run, frames: Iterable[Frame]) -> Path:
    """Encode what was painted as the reskin stage does, with its output.json."""
    folder = run.path("reskins/drone")
    folder.mkdir(parents=True, exist_ok=True)
    with VideoWriter(folder / "output.mp4", run.info.fps, run.info.width, run.info.height, crf=CRF) as writer:
        for frame in frames:
            writer.write(frame)
    (folder / "output.json").write_text(json.dumps({"encoder": {"codec": "h264", "crf": CRF}}))
    return folder / "output.mp4"


@pytest.fixture(scope="session")
def scene() -> Scene:
    return make_scene(FRAMES, bouncing_board)


@pytest.fixture(scope="session")
def _made(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluator")
    run = ingest(scene.write(folder / "clip.mp4"), folder / "run")
    invoke(run, "--bbox", text(scene, 2), "--frame", "2", "--backend", "embedded")
    masks = list(read_masks(run.path("mask.mp4")))
    write_output(run, repaint(list(read_frames(run.source)), masks, BLUE))
    return run.dir


@pytest.fixture
def run(_made: Path, tmp_path: Path) -> Run:
    """A copy of the run, for one test to do with as it likes."""
    return Run.open(Path(shutil.copytree(_made, tmp_path / "run")))


@pytest.fixture
def report(run: Run) -> Path:
    return run.path("reskins/drone/report")


@pytest.fixture
def gate(run: Run) -> Callable[..., Result]:
    """The real command on the run, with more options; errors come through."""

    def call(*options: object) -> Result:
        files = ("-original", run.path("mask.mp4"), "-generated", run.path("reskins/drone/output.mp4"))
        arguments = [str(each) for each in (*files, *options)]
        return CliRunner().invoke(evaluate, arguments, catch_exceptions=False, standalone_mode=False)

    return call


def read_report(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / "iou.json").read_text())
    return data

"""A small run that is ready for its gate: a board that rolls, tracked with the embedded tracker, painted blue."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from evaluator.cli import command
from handoff.ingest import ingest
from handoff.masks import read_masks
from handoff.run import Run
from handoff.video import read_frames
from tests.evaluator.helpers import BLUE, FRAMES, write_output
from tests.tracker.helpers import Scene, bouncing_board, invoke, make_scene, repaint, text


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
        return CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)

    return call

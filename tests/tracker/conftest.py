"""The scene of these tests and a run of its clip."""

from __future__ import annotations

from pathlib import Path

import pytest

from handoff.ingest import ingest
from handoff.run import Run
from tests.tracker.helpers import Scene, bouncing_board, make_scene


@pytest.fixture(scope="session")
def scene() -> Scene:
    """24 frames of a board that is whole in each of them."""
    return make_scene(24, bouncing_board)


@pytest.fixture(scope="session")
def clip(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scene.write(tmp_path_factory.mktemp("scene") / "clip.mp4")


@pytest.fixture
def run(clip: Path, tmp_path: Path) -> Run:
    return ingest(clip, tmp_path / "run")

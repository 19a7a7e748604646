"""The small SAM 2.1 of these tests. They run in the tracker's environment; elsewhere they are skipped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from handoff.run import Run
    from handoff.video import Frame
    from tracker.sam2.predictor import Predictor


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """The model is so small that torch's threads wait for each other: 20 times, where other work shares the cores."""
    torch = pytest.importorskip("torch", reason="needs the tracker's environment: torch is not installed here")
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A checkpoint file with random weights, and its SHA-256."""
    from tests.tracker.sam2.helpers import IMAGE_SIZE, write_checkpoint

    path = tmp_path_factory.mktemp("weights") / "random.pt"
    return path, write_checkpoint(path, IMAGE_SIZE)


@pytest.fixture(scope="session")
def predictor(checkpoint: tuple[Path, str]) -> Predictor:
    from tests.tracker.sam2.helpers import IMAGE_SIZE, small_predictor

    return small_predictor(*checkpoint, IMAGE_SIZE)


@pytest.fixture(scope="session")
def scene() -> list[Frame]:
    from tests.tracker.sam2.helpers import FRAMES, moving_scene

    return moving_scene(FRAMES)


@pytest.fixture(scope="session")
def scene_folder(scene: list[Frame], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scene as upstream reads it."""
    from tests.tracker.sam2.helpers import write_frame_folder

    return write_frame_folder(tmp_path_factory.mktemp("scene") / "frames", scene)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short clip for the command."""
    from tests.helpers import write_clip
    from tests.tracker.sam2.helpers import CLIP_FRAMES, moving_scene

    return write_clip(tmp_path_factory.mktemp("command") / "clip.mp4", moving_scene(CLIP_FRAMES))


@pytest.fixture
def run(clip: Path, tmp_path: Path, checkpoint: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of that clip, and the small model's weights in the models folder "home/models" beside it."""
    from handoff.ingest import ingest
    from tests.tracker.sam2.helpers import environment

    for key, value in environment(tmp_path / "home", checkpoint).items():
        monkeypatch.setenv(key, value)
    return ingest(clip, tmp_path / "run")

"""Outputs belong to whoever calls, whoever that is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.containers.helpers import BOX, World
from tests.helpers import outputs

pytestmark = pytest.mark.container
CALLER = 12345
SOCKET = Path("/var/run/docker.sock")


@pytest.fixture
def group() -> int:
    """The group that may talk to the engine."""
    if os.getuid() != 0:
        pytest.skip("only root can call the commands as somebody else")
    if not SOCKET.is_socket() or os.environ.get("DOCKER_HOST"):
        pytest.skip("the engine is not at its usual socket, so another user may not reach it")
    return SOCKET.stat().st_gid


def test_every_file_of_a_run_is_the_callers(
    again: World, clip: Path, undisturbed: Path, group: int, python: str
) -> None:
    os.chown(again.data, CALLER, group)
    home = again.data / "home"
    mine = again.elsewhere(again.data, MODELS_DIR=str(again.data / "models"), HOME=str(home))
    done = mine.as_user(CALLER, [group], python, "extract_physics.py", "-i", clip, *BOX)
    assert done.returncode == 0, done.stderr
    made = [path for path in again.data.rglob("*") if path != home and home not in path.parents]
    assert len(made) > 100
    assert {path.lstat().st_uid for path in made} == {CALLER}
    assert outputs(again.run("clip")) == outputs(undisturbed)


def test_by_hand_too_and_the_user_is_a_number_that_the_image_does_not_know(
    again: World, clip: Path, group: int
) -> None:
    for name in ("runs", "input", "models"):
        (again.data / name).mkdir()
    os.chown(again.data / "runs", CALLER, CALLER)
    (again.data / "input" / "clip.mp4").write_bytes(clip.read_bytes())
    done = again.compose(
        *("run", "--rm", "--no-TTY", "tracker", "-i", "input/clip.mp4", "--run", "runs/mine", *BOX),
        HOST_UID=str(CALLER),
        HOST_GID=str(CALLER),
        DATA_DIR=str(again.data),
        MODELS_DIR=str(again.data / "models"),
    )
    assert done.returncode == 0, done.stderr
    made = list((again.data / "runs").rglob("*"))
    assert (again.data / "runs" / "mine" / "mask.mp4") in made
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in made} == {(CALLER, CALLER)}

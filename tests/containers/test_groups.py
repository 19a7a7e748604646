"""A folder that is shared by a group: the containers are in the caller's other groups too."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from runner.docker import engine
from tests.containers.helpers import BOX, World
from tests.helpers import outputs

pytestmark = pytest.mark.container
CALLER, OTHER = 12345, 54321


def test_a_clip_and_a_data_folder_that_only_a_group_may_enter_are_used(
    again: World, clip: Path, undisturbed: Path, python: str
) -> None:
    socket = engine.socket_group()
    if os.getuid() != 0 or socket is None:
        pytest.skip("only root, and with the engine on a socket here, can call the commands as somebody else")
    shared = again.data / "shared"
    shared.mkdir()
    shutil.copy(clip, shared / "clip.mp4")
    os.chown(shared, 0, OTHER)
    os.chown(shared / "clip.mp4", 0, OTHER)
    shared.chmod(0o770)
    (shared / "clip.mp4").chmod(0o640)
    mine = again.elsewhere(shared / "data", MODELS_DIR=str(shared / "models"), HOME=str(shared))
    wanted = [CALLER, OTHER, socket]
    done = mine.as_user(CALLER, wanted, python, "extract_physics.py", "-i", shared / "clip.mp4", *BOX)
    assert done.returncode == 0, done.stderr
    assert outputs(mine.run("clip")) == outputs(undisturbed)
    assert {path.lstat().st_uid for path in (shared / "data").rglob("*")} == {CALLER}
    [groups] = (shared / "data").glob(".groups-*.yaml")
    assert str(OTHER) in groups.read_text() and f'"{socket}"' not in groups.read_text()

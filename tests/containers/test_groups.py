"""A folder that is shared by a group: the containers are in the caller's other groups too."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from runner.docker import compose, engine
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
    assert not list((shared / "data").glob(".*")), "a setting in the data folder would be read by others"


PLANTED = """{"services": {"tracker": {"privileged": true, "volumes": ["/:/host"], "environment": {"PLANTED": "1"}}}}"""


def test_nothing_in_the_data_folder_or_the_current_one_says_how_a_container_is_started(
    again: World, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compose file under the name that ours once had, and a .env in whatever folder Compose may look at."""
    monkeypatch.setattr(compose, "groups", lambda: [OTHER])
    text = compose.groups_text()
    assert text and str(OTHER) in text
    for planted in (text, text.rstrip("\n")):
        digest = hashlib.sha256(planted.encode()).hexdigest()[:12]
        (again.data / f".groups-{digest}.yaml").write_text(PLANTED)
    monkeypatch.setenv("DATA_DIR", str(again.data))
    monkeypatch.setenv("COMPOSE_ENV_FILES", str(again.data / ".env"))
    monkeypatch.setenv("COMPOSE_FILE", str(again.data / "compose.yaml"))
    (again.data / "compose.yaml").write_text(PLANTED)
    (again.data / ".env").write_text(
        "SKATE_TMP=1k\nNODES=planted\nCOMFYUI_RESERVE_VRAM=planted\nPYTHON_IMAGE=planted\n"
    )
    monkeypatch.chdir(again.data)
    done = subprocess.run(
        compose.command("config"), env=compose.environment(), capture_output=True, text=True, check=True
    )
    assert f'- "{OTHER}"' in done.stdout, "our own file counts"
    assert not re.search("(?i)planted|privileged|host", done.stdout.replace("host_path", ""))
    [own] = [Path(name) for name in compose.own_files()]
    assert own.stat().st_mode & 0o777 == 0o600 | (own.stat().st_mode & 0o044)
    assert own.parent.stat().st_mode & 0o777 == 0o700 and again.data not in own.parents

"""A machine of the test's own for the doctor, and a run for the commands."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.runner.helpers import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with Python, git and bash, and nothing else."""
    found = Machine(tmp_path)
    found.bin.mkdir()
    for name in ("git", "bash"):
        os.symlink(shutil.which(name) or f"/usr/bin/{name}", found.bin / name)
    return found


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with its masks, and no reskin yet."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("RUNNER", "local")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "x"
    folder.mkdir(parents=True)
    for name in ("mask.mp4", "pose.json"):
        (folder / name).write_text(name)
    (folder / "run.json").write_text('{"kind": "run", "stages": {}}')
    return folder

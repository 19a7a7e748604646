"""A machine of the test's own for the doctor."""

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

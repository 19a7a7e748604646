"""A served model file, and patience short enough for tests."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from handoff.weights.download import Patience, download
from tests.weights.server import FileServer, serve

CONTENT = random.Random(7).randbytes(3_000_000)
QUICK = Patience(stall_s=0.3, tries=4, pause_s=0.01)
Get = Callable[[], None]


def left(target: Path) -> list[str]:
    """The names beside the target, without the lock file."""
    return sorted(path.name for path in target.parent.iterdir() if not path.name.startswith("."))


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve(CONTENT) as state:
        yield state


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models" / "sam2" / "model.bin"


@pytest.fixture
def get(server: FileServer, target: Path) -> Get:
    """Download the served file as the registry knows it, whatever the server has by now."""
    url, digest, size = server.url, server.sha256, len(server.content)
    return lambda: download(url, target, sha256=digest, size_bytes=size, patience=QUICK)

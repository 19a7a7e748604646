"""A served model file, and the download of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from handoff.weights.download import download
from tests.handoff.weights.helpers import CONTENT, PATIENT, FileServer, Get, serve


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
    return lambda: download(url, target, sha256=digest, size_bytes=size, patience=PATIENT)

"""Wait for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest


def until(what: str, holds: Callable[[], bool], timeout_s: float = 120) -> None:
    """Wait until `holds` does; the test fails, saying `what` was waited for, after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(0.02)

"""One sweep of one cell, made once a worker, and copies of it that tests go on from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sweep.wholes import WholeSweep


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> WholeSweep:
    """A sweep of one cell, done: do not change it, copy it."""
    sweep = WholeSweep(tmp_path_factory.mktemp("done"))
    result = sweep.run()
    assert result.returncode in (0, 1), result.stdout + result.stderr
    assert sweep.painted() == 1
    return sweep


@pytest.fixture
def sweep(done: WholeSweep, tmp_path: Path) -> Iterator[WholeSweep]:
    """The same in another place, to go on with; nothing of it is left at work."""
    copied = done.copy(tmp_path / "copy")
    yield copied
    copied.kill()

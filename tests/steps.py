"""Looking at files before each change that this process makes to any: what a SIGKILL there would leave."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_watchers: list[Callable[[], None]] = []
_CHANGES = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree")


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _CHANGES and _watchers:
        watch = _watchers.pop()  # what it opens itself is not to be looked at
        watch()
        _watchers.append(watch)


sys.addaudithook(_heard)


@contextmanager
def at_every_step(look: Callable[[], None]) -> Iterator[None]:
    """Call `look` before everything that this process does to a file: it sees what a SIGKILL there would leave."""
    _watchers.append(look)
    try:
        yield
    finally:
        _watchers.clear()
    look()

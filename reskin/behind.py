"""Work done behind the one who orders it, in order, on one thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")
_WAITING = 16
"""Most items that wait: frames, so not many, and enough that encoding goes on while the server paints the next ones."""


class Behind(Generic[Item]):
    """Calls `work` with each item that is `put`, on a thread of its own. A context manager: a clean exit waits for all.

    What `work` raises is raised by the next `put` or by the exit; later items are dropped.
    """

    def __init__(self, work: Callable[[Item], None]) -> None:
        self._work = work
        self._items: queue.Queue[Item | None] = queue.Queue(_WAITING)
        self._error: BaseException | None = None
        self._given_up = False
        self._thread = threading.Thread(target=self._run, name="behind", daemon=True)

    def _run(self) -> None:
        while (item := self._items.get()) is not None:
            if self._error is None and not self._given_up:
                try:
                    self._work(item)
                except BaseException as error:  # whatever it is, it belongs to the one who ordered it
                    self._error = error

    def put(self, item: Item) -> None:
        """Order the item's work; waits while too many wait."""
        if self._error is not None:
            raise self._error
        self._items.put(item)

    def __enter__(self) -> Behind[Item]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._given_up = error is not None
        self._items.put(None)
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error

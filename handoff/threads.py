"""Decoding ahead and encoding behind the model, each on one thread through a queue of bounded length; OpenCV on one."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

import cv2

T = TypeVar("T")
_POLL_S = 0.1  # how soon a thread notices that nobody wants its work any more


@contextlib.contextmanager
def opencv_on_one_thread() -> Iterator[None]:
    """Give OpenCV, in all of this process, one thread while the block (or the method that it decorates) runs."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


class Ahead(Generic[T]):
    """Iterate over `items` while a thread already makes the next `depth` of them; what it raises is raised here.

    nice: by how much the thread stands back behind the others, as of nice(2).
    """

    def __init__(self, items: Iterable[T], depth: int, *, nice: int = 0) -> None:
        self._nice = nice
        self._items = items
        self._queue: queue.Queue[tuple[T] | BaseException] = queue.Queue(depth)
        self._unwanted = threading.Event()
        self._thread = threading.Thread(target=self._work, name="decode", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        _stand_back(self._nice)
        try:
            for item in self._items:
                if not self._put((item,)):
                    return
            self._put(StopIteration())
        except BaseException as error:
            self._put(error)

    def _put(self, item: tuple[T] | BaseException) -> bool:
        while not self._unwanted.is_set():
            try:
                self._queue.put(item, timeout=_POLL_S)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        item = self._queue.get()
        if isinstance(item, BaseException):
            self._queue.put(item)  # the end stays the end
            raise item
        return item[0]

    def close(self) -> None:
        """Stop the thread and wait for it."""
        self._unwanted.set()
        self._thread.join()


class Behind(Generic[T]):
    """Call `write` for each item put, in order, on a thread; at most `depth` items wait.

    A context manager: leaving it waits until all is written. What `write` raises is raised by the next `put` or on
    leaving; after that, or when the block itself fails, the items that still wait are dropped. nice: as for `Ahead`.
    """

    def __init__(self, write: Callable[[T], None], depth: int, *, nice: int = 0) -> None:
        self._nice = nice
        self._write = write
        self._queue: queue.Queue[tuple[T] | None] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._dropping = False

    def __enter__(self) -> Behind[T]:
        self._thread = threading.Thread(target=self._work, name="encode", daemon=True)
        self._thread.start()
        return self

    def _work(self) -> None:
        _stand_back(self._nice)
        while (item := self._queue.get()) is not None:
            if self._dropping:
                continue
            try:
                self._write(item[0])
            except BaseException as error:
                self._error, self._dropping = error, True

    def put(self, item: T) -> None:
        """Hand over one item; waits while `depth` items are waiting already."""
        if self._error is not None:
            raise self._error
        self._queue.put((item,))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._dropping = self._dropping or kind is not None
        self._queue.put(None)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error


def _stand_back(nice: int) -> None:
    """Let every other thread of this process go before the calling one, and before those that it starts (Linux).

    Where the system does not let it, the thread works as any other.
    """
    if not nice:
        return
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + nice)

"""A JSON file of frames: a header, then "frames", one record a line.

So it is written and read as a stream, one frame in memory at a time, and still opens in any JSON tool.
"""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import ijson

from handoff.atomic import atomic_file

T = TypeVar("T")


class FrameJsonWriter(ABC, Generic[T]):
    """Write such a file record by record; it gets its name only when it is complete. A context manager.

    header: what stands before "frames". `record` says what is written of an item.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self._atomic = atomic_file(path)
        self._header = header
        self._stack = contextlib.ExitStack()
        self._count = 0

    @abstractmethod
    def record(self, index: int, item: T) -> dict[str, Any]:
        """Return the item's JSON; index: how many were written before it."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            partial = stack.enter_context(self._atomic)
            self._file = stack.enter_context(partial.open("w", encoding="utf-8"))
            self._file.write(json.dumps(self._header, indent=1).removesuffix("\n}") + ',\n "frames": [\n')
            self._stack = stack.pop_all()
        return self

    def write(self, item: T) -> None:
        """Add the next record; raises what `record` raises."""
        line = json.dumps(self.record(self._count, item), separators=(",", ":"))
        self._file.write((",\n" if self._count else "") + line)
        self._count += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool | None:
        if kind is None:
            self._file.write("\n ]\n}\n")
        return self._stack.__exit__(kind, error, None)


def read_header(path: Path) -> dict[str, Any]:
    """Return what stands before "frames"; {} where the file holds no object.

    Raises FileNotFoundError, and ijson.JSONError or UnicodeDecodeError for a file that is not JSON up to there.
    """
    header: dict[str, Any] = {}
    with path.open("rb") as file:
        builder = ijson.ObjectBuilder()
        for prefix, event, value in ijson.parse(file, use_float=True):
            if prefix == "frames":
                break
            builder.event(event, value)
            header = builder.value if isinstance(builder.value, dict) else {}
    return header


def read_records(path: Path) -> Iterator[Any]:
    """Yield what stands in "frames", in order; raises as `read_header` does."""
    with path.open("rb") as file:
        yield from ijson.items(file, "frames.item", use_float=True)

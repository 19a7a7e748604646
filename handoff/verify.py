"""Is this file the one that was meant? By byte count and SHA-256, never by name or date."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

from handoff.atomic import fsync
from handoff.errors import MissingError, storage_errors
from handoff.hashing import sha256_file


class DigestError(MissingError):
    """A file has other bytes than it must have: what is needed is not there. Exit code 3.

    `actual` and `expected` are the two SHA-256 digests, in hex.
    """

    def __init__(self, what: str, actual: str, expected: str, advice: str) -> None:
        super().__init__(f"{what} has SHA-256 {actual}, it must be {expected}; {advice}.")
        self.what = what
        self.actual = actual
        self.expected = expected


def verify_file(path: Path, sha256: str, size_bytes: int | None, advice: str, also: Collection[str] = ()) -> str:
    """Read the whole file; raise DigestError, with both digests and `advice`, unless it has this SHA-256.

    size_bytes only makes the message say more: a file that was cut short is told by its byte count.
    also: other SHA-256 digests that are as good. Returns the one that the file has.
    """
    actual = sha256_file(path)
    if actual == sha256 or actual in also:
        return actual
    length = path.stat().st_size
    cut = f" ({length} bytes of {size_bytes})" if size_bytes is not None and length != size_bytes else ""
    raise DigestError(f"{path}{cut}", actual, sha256, advice)


def settle(source: Path, target: Path) -> None:
    """Give a finished file its final name, in the same file system; StorageError when that cannot be written."""
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
        fsync(target.parent)

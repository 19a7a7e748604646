"""Files and folders that appear under their own name only when they are complete.

SHA-256 of files and of folders.

Is this file the one that was meant? By byte count and SHA-256, never by name or date.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from handoff.errors import MissingError, storage_errors

PARTIAL_SUFFIX = ".partial"


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}{PARTIAL_SUFFIX}")


def fsync(path: Path) -> None:
    """Have a file or a folder on the disk before anything else is done."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on a clean exit fsync it and rename it to `path`.

    On an exception the temporary file is removed and `path` is left as it was.
    Raises StorageError when the folder cannot be written.
    """
    partial = _partial(path)
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            fsync(partial)
            os.replace(partial, path)
            fsync(path.parent)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()


@contextlib.contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on a clean exit it takes the place of `path`.

    An older folder of that name is moved aside first and removed after, so a killed process leaves the old
    folder, none or the new one, never a mixture; the manifest, written last, says which it was.
    """
    partial = _partial(path)
    old = path.with_name(f".{path.name}.{os.getpid()}.old{PARTIAL_SUFFIX}")
    try:
        with storage_errors(path):
            partial.mkdir(parents=True)
            yield partial
            fsync(partial)
            if path.exists():
                os.replace(path, old)
            os.replace(partial, path)
            fsync(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, atomically."""
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def remove_partials(folder: Path) -> None:
    """Remove what a killed process left below `folder`. Call it only while holding the run's lock."""
    for leftover in sorted(folder.rglob(f".*{PARTIAL_SUFFIX}")):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex; the file is read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tree(folder: Path) -> str:
    """Return one digest for all files of a flat folder.

    It is the SHA-256 of what `sha256sum` prints for the files in byte order of their names, so that
    `cd FOLDER && LC_ALL=C sh -c 'sha256sum *' | sha256sum` gives the same value.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir(), key=lambda entry: entry.name.encode()):
        digest.update(f"{sha256_file(path)}  {path.name}\n".encode())
    return digest.hexdigest()


def sha256_path(path: Path) -> str:
    """Return `sha256_tree` of a folder, `sha256_file` of anything else."""
    return sha256_tree(path) if path.is_dir() else sha256_file(path)


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

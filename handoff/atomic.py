"""Files and folders that appear under their own name only when they are complete."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from handoff.errors import storage_errors

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

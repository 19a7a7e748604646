"""The folder of a sweep, data/sweeps/NAME: one sweep at work in it, and files that are whole or not there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from sweep.errors import SweepError


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a sweep's folder, made where it is missing, as long as the block lasts; SweepError where another does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise SweepError(f"cannot write {folder} ({error.strerror}); free some room, or choose DATA_DIR.", 3) from error
    try:
        if not _locked(descriptor):
            raise SweepError(f"another command is at work on the sweep in {folder}; wait for it, or stop it.", 2)
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Say whether a process holds a lock file, which may be missing; False where the file system has no locks."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return not _locked(descriptor)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks there: nobody can know
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`: a file of another name takes its place when it is whole; OSError where not."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)

"""Who is at work on a file or a folder: locks of the operating system, which end with their process however it ends.

They hold between containers and machines, where process numbers say nothing. handoff/files.py has the same for the
stages: of a folder the lock is a file in it, since network file systems lock files only, and `.NAME.RANDOM.partial/`
has `.lock`, and beside it NAME, which is its maker's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from runner.process import RunnerError

_LOCK, _PARTIAL = ".lock", ".partial"
_NO_LOCKS = (errno.ENOLCK, errno.EBADF, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
_NO_FSYNC = (errno.EBADF, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS)
"""What the system says where this user may not write."""


def open_lock(path: Path, how: int) -> int:
    """Open a lock file, made where it is missing, so that it can be locked as `how` says; return the descriptor.

    For reading and writing: network file systems want the one for LOCK_SH, the other for LOCK_EX. Who may not write it
    can share what is there. Raises RunnerError where a link has its name, OSError where it cannot be opened.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise RunnerError(f"{path} is a link, and a lock is a file; remove the link.") from error
        if how & ~fcntl.LOCK_NB != fcntl.LOCK_SH or error.errno not in NOT_OURS or not path.exists():
            raise
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)


def flocked(descriptor: int, how: int) -> bool:
    """Lock an open file; return whether its file system has locks.

    Raises BlockingIOError where another process holds it and `how` has LOCK_NB.
    """
    try:
        fcntl.flock(descriptor, how)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return False
        raise
    return True


@functools.cache
def _say_no_locks(folder: Path) -> None:
    print(
        f"warning: the file system of {folder} has no locks; do not start two commands there at once", file=sys.stderr
    )


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int | None]:
    """Hold an exclusive lock on a file until the block ends, waiting for whoever holds it now; yield its descriptor.

    A child that inherits the descriptor holds the lock too. Who may not write the file waits for who does, by a shared
    lock; where there is none either, or no folder to make it in, there is nothing to hold, and None is yielded. Where
    the file system has no locks, that is said once.
    """
    descriptor = None
    how = fcntl.LOCK_EX
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = open_lock(path, how)
    except OSError as error:
        if error.errno not in NOT_OURS:
            raise RunnerError(f"cannot make {path} ({error.strerror}).") from error
        how = fcntl.LOCK_SH
        with contextlib.suppress(OSError):
            descriptor = open_lock(path, how)
    if descriptor is None:
        yield None
        return
    try:
        if not flocked(descriptor, how):
            _say_no_locks(path.parent)
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def held_folder(parent: Path, name: str) -> Iterator[Path]:
    """Yield an empty folder of that name in one below `parent`, held until the block ends and then removed.

    What killed processes left of that name is removed first. Raises RunnerError where it cannot be made.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_left(parent, name)
        outer, descriptor = _make_held(parent, name)
    except OSError as error:
        raise RunnerError(f"cannot write {parent} ({error.strerror}); choose a folder that can be written.") from error
    try:
        (outer / name).mkdir()
        yield outer / name
    finally:
        shutil.rmtree(outer, ignore_errors=True)
        os.close(descriptor)


def _make_held(parent: Path, name: str) -> tuple[Path, int]:
    while True:
        outer = parent / f".{name}.{secrets.token_hex(6)}{_PARTIAL}"
        outer.mkdir()
        try:
            descriptor = os.open(outer / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except (FileExistsError, FileNotFoundError):
            continue  # somebody took it for a leftover before it was locked
        flocked(descriptor, fcntl.LOCK_EX)  # where a file system has no locks, nobody removes it either
        if _is_open_at(descriptor, outer / _LOCK):
            return outer, descriptor
        os.close(descriptor)  # as above


def _remove_left(parent: Path, name: str) -> None:
    for outer in parent.glob(f".{name}.*{_PARTIAL}"):
        if outer.is_symlink():
            continue  # nobody's: what is held is a folder
        descriptor = -1
        with contextlib.suppress(OSError):  # held by its process, somebody else's, or it cannot be locked
            descriptor = os.open(outer / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_open_at(descriptor, outer / _LOCK):
                shutil.rmtree(outer, ignore_errors=True)
        if descriptor != -1:
            os.close(descriptor)


def _is_open_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def fsync(path: Path | int) -> None:
    """Have a file or a folder on the disk before anything else is done, where its file system can say so.

    path: or the descriptor of one that is open, which stays so.
    """
    descriptor = path if isinstance(path, int) else os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise
    finally:
        if descriptor != path:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`: a file of another name takes its place when it is whole; OSError where not."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}{_PARTIAL}")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "w", encoding="utf-8") as file:
            file.write(text)
        fsync(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)

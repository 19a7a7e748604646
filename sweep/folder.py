"""The folder of a sweep, data/sweeps/NAME: who is at work in it, and files that are whole or not there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from sweep.errors import SweepError, unwritable

END_S = 20.0
"""Seconds that jobs on this machine have to end in after Ctrl-C, before they are ended less politely."""
ENDING_S, SOON_S = END_S + 5.0, 3.0
"""Seconds that a new command waits for one that is ending, and for one that has not said so."""
_ENDING = ".ending"
_LOOK_S = 0.2


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a sweep's folder, made where it is missing, as long as the block lasts; SweepError where another does.

    One that is just ending, because it was interrupted, is waited for.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        if not _locked_soon(descriptor, folder / _ENDING):
            raise SweepError(f"another command is at work on the sweep in {folder}; wait for it, or stop it.", 2)
        with contextlib.suppress(OSError):
            (folder / _ENDING).unlink()
        yield
    finally:
        os.close(descriptor)


def say_ending(folder: Path) -> None:
    """Have a command that wants the folder wait: who holds it is ending."""
    with contextlib.suppress(OSError):
        (folder / _ENDING).touch()


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


def held_jobs(folder: Path) -> list[Path]:
    """Return the lock files of a sweep's jobs that are at work, wherever they are and whatever plan they are of."""
    return [lock for lock in sorted((folder / "logs").glob("*.lock")) if is_held(lock)]


def end_jobs(folder: Path) -> None:
    """End a sweep's jobs on this machine that are still at work: politely, and after END_S seconds not."""
    here = socket.gethostname()
    for number in (signal.SIGTERM, signal.SIGKILL):
        told: set[int] = set()
        deadline = time.monotonic() + END_S
        while time.monotonic() < deadline:
            places = [_holder(lock) for lock in held_jobs(folder)]
            mine = {process for host, process in places if host == here}
            if not mine:
                return
            for process in mine - told:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process, number)
            told |= mine
            time.sleep(_LOOK_S)


def _holder(lock: Path) -> tuple[str, int]:
    """Return the machine and the process that a job's lock file names; ("", 0) where it names none."""
    try:
        with open(os.open(lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            host, process = file.read(300).decode().split()
        return (host, int(process)) if int(process) > 1 else ("", 0)
    except (OSError, ValueError):
        return "", 0


def _locked_soon(descriptor: int, ending: Path) -> bool:
    began = time.monotonic()
    while not _locked(descriptor):
        if time.monotonic() - began > (ENDING_S if ending.exists() else SOON_S):
            return False
        time.sleep(_LOOK_S)
    return True


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

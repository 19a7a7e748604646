"""Which verdicts this machine made: a mark of each in the user's state folder, made with a secret that is there too.

A run folder may come from anybody. Whoever fills it in can write a report that says PASS and a record that fits it,
but not this mark. So an evaluation counts as done only where its mark is here (`has_seal`); else it is done again.

    $XDG_STATE_HOME/skate-physics-preserver/    (~/.local/state where that is not set)
        secret          32 random bytes, for this user alone
        verdicts/HEX    empty; the name is the HMAC-SHA256 of what a verdict was made of and what came of it
"""

from __future__ import annotations

import fcntl
import hmac
import os
import secrets
import stat
from pathlib import Path

from handoff.errors import StorageError
from handoff.files import fsync

FOLDER = "skate-physics-preserver"
_SECRET, _VERDICTS = "secret", "verdicts"
_BYTES = 32


def state_folder() -> Path:
    """Return the folder; it need not be there. Raises StorageError where nobody says where the user's home is."""
    stated = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        return (stated if stated.is_absolute() else Path.home() / ".local" / "state") / FOLDER
    except RuntimeError as error:
        raise StorageError("there is no folder for this machine's verdicts: set HOME or XDG_STATE_HOME.") from error


def seal(work: str) -> None:
    """Leave the mark of a verdict: of `handoff.run.Stage.work`. StorageError where that cannot be written."""
    try:
        mark = _mark(work)
        mark.parent.mkdir(mode=0o700, exist_ok=True)
        mark.touch(mode=0o600)
        fsync(mark.parent)
    except OSError as error:
        raise _unusable(error) from error


def has_seal(work: str) -> bool:
    """Say whether this machine made that verdict; StorageError where it cannot know."""
    try:
        return _mark(work).is_file()
    except OSError as error:
        raise _unusable(error) from error


def _unusable(error: OSError) -> StorageError:
    return StorageError(f"{state_folder()}, where this machine marks its verdicts, cannot be used ({error.strerror}).")


def _mark(work: str) -> Path:
    folder = state_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    secret = _read(folder / _SECRET) or _make(folder / _SECRET)
    return folder / _VERDICTS / hmac.digest(secret, work.encode(), "sha256").hex()


def _read(path: Path) -> bytes | None:
    """Return the secret; None where there is none that only this user could read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
        secret = file.read(_BYTES + 1) if ours else b""
    return secret if len(secret) == _BYTES else None


def _make(path: Path) -> bytes:
    """Make a new secret, one process at a time, and return it; the marks of an old one are void then."""
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        secret = _read(path)  # another process may have made it meanwhile
        if secret is None:
            secret = secrets.token_bytes(_BYTES)
            partial = path.with_name(f".{path.name}.partial")
            partial.unlink(missing_ok=True)  # of a killed process
            with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secret)
            fsync(partial)
            os.replace(partial, path)
            fsync(path.parent)
        return secret
    finally:
        os.close(descriptor)

"""Every error the product raises on purpose, with the exit code it ends in.

    PreserverError
    ├── GateFailed      1  the gate ran and the result is below the threshold
    ├── InputError      2  a clip, mask, box, pose or run folder that cannot be used
    │   ├── LinkError    2  a link in a folder that may come from anybody (handoff/links.py)
    │   └── MissingFileError 2  a file that is not there; a FileNotFoundError too
    ├── UsageError      2  a command that asks for something impossible
    │   └── BusyError    2  a run or a reskin that another process is working on
    └── MissingError    3  something needed is not there: weights, server, GPU
        ├── MissingWeightsError 3  a model file that is not there; a FileNotFoundError too
        ├── StorageError 3  no space, no permission, a read-only folder
        └── DigestError  3  a model file with another SHA-256 than the registry's (handoff/files.py)

Libraries raise; only a stage's `cli.py` (through `handoff.command.main`) turns an error into an exit code.
A message is one sentence (or two): what was wrong, with the value seen, and what to do next.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path


class PreserverError(Exception):
    """Base of every error raised on purpose."""

    exit_code = 2


class GateFailed(PreserverError):
    """The gate ran; at least one frame is at or below the threshold."""

    exit_code = 1


class InputError(PreserverError):
    """A file, box or run folder that cannot be used as it is."""

    exit_code = 2


class MissingFileError(InputError, FileNotFoundError):
    """A file to work on that is not there."""


class UsageError(PreserverError):
    """The command asks for something impossible or leaves out something needed."""

    exit_code = 2


class BusyError(UsageError):
    """Another process is working on the run or the reskin."""


class MissingError(PreserverError):
    """Something needed is not there: weights, a server, a GPU, a package."""

    exit_code = 3


class MissingWeightsError(MissingError, FileNotFoundError):
    """A model file that is not there."""


class StorageError(MissingError):
    """A folder that cannot be written: full disk, no permission, read-only."""


_STORAGE_REASONS = {
    errno.ENOSPC: "no space left on the device; free some room",
    errno.EFBIG: "the file is larger than the file system or ulimit -f allows; choose another folder",
    errno.EDQUOT: "the disk quota is used up; free some room",
    errno.EROFS: "the file system is read-only; choose a folder that can be written",
    errno.EACCES: "permission denied; choose a folder that you may write",
    errno.EPERM: "operation not permitted; choose a folder that you may write",
    errno.ENOTDIR: "a part of this path is a file, not a folder; choose another folder",
    errno.EISDIR: "a folder is in the way; move it",
    errno.EEXIST: "a file is in the way; move it, or choose another folder",
}


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write at `path` into a StorageError that names the path."""
    try:
        yield
    except OSError as error:
        reason = _STORAGE_REASONS.get(error.errno or 0)
        if reason is None:
            raise
        raise StorageError(f"cannot write {path}: {reason}, then run the same command again.") from error


_READING_REASONS = {
    errno.ENOENT: "there is nothing of that name",
    errno.ENAMETOOLONG: "its name is too long",
    errno.ELOOP: "its symbolic links lead in a circle",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.EISDIR: "it is a folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.ENXIO: "nothing is at the other end of it",
    errno.ENODEV: "there is no such device",
    errno.EINVAL: "its file system does not take that name",
}


def path_error(error: Exception) -> PreserverError | None:
    """Return what the operating system's refusal of a path means for a user; None where that is not known.

    Room or a disk that is missing is a StorageError, everything else about a path an InputError.
    """
    if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
        error = error.__context__  # Path.resolve says so of links that lead in a circle
    if not isinstance(error, OSError):
        return None
    if error.filename is None:  # what is printed has no name
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return None
        reason = _STORAGE_REASONS[error.errno]
        return StorageError(f"cannot write what is printed, or a file: {reason}, then run the same command again.")
    if error.errno in _READING_REASONS:
        return unusable_path(error, error.filename)
    if error.errno in _STORAGE_REASONS:
        reason = _STORAGE_REASONS[error.errno]
        return StorageError(f"cannot write {_named(error.filename)}: {reason}, then run the same command again.")
    return None


def unusable_path(error: OSError | ValueError, path: object) -> InputError:
    """Return the refusal of a path that the operating system does not open (ValueError: it has a NUL in it)."""
    reason = "its name has a NUL character in it"
    if isinstance(error, OSError):
        reason = _READING_REASONS.get(error.errno or 0) or error.strerror or type(error).__name__
    return InputError(f"{_named(path)} cannot be used: {reason}; check the path.")


def _named(path: object) -> str:
    name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else str(path)
    return name if len(name) <= 200 else f"{name[:197]}..."


def innermost(error: BaseException, wrappers: tuple[str, ...]) -> BaseException:
    """Return what an error comes from, under those of the packages `wrappers`, which say less and at greater length."""
    if type(error).__module__.split(".")[0] in wrappers:
        for inner in (error.__cause__, error.__context__):
            if inner is not None:
                found = innermost(inner, wrappers)
                if type(found).__module__.split(".")[0] not in wrappers:
                    return found
    return error


def printable(text: object, most: int | None = 300) -> str:
    """Return a text from outside (a file's name, a workflow, a server's answer) as part of one line.

    What is no printable character, such as those that steer a terminal or a line's direction, becomes an escape like
    \\x1b. most: characters; of a longer text the beginning is left.
    """
    found = str(text)
    if most is not None and len(found) > most:
        found = f"{found[: most - 3]}..."
    return found if found.isprintable() else "".join(map(_escaped, found))


def printable_lines(text: object) -> str:
    """Return a text of several lines, such as a message, with nothing in it that steers a terminal; of any length."""
    return "\n".join(printable(line, None) for line in str(text).split("\n"))


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")

"""Files and folders that appear under their own name only when they are complete, and what their bytes are.

In reading order: writing beside the final name (`atomic_file`, `atomic_dir`, `scratch_dir`, `write_text`, `settle`),
what a killed process left (`remove_partials`), locks (`open_lock`, `flocked`), then SHA-256 of files and folders, and
whether a file is the one that was meant: by byte count and digest, never by name or date.

Whoever writes a partial file or folder holds a lock on it (flock, which the operating system lets go of when the
process ends, however it ends). That holds between containers and machines, where process numbers say nothing. Of a
folder the lock is a file in it, since network file systems lock files only: `.NAME.RANDOM.partial/` has `.lock`, and
NAME beside it, which is what is being written. runner/holds.py does the same.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import unicodedata
from collections.abc import Collection, Iterator
from pathlib import Path

from handoff.errors import InputError, MissingError, StorageError, UsageError, storage_errors
from handoff.links import check_way, make_folder, open_plain, open_unlinked

PARTIAL_SUFFIX = ".partial"
_LOCK = ".lock"
NO_LOCKS = {errno.ENOLCK, errno.EBADF, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""What the system says where a file system has no locks, or none for a file that was opened like this."""
_NO_FSYNC = {errno.EBADF, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
_KEPT = 50  # letters of a name that its partial file has too: no file system has room for many more than its own
_BELOW = 300  # bytes that the longest path below a run or a report takes


def check_path(path: Path) -> Path:
    """Return a path that a file or a folder can have; UsageError for a longer one. Nothing need be there."""
    whole = path.absolute()
    if _is_odd(str(whole)):
        raise UsageError(f"the path {str(path)[:100]!r} has control characters; rename what has them.")
    folder = next(each for each in (whole, *whole.parents) if os.path.isdir(each))
    name, most = max(whole.parts, key=lambda part: len(os.fsencode(part))), _limit(folder, "PC_NAME_MAX", 255)
    if len(os.fsencode(name)) > most:
        said = f"the name '{name[:40]}...' has {len(os.fsencode(name))} bytes, {most} are the most here"
        raise UsageError(f"{said}; give a shorter one.")
    size, room = len(os.fsencode(whole)), _limit(folder, "PC_PATH_MAX", 4096) - _BELOW
    if size > room:
        said = f"the path '{str(path)[:40]}...' has {size} bytes, {room} are the most here"
        raise UsageError(f"{said}; give a shorter one.")
    return path


def _is_odd(name: str) -> bool:
    """Say whether a name has control characters: it would steer a terminal, or begin a line of its own."""
    return any(unicodedata.category(letter) == "Cc" for letter in name)


def _limit(folder: Path, name: str, usual: int) -> int:
    """Return a limit that a folder's file system has on names; the usual one where it does not say."""
    try:
        limit = os.pathconf(folder, name)
    except OSError:
        return usual
    return limit if limit > 0 else usual


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield an empty temporary file beside `path`; on a clean exit fsync it and rename it to `path`.

    Write into the file that is there, do not put another in its place. On an exception it is removed and `path` is
    left as it was. Raises StorageError when the folder cannot be written, LinkError where a link leads to it.
    """
    with storage_errors(path):
        make_folder(path.parent)
        with _held_partial(path, folder=False) as partial:
            yield partial
            fsync(partial)
            os.replace(partial, path)
            fsync(path.parent)


@contextlib.contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; on a clean exit it takes the place of `path`.

    An older folder of that name is moved aside first and removed after, so a killed process leaves the old
    folder, none or the new one, never a mixture; the manifest, written last, says which it was. All files in it are on
    the disk before it has its name: each is asked for once all are written, when most are there already.
    Raises StorageError when the folder cannot be written, LinkError where a link leads to it.
    """
    with storage_errors(path), scratch_dir(path) as partial:
        with _named_as(path, partial):
            yield partial
        for each in (*partial.rglob("*"), partial):
            fsync(each)
        old = _partial_name(path)
        try:
            if path.is_symlink():
                path.unlink()
            if path.exists():
                os.replace(path, old)
            os.replace(partial, path)
            fsync(path.parent)
        finally:
            shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def scratch_dir(path: Path) -> Iterator[Path]:
    """Yield an empty folder of its name in one beside `path`, which is removed at the end, whatever happens.

    Raises StorageError when it cannot be made, LinkError where a link leads to it.
    """
    with contextlib.ExitStack() as stack:
        with storage_errors(path):
            make_folder(path.parent)
            folder = stack.enter_context(_held_partial(path, folder=True)) / path.name
            folder.mkdir()
        with _named_as(path.parent, folder):
            yield folder


@contextlib.contextmanager
def _named_as(final: Path, partial: Path) -> Iterator[None]:
    """Have a StorageError of a file below `partial` name it as it would be called below `final`."""
    try:
        yield
    except StorageError as error:
        error.args = tuple(str(each).replace(f"{partial}{os.sep}", f"{final}{os.sep}") for each in error.args)
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path`, atomically; StorageError when the folder cannot be written."""
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def settle(source: Path, target: Path) -> None:
    """Give a finished file its final name, in the same file system; StorageError when that cannot be written."""
    with storage_errors(target):
        make_folder(target.parent)
        os.replace(source, target)
        fsync(target.parent)


def fsync(path: Path) -> None:
    """Have a file or a folder on the disk before anything else is done, where its file system can say so."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some file systems refuse that for folders: then it is on the disk when they see fit
        if error.errno not in _NO_FSYNC:
            raise
    finally:
        os.close(descriptor)


def remove_partials(folder: Path) -> None:
    """Remove what killed processes left below `folder`; what a process still writes is left alone.

    So is what cannot be locked, as on some network file systems: there nobody knows whether its process lives.
    """
    for place, folders, names in os.walk(folder):
        for name in sorted((*folders, *names)):
            if name.startswith(".") and name.endswith(PARTIAL_SUFFIX):
                _remove_if_left(Path(place, name))


def _remove_if_left(partial: Path) -> None:
    if partial.is_symlink():
        return  # nobody's: what is partial is a file or a folder
    descriptor = -1
    with contextlib.suppress(OSError):  # it has its final name by now, is somebody else's, or cannot be locked
        held = _held_file(partial, partial.is_dir())
        # a folder without its lock is one that is moved aside, or one whose maker comes too late and makes another
        create = os.O_CREAT if held != partial else 0
        descriptor = os.open(held, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | create, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_open_at(descriptor, held):
            _remove(partial)
    if descriptor != -1:
        os.close(descriptor)


def _remove(partial: Path) -> None:
    if partial.is_dir():
        shutil.rmtree(partial, ignore_errors=True)
    else:
        partial.unlink(missing_ok=True)


def _partial_name(path: Path) -> Path:
    return path.with_name(f".{path.name[:_KEPT]}.{secrets.token_hex(6)}{PARTIAL_SUFFIX}")


def _held_file(partial: Path, folder: bool) -> Path:
    """Return the file that is locked while a partial file or folder is being written."""
    return partial / _LOCK if folder else partial


@contextlib.contextmanager
def _held_partial(path: Path, *, folder: bool) -> Iterator[Path]:
    """Make an empty partial file or folder of `path` and hold it; at the end it is removed, unless it was renamed."""
    partial, descriptor = _make_held(path, folder)
    try:
        yield partial
    finally:
        _remove(partial)
        os.close(descriptor)


def _make_held(path: Path, folder: bool) -> tuple[Path, int]:
    while True:
        partial = _partial_name(path)
        if folder:
            partial.mkdir()
        held = _held_file(partial, folder)
        try:
            descriptor = os.open(held, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except (FileExistsError, FileNotFoundError):
            if folder:
                continue  # somebody took it for a leftover before it was locked
            raise
        flocked(descriptor, fcntl.LOCK_EX)  # where a file system has no locks, nobody removes it either
        if is_open_at(descriptor, held):
            return partial, descriptor
        os.close(descriptor)  # as above


def open_lock(path: Path, how: int) -> int:
    """Open a lock file, made where it is missing, so that it can be locked as `how` says; return the descriptor.

    For reading and writing: network file systems want the one for LOCK_SH, the other for LOCK_EX. Who may not write it
    can share what is there. Raises StorageError where a link has its name (LinkError in a confined folder), OSError
    where it cannot be opened.
    """
    try:
        return open_unlinked(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StorageError(f"{path} is a link, and a lock is a file; remove the link.") from error
        if how != fcntl.LOCK_SH or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS) or not path.exists():
            raise
        return open_unlinked(path, os.O_RDONLY | os.O_NOFOLLOW)


def flocked(descriptor: int, how: int) -> bool:
    """Lock an open file; return whether its file system has locks.

    Raises BlockingIOError where another process holds it and `how` has LOCK_NB.
    """
    try:
        fcntl.flock(descriptor, how)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        raise
    return True


def is_open_at(descriptor: int, path: Path) -> bool:
    """Say whether `path` is still the file or folder that is open as `descriptor`, and was not removed or replaced."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex; the file is read in pieces."""
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_LITTER = frozenset({".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini"})


def is_litter(name: str) -> bool:
    """Say whether it is a name that Finder and Explorer write into any folder: .DS_Store, ._00000.png, Thumbs.db."""
    return name.startswith("._") or name.casefold() in _LITTER


def files_in(folder: Path) -> list[Path]:
    """Return the files of a flat folder, in byte order of their names, without litter, hidden files and folders.

    LinkError in a confined folder for what is no file: a link, a pipe. InputError for a name with control characters,
    which could not be said in a line.
    """
    check_way(folder)
    files = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_litter(entry.name) or entry.name.startswith("."):
                continue
            if _is_odd(entry.name):
                raise InputError(f"{folder} has {entry.name!r}, a name with control characters; rename it.")
            if not entry.is_file(follow_symlinks=False):
                check_way(folder / entry.name)
            if entry.is_file():
                files.append(folder / entry.name)
    return sorted(files, key=lambda path: os.fsencode(path.name))


def sha256_tree(folder: Path) -> str:
    """Return one digest for `files_in` a flat folder.

    It is the SHA-256 of what `sha256sum` prints for the files in byte order of their names, so that
    `cd FOLDER && LC_ALL=C sh -c 'sha256sum *' | sha256sum` gives the same value (`*` leaves out what is hidden).
    """
    digest = hashlib.sha256()
    for path in files_in(folder):
        digest.update(f"{sha256_file(path)}  ".encode() + os.fsencode(path.name) + b"\n")
    return digest.hexdigest()


def sha256_path(path: Path) -> str:
    """Return `sha256_tree` of a folder, `sha256_file` of anything else."""
    check_way(path)
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
